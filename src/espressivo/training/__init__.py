"""From a corpus to a trained model, and how good it is.

`training.train` holds the loop and `training.evaluate` the judge; both need torch. What can be
said without it - how a run is configured, what it recorded - is here.
"""

from espressivo.training.config import TrainingConfig
from espressivo.training.interruption import interruptible
from espressivo.training.record import read_metrics, read_record

__all__ = ["TrainingConfig", "interruptible", "read_metrics", "read_record"]
