"""What a model may be told of the music to come: values over time, always allowed to be unset."""

from espressivo.controls.conditioning import Conditioning, moments
from espressivo.controls.control import Control, Rows, Values
from espressivo.controls.table import CONTROLS
from espressivo.controls.tracks import Tracks, at, checked, parse

__all__ = [
    "CONTROLS",
    "Conditioning",
    "Control",
    "Rows",
    "Tracks",
    "Values",
    "at",
    "checked",
    "moments",
    "parse",
]
