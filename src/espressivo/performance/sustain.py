"""The sustain pedal folded into the lengths of notes, for all notes at once.

`codecs.reference.sustained` tells the same rules one event at a time.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from espressivo.performance.arrays import Array


def fold(notes: Array, time: Array, down: NDArray[np.bool_], end: float) -> Array:
    """Give when each note of a track falls silent under a pedal down or up from each time.

    Notes and times are sorted; `end` is the last moment of the music. A note that would fall
    silent at its own onset is not heard.
    """
    if not len(notes) or not down.any():
        return notes["offset"].copy()
    moves = _moves(time, down)
    onset, offset = notes["onset"].copy(), notes["offset"].copy()
    # The pedal is down after an odd number of moves, and the next one lifts it.
    at_offset = np.searchsorted(moves, offset, side="right")
    released = np.where(at_offset & 1, np.append(moves, end)[at_offset], offset)
    first_after = np.searchsorted(onset, moves, side="left")  # notes come in order of onset
    notes_between = np.diff(first_after, prepend=0, append=len(onset))
    under_pedal = np.repeat(np.arange(len(moves) + 1) & 1 == 1, notes_between)
    return np.minimum(released, _struck_again(notes["pitch"], onset, under_pedal))


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
