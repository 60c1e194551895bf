"""What a model is trained on in one step: tokens, and what it is told beside them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

Controls = NDArray[np.float32]
T = TypeVar("T", bound=np.generic)


class Sample(NamedTuple):
    """One window: `tokens` [t + 1], `controls` [t, c] of the tokens to predict, `source` [s].

    Events of several fields are rows, [t + 1, fields].
    """

    tokens: NDArray[np.int64]
    controls: Controls | None = None
    source: NDArray[np.int64] | None = None


@dataclass(frozen=True, eq=False)
class Batch:
    """Windows side by side; whatever ends early is followed by -1.

    Row i of `controls` [b, t, c] is what holds for the event that token i + 1 of `tokens`
    [b, t + 1] is. `source` [b, s] holds the tokens an encoder reads. Events of several fields are
    rows, [b, t + 1, fields]; a row is missing where all of its fields are -1.
    """

    tokens: NDArray[np.int64]
    controls: Controls | None = None
    source: NDArray[np.int64] | None = None

    @staticmethod
    def of(samples: Sequence[Sample]) -> Batch:
        """Put windows of any lengths side by side; all or none have controls, or a source."""
        tokens, controls, sources = zip(*samples, strict=True)
        return Batch(
            beside(tokens, -1),
            None if controls[0] is None else beside(controls, 0.0),
            None if sources[0] is None else beside(sources, -1),
        )

    def __len__(self) -> int:
        """Give the number of windows."""
        return len(self.tokens)

    @property
    def counted(self) -> int:
        """How many tokens or events there are to predict."""
        there = self.tokens[:, 1:] >= 0
        return int((there.any(-1) if there.ndim > 2 else there).sum())

    def split(self, parts: int) -> list[Batch]:
        """Give the windows in equal parts, one after another."""
        rows = np.split(np.arange(len(self)), parts)
        return [
            Batch(
                self.tokens[some],
                None if self.controls is None else self.controls[some],
                None if self.source is None else self.source[some],
            )
            for some in rows
        ]


def beside(arrays: Sequence[NDArray[T]], filler: float) -> NDArray[T]:
    """Stack arrays that differ in their first dimension, filled up at the end."""
    longest = max(len(array) for array in arrays)
    shape = (len(arrays), longest, *arrays[0].shape[1:])
    stacked = np.full(shape, filler, dtype=arrays[0].dtype)
    for row, array in zip(stacked, arrays, strict=True):
        row[: len(array)] = array
    return stacked
