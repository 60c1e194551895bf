"""One page, as plain shapes: what PNG and SVG both paint.

A page is a header (title, facts, the colours of velocity) above one or more systems. A system is a
keyboard, its roll, a lane for each pedal, and a time axis.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from espressivo.performance import SOFT, SUSTAIN, Array, Performance
from espressivo.roll import geometry
from espressivo.roll.colour import Theme
from espressivo.roll.shapes import Area, Box, Label, Line, Page, System

LINE_SECONDS = 60.0
MOST_SYSTEMS = 12
MOST_NOTES = 60_000

_LEFT, _RIGHT, _KEYBOARD, _LEGEND = 62.0, 28.0, 20.0, 190.0
_NARROWEST_NOTE = 1.5


class _Frame(NamedTuple):
    """What all systems of a page have in common."""

    low: int
    high: int
    key: float
    scale: float
    pedals: tuple[tuple[str, int, float], ...]
    marks: tuple[tuple[float, str], ...]
    step: float
    end: float

    @property
    def roll(self) -> float:
        return (self.high - self.low + 1) * self.key

    def y(self, pitch: int) -> float:
        """Give the upper edge of a key."""
        return (self.high - pitch) * self.key


def page(
    performance: Performance,
    theme: Theme,
    window: tuple[float, float],
    title: str = "",
    marks: Sequence[tuple[float, str]] = (),
    width: float = 1600.0,
) -> Page:
    """Lay a performance out on a page as wide as `width` and as high as it needs."""
    start, end = window
    notes = geometry.visible(performance, start, end)
    lines = geometry.systems(start, end, LINE_SECONDS, MOST_SYSTEMS)
    scale = (width - _LEFT - _RIGHT) / (lines[0][1] - lines[0][0])
    drawn, cell = geometry.thinned(notes, 1.0 / scale, MOST_NOTES)
    low, high = geometry.keys(drawn)
    key = {1: 5.0, 2: 4.0}.get(len(lines), 3.0 if len(lines) < 6 else 2.5)
    frame = _Frame(
        low,
        high,
        key,
        scale,
        _pedals(performance, len(lines)),
        tuple(sorted((time, _line(text)) for time, text in marks if start <= time <= end)),
        geometry.nice_step(76.0 / scale),
        end,
    )
    played = max(start, min(end, performance.duration))
    sheet = Page(width, theme, _line(title), _facts(notes, drawn, cell, start, played))
    y = _header(sheet)
    for line in lines:
        y = _system(sheet, frame, drawn, performance, line, y)
    sheet.height = y + 8.0
    return sheet


def _pedals(performance: Performance, lines: int) -> tuple[tuple[str, int, float], ...]:
    tall, thin = (40.0, 14.0) if lines == 1 else (24.0, 10.0)
    soft = performance.controls["number"] == SOFT
    used = bool((performance.controls["value"][soft] > 0).any())
    return (("pedal", SUSTAIN, tall), ("soft", SOFT, thin))[: 2 if used else 1]


def _facts(notes: Array, drawn: Array, cell: float, start: float, end: float) -> str:
    span = end - start
    facts = [f"{span:.1f} s" if span < 60 else geometry.clock(span, max(span, 121.0))]
    if start > 0:
        facts[0] += f" from {geometry.clock(start, max(end, 121.0))}"
    facts.append(f"{len(notes):,} note{'' if len(notes) == 1 else 's'}")
    if len(notes) and span >= 1:
        facts.append(f"{len(notes) / span:.1f} notes per second")
    if len(drawn) < len(notes):
        facts.append(f"{len(drawn):,} drawn: of each key the loudest in {cell:.2g} s")
    return "  ·  ".join(facts)


def _header(sheet: Page) -> float:
    """Write title, facts and the legend; give the y below them."""
    theme, y = sheet.theme, 44.0
    if sheet.title:
        room = sheet.width - _LEFT - _RIGHT - _LEGEND - 80.0
        title = _shortened(sheet.title, 22.0, room)
        sheet.add("words", Label(_LEFT, 40.0, title, 22.0, theme.ink))
        y = 62.0
    sheet.add("words", Label(_LEFT, y, sheet.facts, 13.0, theme.quiet_ink))
    left, wide = sheet.width - _RIGHT - _LEGEND, _LEGEND / 127
    for velocity in range(1, 128):
        x = left + (velocity - 1) * wide
        overlap = 0.0 if velocity == 127 else 1.0  # or a browser shows seams
        sheet.add("legend", Box(x, y - 24.0, wide + overlap, 9.0, theme.velocity(velocity)))
        if velocity in (1, 32, 64, 96, 127):
            text = str(velocity)
            sheet.add("words", Label(x + wide / 2, y, text, 11.0, theme.quiet_ink, "middle"))
    sheet.add("words", Label(left - 10.0, y - 15.5, "velocity", 12.0, theme.quiet_ink, "end"))
    return y + 14.0


def _system(
    sheet: Page,
    frame: _Frame,
    notes: Array,
    performance: Performance,
    line: tuple[float, float],
    top: float,
) -> float:
    """Draw one line of music from `top` down; give the y below it."""
    top += 20.0 if frame.marks else 6.0
    width = (line[1] - line[0]) * frame.scale
    system = System(*line, _LEFT, top, width, frame.roll)
    sheet.systems.append(system)
    _keyboard(sheet, frame, system)
    lanes = _lanes(sheet, frame, system, performance)
    bottom = _axis(sheet, frame, system, lanes)
    _notes(sheet, frame, system, notes)
    _marks(sheet, frame, system, lanes)
    return bottom


def _keyboard(sheet: Page, frame: _Frame, system: System) -> None:
    theme, key = sheet.theme, frame.key
    left, right = system.x - _KEYBOARD - 4.0, system.x - 4.0
    bottom = system.y + system.height
    sheet.add("rows", Box(system.x, system.y, system.width, system.height, theme.white_row))
    sheet.add("keyboard", Box(left, system.y, _KEYBOARD, system.height, theme.white_key))
    for pitch in range(frame.low, frame.high + 1):
        y = system.y + frame.y(pitch)
        if pitch % 12 in geometry.BLACK_KEYS:
            sheet.add("rows", Box(system.x, y, system.width, key, theme.black_row))
            sheet.add("keyboard", Box(left, y, _KEYBOARD * 0.62, key, theme.black_key))
        y += key
        if pitch % 12 in (0, 5):  # below C and F two white keys touch
            sheet.add("keyboard", Line(left, y, right, y, 0.5, theme.octave))
        if pitch % 12 == 0:
            sheet.add("rows", Line(system.x, y, system.x + system.width, y, 0.5, theme.octave))
            name = f"C{pitch // 12 - 1}"
            y += 3.6 - key / 2
            sheet.add("words", Label(left - 5.0, y, name, 10.5, theme.quiet_ink, "end"))
    for x in (left, right):
        sheet.add("keyboard", Line(x, system.y, x, bottom, 0.5, theme.octave))
    for y in (system.y, bottom):
        sheet.add("keyboard", Line(left, y, right, y, 0.5, theme.octave))


def _lanes(sheet: Page, frame: _Frame, system: System, performance: Performance) -> float:
    """Draw the pedals below the roll; give the y of the lowest lane's floor."""
    theme = sheet.theme
    y = system.y + frame.roll
    for name, number, height in frame.pedals:
        y += 5.0
        sheet.add("lanes", Box(system.x, y, system.width, height, theme.lane))
        columns = max(1, round(system.width))
        edges = np.linspace(system.start, system.end, columns + 1)
        values = geometry.curve(performance, number, edges)
        fill = theme.pedal if number == SUSTAIN else theme.soft
        x = system.x + (edges - system.start) * frame.scale
        for points in _steps(x, values / 127 * height, y + height):
            sheet.add(name, Area(points, fill))
        label = Label(system.x - 9.0, y + height / 2 + 3.6, name, 10.5, theme.quiet_ink, "end")
        sheet.add("words", label)
        y += height
    return y


def _steps(
    x: geometry.Floats, heights: geometry.Floats, floor: float
) -> list[tuple[tuple[float, float], ...]]:
    """Outline each stretch where a step curve is above its floor."""
    rounded = np.round(heights * 4) / 4
    changes = np.flatnonzero(np.diff(rounded, prepend=np.nan, append=np.nan) != 0)
    outlines: list[list[tuple[float, float]]] = []
    resting = True
    for first, after in pairwise(changes):
        height = float(rounded[first])
        if height == 0:
            resting = True
            continue
        left, right = float(x[first]), float(x[after])
        if resting:
            outlines.append([(left, floor), (right, floor)])
        outlines[-1][-1:] = [(left, floor - height), (right, floor - height), (right, floor)]
        resting = False
    return [tuple(outline) for outline in outlines]


def _axis(sheet: Page, frame: _Frame, system: System, floor: float) -> float:
    theme = sheet.theme
    for time in geometry.ticks(system.start, system.end, frame.step):
        x = system.x + (time - system.start) * frame.scale
        sheet.add("grid", Line(x, system.y, x, floor + 4.0, 0.5, theme.grid))
        text = geometry.clock(time, frame.end, frame.step)
        sheet.add("words", Label(x, floor + 17.0, text, 11.0, theme.quiet_ink, "middle"))
    return floor + 26.0


def _notes(sheet: Page, frame: _Frame, system: System, notes: Array) -> None:
    inside = notes[(notes["onset"] < system.end) & (notes["offset"] > system.start)]
    right = system.x + system.width
    for onset, offset, pitch, velocity, _ in np.sort(inside, order="velocity").tolist():
        first = system.x + (max(onset, system.start) - system.start) * frame.scale
        last = system.x + (min(offset, system.end) - system.start) * frame.scale
        width = min(max(last - first, _NARROWEST_NOTE), system.width)
        x = min(first, right - width)
        y = system.y + frame.y(pitch)
        sheet.add("notes", Box(x, y, width, frame.key, sheet.theme.velocity(velocity)))


def _marks(sheet: Page, frame: _Frame, system: System, floor: float) -> None:
    last = system.end == frame.end
    taken = system.x
    for time, text in frame.marks:
        if not (system.start <= time < system.end or (last and time == system.end)):
            continue
        x = system.x + (time - system.start) * frame.scale
        colour = sheet.theme.mark
        top = system.y - (16.0 if x >= taken else 3.0)  # not through the words before
        sheet.add("marks", Line(x, top, x, floor, 1.0, colour, dashed=True))
        text = _shortened(text, 11.0, sheet.width - _LEFT - _RIGHT)
        room = sheet.width - _RIGHT - _measured(text, 11.0)
        at = max(min(x + 5.0, room), taken)
        sheet.add("marks", Label(at, system.y - 7.0, text, 11.0, colour))
        taken = at + _measured(text, 11.0) + 10.0


def _line(text: str) -> str:
    """Bring a title onto one line, without characters that no picture can hold."""
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())


def _measured(text: str, size: float) -> float:
    """Guess how wide words are, a little generously."""
    return sum(1.0 if ord(letter) > 0x2E80 else 0.56 for letter in text) * size


def _shortened(text: str, size: float, room: float) -> str:
    if _measured(text, size) <= room:
        return text
    while text and _measured(text, size) > room - size:
        text = text[:-1]
    return text.rstrip() + "…"
