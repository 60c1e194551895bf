"""All controls by name."""

from __future__ import annotations

from espressivo.controls.control import Control, NotesPerSecond, PitchClassHistogram
from espressivo.controls.expression import Key, MeanVelocity, PedalShare

CONTROLS: dict[str, Control] = {
    control.name: control
    for control in (NotesPerSecond(), PitchClassHistogram(), MeanVelocity(), PedalShare(), Key())
}
