"""What a model may be told of the music to come: values over time, always allowed to be unset."""

from espressivo.controls.conditioning import Conditioning, moments
from espressivo.controls.control import CONTROLS, Control, NotesPerSecond, PitchClassHistogram
from espressivo.controls.tracks import Tracks

__all__ = [
    "CONTROLS",
    "Conditioning",
    "Control",
    "NotesPerSecond",
    "PitchClassHistogram",
    "Tracks",
    "moments",
]
