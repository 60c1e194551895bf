"""The MIDI-like vocabulary read back, one token at a time, and its grammar."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from espressivo.errors import CodecError
from espressivo.performance import SUSTAIN, Event

if TYPE_CHECKING:
    from espressivo.codecs.midi_like import MidiLike


class MidiLikeDecoder:
    """Ids to events; see `codec.Decoder`.

    Every id is accepted. What makes no sense is ignored: releasing a key that is up or was struck
    this very step, striking a key twice or moving the pedal twice in one step. A key struck while
    it sounds ends its earlier note. With `longest`, notes end after so many seconds by themselves;
    with `keys`, `allowed` never has other keys struck.
    """

    def __init__(
        self, codec: MidiLike, longest: float | None = None, keys: range | None = None
    ) -> None:
        """Begin at time zero, the pedal up, nothing sounding and a middling velocity."""
        if longest is not None and not longest > 0:
            raise CodecError(f"longest={longest} seconds must be above zero, or None for no limit")
        self.codec = codec
        self._longest = None if longest is None else max(1, round(longest * codec.steps_per_second))
        vocabulary = codec.vocabulary
        self._ids = {
            kind: slice(vocabulary.ids(kind).start, vocabulary.ids(kind).stop)
            for kind in ("note_on", "note_off", "shift", "velocity", "pedal")
        }
        self._ordered = codec.ties == "pitch"
        self._step = 0
        self._bin: int | None = None
        self._velocity = codec.velocity_of(codec.bin_of(64))
        self._sounding: dict[int, int] = {}  # the step each key was struck, in order
        self._up = np.ones(len(vocabulary.ids("note_on")), dtype=bool)  # keys that do not sound
        pitches = range(codec.lowest, codec.highest + 1)
        self._wanted = np.array([keys is None or pitch in keys for pitch in pitches])
        self._pedal = False
        self._pressing = False  # the pedal went down this step and has not been told
        self._last = ""
        self._new_step()

    def _new_step(self) -> None:
        self._struck = -1  # the highest key struck in this step
        self._released = (-1, -1)  # onset and pitch of the last note released in this step
        self._pedalled = False

    @property
    def time(self) -> float:
        """Seconds of music so far."""
        return self.codec.seconds(self._step)

    @property
    def sounding(self) -> dict[int, float]:
        """The keys that sound now and when they were struck, in seconds, earliest first."""
        return {pitch: self.codec.seconds(step) for pitch, step in self._sounding.items()}

    @property
    def pedal(self) -> bool:
        """Whether the sustain pedal is down, in vocabularies that have one."""
        return self._pedal

    def push(self, token: int) -> list[Event]:
        """Take one token and give what it makes happen, in order of time."""
        kind, value = self.codec.vocabulary.describe(token)
        self._last = kind
        if kind == "note_on":
            return self._strike(value)
        if kind == "note_off":
            return self._release(value)
        if kind == "shift":
            return self._shift(value)
        if kind == "velocity":
            self._bin, self._velocity = value, self.codec.velocity_of(value)
        elif kind == "pedal":
            return self._move_pedal(down=bool(value))
        return []

    def _strike(self, pitch: int) -> list[Event]:
        onset = self._sounding.get(pitch)
        if onset == self._step:
            return []
        again = [] if onset is None else self._release(pitch)
        self._sounding[pitch] = self._step
        self._up[pitch - self.codec.lowest] = False
        self._struck = max(self._struck, pitch)
        return [*again, Event(self.time, "on", pitch, self._velocity)]

    def _release(self, pitch: int) -> list[Event]:
        onset = self._sounding.get(pitch, self._step)
        if onset == self._step:
            return []
        del self._sounding[pitch]
        self._up[pitch - self.codec.lowest] = True
        self._released = max(self._released, (onset, pitch))
        return [Event(self.time, "off", pitch)]

    def _shift(self, steps: int) -> list[Event]:
        if steps < self.codec.max_shift:
            self._last = "short shift"
        events = [Event(self.time, "control", SUSTAIN, 127)] if self._pressing else []
        self._pressing = False
        if self._longest is not None:
            events += self._expire(self._step + steps, self._longest)
        self._step += steps
        self._new_step()
        return events

    def _expire(self, now: int, longest: int) -> list[Event]:
        ended = [pitch for pitch, onset in self._sounding.items() if onset + longest <= now]
        events = []
        for pitch in ended:
            self._up[pitch - self.codec.lowest] = True
            end = self._sounding.pop(pitch) + longest
            events.append(Event(self.codec.seconds(end), "off", pitch))
        return events

    def _move_pedal(self, *, down: bool) -> list[Event]:
        if self._pedalled or down == self._pedal:
            return []
        self._pedal, self._pressing, self._pedalled = down, down, True
        # A press waits for time to pass: pressed and lifted at once, it was never down.
        return [] if down else [Event(self.time, "control", SUSTAIN, 0)]

    def allowed(self) -> NDArray[np.bool_]:
        """Tell for every id whether it makes sense next, in the order `MidiLike.encode` writes.

        Ids chosen under this mask decode to a performance that encodes to the same ids: releases
        only of notes that sound, no key struck twice, velocities only before a note and only
        when they change, a short shift only before an event. Some id is always allowed; padding
        and end never are, so that a performance ends when its player says so, by `close`.
        """
        mask = np.zeros(len(self.codec.vocabulary), dtype=bool)
        ids, velocity_next = self._ids, self.codec.velocity_bins and self._last != "velocity"
        keys = mask[ids["note_on"]]
        np.logical_and(self._up, self._wanted, out=keys)
        if self._ordered and self._struck >= 0:
            keys[: self._struck + 1 - self.codec.lowest] = False
        if velocity_next and keys.any():
            mask[ids["velocity"]] = True
        if self._bin is not None:
            mask[ids["velocity"].start + self._bin - 1] = False
        elif velocity_next:
            keys[:] = False
        if self._last != "velocity":
            mask[ids["shift"]] = self._last != "short shift"
            if self._struck < 0:
                self._allow_before_onsets(mask)
        return mask

    def _allow_before_onsets(self, mask: NDArray[np.bool_]) -> None:
        """Mark the pedal, unless moved already, and what may be released in this step."""
        offs = mask[self._ids["note_off"]]
        np.logical_not(self._up, out=offs)
        if self._ordered:
            for pitch, onset in self._sounding.items():  # earliest first
                if onset > self._released[0]:
                    break
                offs[pitch - self.codec.lowest] = (onset, pitch) > self._released
        pedal = self._ids["pedal"]
        if pedal.stop > pedal.start and not self._pedalled and self._released == (-1, -1):
            mask[pedal.start + (not self._pedal)] = True

    def ended(self, until: float) -> list[Event]:
        """Give nothing: no note ends before a token says so."""
        return []

    def close(self) -> list[Event]:
        """End every note and lift the pedal, now."""
        events = [Event(self.time, "off", pitch) for pitch in sorted(self._sounding)]
        if self._pedal and not self._pressing:
            events.append(Event(self.time, "control", SUSTAIN, 0))
        self._sounding, self._pedal, self._pressing = {}, False, False
        self._up[:] = True
        return events
