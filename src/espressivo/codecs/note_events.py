"""Performances as notes and pedal changes, each a row of a few fields.

A note says when it is struck, which key, how hard and for how long the key is held; a pedal change
says when and to which level. Models over single MIDI events decide a note's length by many
separate refusals to release it; here it is one decision, made where the note is struck. The idea
of several fields to an event is that of compound words (Hsiao et al. 2021, section 3.2).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from espressivo.codecs.midi_like import MidiLike
from espressivo.codecs.time_classes import TimeClasses
from espressivo.codecs.vocabulary import Vocabulary
from espressivo.errors import CodecError
from espressivo.performance import CONTROL, NOTE, SOFT, SUSTAIN, Event, Performance

Array = NDArray[Any]

FIELDS = ("shift", "kind", "velocity", "duration")
"""What a model predicts of an event, in the order in which it does."""

SHIFT, KIND, VELOCITY, DURATION, SHIFT_RESIDUAL, DURATION_RESIDUAL = range(6)
"""The columns of a row."""

HYSTERESIS = {2: 0, 4: 4, 8: 1}
"""By the number of pedal levels: how far the pedal must pass a boundary between two of them."""


class Steps(NamedTuple):
    """A performance on the grid: columns of notes in steps, and rows [step, kind] of pedals."""

    onset: Array
    offset: Array
    pitch: Array
    velocity: Array
    pedals: Array


@dataclass(frozen=True)
class NoteEvents:
    """Rows of four fields and two residuals: Int[n, 6].

    Columns 0 to 3 are the classes of `FIELDS`: the shift since the previous row, the kind (one of
    128 keys, the levels of the sustain pedal, soft pedal up and down, begin, end), the velocity
    bin and the duration of the key. Columns 4 and 5 are what is left of shift and duration within
    their `TimeClasses`. Fields that a row has no use for are -1: pedals have no velocity, and only
    notes last.

    At one step pedals come first, then notes from the lowest key to the highest. Nothing takes
    longer to come than `times.most` steps: longer rests are cut by rows that repeat the level the
    pedal has anyway.
    """

    steps_per_second: int = 100
    velocity_bins: int = 64
    pedal_levels: int = 2
    soft_pedal: bool = False
    exact: int = 128
    per_octave: int = 16
    octaves: int = 9

    def __post_init__(self) -> None:
        """Raise CodecError for fields that make no codec."""
        if not 1 <= self.velocity_bins <= 127:
            raise CodecError(f"velocity_bins={self.velocity_bins} must lie in 1..127")
        if self.pedal_levels not in HYSTERESIS:
            raise CodecError(f"pedal_levels={self.pedal_levels} must be one of 2, 4 and 8")
        _ = self.keyboard
        if not self.times.most:
            raise CodecError(f"exact={self.exact} with octaves={self.octaves} has no shift but 0")

    @cached_property
    def keyboard(self) -> MidiLike:
        """The grid that onsets, releases and velocities are rounded to."""
        return MidiLike(
            steps_per_second=self.steps_per_second,
            velocity_bins=self.velocity_bins,
            pedal="events",
        )

    @cached_property
    def times(self) -> TimeClasses:
        """The classes of shifts, and of durations less one step."""
        return TimeClasses(self.exact, self.per_octave, self.octaves)

    @cached_property
    def vocabulary(self) -> Vocabulary:
        """Every class of every field, one field after another."""
        kinds = {"pitch": range(128), "sustain": range(self.pedal_levels)}
        if self.soft_pedal:
            kinds["soft"] = range(2)
        return Vocabulary(
            shift=range(len(self.times)),
            **kinds,
            begin=range(1),
            end=range(1),
            velocity=range(1, self.keyboard.bin_of(127) + 1),
            duration=range(len(self.times)),
        )

    @cached_property
    def sizes(self) -> tuple[int, int, int, int]:
        """The number of classes of each of `FIELDS`."""
        times, velocities = len(self.times), self.keyboard.bin_of(127)
        return times, len(self.vocabulary) - 2 * times - velocities, velocities, times

    @cached_property
    def begin(self) -> int:
        """The kind of the row before the first one of a piece."""
        return self._kind("begin", 0)

    @cached_property
    def end(self) -> int:
        """The kind of the row after the last one of a piece."""
        return self._kind("end", 0)

    def sustain(self, level: int) -> int:
        """Return the kind of a change of the sustain pedal to a level, 0 for up."""
        return self._kind("sustain", level)

    @cached_property
    def start(self) -> NDArray[np.int64]:
        """The row a model reads before the first one of a piece, Int[6]."""
        return np.array([0, self.begin, -1, -1, 0, -1])

    @property
    def tokens_per_note(self) -> int:
        """What a note costs in rows, about: 1.2 in MAESTRO."""
        return 1

    def quantize(self, performance: Performance) -> Performance:
        """Return what this codec can say of a performance.

        As `MidiLike.quantize` with its pedal as events; the pedal takes the nearest of its levels,
        with some hysteresis where there are more than two, and a key is held for at most
        `times.most` + 1 steps.
        """
        steps = self._steps(performance)
        notes = np.zeros(len(steps.onset), dtype=NOTE)
        notes["onset"] = steps.onset / self.steps_per_second
        notes["offset"] = steps.offset / self.steps_per_second
        notes["pitch"], notes["velocity"] = steps.pitch, steps.velocity
        moves = np.zeros(len(steps.pedals), dtype=CONTROL)
        moves["time"] = steps.pedals[:, 0] / self.steps_per_second
        moves["number"], moves["value"] = self._controls[steps.pedals[:, 1] - 128].T
        return Performance(notes, moves)

    def encode(self, performance: Performance) -> NDArray[np.int64]:
        """Return the rows of a performance, Int[n, 6], without begin and end."""
        steps = self._steps(performance)
        at = np.concatenate([steps.pedals[:, 0], steps.onset])
        kind = np.concatenate([steps.pedals[:, 1], steps.pitch])
        order = np.argsort(at, kind="stable")  # pedals stand first, notes are in order
        shift, kind = np.diff(at[order], prepend=0), kind[order]
        pedals = len(steps.pedals)
        note = order >= pedals
        rows = np.full((len(order), 6), -1, dtype=np.int64)
        rows[:, KIND] = kind
        rows[note, VELOCITY] = (steps.velocity - 1) // self.keyboard.bin_size
        duration = self.times.split(steps.offset - steps.onset - 1)
        rows[note, DURATION], rows[note, DURATION_RESIDUAL] = duration
        if (shift > self.times.most).any():
            rows, shift = self._with_rests(rows, shift)
        rows[:, SHIFT], rows[:, SHIFT_RESIDUAL] = self.times.split(shift)
        return rows

    def ended(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the row that ends a piece, Int[6]; it comes when the last key is released."""
        onset = np.cumsum(self.shifts(rows))
        last = (onset + self.durations(rows)).max(initial=0) - (onset[-1] if len(onset) else 0)
        shift, residual = self.times.split(np.clip(last, 0, self.times.most)[None])
        return np.array([shift[0], self.end, -1, -1, residual[0], -1])

    def decode(self, rows: NDArray[np.int64]) -> Performance:
        """Return the performance that any rows [n, 6] make; what follows an end counts as well."""
        at, kind = np.cumsum(self.shifts(rows)), rows[:, KIND]
        note, pedal = kind < 128, (kind >= 128) & (kind < self.begin)
        notes = np.zeros(int(note.sum()), dtype=NOTE)
        notes["onset"] = at[note] / self.steps_per_second
        notes["offset"] = (at + self.durations(rows))[note] / self.steps_per_second
        notes["pitch"] = kind[note]
        notes["velocity"] = rows[note, VELOCITY] * self.keyboard.bin_size + 1
        moves = np.zeros(int(pedal.sum()), dtype=CONTROL)
        moves["time"] = at[pedal] / self.steps_per_second
        moves["number"], moves["value"] = self._controls[kind[pedal] - 128].T
        return self.quantize(Performance(notes, moves))

    def decoder(self) -> NoteEventsDecoder:
        """Start decoding a new stream of rows."""
        return NoteEventsDecoder(self)

    def control(self, kind: int) -> tuple[int, int]:
        """Return controller number and value of a kind of pedal change."""
        number, value = self._controls[kind - 128].tolist()
        return number, value

    def shifts(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the steps that pass before each row, Int[n]."""
        return self.times.join(rows[:, SHIFT], rows[:, SHIFT_RESIDUAL])

    def durations(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return for how many steps each row holds its key, Int[n]; 0 where it has none."""
        held = self.times.join(rows[:, DURATION], rows[:, DURATION_RESIDUAL]) + 1
        return np.where(rows[:, DURATION] >= 0, held, 0)

    def residual_nats(self, rows: NDArray[np.int64]) -> NDArray[np.float64]:
        """Return the nats of the residuals of each row, Float[n]: uniform within a class."""
        wide = np.log(self.times.width)
        duration = np.where(rows[:, DURATION] >= 0, wide[rows[:, DURATION]], 0.0)
        nats: NDArray[np.float64] = wide[rows[:, SHIFT]] + duration
        return nats

    # -- onto the grid -----------------------------------------------------------------------

    def _steps(self, performance: Performance) -> Steps:
        grid = self.keyboard.on_grid(performance)
        offset = np.minimum(grid.offset, grid.onset + self.times.most + 1)
        pedals = grid.pedal + np.array([0, self.sustain(0)])
        if self.pedal_levels > 2 or self.soft_pedal:
            pedals = self._pedals(performance, int(grid.offset.max(initial=0)))
        return Steps(grid.onset, offset, grid.pitch, grid.velocity, pedals)

    def _pedals(self, performance: Performance, last: int) -> Array:
        """Return the changes of all pedals as rows [step, kind], closed where the music ends."""
        played = performance.select(drums=False).controls
        pedals = [(SUSTAIN, self.pedal_levels, self.sustain(0))]
        if self.soft_pedal:
            pedals.append((SOFT, 2, self._kind("soft", 0)))
        rows = []
        for number, levels, first in pedals:
            moves = played[played["number"] == number]
            step = self.keyboard._steps(moves["time"])
            level = with_hysteresis(moves["value"].astype(np.int64), levels)
            final = np.append(step[1:] != step[:-1], True)[: len(step)]
            step, level = step[final], level[final]
            changed = np.diff(level, prepend=0) != 0
            step, level = step[changed], level[changed]
            lifted = np.flatnonzero(level == 0).max(initial=-1)
            kept = (step < last) | (np.arange(len(step)) <= lifted)
            step, level = step[kept], level[kept]
            if len(level) and level[-1]:
                step, level = np.append(step, last), np.append(level, 0)
            rows.append(np.stack([step, level + first], axis=1))
        together = np.concatenate(rows)
        return together[np.argsort(together[:, 0], kind="stable")]

    @cached_property
    def _controls(self) -> Array:
        """Controller number and value of every pedal kind, Int[kinds, 2]."""
        most = self.pedal_levels - 1
        sustain = [(SUSTAIN, round(127 * level / most)) for level in range(self.pedal_levels)]
        return np.array(sustain + [(SOFT, 0), (SOFT, 127)] * self.soft_pedal)

    def _with_rests(self, rows: Array, shift: Array) -> tuple[Array, Array]:
        """Put rows that repeat the pedal's level into shifts that are too long for one."""
        is_sustain = (rows[:, KIND] >= 128) & (rows[:, KIND] < 128 + self.pedal_levels)
        place = np.maximum.accumulate(np.where(is_sustain, np.arange(len(rows)), -1))
        before = np.append(-1, place[:-1])
        level = np.where(before >= 0, rows[before, KIND], self.sustain(0))
        rests = np.maximum(shift - 1, 0) // self.times.most
        rest = np.full((int(rests.sum()), 6), -1, dtype=np.int64)
        rest[:, KIND] = level.repeat(rests)
        where = np.arange(len(rows)).repeat(rests)
        left = shift - rests * self.times.most
        return (
            np.insert(rows, where, rest, axis=0),
            np.insert(left, where, self.times.most),
        )

    def _kind(self, kind: str, value: int) -> int:
        return self.vocabulary.id(kind, value) - len(self.times)


def with_hysteresis(values: NDArray[np.int64], levels: int) -> NDArray[np.int64]:
    """Return the level, 0..levels - 1, of a pedal after each of its moves, Int[n].

    Values 0..127 share the levels equally. With more than two the pedal keeps its level until it
    is past a boundary by `HYSTERESIS`.
    """
    size, margin = 128 // levels, HYSTERESIS[levels]
    plain = values // size
    if not margin:
        return plain
    level, held = 0, np.empty_like(plain)
    for place, value in enumerate(values.tolist()):
        if not level * size - margin <= value < (level + 1) * size + margin:
            level = value // size
        held[place] = level
    return held


class NoteEventsDecoder:
    """A stream of rows becoming a stream of events.

    A note is released when it said it would be, or where its key is struck again before. Any rows
    are accepted; what changes nothing makes nothing happen.
    """

    def __init__(self, codec: NoteEvents) -> None:
        """Begin at time zero with all keys and pedals up."""
        self._codec = codec
        self._step = 0
        self._held: dict[int, tuple[int, int]] = {}  # by key: its onset and release in steps
        self._pedals: dict[int, int] = {}  # by controller: its value

    @property
    def time(self) -> float:
        """Seconds of music so far."""
        return self._step / self._codec.steps_per_second

    @property
    def sounding(self) -> dict[int, float]:
        """The keys that are held now and when they were struck, in seconds."""
        rate = self._codec.steps_per_second
        return {key: onset / rate for key, (onset, _) in self._held.items()}

    def push(self, row: Sequence[int]) -> list[Event]:
        """Take one row [6]; return what happens up to it and with it, in order of time."""
        codec, times = self._codec, self._codec.times
        shift, kind, velocity, duration, shift_residual, duration_residual = map(int, row)
        self._step += int(times.first[shift]) + shift_residual
        events = self.ended(self.time)
        if kind < 128:
            if self._held.pop(kind, None):
                events.append(Event(self.time, "off", kind))
            release = self._step + int(times.first[duration]) + duration_residual + 1
            self._held[kind] = self._step, release
            loudness = velocity * codec.keyboard.bin_size + 1
            events.append(Event(self.time, "on", kind, loudness))
        elif kind < codec.begin:
            number, value = codec.control(kind)
            if self._pedals.get(number, 0) != value:
                self._pedals[number] = value
                events.append(Event(self.time, "control", number, value))
        return events

    def ended(self, until: float) -> list[Event]:
        """Return the releases that are due up to a time in seconds, in order of time."""
        rate = self._codec.steps_per_second
        due = sorted(
            (release, key) for key, (_, release) in self._held.items() if release / rate <= until
        )
        for _, key in due:
            del self._held[key]
        return [Event(release / rate, "off", key) for release, key in due]

    def close(self) -> list[Event]:
        """Release every key when it said it would be, then lift every pedal."""
        events = self.ended(float("inf"))
        last = max([self.time, *(event.time for event in events)])
        lifted = [Event(last, "control", n, 0) for n, value in self._pedals.items() if value]
        self._pedals.clear()
        return [*events, *lifted]
