"""A roll made of characters: braille cells are 2 by 4 dots, so 88 keys are exactly 22 rows."""

from __future__ import annotations

import math
from functools import cache
from itertools import groupby

import numpy as np
from numpy.typing import NDArray

from espressivo.errors import ConfigError
from espressivo.performance import SUSTAIN, Array, Performance
from espressivo.roll import geometry
from espressivo.roll.colour import DARK, channels

NARROWEST = 24
_GUTTER = 5
_DOTS = np.array([[0x01, 0x08], [0x02, 0x10], [0x04, 0x20], [0x40, 0x80]], dtype=np.int64)
_LEVELS = " ▁▂▃▄▅▆▇█"
_GREY = 245
_CUBE = (0, 95, 135, 175, 215, 255)  # the levels of red, green and blue in colours 16 to 231


def terminal(
    performance: Performance,
    width: int = 100,
    color: bool = False,
    *,
    start: float | None = None,
    end: float | None = None,
) -> str:
    """Draw a roll as text of at most `width` columns, with no newline at its end.

    The line below the keys is the sustain pedal in eight levels, the last one is the time. With
    `color` the cells carry ANSI colours, each that of its loudest note; without, the text is
    plain. Everything from `start` to `end` seconds is squeezed into one system. Raises ConfigError
    for a width under 24 or an empty window.
    """
    if width < NARROWEST:
        raise ConfigError(f"width={width} leaves no room for a roll; give at least {NARROWEST}")
    first, last = geometry.window(performance, start, end)
    columns = width - _GUTTER
    notes = geometry.visible(performance, first, last)
    low, high = geometry.keys(notes)
    high += -(high - low + 1) % 4
    dots, loudest = _cells(notes, low, high, columns, first, last)
    lines = []
    for row, (cells, velocities) in enumerate(zip(dots, loudest, strict=True)):
        name = _octave(range(high - 4 * row - 3, high - 4 * row + 1))
        lines.append(f"{name:>3} │" + _row(cells, velocities, color))
    edges = np.linspace(first, last, columns + 1)
    pedal = geometry.curve(performance, SUSTAIN, edges)
    levels = "".join(_LEVELS[math.ceil(value / 127 * 8 - 0.01)] for value in pedal)
    lines.append("ped │" + (f"\x1b[38;5;{_GREY}m{levels}\x1b[0m" if color else levels.rstrip()))
    return "\n".join([*lines, " " * _GUTTER + _axis(first, last, columns)])


def _cells(
    notes: Array, low: int, high: int, columns: int, start: float, end: float
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Set dots; give the braille pattern and the loudest velocity of every cell."""
    rows = (high - low + 1) // 4
    patterns = np.zeros((rows, columns), np.int64)
    loudest = np.zeros((rows, columns), np.int64)
    scale = columns * 2 / (end - start)
    for onset, offset, pitch, velocity, _ in notes.tolist():
        left = min(int((onset - start) * scale), columns * 2 - 1)
        right = max(left + 1, min(round((offset - start) * scale), columns * 2))
        row, dot_row = divmod(high - pitch, 4)
        for dot in range(left, right):
            patterns[row, dot // 2] |= _DOTS[dot_row, dot % 2]
        cells = slice(left // 2, (right + 1) // 2)
        loudest[row, cells] = np.maximum(loudest[row, cells], velocity)
    return patterns, loudest


def _octave(pitches: range) -> str:
    return next((f"C{pitch // 12 - 1}" for pitch in pitches if pitch % 12 == 0), "")


def _row(patterns: NDArray[np.int64], velocities: NDArray[np.int64], color: bool) -> str:
    text = "".join(chr(0x2800 + pattern) if pattern else " " for pattern in patterns.tolist())
    if not color:
        return text.rstrip()
    colours = [_ansi(velocity) if velocity else None for velocity in velocities.tolist()]
    parts = []
    for colour, run in groupby(range(len(text)), key=colours.__getitem__):
        piece = "".join(text[index] for index in run)
        parts.append(piece if colour is None else f"\x1b[38;5;{colour}m{piece}\x1b[0m")
    return "".join(parts)


@cache
def _ansi(velocity: int) -> int:
    """Give the nearest of the 216 colours that every colour terminal has."""
    parts = channels(DARK.velocity(velocity))
    red, green, blue = (min(range(6), key=lambda i: abs(_CUBE[i] - part)) for part in parts)
    return 16 + 36 * red + 6 * green + blue


def _axis(start: float, end: float, columns: int) -> str:
    step = geometry.nice_step((end - start) * 12 / columns)
    line = [" "] * columns
    free = 0
    for time in geometry.ticks(start, end, step):
        text = geometry.clock(time, end, step).replace(" ", "")
        at = min(int((time - start) / (end - start) * columns), columns - len(text))
        if at >= free:
            line[at : at + len(text)] = text
            free = at + len(text) + 1
    return "".join(line).rstrip()
