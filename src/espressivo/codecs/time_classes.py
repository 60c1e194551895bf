"""Whole numbers of steps as a class and a residual: exact when short, by the octave when long.

A model chooses among some hundred classes; within a class every number is as likely as another.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from espressivo.errors import CodecError

Array = NDArray[np.int64]


@dataclass(frozen=True)
class TimeClasses:
    """The numbers 0 to `most`: `exact` classes of one number, then `per_octave` to every octave.

    With 128 exact classes and 16 an octave a class beyond is at most 1/16 of its numbers wide.
    """

    exact: int = 128
    per_octave: int = 16
    octaves: int = 9

    def __post_init__(self) -> None:
        """Raise CodecError for classes that are not whole numbers of steps wide."""
        if self.exact < 1 or self.per_octave < 1 or not 0 <= self.octaves <= 24:
            raise CodecError(
                f"exact={self.exact} and per_octave={self.per_octave} must be at least 1 and "
                f"octaves={self.octaves} must lie in 0..24"
            )
        if self.octaves and self.exact % self.per_octave:
            raise CodecError(
                f"per_octave={self.per_octave} must divide exact={self.exact}: "
                "classes are whole numbers of steps wide"
            )

    def __len__(self) -> int:
        """Return the number of classes."""
        return self.exact + self.octaves * self.per_octave

    @property
    def most(self) -> int:
        """The largest number of steps there is a class for."""
        return (self.exact << self.octaves) - 1

    @cached_property
    def first(self) -> Array:
        """The smallest number of steps in each class, Int[classes]."""
        return np.concatenate([[0], np.cumsum(self.width)[:-1]])

    @cached_property
    def width(self) -> Array:
        """How many numbers of steps share each class, Int[classes]."""
        octave = np.arange(self.octaves).repeat(self.per_octave)
        wide = (self.exact // self.per_octave) << octave
        return np.concatenate([np.ones(self.exact, dtype=np.int64), wide])

    def split(self, steps: Array) -> tuple[Array, Array]:
        """Return the classes of numbers of steps in 0..most, and the residuals within them."""
        classes = np.searchsorted(self.first, steps, side="right") - 1
        return classes, steps - self.first[classes]

    def join(self, classes: Array, residuals: Array) -> Array:
        """Return the numbers of steps again; the inverse of `split`."""
        steps: Array = self.first[classes] + residuals
        return steps
