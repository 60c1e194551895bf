"""Numbers about performances, and sets of performances compared."""

from espressivo.evaluation.metrics import METRICS, measure
from espressivo.evaluation.report import Row, compare

__all__ = ["METRICS", "Row", "compare", "measure"]
