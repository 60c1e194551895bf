"""What a model may be told beside the tokens; `espressivo.controls` says what it means."""

from __future__ import annotations

from espressivo.errors import ConfigError

CONTROL_WIDTHS = {
    "notes-per-second": 8,
    "pitch-class-histogram": 12,
    "mean-velocity": 10,
    "pedal-share": 6,
    "key": 24,
}
"""How many numbers a model is shown of each control."""


def check(names: tuple[str, ...]) -> None:
    """Refuse controls nobody knows, and one named twice."""
    for name in names:
        if name not in CONTROL_WIDTHS:
            raise ConfigError(f"controls: no {name!r}; known are {', '.join(CONTROL_WIDTHS)}")
    if len(set(names)) < len(names):
        raise ConfigError(f"controls={','.join(names)} names one twice")


def width_of(names: tuple[str, ...]) -> int:
    """Count the numbers that some controls are shown as, together."""
    return sum(CONTROL_WIDTHS[name] for name in names)
