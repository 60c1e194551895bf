"""Four voices on a grid of sixteenths, told voice by voice (Huang et al. 2018, section 4.1)."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from espressivo.codecs.vocabulary import Vocabulary
from espressivo.errors import CodecError
from espressivo.performance import Performance, Track

VOICES = ("soprano", "alto", "tenor", "bass")
REST = -1
"""What a voice that is silent has in a grid."""

VELOCITY = 72


@dataclass(frozen=True)
class Chorale:
    """The pitch of every voice at every sixteenth: soprano, alto, tenor, bass, and the next step.

    A grid is an array [step, voice] of pitches, `REST` where a voice is silent. It has no hold: a
    pitch that goes on is told again at every step, and so is one that is struck again, which the
    grid cannot tell from it.

    This is no entry of `CODECS` and has no `quantize`: a performance has neither voices nor a
    metre, so none can be encoded. What holds here instead: any grid is kept by encoding and any
    whole steps of ids by decoding, and `performance` of any ids can be written as MIDI.
    """

    lowest: int = 36  # the bass's C, the lowest of all 382 chorales
    highest: int = 81  # the soprano's a'', the highest
    steps_per_second: int = 6
    """How fast `performance` sings: six sixteenths are 90 crotchets a minute."""

    def __post_init__(self) -> None:
        """Refuse a vocabulary that cannot be."""
        if not 0 <= self.lowest <= self.highest <= 127:
            raise CodecError(f"lowest={self.lowest} and highest={self.highest} must lie in 0..127")
        if self.steps_per_second < 1:
            raise CodecError(f"steps_per_second={self.steps_per_second} must be at least 1")

    @cached_property
    def vocabulary(self) -> Vocabulary:
        """A rest, then the pitches, a semitone apart."""
        return Vocabulary(rest=range(1), pitch=range(self.lowest, self.highest + 1))

    @property
    def start(self) -> int:
        """The token a model hears before the first one of a chorale: a rest."""
        return self.vocabulary.id("rest", 0)

    def encode(self, grid: NDArray[np.integer]) -> NDArray[np.int64]:
        """Turn a grid into ids, four for every step."""
        if grid.ndim != 2 or grid.shape[1] != len(VOICES):
            raise CodecError(f"a grid of shape {grid.shape} must be [steps, {len(VOICES)}]")
        pitches = grid.astype(np.int64).ravel()
        sung = pitches != REST
        wrong = pitches[sung & ((pitches < self.lowest) | (pitches > self.highest))]
        if len(wrong):
            raise CodecError(f"pitch {wrong[0]} is outside {self.lowest}..{self.highest}")
        first = self.vocabulary.ids("pitch").start
        return np.where(sung, pitches - self.lowest + first, self.start)

    def decode(self, ids: NDArray[np.integer]) -> NDArray[np.int64]:
        """Turn ids back into a grid; a last step that is not whole is dropped."""
        ids = np.asarray(ids, dtype=np.int64)
        strange = ids[(ids < 0) | (ids >= len(self.vocabulary))]
        if len(strange):
            raise CodecError(f"token {strange[0]} is outside 0..{len(self.vocabulary) - 1}")
        whole = ids[: len(ids) // len(VOICES) * len(VOICES)]
        pitches = whole - self.vocabulary.ids("pitch").start + self.lowest
        return np.where(whole == self.start, REST, pitches).reshape(-1, len(VOICES))

    def performance(self, ids: NDArray[np.integer]) -> Performance:
        """Sing ids: four tracks, a note for every stretch of steps a voice stays on a pitch."""
        grid = self.decode(ids)
        notes = [note for voice in range(len(VOICES)) for note in self._sung(grid[:, voice], voice)]
        return Performance(notes, tracks=[Track(name=name) for name in VOICES])

    def _sung(
        self, pitches: NDArray[np.int64], voice: int
    ) -> list[tuple[float, float, int, int, int]]:
        changes = np.flatnonzero(np.diff(pitches, prepend=REST - 1))
        ends = np.append(changes, len(pitches))[1:]
        return [
            (first / self.steps_per_second, end / self.steps_per_second, pitch, VELOCITY, voice)
            for first, end, pitch in zip(changes, ends, pitches[changes].tolist(), strict=True)
            if pitch != REST
        ]
