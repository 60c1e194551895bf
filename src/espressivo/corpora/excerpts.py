"""Stretches of a piece that encode as they do within it, without reading all of it.

Times are not moved: only so does every note fall on the same step of any grid.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from espressivo.performance import PEDAL_DOWN, SUSTAIN, Array

LEAD = 512
"""Notes before an excerpt that are looked through for those still sounding in it."""

_NEAR = 0.1
"""Seconds that no codec's rounding reaches; notes so close always lead up to an excerpt."""
_FEWEST = 16
"""Notes that lead up to any excerpt; the last of them sets its velocity."""


class Excerpt(NamedTuple):
    """Notes and pedal moves at their own times.

    The first `lead` notes only lead up to it; `ends` tells whether the piece does too.
    """

    notes: Array
    controls: Array
    lead: int
    ends: bool


def excerpt(notes: Array, controls: Array, first: int, count: int) -> Excerpt:
    """Take `count` notes from note `first`, what still sounds then, and the pedal moves."""
    begin = float(notes["onset"][first])
    lead = _lead(notes[max(first - LEAD, 0) : first], _held_since(controls, begin))
    last = min(first + count, len(notes))
    chosen = notes[first - lead : last]
    ends = last == len(notes)
    now = bisect_left(controls, float(chosen["onset"][0]), key=_time)
    # Up to where the last onset and what it ends with can be seen; see `Codec.settled`.
    until = len(controls) if ends else bisect_right(controls, float(chosen["onset"][-1]), key=_time)
    moves = np.concatenate([_standing(controls[:now]), controls[now:until]])
    return Excerpt(chosen, moves, lead, ends)


def _lead(before: Array, held_since: float) -> int:
    """Count back to the earliest note that may still sound, or at least some."""
    sounding = np.flatnonzero(before["offset"] >= held_since - _NEAR)
    earliest = int(sounding[0]) if len(sounding) else len(before)
    return max(len(before) - earliest, min(_FEWEST, len(before)))


def _held_since(controls: Array, time: float) -> float:
    """Give the time from which releases were caught by the pedal, or `time` if it is up."""
    before = controls[: bisect_left(controls, time, key=_time)]
    for block in _backwards(before):
        mine = block[block["number"] == SUSTAIN]
        up = np.flatnonzero(mine["value"] < PEDAL_DOWN)
        if len(up):
            pressed = mine["time"][up[-1] + 1 :]
            return min(time, float(pressed[0])) if len(pressed) else time
        time = float(mine["time"][0]) if len(mine) else time
    return time


def _standing(before: Array) -> Array:
    """Give the last move of the sustain pedal, with others at the same moment."""
    for block in _backwards(before):
        mine = block[block["number"] == SUSTAIN]
        if len(mine):
            latest: Array = mine[mine["time"] == mine["time"][-1]]
            return latest
    return before[:0]


def _backwards(array: Array) -> Iterator[Array]:
    """Cut an array into blocks, last one first, each twice as long as the one after it."""
    end, size = len(array), 256
    while end > 0:
        yield array[max(end - size, 0) : end]
        end, size = end - size, 2 * size


def _time(move: np.void) -> float:
    return float(move["time"])
