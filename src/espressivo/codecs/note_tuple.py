"""Performances note by note: when, which key, how loud and how long (Magenta, 2018).

A note is six tokens: the steps since the note before it, its key, its velocity and its duration.
The two numbers of steps have two digits each, so that no choice is among a thousand.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from espressivo.codecs.midi_like import MidiLike
from espressivo.codecs.note_tuple_decoder import NoteTupleDecoder
from espressivo.codecs.vocabulary import Vocabulary
from espressivo.errors import CodecError
from espressivo.performance import NOTE, Performance

Array = NDArray[Any]


class Notes(NamedTuple):
    """Notes as they are said: four columns, in steps, keys and velocities."""

    shift: Array
    pitch: Array
    velocity: Array
    duration: Array


@dataclass(frozen=True)
class NoteTuple:
    """The vocabulary of Magenta's `performance_with_dynamics_and_note_encoding`: 315 ids.

    A shift of 0 to `max_shift` steps and a duration of 1 to `max_duration` are split into a major
    and a minor digit, as evenly as they divide: 13 x 77 and 25 x 40. A piece begins at its first
    step. Notes at one step come from the lowest key to the highest, and the pedal is folded.
    """

    steps_per_second: int = 100
    max_shift: int = 1000
    max_duration: int = 1000
    velocity_bins: int = 32
    lowest: int = 0
    highest: int = 127

    def __post_init__(self) -> None:
        """Refuse a vocabulary that cannot be."""
        if not 1 <= self.max_duration <= self.max_shift:
            raise CodecError(
                f"max_duration={self.max_duration} must lie in 1..max_shift={self.max_shift}: "
                "after the longest shift every key must be up"
            )
        if self.velocity_bins < 1:
            raise CodecError(f"velocity_bins={self.velocity_bins} must lie in 1..127")
        _ = self.piano  # the other fields are checked there

    @cached_property
    def piano(self) -> MidiLike:
        """The MIDI-like codec with the same grid, keys and velocities."""
        return MidiLike(
            steps_per_second=self.steps_per_second,
            velocity_bins=self.velocity_bins,
            lowest=self.lowest,
            highest=self.highest,
        )

    @cached_property
    def vocabulary(self) -> Vocabulary:
        """The published order, which is also the order of the six tokens of a note."""
        shift, duration = self.max_shift + 1, self.max_duration
        return Vocabulary(
            shift_major=range(shift // self.shift_digit),
            shift_minor=range(self.shift_digit),
            note_on=range(self.lowest, self.highest + 1),
            velocity=range(1, self.piano.bin_of(127) + 1),
            duration_major=range(duration // self.duration_digit),
            duration_minor=range(self.duration_digit),
        )

    @cached_property
    def shift_digit(self) -> int:
        """How many shifts share a major digit: 77."""
        return _digit(self.max_shift + 1)

    @cached_property
    def duration_digit(self) -> int:
        """How many durations share a major digit: 40."""
        return _digit(self.max_duration)

    @property
    def start(self) -> int:
        """The last digit of a duration, after which a note begins; alone it is no note."""
        return self.vocabulary.id("duration_minor", 0)

    @property
    def stride(self) -> int:
        """A note is six tokens, and windows hold whole notes."""
        return len(self.vocabulary.kinds)

    @property
    def tokens_per_note(self) -> int:
        """What a note costs."""
        return self.stride

    def seconds(self, steps: int) -> float:
        """Give the time of a step of the grid."""
        return steps / self.steps_per_second

    def steps_of(self, token: int) -> int:
        """Give the steps that pass with a token."""
        kind, value = self.vocabulary.describe(token)
        return {"shift_major": self.shift_digit * value, "shift_minor": value}.get(kind, 0)

    def onsets(self, tokens: NDArray[np.int64]) -> NDArray[np.int64]:
        """Give where in the tokens of a piece its notes begin."""
        return np.arange(0, len(tokens), self.stride)

    def settled(self, tokens: NDArray[np.int64]) -> int:
        """Count the tokens that notes after the last could not change.

        A note is settled if it and those before it end before the last one begins.
        """
        notes = self._read(tokens)
        onset = np.cumsum(notes.shift)
        open_still = np.flatnonzero(onset + notes.duration >= onset[-1:])
        return self.stride * int(open_still[0]) if len(open_still) else 0

    # -- notes to integers -------------------------------------------------------------------

    def quantize(self, performance: Performance) -> Performance:
        """Put everything on the grid, with one note per key at a time.

        As `MidiLike.quantize`, and beyond it two things are lost: a note lasts at most
        `max_duration` steps (10 s), and where more than `max_shift` (10 s) lie between two
        onsets, or before the first, the wait is cut to that, so all later notes come earlier.
        Magenta leaves out performances with either.
        """
        said = self._notes(performance)
        onset = np.cumsum(said.shift)
        notes = np.zeros(len(onset), dtype=NOTE)
        notes["onset"] = onset / self.steps_per_second
        notes["offset"] = (onset + said.duration) / self.steps_per_second
        notes["pitch"], notes["velocity"] = said.pitch, said.velocity
        return Performance(notes)

    def encode(self, performance: Performance) -> NDArray[np.int64]:
        """Turn a performance into ids, six for every note."""
        said = self._notes(performance)
        slots = [
            *np.divmod(said.shift, self.shift_digit),
            said.pitch - self.lowest,
            (said.velocity - 1) // self.piano.bin_size,
            *np.divmod(said.duration - 1, self.duration_digit),
        ]
        return (np.stack(slots, axis=1) + self._first).ravel()

    def _notes(self, performance: Performance) -> Notes:
        grid = self.piano.on_grid(performance)
        duration = np.minimum(grid.offset - grid.onset, self.max_duration)
        shift = np.minimum(np.diff(grid.onset, prepend=0), self.max_shift)
        return Notes(shift, grid.pitch, grid.velocity, duration)

    def _read(self, tokens: NDArray[np.int64]) -> Notes:
        """Read whole notes back."""
        slots = (tokens.reshape(-1, self.stride) - self._first).T
        return Notes(
            slots[0] * self.shift_digit + slots[1],
            slots[2] + self.lowest,
            slots[3] * self.piano.bin_size + 1,
            slots[4] * self.duration_digit + slots[5] + 1,
        )

    @cached_property
    def _first(self) -> NDArray[np.int64]:
        """The first id of every slot."""
        return np.array([self.vocabulary.ids(kind).start for kind in self.vocabulary.kinds])

    # -- integers to notes -------------------------------------------------------------------

    def decoder(self, longest: float | None = None, keys: range | None = None) -> NoteTupleDecoder:
        """Start decoding a new stream; see `codec.Codec`."""
        return NoteTupleDecoder(self, longest, keys)


def _digit(count: int) -> int:
    """Split a count into two factors as even as can be; give the larger."""
    return next(count // i for i in range(int(count**0.5), 0, -1) if count % i == 0)
