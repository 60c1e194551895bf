"""The arrays a performance is made of, and what must be true of them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

NOTE = np.dtype(
    [("onset", "f8"), ("offset", "f8"), ("pitch", "u1"), ("velocity", "u1"), ("track", "u1")]
)
CONTROL = np.dtype([("time", "f8"), ("number", "u1"), ("value", "u1"), ("track", "u1")])
BEAT = np.dtype([("time", "f8"), ("bar", "i4"), ("position", "u1"), ("per_bar", "u1")])
TEMPO = np.dtype([("time", "f8"), ("bpm", "f8")])

SUSTAIN, SOSTENUTO, SOFT = 64, 66, 67
"""Controller numbers of the three pedals."""

PEDAL_DOWN = 64
"""The smallest sustain value that counts as down where only on and off exist."""

Array = NDArray[Any]


class Track(NamedTuple):
    """Who plays: a General MIDI program (0 is the grand piano), drums or not, and a name."""

    program: int = 0
    is_drum: bool = False
    name: str = ""


class Event(NamedTuple):
    """One thing that happens at one moment, as a generator streams it.

    `number` is a pitch for "on" and "off" and a controller number for "control"; `value` is a
    velocity, ignored for "off", or the controller's value.
    """

    time: float
    kind: Literal["on", "off", "control"]
    number: int
    value: int = 0
    track: int = 0


def structured(rows: Array | Iterable[Any], dtype: np.dtype[Any]) -> Array:
    """Copy rows into an array of a dtype, refusing numbers it would wrap around."""
    if isinstance(rows, np.ndarray) and rows.dtype == dtype:
        return rows.copy()
    rows = list(rows)
    assert dtype.names is not None
    for row in rows:
        for name, value in zip(dtype.names, row, strict=True):
            if dtype[name].kind == "u" and not 0 <= value <= 255:
                raise ValueError(f"{name}={value} is outside 0..255")
    return np.array([tuple(row) for row in rows], dtype=dtype)


def in_time(array: Array, what: str) -> Array:
    """Check the times of events and sort them, keeping the order of equal times."""
    _check(np.isfinite(array["time"]) & (array["time"] >= 0), array, f"{what} at a bad time")
    if (array["time"][1:] >= array["time"][:-1]).all():
        return array
    return array[np.argsort(array["time"], kind="stable")]


def checked_controls(controls: Array, tracks: int) -> Array:
    """Check and sort the moves of pedals and other controllers."""
    _check(controls["value"] <= 127, controls, "control value above 127")
    _check(controls["number"] <= 127, controls, "control number above 127")
    _check(controls["track"] < tracks, controls, f"control of a track not among {tracks}")
    return in_time(controls, "control")


def checked_notes(notes: Array, tracks: int) -> Array:
    """Check notes and sort them by onset, pitch, track and offset."""
    finite = np.isfinite(notes["onset"]) & np.isfinite(notes["offset"])
    _check(finite & (notes["onset"] >= 0), notes, "note at a bad time")
    _check(notes["offset"] > notes["onset"], notes, "note that does not end after its onset")
    _check(notes["pitch"] <= 127, notes, "pitch above 127")
    _check((notes["velocity"] >= 1) & (notes["velocity"] <= 127), notes, "velocity not in 1..127")
    _check(notes["track"] < tracks, notes, f"note of a track not among {tracks}")
    if _in_order(notes):
        return notes
    return notes[np.lexsort([notes[k] for k in ("offset", "track", "pitch", "onset")])]


def _in_order(notes: Array) -> bool:
    onset = notes["onset"]
    if (onset[1:] < onset[:-1]).any():
        return False
    tied = np.flatnonzero(onset[1:] == onset[:-1])
    key = notes["pitch"].astype(np.int64) << 8 | notes["track"]
    offset = notes["offset"]
    together = (key[tied] == key[tied + 1]) & (offset[tied] <= offset[tied + 1])
    return bool(((key[tied] < key[tied + 1]) | together).all())


def checked_tracks(tracks: Iterable[Track]) -> tuple[Track, ...]:
    """Check the list of tracks; an empty one becomes a single piano."""
    checked = tuple(Track(*track) for track in tracks) or (Track(),)
    if len(checked) > 256:
        raise ValueError(f"{len(checked)} tracks; a performance holds at most 256")
    for track in checked:
        if not 0 <= track.program <= 127:
            raise ValueError(f"program {track.program} of {track} is outside 0..127")
    return checked


def on_track(array: Array, first: int) -> Array:
    """Copy notes or controls, their tracks counted from `first`."""
    moved = array.copy()
    moved["track"] += first
    return moved


def standing(controls: Array, time: float) -> Array:
    """Give the last value of every controller before a time, where it is not zero."""
    before = controls[controls["time"] < time][::-1]
    which = before["track"].astype(int) * 128 + before["number"]
    latest = before[np.sort(np.unique(which, return_index=True)[1])[::-1]]
    return latest[latest["value"] > 0]


def _check(good: NDArray[np.bool_], array: Array, problem: str) -> None:
    if not good.all():
        raise ValueError(f"{problem}: {array[int(np.argmin(good))]}")
