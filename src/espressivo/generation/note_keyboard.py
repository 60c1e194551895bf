"""What a player may do next where notes are said whole: the rules of `keyboard`, as far as they go.

A note is struck with its length, so the rules are about the wait before it and about that length:

- The first note comes within half a second, and no silence is longer than `longest_silence`.
- No note lasts more than `longest_note`, but those of a primer keep their length.
- No more than `densest_second` onsets fall in any second, unless silence would be too long.
- The close. The last chord is struck where ringing begins (1.5 seconds before the end, or a
  quarter of a short performance), or up to 0.06 seconds before, and rings until the very end; what
  else sounds then rings as long as it said, and not beyond. The chord is whole when the model
  wants time to pass.
- In a continuation nothing is struck between the last note of the primer and the mark.
"""

from __future__ import annotations

from collections import deque

import numpy as np
from numpy.typing import NDArray

from espressivo.codecs import NoteTuple
from espressivo.generation.keyboard import CHORD, LEAD, RING
from espressivo.generation.sampling import Sampling
from espressivo.generation.tasks import Prompt
from espressivo.performance import Event

Choice = NDArray[np.bool_]


class NoteKeyboard:
    """One take in the making: its decoder, its rules and what it has played."""

    eagerness = 1.0
    """Notes become no rarer before the close: whether one comes is no choice of its own."""

    def __init__(self, prompt: Prompt, codec: NoteTuple, sampling: Sampling) -> None:
        """Hear the prompt, so that play can begin at its mark."""
        self._codec = codec
        self._decoder = codec.decoder(keys=range(sampling.lowest_key, sampling.highest_key + 1))
        self._set_limits(prompt, sampling)
        self.events: list[Event] = list(prompt.opening)
        self.done = False
        self._said: list[int] = []
        self._recent: deque[int] = deque(maxlen=sampling.densest_second)  # the latest onsets
        self._last_chord = False  # whether some of it has been struck
        for token in prompt.tokens.tolist():
            self._hear(token)
        self._decoder.ended(prompt.mark)

    def _set_limits(self, prompt: Prompt, sampling: Sampling) -> None:
        """Turn seconds into steps."""

        def steps(seconds: float | None) -> int:
            most = self._codec.max_duration
            return most if seconds is None else max(round(seconds * rate), 1)

        rate = self._codec.steps_per_second
        length = max(round(prompt.seconds * rate), 1)
        self._mark = round(prompt.mark * rate)
        self._end = self._mark + length
        self._longest_note = min(steps(sampling.longest_note), self._codec.max_duration)
        self._longest_silence = steps(sampling.longest_silence)
        self._lead = min(steps(LEAD), self._longest_silence)
        self._second = rate
        ring = max(min(steps(RING), length // 4, self._longest_note), 1)
        self._ringing = self._end - ring
        self._group = steps(CHORD)

    @property
    def tokens(self) -> list[int]:
        """The tokens of the notes played so far; those of a note not yet whole are none."""
        return self._said[: len(self._said) // self._codec.stride * self._codec.stride]

    @property
    def time(self) -> float:
        """Seconds of the result so far."""
        return self._codec.seconds(self._end) if self.done else self._decoder.time

    def push(self, token: int) -> list[Event]:
        """Play one token; at the end of the take everything is released and `done` is set."""
        if len(self._decoder.values) == 1 and self._at_close():
            shift = self._decoder.values[0] * self._codec.shift_digit + self._codec.steps_of(token)
            if shift:
                return self._finish()
        self._said.append(token)
        events = self._hear(token)
        self.events += events
        return events

    def _hear(self, token: int) -> list[Event]:
        events = self._decoder.push(token)
        if any(event.kind == "on" for event in events):
            self._recent.append(self._decoder.step)
            self._last_chord = bool(self._said) and self._decoder.step >= self._ringing
        return events

    def _finish(self) -> list[Event]:
        self.done = True
        events = [
            event._replace(time=min(event.time, self.time)) for event in self._decoder.close()
        ]
        self.events += events
        return events

    def allowed(self) -> Choice:
        """Tell for every id whether it may come next; some id always may."""
        slot = len(self._decoder.values)
        shifts = self._shifts() if slot < 2 else self._decoder.shifts()
        durations = self._durations() if slot > 3 else self._decoder.durations()
        return self._decoder.mask(shifts, durations)

    def _at_close(self) -> bool:
        """Tell whether nothing can come but more of the last chord."""
        return self._last_chord or not self._reachable().any()

    def _reachable(self) -> Choice:
        """Tell of every shift whether a key can be struck after it, between mark and end."""
        now, shifts = self._decoder.step, self._decoder.shifts()
        shifts[: max(self._mark - now, 0)] = False
        shifts[max(self._end - now, 0) :] = False
        return shifts

    def _shifts(self) -> Choice:
        """Tell of every shift whether it may come."""
        now, shifts = self._decoder.step, self._reachable()
        if self._at_close():
            shifts[0] &= self._last_chord and self._room_from(0) <= now
            shifts[1:] = True  # enough
            return shifts
        latest = max(self._latest() - now, int(shifts.argmax()))
        shifts[latest + 1 :] = False
        spaced = self._spaced(shifts.copy())
        if not spaced.any():  # silence would be too long
            spaced[np.flatnonzero(shifts)[-1]] = True
        return spaced

    def _latest(self) -> int:
        """Give the last step at which the next note may come."""
        if not self._recent:
            return min(self._lead, self._ringing)
        quiet = max(self._decoder.until, self._decoder.step)
        return min(quiet + self._longest_silence, self._ringing)

    def _spaced(self, shifts: Choice) -> Choice:
        """Leave out shifts after which a second would hold too many onsets.

        In the last one before ringing begins, a place is kept for the last chord.
        """
        now = self._decoder.step
        shifts[: max(self._room_from(0) - now, 0)] = False
        first = max(self._ringing - self._second + 1 - now, 0)
        last = min(self._ringing, self._room_from(1)) - now
        shifts[first : max(first, last)] = False
        return shifts

    def _room_from(self, kept: int) -> int:
        """Give the step from which an onset leaves room for so many more in its second."""
        most = self._recent.maxlen
        if most is None or len(self._recent) < most - kept:
            return 0
        return self._recent[kept] + self._second if most > kept else self._end

    def _durations(self) -> Choice:
        """Tell of every duration whether it may come."""
        now, durations = self._decoder.step, self._decoder.durations()
        left = self._end - now
        most = min(self._longest_note, left)
        others = self._decoder.up(self._ringing)
        others[self._decoder.values[2] - self._codec.lowest] = False
        if now < self._ringing and not others.any():  # a key must be up for the last chord
            most = self._ringing - now
        elif now > self._ringing - self._group and most == left:
            durations[: left - 1] = False  # of the last chord: it rings to the end
        durations[most:] = False
        return durations
