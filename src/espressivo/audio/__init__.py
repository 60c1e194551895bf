"""Performances made audible: a sampled piano with a continuous pedal, in numpy.

`render` writes a file, `samples` streams blocks, `encoded` gives a file in memory. Every General
MIDI program is played on the one piano there is; drum tracks are left out.
"""

from espressivo.audio.files import FORMATS, Tags
from espressivo.audio.piano import CREDIT
from espressivo.audio.rendering import ENGINES, Rendering, encoded, render, samples

__all__ = ["CREDIT", "ENGINES", "FORMATS", "Rendering", "Tags", "encoded", "render", "samples"]
