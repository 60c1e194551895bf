"""The sustain pedal found again in notes it was folded into.

Fingers release keys one by one; a pedal ends many notes of different ages at one instant. Each
such instant is taken for a lift, and the pedal goes down as early before it as changes no sound.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from espressivo.performance.arrays import CONTROL, SUSTAIN, Array

AGES = 0.1
"""Seconds between the onsets of notes that end together, beyond which no hand let them go."""

CHANGE = 0.06
"""Seconds a foot takes from lifting to pressing again, and the least it stays down."""

TOUCH = 0.3
"""Seconds a key is held under the pedal, if the note lasts that long."""

Times = NDArray[np.float64]


def unfold(notes: Array, track: int, since: float = 0.0) -> tuple[Array, Array]:
    """Give notes as fingers hold them and the pedal that makes them sound as they did.

    `notes` are those of one track, one at a time on each key; `sustain.fold` of the result gives
    them back exactly. Those that begin before `since` are left as they are.
    """
    own = notes["onset"] >= since
    again = _ends_by_restrike(notes) & own
    lifts = _lifts(notes[~again & own])
    free = np.unique(notes["offset"][~again])
    presses = _presses(notes[own], lifts, free)
    worth = presses < lifts - CHANGE
    lifts, presses = lifts[worth], presses[worth]
    touched = notes.copy()
    if len(lifts):
        touched["offset"][own] = _released(notes[own], lifts, presses, again[own])
    moves = np.zeros(2 * len(lifts), dtype=CONTROL)
    moves["time"][0::2], moves["time"][1::2] = presses, lifts
    moves["value"][0::2] = 127
    moves["number"], moves["track"] = SUSTAIN, track
    return touched, moves


def _lifts(notes: Array) -> Times:
    """Give the instants at which notes of different ages end."""
    order = np.lexsort([notes["onset"], notes["offset"]])
    ends, first = np.unique(notes["offset"][order], return_index=True)
    last = np.append(first[1:], len(order)) - 1
    onset = notes["onset"][order]
    lifts: Times = ends[onset[last] - onset[first] > AGES] if len(ends) else ends
    return lifts


def _ends_by_restrike(notes: Array) -> NDArray[np.bool_]:
    """Tell which notes end where their key is struck again."""
    struck = set(zip(notes["pitch"].tolist(), notes["onset"].tolist(), strict=True))
    ends = zip(notes["pitch"].tolist(), notes["offset"].tolist(), strict=True)
    return np.array([end in struck for end in ends], dtype=bool)


def _presses(notes: Array, lifts: Times, free: Times) -> Times:
    """Give the earliest moment before each lift from which no release would be held too long."""
    before = np.searchsorted(free, lifts, side="left") - 1
    clear = np.where(before >= 0, free[np.maximum(before, 0)], 0.0) if len(free) else 0.0 * lifts
    onset = notes["onset"]
    # The foot follows the first key: without a note sounding there is nothing to hold.
    earliest = np.array(
        [onset[notes["offset"] >= lift].min(initial=lift) for lift in lifts.tolist()]
    )
    presses: Times = np.maximum(clear, earliest) + CHANGE
    return presses


def _released(notes: Array, lifts: Times, presses: Times, again: NDArray[np.bool_]) -> Times:
    """Give when each key goes up: early, where the pedal holds its note."""
    onset, offset = notes["onset"], notes["offset"]
    place = np.minimum(np.searchsorted(lifts, offset, side="left"), len(lifts) - 1)
    held = (offset == lifts[place]) | (again & (offset < lifts[place]))
    held &= offset > presses[place]
    key_up = np.maximum(onset + TOUCH, presses[place])
    key_up = np.where(again, np.minimum(key_up, offset - CHANGE / 2), key_up)
    possible = held & (key_up >= presses[place]) & (key_up > onset) & (key_up < offset)
    result: Times = np.where(possible, key_up, offset)
    return result
