"""Controls somebody asks for: one value, or several one after another."""

from __future__ import annotations

import re
from collections.abc import Mapping
from difflib import get_close_matches

import numpy as np

from espressivo.controls.control import Values
from espressivo.controls.table import CONTROLS
from espressivo.errors import ConfigError

Tracks = Mapping[str, Values]
"""Values [m, k] by the name of their control, spread evenly over a stretch of music."""

NOTES = {"c": 0, "d": 2, "e": 4, "f": 5, "g": 7, "a": 9, "b": 11}
SCALES = {
    "major": (2, 0, 1, 0, 2, 1, 0, 2, 0, 1, 0, 1),
    "minor": (2, 0, 1, 2, 0, 1, 0, 2, 1, 0, 1, 1),
}
"""How much of each pitch class, from the tonic up: twice as much of the notes of its triad.

Minor has both its sevenths.
"""


def checked(tracks: Mapping[str, object]) -> dict[str, Values]:
    """Give tracks as values [m, k]; ConfigError says which cannot be."""
    for name in tracks:
        if name not in CONTROLS:
            raise ConfigError(f"no control {name!r}; known are {', '.join(CONTROLS)}")
    found = {}
    for name, values in tracks.items():
        try:
            found[name] = CONTROLS[name].check(np.asarray(values, dtype=float))
        except (TypeError, ValueError) as error:
            raise ConfigError(f"{name}={values!r} must be numbers") from error
    return found


def parse(name: str, text: str) -> Values:
    """Read what was typed: "2,8,2", or histograms and keys with semicolons between them.

    A key such as "C major" or "f# minor" is a histogram: see `key`.
    """
    if name != "pitch-class-histogram":
        return CONTROLS[name].check(_numbers(name, text))
    parts = [part.strip() for part in text.strip("[]() ").split(";")]
    rows = [key(part) if re.match(r"\s*[a-gA-G]", part) else _numbers(name, part) for part in parts]
    return np.concatenate([CONTROLS[name].check(row) for row in rows])


def key(name: str) -> Values:
    """Give the pitch classes of a key, such as "E minor", "Bb major" or "f# minor", as weights."""
    found = re.fullmatch(r"([a-g])(#|b|-sharp|-flat)?[ -]?(major|minor)", name.strip().lower())
    if not found:
        known = [f"{note.upper()} {scale}" for note in NOTES for scale in SCALES]
        close = (get_close_matches(name, known, n=1, cutoff=0.5) or ["C major"])[0]
        raise ConfigError(f"{name!r} is no key; write one like {close}, f# minor or Bb major")
    note, sign, scale = found.groups()
    tonic = NOTES[note] + {"#": 1, "-sharp": 1, "b": -1, "-flat": -1, None: 0}[sign]
    return np.roll(np.array(SCALES[scale], dtype=float), tonic)


def at(values: Values, passed: Values) -> Values:
    """Give the values [t, k] that hold when some shares [t] of the time have passed."""
    places = np.floor(passed * len(values) + 1e-9).astype(int)
    held: Values = values[places.clip(0, len(values) - 1)]
    return held


def _numbers(name: str, text: str) -> Values:
    try:
        return np.array([float(part) for part in text.strip("[]() ").split(",")])
    except ValueError as error:
        example = {
            "notes-per-second": "4, or 2,8,2",
            "pitch-class-histogram": "2,0,1,0,2,1,0,2,0,1,0,1 or C major",
        }.get(name, f"{CONTROLS[name].default[0]:g}")
        raise ConfigError(f"{name}={text} must be numbers with commas; try {example}") from error
