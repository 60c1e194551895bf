"""Performances as streams of MIDI-like events (Oore et al. 2018; Performance RNN, 2017).

A note is an "on" and an "off"; time passes by shifts of whole steps; a velocity holds for the
notes that follow it. Times are rounded to the grid once, as absolute times, so an error never
exceeds half a step, at the first minute or the sixtieth.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from espressivo.codecs.vocabulary import Vocabulary
from espressivo.errors import CodecError
from espressivo.performance import PEDAL_DOWN, SUSTAIN, Event, Performance

PLAIN_VELOCITY = 100
"""The velocity of every note where the vocabulary has none (note-seq's default)."""

Array = NDArray[Any]


@dataclass(frozen=True)
class MidiLike:
    """One vocabulary of note-on, note-off, time-shift and, if wanted, velocity and pedal events.

    `pedal="fold"` lengthens notes by the sustain pedal before anything else; `"events"` keeps two
    events, pedal up and pedal down. `reserved` puts tensor2tensor's padding and end-of-piece ids
    first. Performance RNN and Music Transformer are the defaults; see `CODECS` for the others.
    """

    steps_per_second: int = 100
    max_shift: int = 100
    velocity_bins: int = 32
    pedal: Literal["fold", "events"] = "fold"
    lowest: int = 0
    highest: int = 127
    reserved: bool = False

    def __post_init__(self) -> None:
        """Refuse a vocabulary that cannot be."""
        if self.steps_per_second < 1 or self.max_shift < 1:
            raise CodecError(
                f"steps_per_second={self.steps_per_second} and max_shift={self.max_shift} "
                "must be at least 1"
            )
        if not 0 <= self.velocity_bins <= 127:
            raise CodecError(f"velocity_bins={self.velocity_bins} must lie in 0..127")
        if not 0 <= self.lowest <= self.highest <= 127:
            raise CodecError(f"lowest={self.lowest} and highest={self.highest} must lie in 0..127")
        if self.pedal not in ("fold", "events"):
            raise CodecError(f"pedal={self.pedal!r} must be 'fold' or 'events'")

    @cached_property
    def vocabulary(self) -> Vocabulary:
        """The published order: on, off, shift, velocity; pedal events last."""
        keys = range(self.lowest, self.highest + 1)
        kinds = {"pad": range(1), "eos": range(1)} if self.reserved else {}
        kinds |= {"note_on": keys, "note_off": keys, "shift": range(1, self.max_shift + 1)}
        if self.velocity_bins:
            kinds["velocity"] = range(1, self.bin_of(127) + 1)
        if self.pedal == "events":
            kinds["pedal"] = range(2)
        return Vocabulary(**kinds)

    @property
    def start(self) -> int:
        """One maximal time shift, from which Performance RNN begins to play."""
        return self.vocabulary.id("shift", self.max_shift)

    @property
    def bin_size(self) -> int:
        """How many velocities share a bin: ceil(127 / bins), as in note-seq."""
        return -(-127 // max(self.velocity_bins, 1))

    def bin_of(self, velocity: int) -> int:
        """Give the bin, counted from 1, of a velocity 1..127."""
        return (int(velocity) - 1) // self.bin_size + 1

    def velocity_of(self, velocity_bin: int) -> int:
        """Give the velocity a bin is played at: its lowest."""
        return 1 + self.bin_size * (velocity_bin - 1) if self.velocity_bins else PLAIN_VELOCITY

    def seconds(self, steps: int) -> float:
        """Give the time of a step of the grid."""
        return steps / self.steps_per_second

    # -- notes to integers -------------------------------------------------------------------

    def quantize(self, performance: Performance) -> Performance:
        """Put everything on the grid, with one note per key at a time.

        Of equal onsets of a key the longest note stays; a note ends where the next one of its key
        begins. Drums, other pedals, beats and keys outside the range are lost, all instruments
        become one piano, and velocities become the lowest of their bin.
        """
        notes, pedal = self._on_grid(performance)
        onset, offset, pitch, velocity = notes
        rows = zip(
            (onset / self.steps_per_second).tolist(),
            (offset / self.steps_per_second).tolist(),
            pitch.tolist(),
            velocity.tolist(),
            [0] * len(onset),
            strict=True,
        )
        moves = [(self.seconds(step), SUSTAIN, 127 * down, 0) for step, down in pedal.tolist()]
        return Performance(rows, moves)

    def encode(self, performance: Performance) -> NDArray[np.int64]:
        """Turn a performance into ids; vectorised, equal to `reference.encode`."""
        (onset, offset, pitch, velocity), pedal = self._on_grid(performance)
        count = len(onset)
        vocabulary, key = self.vocabulary, pitch - self.lowest
        # One sortable integer per event: step, then pedal < off < on, then the note's number.
        number = np.arange(count)
        order = max(count, len(pedal), 1)
        packed = np.concatenate(
            [
                (pedal[:, 0] * 3 + 0) * order + np.arange(len(pedal)),
                (offset * 3 + 1) * order + number,
                (onset * 3 + 2) * order + number,
            ]
        )
        packed.sort()
        which, rest = packed % order, packed // order
        kind, step = rest % 3, rest // 3
        token = np.empty(len(packed), dtype=np.int64)
        token[kind == 2] = vocabulary.ids("note_on").start + key[which[kind == 2]]
        token[kind == 1] = vocabulary.ids("note_off").start + key[which[kind == 1]]
        token[kind == 0] = vocabulary.ids("pedal").start + pedal[which[kind == 0], 1]
        return self._spell(step, token, kind == 2, velocity)

    def _spell(
        self, step: Array, token: Array, is_on: Array, velocity: Array
    ) -> NDArray[np.int64]:
        """Write shifts and changes of velocity between the events."""
        gap = np.diff(step, prepend=0)
        shifts = -(-gap // self.max_shift)
        louder = np.zeros(len(token), dtype=np.int64)
        bins = (velocity - 1) // self.bin_size + 1
        if self.velocity_bins:
            louder[is_on] = np.diff(bins, prepend=0) != 0
        place = np.cumsum(shifts + louder + 1) - 1  # where each event's own token goes
        longest = self.vocabulary.id("shift", self.max_shift)
        spelt = np.full(int(place[-1]) + 1 if len(place) else 0, longest, dtype=np.int64)
        spelt[place] = token
        if self.velocity_bins:
            changed = louder[is_on] == 1
            first = self.vocabulary.ids("velocity").start
            spelt[place[is_on][changed] - 1] = first + bins[changed] - 1
        late = shifts > 0
        remainder = gap[late] - (shifts[late] - 1) * self.max_shift
        spelt[(place - louder)[late] - 1] = self.vocabulary.ids("shift").start + remainder - 1
        return spelt

    def _on_grid(self, performance: Performance) -> tuple[tuple[Array, ...], Array]:
        """Give (onset, offset, pitch, velocity) in steps, sorted, and pedal moves [step, down]."""
        played = performance.select(drums=False)
        if self.pedal == "fold":
            played = played.sustained()
        notes = played.notes
        inside = (notes["pitch"] >= self.lowest) & (notes["pitch"] <= self.highest)
        notes = notes[inside]
        onset = self._steps(notes["onset"])
        offset = np.maximum(self._steps(notes["offset"]), onset + 1)
        pitch = notes["pitch"].astype(np.int64)
        velocity = notes["velocity"].astype(np.int64)
        order = np.lexsort([-velocity, -offset, onset, pitch])
        onset, offset, pitch, velocity = (a[order] for a in (onset, offset, pitch, velocity))
        first = np.ones(len(onset), dtype=bool)
        first[1:] = (onset[1:] != onset[:-1]) | (pitch[1:] != pitch[:-1])
        onset, offset, pitch, velocity = (a[first] for a in (onset, offset, pitch, velocity))
        again = pitch[1:] == pitch[:-1]
        offset[:-1] = np.where(again, np.minimum(offset[:-1], onset[1:]), offset[:-1])
        if self.velocity_bins:
            velocity = (velocity - 1) // self.bin_size * self.bin_size + 1
        else:
            velocity = np.full_like(velocity, PLAIN_VELOCITY)
        order = np.lexsort([pitch, onset])
        grid = tuple(a[order] for a in (onset, offset, pitch, velocity))
        return grid, self._pedal_on_grid(played, int(offset.max(initial=0)))

    def _pedal_on_grid(self, played: Performance, last: int) -> Array:
        """Give the changes of the pedal as rows [step, down], closed where the music ends."""
        if self.pedal != "events":
            return np.zeros((0, 2), dtype=np.int64)
        moves = played.controls[played.controls["number"] == SUSTAIN]
        step = self._steps(moves["time"])
        down = (moves["value"] >= PEDAL_DOWN).astype(np.int64)
        final = np.append(step[1:] != step[:-1], True)[: len(step)]  # the state a step ends in
        step, down = step[final], down[final]
        changed = np.diff(down, prepend=0) != 0
        step, down = step[changed], down[changed]
        if len(down) and down[-1]:
            if step[-1] >= last:
                step, down = step[:-1], down[:-1]
            else:
                step, down = np.append(step, last), np.append(down, 0)
        return np.stack([step, down], axis=1)

    def _steps(self, seconds: Array) -> Array:
        return np.floor(seconds * self.steps_per_second + 0.5).astype(np.int64)

    def decoder(self) -> MidiLikeDecoder:
        """Start decoding a new stream."""
        return MidiLikeDecoder(self)


class MidiLikeDecoder:
    """Ids to events, one at a time; see `codec.Decoder`."""

    def __init__(self, codec: MidiLike) -> None:
        """Begin at time zero with nothing sounding and a middling velocity."""
        self.codec = codec
        self.step = 0
        self.velocity = codec.velocity_of(codec.bin_of(64))
        self.sounding: dict[int, int] = {}
        self.pedal: int | None = None
        self._meaning = [codec.vocabulary.describe(i) for i in range(len(codec.vocabulary))]

    @property
    def time(self) -> float:
        """Seconds of music so far."""
        return self.codec.seconds(self.step)

    def push(self, token: int) -> list[Event]:
        """Take one token and give what it makes happen."""
        if not 0 <= token < len(self._meaning):
            raise CodecError(f"token {token} is outside 0..{len(self._meaning) - 1}")
        kind, value = self._meaning[token]
        if kind == "shift":
            self.step += value
        elif kind == "velocity":
            self.velocity = self.codec.velocity_of(value)
        elif kind == "note_on":
            return self._strike(value)
        elif kind == "note_off" and self.sounding.get(value, self.step) < self.step:
            del self.sounding[value]
            return [Event(self.time, "off", value)]
        elif kind == "pedal" and value != bool(self.pedal):
            self.pedal = self.step if value else None
            return [Event(self.time, "control", SUSTAIN, 127 * value)]
        return []

    def _strike(self, pitch: int) -> list[Event]:
        onset = self.sounding.get(pitch)
        if onset == self.step:
            return []
        self.sounding[pitch] = self.step
        off = [] if onset is None else [Event(self.time, "off", pitch)]
        return [*off, Event(self.time, "on", pitch, self.velocity)]

    def allowed(self) -> NDArray[np.bool_]:
        """Tell for every id whether it makes sense next."""
        vocabulary = self.codec.vocabulary
        mask = np.zeros(len(vocabulary), dtype=bool)
        for kind in ("note_on", "shift", "velocity"):
            ids = vocabulary.ids(kind)
            mask[ids.start : ids.stop] = True
        for pitch, onset in self.sounding.items():
            mask[vocabulary.id("note_on", pitch)] = onset < self.step
            mask[vocabulary.id("note_off", pitch)] = onset < self.step
        return mask

    def close(self) -> list[Event]:
        """End every note and lift the pedal, now."""
        events = [Event(self.time, "off", pitch) for pitch in sorted(self.sounding)]
        if self.pedal is not None:
            events.append(Event(self.time, "control", SUSTAIN, 0))
        self.sounding, self.pedal = {}, None
        return events
