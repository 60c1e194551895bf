"""How a model is trained, as one frozen value."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Literal

from espressivo.corpora import Augmentation
from espressivo.errors import ConfigError

Schedule = Literal["constant", "noam", "linear", "cosine"]

FREE = frozenset(
    {"steps", "decay", "evaluate_every", "save_every", "patience", "checkpoint_activations"}
)
"""Fields of a TrainingConfig that a run may change whenever it goes on."""

SHORTER = 4
"""How much shorter the first windows are, where there are short ones."""


@dataclass(frozen=True, kw_only=True)
class TrainingConfig:
    """How a model is trained. A step is one update of the weights.

    `batch` windows of `length` tokens make a step, in `accumulate` equal parts. `learning_rate` is
    the peak of the schedule; Muon's matrices have their own. AdamW without `weight_decay` is Adam.
    `clip_norm` bounds the norm of the gradient, zero does not. `checkpoint_activations` keeps only
    what enters each layer and computes the rest twice: memory for time, the same numbers. `ema` is
    the decay of the averaged weights, zero for none. Every `evaluate_every` steps the averaged
    weights are judged on `evaluation_windows` fixed windows of the validation split; training stops
    early after `patience` evaluations without a better one, never if zero.

    For the share `short` of the steps, the first ones, windows have a quarter of the length and
    there are four times as many of them: near things are learnt first, and cheaply.

    With schedule "constant" a run can go on for ever: it ends in a fall to zero over the last
    `decay` steps, if any. At each step named by `grow` the batch doubles.
    """

    steps: int = 100_000
    batch: int = 16
    length: int = 512
    grow: tuple[int, ...] = ()
    short: float = 0.0
    accumulate: int = 1
    optimizer: Literal["adamw", "muon"] = "adamw"
    learning_rate: float = 1e-3
    matrix_learning_rate: float = 0.02
    schedule: Schedule = "linear"
    warmup: int = 200
    decay: int = 0
    betas: tuple[float, float] = (0.9, 0.98)
    eps: float = 1e-9
    weight_decay: float = 0.0
    clip_norm: float = 1.0
    ema: float = 0.0
    precision: Literal["float32", "bfloat16"] = "float32"
    compile: bool = False
    checkpoint_activations: bool = False
    evaluate_every: int = 500
    evaluation_length: int = 2048
    evaluation_windows: int = 16
    patience: int = 0
    save_every: int = 500
    seed: int = 0
    augmentation: Augmentation = field(default_factory=Augmentation)

    def __post_init__(self) -> None:
        """Refuse what cannot be trained."""
        for name in (
            "steps", "batch", "length", "accumulate", "evaluate_every", "evaluation_length",
            "evaluation_windows", "save_every",
        ):  # fmt: skip
            self._at_least(name, 1)
        for name in ("warmup", "decay", "patience", "seed", "weight_decay", "clip_norm"):
            self._at_least(name, 0)
        for name in ("learning_rate", "matrix_learning_rate", "eps"):
            if not 0 < getattr(self, name) < math.inf:
                raise ConfigError(f"training.{name}={getattr(self, name)} must be above zero")
        if self.decay and self.schedule != "constant":
            raise ConfigError(
                f"training.decay={self.decay} is for schedule=constant; {self.schedule} has a fall "
                "of its own: leave decay at 0, or set training.schedule=constant"
            )
        if self.batch % self.accumulate:
            raise ConfigError(
                f"training.accumulate={self.accumulate} must divide batch={self.batch}"
            )
        if not 0 <= self.short <= 1 or (self.short and self.length < SHORTER):
            raise ConfigError(
                f"training.short={self.short} with length={self.length}: a share of the steps, "
                f"0 to 1, with windows of length / {SHORTER}; try short=0.25"
            )
        if any(step < 0 for step in self.grow):
            raise ConfigError(f"training.grow={self.grow} must be steps from 0 on; try (1000,)")
        if not 0 <= self.ema < 1:
            raise ConfigError(f"training.ema={self.ema} must lie in [0, 1); try 0.999")
        if not all(0 <= beta < 1 for beta in self.betas):
            raise ConfigError(f"training.betas={self.betas} must lie in [0, 1); try (0.9, 0.98)")

    def _at_least(self, name: str, least: int) -> None:
        if not getattr(self, name) >= least:
            raise ConfigError(f"training.{name}={getattr(self, name)} must be at least {least}")
