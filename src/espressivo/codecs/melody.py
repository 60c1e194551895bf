"""A melody as an encoder reads it: one token for every tenth of a second."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from espressivo.codecs.vocabulary import Vocabulary
from espressivo.performance import Performance


@dataclass(frozen=True)
class MelodySteps:
    """The vocabulary of score2perf's melodies: 88 keys, hold, off, and two that are reserved.

    A step is a key where a note begins, "off" where one ends and none begins, and otherwise
    "hold": whatever was, sound or silence, goes on. Of notes that begin in one step the last
    is told; velocities are not, and neither are keys that a piano does not have.
    """

    steps_per_second: int = 10
    lowest: int = 21
    highest: int = 108

    @cached_property
    def vocabulary(self) -> Vocabulary:
        """What every id means: 92 of them."""
        keys = range(self.lowest, self.highest + 1)
        return Vocabulary(pad=range(1), eos=range(1), hold=range(1), off=range(1), note_on=keys)

    def encode(self, melody: Performance) -> NDArray[np.int64]:
        """Give a token for every step up to the end of the last note, and the end token.

        Notes come one at a time: one that begins ends the one before it.
        """
        keys, ends = self.vocabulary.ids("note_on"), self.vocabulary.id("eos", 0)
        notes = melody.select(pitches=range(self.lowest, self.highest + 1), drums=False).notes
        if not len(notes):
            return np.array([ends])
        onset, offset = (
            np.floor(notes[name] * self.steps_per_second + 0.5).astype(np.int64)
            for name in ("onset", "offset")
        )
        told = np.append(np.diff(onset) > 0, True)
        onset, offset = onset[told], np.maximum(offset, onset + 1)[told]
        offset[:-1] = np.minimum(offset[:-1], onset[1:])
        steps = np.full(offset[-1] + 2, self.vocabulary.id("hold", 0))
        steps[offset] = self.vocabulary.id("off", 0)
        steps[onset] = keys.start + notes["pitch"][told].astype(np.int64) - self.lowest
        steps[-1] = ends
        return steps
