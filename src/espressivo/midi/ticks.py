"""What one track of a file holds, in ticks, and the clock that turns ticks into seconds."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from espressivo.performance import SOFT, SOSTENUTO, SUSTAIN

PEDALS = (SUSTAIN, SOSTENUTO, SOFT)
"""The controllers a performance keeps."""

IS_PEDAL = np.isin(np.arange(256), PEDALS)
DRUMS = 9
"""The channel of drums, counted from zero."""

DEFAULT_TEMPO = 500_000
"""Microseconds per quarter note until a file says otherwise: 120 beats per minute."""

Ints = NDArray[Any]


class Voice(NamedTuple):
    """The notes one channel plays with one program; columns of equal length in file order."""

    channel: int
    program: int
    onset: Ints
    offset: Ints
    pitch: Ints
    velocity: Ints


class Moves(NamedTuple):
    """The pedal moves of one channel, in the order they are made."""

    time: Ints
    number: Ints
    value: Ints


class TickTrack(NamedTuple):
    """One track of a file. `tempi` are pairs of tick and microseconds per quarter note.

    `programs` are those its channels end with. `port` tells apart channels of equal number
    where a file addresses more than 16.
    """

    name: str
    port: int
    end: int
    tempi: list[tuple[int, int]]
    voices: list[Voice]
    programs: dict[int, int]
    pedals: dict[int, Moves]


class Clock:
    """Ticks to seconds and back through a tempo map.

    Sums are integers: the float64 seconds are exact to their last bit or two, after an hour
    as after a bar.
    """

    def __init__(
        self,
        tempi: Iterable[tuple[int, int]],
        resolution: int,
        frames: tuple[int, int] | None = None,
    ) -> None:
        """Take tempo marks in ascending ticks; of several on one tick the last one counts."""
        marks = {0: DEFAULT_TEMPO} | dict(tempi)
        if frames is not None:
            marks, resolution = {0: 1_000_000 * frames[1]}, resolution * frames[0]
        self.ticks = np.array(list(marks), np.int64)
        self.tempo = np.array(list(marks.values()), np.int64)
        self.per_second = 1e6 * resolution
        elapsed = np.cumsum(np.diff(self.ticks) * self.tempo[:-1])
        self.elapsed = np.concatenate([[0], elapsed]).astype(np.int64)

    def seconds(self, ticks: Ints) -> NDArray[np.float64]:
        """Give the moments of integer ticks."""
        ticks = ticks.astype(np.int64)
        if len(self.ticks) == 1:
            return np.asarray(ticks * int(self.tempo[0]) / self.per_second, np.float64)
        at = np.searchsorted(self.ticks, ticks, side="right") - 1
        passed = self.elapsed[at] + (ticks - self.ticks[at]) * self.tempo[at]
        return np.asarray(passed / self.per_second, np.float64)

    def nearest(self, seconds: NDArray[np.float64]) -> NDArray[np.int64]:
        """Give the ticks closest to some moments."""
        at = np.searchsorted(self.elapsed / self.per_second, seconds, side="right") - 1
        beyond = seconds * self.per_second - self.elapsed[at]
        return self.ticks[at] + np.rint(beyond / self.tempo[at]).astype(np.int64)
