"""What a preset is: a vocabulary, a model, its training and its sampling, with their source."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

from espressivo.checkpoint import described
from espressivo.codecs import Codec, NoteEvents
from espressivo.configs import ModelConfig
from espressivo.generation.sampling import Sampling
from espressivo.training.config import TrainingConfig


@dataclass(frozen=True, kw_only=True)
class Preset:
    """Everything that makes a system, its source, and how this one differs from it."""

    name: str
    source: str
    codec: Codec | NoteEvents
    model: ModelConfig
    training: TrainingConfig
    sampling: Sampling = field(default_factory=Sampling)
    deviations: tuple[str, ...] = ()

    def resolved(self) -> dict[str, Any]:
        """Give the whole configuration as plain values, as it is printed and stored."""
        return {
            "preset": self.name,
            **described(self.model, self.codec),
            "training": asdict(self.training),
            "sampling": asdict(self.sampling),
        }

    @property
    def card(self) -> dict[str, Any]:
        """What a checkpoint trained so says of its origin."""
        return {"preset": self.name, "source": self.source, "deviations": list(self.deviations)}
