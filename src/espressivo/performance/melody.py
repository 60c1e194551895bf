"""The melody of a performance, drawn out by a hidden Markov model.

The model and its numbers are those of MAGENTA's melody inference, with which the data of the
melody-conditioned Music Transformer were made. In every stretch of time between two onsets or
releases the melody either rests or is on a key. It may rest only in silence, it moves to a key
only where that key is struck, and a key struck again is a new note. It likes to be on the highest
key that sounds, and small intervals.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from espressivo.performance.arrays import Array
from espressivo.performance.performance import Performance

REST = 0.1
"""The probability that a note is followed by a rest."""

INTERVAL_SCALE = 2.0
"""Semitones at which the Cauchy density of intervals has fallen to a half."""

UNLIKELY = np.log(1e-15)
"""What a second costs in which the melody is not on the highest key, or on one that is silent."""

AFTER_REST = -np.log(128)
"""After a rest every key is equally likely."""

TOGETHER = 0.035
"""Seconds within which two keys are struck at once."""

Grid = NDArray[np.float64]


def infer_melody(performance: Performance) -> Performance:
    """Draw out the likeliest melody: some of the notes of a performance, one at a time.

    Notes keep onset, pitch and velocity, and end where the next one begins at the latest. Pedals
    and drums are left out: keys count for as long as they are held.
    """
    notes = performance.select(drums=False).notes
    if not len(notes):
        return Performance()
    frames = _frames(notes)
    chosen = notes[_path(frames)].copy()
    chosen["offset"][:-1] = np.minimum(chosen["offset"][:-1], chosen["onset"][1:])
    chosen["track"] = 0
    return Performance(chosen)


def is_melody(performance: Performance) -> bool:
    """Tell whether notes come one at a time, each silent before the note after next begins."""
    notes = performance.select(drums=False).notes
    onset, ending = notes["onset"], np.maximum.accumulate(notes["offset"])
    apart = (np.diff(onset) > TOGETHER).all()
    return bool(len(notes) and apart and (ending[:-2] <= onset[2:]).all())


class _Frames(NamedTuple):
    """Time cut wherever keys are struck or silence begins, with a column for every key."""

    keys: NDArray[np.int64]  # the pitches there are, rising
    struck: NDArray[np.int64]  # [frame, key]: the note that begins here, or -1
    silent: NDArray[np.bool_]  # [frame]
    cost: Grid  # [frame, key]: of being on a key throughout, zero at best


def _frames(notes: Array) -> _Frames:
    keys, column = np.unique(notes["pitch"].astype(np.int64), return_inverse=True)
    times = np.unique(np.concatenate([notes["onset"], notes["offset"]]))
    begin, end = (np.searchsorted(times, notes[name]) for name in ("onset", "offset"))
    change = np.zeros((len(times), len(keys)), dtype=np.int64)
    np.add.at(change, (begin, column), 1)
    np.add.at(change, (end, column), -1)
    sounds: NDArray[np.bool_] = np.cumsum(change, axis=0) > 0
    struck = np.full(sounds.shape, -1)
    shortest_first = np.argsort(notes["offset"], kind="stable")  # the longer of two twins stays
    struck[begin[shortest_first], column[shortest_first]] = shortest_first
    silent: NDArray[np.bool_] = np.logical_not(sounds.any(axis=1))
    highest = len(keys) - 1 - sounds[:, ::-1].argmax(axis=1)
    covered = (np.arange(len(keys)) < highest[:, None]) & ~silent[:, None]
    seconds = np.diff(times, append=times[-1])[:, None]
    cost = seconds * UNLIKELY * (covered + (~sounds).astype(float))
    first = np.flatnonzero((struck >= 0).any(axis=1) | silent)
    return _Frames(keys, struck[first], silent[first], np.add.reduceat(cost, first))


def _path(frames: _Frames) -> NDArray[np.int64]:
    """Give the notes of the likeliest melody, by the algorithm of Viterbi."""
    rest = len(frames.keys)
    moves = _moves(frames.keys)
    best = np.append(np.full(rest, -np.inf), 0.0)  # of being on every key, or at rest
    on_key = best[:rest]
    came_from = np.full((len(frames.cost), rest + 1), -1)  # where a new note or a rest came from
    for frame, cost in enumerate(frames.cost):
        new = np.flatnonzero(frames.struck[frame] >= 0)
        ways = moves[new] + best
        idle = best[rest]
        if frames.silent[frame]:
            key = int(on_key.argmax())
            from_key = on_key[key] + np.log(REST)
            came_from[frame, rest] = key if from_key > idle else rest
            best[rest] = max(from_key, idle)
        else:
            best[rest] = -np.inf
        if len(new):
            origin = ways.argmax(axis=1)
            came_from[frame, new] = origin
            best[new] = ways[np.arange(len(new)), origin]
        on_key += cost
    return _walk_back(frames, came_from, int(best.argmax()))


def _moves(keys: NDArray[np.int64]) -> Grid:
    """Give the logarithm of coming to a key (row) from another, or last from rest (column)."""
    likely = 1 / (1 + ((np.arange(128)[:, None] - keys) / INTERVAL_SCALE) ** 2)
    likely *= (1 - REST) / likely.sum(axis=0)
    from_rest = np.full((len(keys), 1), AFTER_REST)
    return np.concatenate([np.log(likely[keys]), from_rest], axis=1)


def _walk_back(frames: _Frames, came_from: NDArray[np.int64], place: int) -> NDArray[np.int64]:
    """Follow the best way from its end and give the notes it passed, in order of time."""
    passed, rest = [], len(frames.keys)
    for struck, origin in zip(frames.struck[::-1], came_from[::-1], strict=True):
        if place < rest and struck[place] >= 0:
            passed.append(int(struck[place]))
        if origin[place] >= 0:
            place = int(origin[place])
    return np.array(passed[::-1], dtype=np.int64)
