"""The sustain pedal folded into the lengths of notes, for all notes at once.

`codecs.reference.sustained` tells the same rules one event at a time.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from espressivo.performance.arrays import Array


def fold(notes: Array, time: Array, down: NDArray[np.bool_], end: float) -> Array:
    """Give the notes of one track as they sound under a pedal that is down or up from each time.

    Notes and times are sorted; `end` is the last moment of the music.
    """
    if not len(notes) or not down.any():
        return notes
    moves = _moves(time, down)
    onset, offset = notes["onset"].copy(), notes["offset"].copy()
    # The pedal is down after an odd number of moves, and the next one lifts it.
    before_offset = np.searchsorted(moves, offset, side="right")
    released = np.where(before_offset % 2, np.append(moves, end)[before_offset], offset)
    under_pedal = np.searchsorted(moves, onset, side="right") % 2 == 1
    ending = np.minimum(released, _struck_again(notes["pitch"], onset, under_pedal))
    folded = notes.copy()
    folded["offset"] = ending
    kept = ending > onset
    return folded if kept.all() else folded[kept]


def _moves(time: Array, down: NDArray[np.bool_]) -> Array:
    """Give when the pedal is pressed, lifted, pressed ...; presses come first at one moment."""
    presses = np.flatnonzero(down[1:] & ~down[:-1])
    if (time[presses] == time[presses + 1]).any():
        order = np.lexsort([~down, time])
        time, down = time[order], down[order]
    return time[np.flatnonzero(np.diff(down, prepend=False))]


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
