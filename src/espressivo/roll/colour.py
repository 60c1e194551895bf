"""Colours: velocity as an even ramp, and everything around the notes.

Both ramps run from cold and quiet to hot and loud in equal steps of OKLab, the colour space where
equal distances look equally far apart. Lightness changes in one direction only, so the order of
velocities survives colour blindness and a black-and-white printer.
"""

from __future__ import annotations

from dataclasses import dataclass

from espressivo.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class Theme:
    """The colours of one picture, as #rrggbb; `ramp` goes from velocity 1 to 127."""

    paper: str
    ink: str
    quiet_ink: str
    white_key: str
    black_key: str
    white_row: str
    black_row: str
    octave: str
    grid: str
    lane: str
    pedal: str
    soft: str
    mark: str
    ramp: tuple[str, ...]

    def velocity(self, velocity: int) -> str:
        """Give the colour of a velocity from 1 to 127."""
        place = (velocity - 1) / 126 * (len(self.ramp) - 1)
        index = min(int(place), len(self.ramp) - 2)
        return _mix(self.ramp[index], self.ramp[index + 1], place - index)


LIGHT = Theme(
    paper="#ffffff",
    ink="#1d2129",
    quiet_ink="#606875",
    white_key="#ffffff",
    black_key="#3a404b",
    white_row="#fafbfc",
    black_row="#f0f2f5",
    octave="#cfd5dd",
    grid="#e1e5ea",
    lane="#f4f6f8",
    pedal="#9aa6b5",
    soft="#c2ad85",
    mark="#c2410c",
    ramp=(
        "#7bd9e3", "#59bfe4", "#4ca4e6", "#5286e9", "#6766e6", "#7d45d1",
        "#8e29ac", "#95097d", "#8a0051", "#74012b", "#590a0c",
    ),
)  # fmt: skip
DARK = Theme(
    paper="#14161b",
    ink="#eceff4",
    quiet_ink="#9aa3b2",
    white_key="#d5dae2",
    black_key="#272b33",
    white_row="#1c1f26",
    black_row="#171a20",
    octave="#3a404b",
    grid="#2a2e37",
    lane="#1a1d23",
    pedal="#66728a",
    soft="#8d7a55",
    mark="#fb923c",
    ramp=(
        "#2f4693", "#5545b9", "#8341cb", "#ae3fc3", "#d241ac", "#ef4d8f",
        "#ff6670", "#fe8865", "#feab67", "#fecc78", "#fde988",
    ),
)  # fmt: skip
THEMES = {"light": LIGHT, "dark": DARK}


def theme_named(name: str) -> Theme:
    """Look up a theme; raises ConfigError naming those there are."""
    if name not in THEMES:
        raise ConfigError(f"theme={name!r} is unknown; choose one of {', '.join(THEMES)}")
    return THEMES[name]


def channels(colour: str) -> tuple[int, int, int]:
    """Split #rrggbb into red, green and blue from 0 to 255."""
    return int(colour[1:3], 16), int(colour[3:5], 16), int(colour[5:7], 16)


def _mix(first: str, second: str, share: float) -> str:
    pairs = zip(channels(first), channels(second), strict=True)
    return "#" + "".join(f"{round(a + (b - a) * share):02x}" for a, b in pairs)
