"""What was played: notes, pedals, beats. Times are seconds, everywhere.

A `Performance` is immutable. Its notes and controls are structured numpy arrays, so a thousand
notes are one line and a misspelt field is an error. Ticks exist only in `midi`, grid steps only
in a codec.
"""

from espressivo.performance.arrays import (
    BEAT,
    CONTROL,
    NOTE,
    PEDAL_DOWN,
    SOFT,
    SOSTENUTO,
    SUSTAIN,
    TEMPO,
    Array,
    Event,
    Track,
)
from espressivo.performance.melody import infer_melody, is_melody
from espressivo.performance.performance import Performance

__all__ = [
    "BEAT",
    "CONTROL",
    "NOTE",
    "PEDAL_DOWN",
    "SOFT",
    "SOSTENUTO",
    "SUSTAIN",
    "TEMPO",
    "Array",
    "Event",
    "Performance",
    "Track",
    "infer_melody",
    "is_melody",
]
