"""Notes said whole read back, one token at a time, and their grammar."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from espressivo.errors import CodecError
from espressivo.performance import Event

if TYPE_CHECKING:
    from espressivo.codecs.note_tuple import NoteTuple

Choice = NDArray[np.bool_]


class NoteTupleDecoder:
    """Ids to events; see `codec.Decoder`.

    Time passes when both digits of a shift are known, and a note is struck when all six of its
    tokens are. Every id is accepted: one that is out of its turn breaks the note off, and a note
    begins again with its first token. A key struck while it sounds ends its earlier note; twice
    in one step it is struck once.
    """

    def __init__(
        self, codec: NoteTuple, longest: float | None = None, keys: range | None = None
    ) -> None:
        """Begin at time zero, nothing sounding."""
        if longest is not None and not longest > 0:
            raise CodecError(f"longest={longest} seconds must be above zero, or None for no limit")
        self.codec = codec
        steps = codec.max_duration if longest is None else round(longest * codec.steps_per_second)
        self._longest = min(max(1, steps), codec.max_duration)
        vocabulary = codec.vocabulary
        self._kinds = list(vocabulary.kinds)
        self._ids = [slice(ids.start, ids.stop) for ids in map(vocabulary.ids, self._kinds)]
        pitches = np.arange(codec.lowest, codec.highest + 1)
        self._wanted = np.array([keys is None or pitch in keys for pitch in pitches.tolist()])
        if not self._wanted.any():
            raise CodecError(f"keys={keys} must have one of {codec.lowest}..{codec.highest}")
        self._step = 0
        self.values: list[int] = []  # what is known of the note to come, slot by slot
        self._struck = -1  # the highest key struck in this step
        self._sounding: dict[int, tuple[int, int]] = {}  # onset and end of keys, as struck
        self._end = np.zeros(len(pitches), dtype=np.int64)  # the step from which a key is up

    @property
    def step(self) -> int:
        """The step of the latest onset."""
        return self._step

    @property
    def until(self) -> int:
        """The step by which all notes so far have ended."""
        return int(self._end.max())

    @property
    def time(self) -> float:
        """Seconds of music so far: up to the onset of the latest note."""
        return self.codec.seconds(self._step)

    @property
    def sounding(self) -> dict[int, float]:
        """The keys that sound now and when they were struck, in seconds, earliest first."""
        return {pitch: self.codec.seconds(onset) for pitch, (onset, _) in self._sounding.items()}

    def push(self, token: int) -> list[Event]:
        """Take one token and give what it makes happen, in order of time."""
        kind, value = self.codec.vocabulary.describe(token)
        slot = self._kinds.index(kind)
        if slot != len(self.values):
            self.values = []
            if slot:
                return []
        self.values.append(value)
        if slot == 1:
            return self._shift(self._digits(0, self.codec.shift_digit))
        if slot < len(self._kinds) - 1:
            return []
        pitch, velocity_bin = self.values[2:4]
        duration = self._digits(4, self.codec.duration_digit) + 1
        self.values = []
        return self._strike(pitch, velocity_bin, min(duration, self._longest))

    def _digits(self, slot: int, base: int) -> int:
        return base * self.values[slot] + self.values[slot + 1]

    def _shift(self, steps: int) -> list[Event]:
        if steps:
            self._step += steps
            self._struck = -1
        return self._ended(self._step)

    def _ended(self, now: float) -> list[Event]:
        """Release what ends by now, in order of time."""
        over = [(end, pitch) for pitch, (_, end) in self._sounding.items() if end <= now]
        for _, pitch in over:
            del self._sounding[pitch]
        return [Event(self.codec.seconds(end), "off", pitch) for end, pitch in sorted(over)]

    def _strike(self, pitch: int, velocity_bin: int, duration: int) -> list[Event]:
        onset, _ = self._sounding.get(pitch, (None, 0))
        if onset == self._step:
            return []
        again = [] if onset is None else [Event(self.time, "off", pitch)]
        self._sounding.pop(pitch, None)  # so that it is now the latest
        end = self._step + duration
        self._sounding[pitch] = self._step, end
        self._end[pitch - self.codec.lowest] = end
        self._struck = max(self._struck, pitch)
        return [*again, Event(self.time, "on", pitch, self.codec.piano.velocity_of(velocity_bin))]

    def allowed(self) -> Choice:
        """Tell for every id whether it makes sense next, in the order `NoteTuple.encode` writes.

        Only keys that are up at the onset may be struck, in one step from the lowest to the
        highest, and the shift must leave such a key.
        """
        return self.mask(self.shifts(), self.durations())

    def mask(self, shifts: Choice, durations: Choice) -> Choice:
        """Tell for every id whether it is next, if only these shifts and durations may be."""
        mask = np.zeros(len(self.codec.vocabulary), dtype=bool)
        slot = len(self.values)
        digit = self.codec.shift_digit if slot < 2 else self.codec.duration_digit
        table = (shifts if slot < 2 else durations).reshape(-1, digit)  # by major and minor digit
        if slot == 2:
            mask[self._ids[slot]] = self._strikable()
        elif slot == 3:
            mask[self._ids[slot]] = True
        else:
            mask[self._ids[slot]] = table[self.values[-1]] if slot in (1, 5) else table.any(axis=1)
        return mask

    def shifts(self) -> Choice:
        """Tell of every shift, from 0, whether a key can be struck after it."""
        earliest = int(self._end[self._wanted].min()) - self._step
        shifts = np.arange(self.codec.max_shift + 1) >= max(earliest, 1)
        shifts[0] = self._strikable().any()
        return shifts

    def durations(self) -> Choice:
        """Tell of every duration, from 1, whether it is short enough."""
        return np.arange(1, self.codec.max_duration + 1) <= self._longest

    def up(self, step: int) -> Choice:
        """Tell of every key whether it is wanted, and up at a step if nothing more is struck."""
        return self._wanted & (self._end <= step)

    def _strikable(self) -> Choice:
        """Tell of every key whether it may be struck now, being above the last one struck now."""
        keys = self.up(self._step)
        keys[: max(self._struck + 1 - self.codec.lowest, 0)] = False
        return keys

    def ended(self, until: float) -> list[Event]:
        """Release what ends by a time, in order; no token need come for that."""
        return self._ended(round(until * self.codec.steps_per_second))

    def close(self) -> list[Event]:
        """Let every note end when it said it would."""
        self.values = []
        return self._ended(np.inf)
