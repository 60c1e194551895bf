"""What a roll shows, before anyone chooses colours or a file format: times, keys and curves."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from espressivo.errors import ConfigError
from espressivo.performance import Array, Performance

LOWEST, HIGHEST = 21, 108
"""The ends of a piano's keyboard, A0 and C8."""

BLACK_KEYS = frozenset({1, 3, 6, 8, 10})

_STEPS = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600)
_SHORTEST = 4.0  # seconds on paper for a piece that is shorter, or has no end of its own

Floats = NDArray[np.float64]


def window(performance: Performance, start: float | None, end: float | None) -> tuple[float, float]:
    """Settle which seconds to show: the whole piece unless told otherwise.

    Raises ConfigError when nothing would be left to show.
    """
    first = 0.0 if start is None else float(start)
    last = max(performance.duration, first + _SHORTEST) if end is None else float(end)
    if not (math.isfinite(first) and math.isfinite(last)) or first < 0:
        raise ConfigError(f"start={start}, end={end} must be seconds from zero on")
    if last <= first:
        raise ConfigError(f"end={end} must be later than start={first:g}")
    return first, last


def visible(performance: Performance, start: float, end: float) -> Array:
    """Give the notes that sound between two moments, clipped to them; drums have no pitch."""
    drums = [index for index, track in enumerate(performance.tracks) if track.is_drum]
    notes = performance.notes
    inside = (notes["onset"] < end) & (notes["offset"] > start)
    notes = notes[inside & ~np.isin(notes["track"], drums)].copy()
    notes["onset"] = np.maximum(notes["onset"], start)
    notes["offset"] = np.minimum(notes["offset"], end)
    return notes


def keys(notes: Array) -> tuple[int, int]:
    """Give the lowest and highest key to draw: a piano's 88, or as many more as are played."""
    if not len(notes):
        return LOWEST, HIGHEST
    return min(LOWEST, int(notes["pitch"].min())), max(HIGHEST, int(notes["pitch"].max()))


def systems(start: float, end: float, longest: float, most: int) -> list[tuple[float, float]]:
    """Wrap a stretch of time into lines of equal length, as music is wrapped on a page.

    A line lasts at most `longest` seconds, unless that made more than `most` lines; then `most`
    lines of whatever length it takes. The last line may end early.
    """
    seconds = end - start
    count = min(most, max(1, math.ceil(seconds / longest - 1e-9)))
    if count == 1:
        return [(start, end)]
    step = nice_step(seconds / count / 12)
    line = math.ceil(seconds / count / step - 1e-9) * step
    count = math.ceil(seconds / line - 1e-9)
    return [(start + i * line, min(start + (i + 1) * line, end)) for i in range(count)]


def nice_step(smallest: float) -> float:
    """Round a number of seconds up to one that divides minutes and hours well."""
    for step in _STEPS:
        if step >= smallest:
            return step
    hours = smallest / 3600
    magnitude = 10.0 ** math.floor(math.log10(hours))
    return (
        3600
        * magnitude
        * next(factor for factor in (1, 2, 5, 10, 20) if factor * magnitude >= hours)
    )


def ticks(start: float, end: float, step: float) -> list[float]:
    """Give the multiples of `step` between two moments, both included."""
    first, last = math.ceil(start / step - 1e-6), math.floor(end / step + 1e-6)
    return [index * step for index in range(first, last + 1)]


def clock(time: float, longest: float, step: float = 1.0) -> str:
    """Write a moment: "12 s" while everything ends by two minutes, "1:05" or "1:02:05" beyond.

    Decimals appear when `step`, the distance to the next label, needs them.
    """
    digits = max(0, -math.floor(math.log10(step) + 1e-9))
    if longest <= 120:
        return f"{time:.{digits}f} s"
    minutes, seconds = divmod(round(time, digits), 60)
    hours, minutes = divmod(int(minutes), 60)
    tail = f"{seconds:0{3 + digits if digits else 2}.{digits}f}"
    return f"{hours}:{minutes:02d}:{tail}" if longest >= 3600 else f"{minutes}:{tail}"


def curve(performance: Performance, number: int, edges: Floats) -> Floats:
    """Give where a pedal stood, 0 to 127, as its mean over time between consecutive edges.

    A mean keeps half-pedal and short lifts visible however narrow a column is. Of several tracks
    the lowest pedal counts; drums have none.
    """
    deepest = np.zeros(len(edges) - 1)
    for index, track in enumerate(performance.tracks):
        mine = (performance.controls["track"] == index) & (performance.controls["number"] == number)
        moves = performance.controls[mine]
        if len(moves) and not track.is_drum:
            times = np.append(moves["time"], max(float(edges[-1]), float(moves["time"][-1])))
            area = np.append(0.0, np.cumsum(np.diff(times) * moves["value"]))
            means = np.diff(np.interp(edges, times, area)) / np.diff(edges)
            deepest = np.maximum(deepest, means)
    return deepest


def thinned(notes: Array, width: float, most: int) -> tuple[Array, float]:
    """Keep at most about `most` notes, and say how: of each key, the loudest per so many seconds.

    `width` is the shortest time that can be told apart in the picture; it is doubled until few
    enough notes are left. Zero seconds means that every note was kept.
    """
    if len(notes) <= most:
        return notes, 0.0
    louder_first = notes[np.argsort(-notes["velocity"].astype(int), kind="stable")]
    while True:
        cells = np.floor(louder_first["onset"] / width).astype(np.int64) * 128
        _, first = np.unique(cells + louder_first["pitch"], return_index=True)
        if len(first) <= most or width > float(notes["offset"].max()):
            return louder_first[np.sort(first)], width
        width *= 2
