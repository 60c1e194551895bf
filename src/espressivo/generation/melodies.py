"""Three tunes that everybody knows and nobody owns, to try an accompanist with."""

from __future__ import annotations

from collections.abc import Callable

from espressivo.performance import Performance

SCALE = dict(zip("CDEFGAB", (72, 74, 76, 77, 79, 81, 83), strict=True)) | {"c": 84}
"""The keys from the C above the middle one, and the next C."""

BEATS_PER_MINUTE = 96
VELOCITY = 80

LETTERS = {"_": 2.0, ".": 1.5, ",": 0.5}
"""What makes a note longer or shorter than a beat: its factors are multiplied."""


def tune(text: str) -> Performance:
    """Read a tune: a letter is a beat, `_` doubles it, `.` adds a half, `,` halves it."""
    notes: list[tuple[float, float, int, int, int]] = []
    now = 0.0
    for word in text.split():
        seconds = 60 / BEATS_PER_MINUTE
        for sign in word[1:]:
            seconds *= LETTERS[sign]
        notes.append((now, now + 0.9 * seconds, SCALE[word[0]], VELOCITY, 0))
        now += seconds
    return Performance(notes)


def twinkle() -> Performance:
    """Twinkle, Twinkle, Little Star: a French melody, printed in 1761."""
    ends, middle = "C C G G A A G_ F F E E D D C_", "G G F F E E D_"
    return tune(f"{ends} {middle} {middle} {ends}")


def row() -> Performance:
    """Row, Row, Row Your Boat: E. O. Lyte, printed in 1881."""
    falling = "c, c, c, G, G, G, E, E, E, C, C, C,"
    return tune(f"C. C. C D, E. E D, E F, G._ {falling} G F, E D, C._")


def mary() -> Performance:
    """Mary Had a Little Lamb: Lowell Mason, printed in 1831."""
    return tune("E D C D E E E_ D D D_ E G G_ E D C D E E E E D D E D C__")


MELODIES: dict[str, Callable[[], Performance]] = {"twinkle": twinkle, "row": row, "mary": mary}
