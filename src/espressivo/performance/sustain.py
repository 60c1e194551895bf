"""The sustain pedal folded into the lengths of notes, for all notes at once.

`codecs.reference.sustained` tells the same rules one event at a time.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from espressivo.performance.arrays import PEDAL_DOWN, Array


def fold(notes: Array, pedal: Array, end: float) -> Array:
    """Give the notes of one track as its sustain events make them sound, both sorted by time."""
    if not len(notes) or not len(pedal):
        return notes
    time, is_down = pedal["time"].copy(), pedal["value"] >= PEDAL_DOWN
    if (time[1:] == time[:-1]).any():
        order = np.lexsort([~is_down, time])
        time, is_down = time[order], is_down[order]
    # After i pedal events: is the pedal down, and when is the next lift?
    down = np.append(False, is_down)
    lifts = np.flatnonzero(~is_down)
    lift = np.append(time[lifts], end)[np.searchsorted(lifts, np.arange(len(time) + 1))]
    onset, offset = notes["onset"].copy(), notes["offset"].copy()
    at_offset = np.searchsorted(time, offset, side="right")
    under_pedal = down[np.searchsorted(time, onset, side="right")]
    released = np.where(down[at_offset], lift[at_offset], offset)
    ending = np.minimum(released, _struck_again(notes["pitch"], onset, under_pedal))
    folded = notes.copy()
    folded["offset"] = ending
    kept = ending > onset
    return folded if kept.all() else folded[kept]


def _struck_again(pitch: Array, onset: Array, counts: NDArray[np.bool_]) -> Array:
    """Give for every note the next onset of its key among those that count, or infinity."""
    order = np.argsort(pitch, kind="stable")
    pitch, onset = pitch[order], onset[order]
    here = np.where(counts[order], np.arange(len(order)), len(order))
    following = np.append(np.minimum.accumulate(here[::-1])[::-1][1:], len(order))
    pitch, onset = np.append(pitch, 255), np.append(onset, np.inf)
    again = np.empty(len(order))
    again[order] = np.where(pitch[following] == pitch[:-1], onset[following], np.inf)
    return again
