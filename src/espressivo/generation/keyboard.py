"""What a player may do next, so that every take is playable, moves on and ends well.

The decoder of the codec knows the grammar: no release of a key that is up, no key struck twice.
`Keyboard` adds the rules of one performance:

- Every key is released within `longest_note` seconds, and some key is struck after at most
  `longest_silence` seconds without any; the first within half a second of the start.
- No more than `densest_second` onsets fall in any second, so music takes a bounded number of
  tokens however little the model wants time to pass.
- The close. In the last `RING` seconds (1.5, or a quarter of a short performance) nothing new is
  struck: the last chord, the keys struck last that still sound, rings until the very end, where
  it is released together with the pedal; other keys may be released before. In the `FADE`
  seconds before (2.5, or a quarter), onsets become rarer: while anything sounds, what a strike
  weighs in the draw falls in a straight line from what the model wants to nothing. Should no key
  be down when ringing begins, one last chord is asked for.
- In a continuation nothing happens between the last event of the primer and the mark.
"""

from __future__ import annotations

from collections import deque

import numpy as np
from numpy.typing import NDArray

from espressivo.generation.sampling import Sampling
from espressivo.generation.tasks import Prompt, step_seconds
from espressivo.performance import Event

RING = 1.5
FADE = 2.5
LEAD = 0.5
"""The longest silence before the first note, in seconds."""

CHORD = 0.06
"""Seconds within which keys struck one after the other are one chord."""


class Keyboard:
    """One take in the making: its decoder, its rules and what it has played."""

    def __init__(self, prompt: Prompt, sampling: Sampling) -> None:
        """Hear the prompt, so that play can begin at its mark."""
        vocabulary = prompt.codec.vocabulary
        keys = range(sampling.lowest_key, sampling.highest_key + 1)
        self._decoder = prompt.codec.decoder(keys=keys)
        ids = {k: vocabulary.ids(k) for k in ("note_on", "note_off", "shift", "velocity", "pedal")}
        self._on, self._velocity = (
            slice(ids[k].start, ids[k].stop) for k in ("note_on", "velocity")
        )
        self._shift, self._shift_end = ids["shift"].start, ids["shift"].stop
        lowest = vocabulary.kinds["note_off"].start
        self._off = ids["note_off"].start - lowest  # id of the release of key 0
        self._down = vocabulary.id("pedal", 1) if ids["pedal"] else None
        self._rate = round(1 / step_seconds(prompt.codec), 6)
        self._size = len(vocabulary)
        self._set_limits(prompt, sampling)
        self.tokens: list[int] = []
        self.events: list[Event] = list(prompt.opening)
        self.done = False
        self._led: set[int] = set()  # keys that are down and not the player's to release
        self._now = 0
        self._onset: dict[int, int] = {}  # of every key that is down, earliest first
        self._quiet = 0  # the step since which no key is down
        self._started = False
        self._recent: deque[int] = deque()  # onsets of the last second
        self._chord: set[int] = set()  # what rings to the end
        for token in prompt.tokens.tolist():
            self._hear(token)

    def _set_limits(self, prompt: Prompt, sampling: Sampling) -> None:
        """Turn seconds into steps."""

        def steps(seconds: float | None) -> int:
            return 1 << 60 if seconds is None else max(round(seconds * self._rate), 1)

        length = steps(prompt.seconds)
        self._mark = round(prompt.mark * self._rate)
        self._end = self._mark + length
        self._longest_note = steps(sampling.longest_note)
        self._longest_silence = steps(sampling.longest_silence)
        self._lead = min(steps(LEAD), self._longest_silence)
        self._densest = sampling.densest_second or 1 << 60
        ring = max(min(steps(RING), length // 4, self._longest_note), 1)
        self._fade = max(min(steps(FADE), length // 4), 1)
        self._ringing = self._end - ring  # the step from which nothing new is struck
        self._group = steps(CHORD)
        self._second = steps(1.0)

    @property
    def time(self) -> float:
        """Seconds of the result so far."""
        return self._decoder.time

    @property
    def eagerness(self) -> float:
        """How much of its wish to strike keys the model is left, 1 until the close."""
        left = (self._ringing - self._now) / self._fade
        return 1.0 if left >= 1 or not self._onset else max(left, 1e-3)

    def push(self, token: int) -> list[Event]:
        """Play one token; at the end of the take everything is released and `done` is set."""
        self.tokens.append(token)
        events = self._hear(token)
        if self._now >= self._end:
            events = [*events, *self._decoder.close()]
            self.done = True
        events = self._told(events)
        self.events += events
        if self.done:
            lifts = self._lifts()
            self.events += lifts
            events = [*events, *lifts]
        return events

    def _told(self, events: list[Event]) -> list[Event]:
        """Give what happened as the result tells it."""
        return events

    def _hear(self, token: int) -> list[Event]:
        events = self._decoder.push(token)
        if self._shift <= token < self._shift_end:
            self._pass(token - self._shift + 1)
        for event in events:
            if event.kind == "on":
                self._onset[event.number] = self._now
                self._recent.append(self._now)
                self._started = True
            elif event.kind == "off":
                del self._onset[event.number]
                self._chord.discard(event.number)
                self._quiet = self._now
        return events

    def _pass(self, steps: int) -> None:
        self._now += steps
        recent, horizon = self._recent, self._now - self._second
        while recent and recent[0] <= horizon:
            recent.popleft()
        if self._now >= self._ringing and not self._chord:
            self._chord = self._last_chord()

    def _can_ring(self) -> bool:
        """Tell whether any key that is down may sound until the end."""
        latest = next(reversed(self._onset.values()), None)
        return latest is not None and latest >= self._end - self._longest_note

    def _last_chord(self) -> set[int]:
        """Give the keys struck last among those that may sound until the end."""
        if not self._can_ring():
            return set()
        latest = next(reversed(self._onset.values()))
        earliest = max(self._end - self._longest_note, latest - self._group)
        return {pitch for pitch, onset in self._onset.items() if onset >= earliest}

    def _lifts(self) -> list[Event]:
        """Lift, at the end, every pedal that is still down."""
        standing: dict[tuple[int, int], int] = {}
        for event in self.events:
            if event.kind == "control":
                standing[event.number, event.track] = event.value
        down = [pedal for pedal, value in standing.items() if value]
        return [Event(self.time, "control", number, 0, track) for number, track in down]

    def allowed(self) -> NDArray[np.bool_]:
        """Tell for every id whether it may come next; some id always may."""
        cap = self._cap()
        if self._now < self._mark:
            return self._only_shifts(self._mark - self._now, cap)
        mask = self._decoder.allowed()
        oldest = self._oldest()
        if oldest is not None:
            pitch, onset = oldest
            if onset <= self._now - self._longest_note and mask[self._off + pitch]:
                mask[:] = False
                mask[self._off + pitch] = True
                return mask
        if self._now >= self._ringing:
            self._close(mask)
        elif cap and len(self._recent) >= self._densest:
            mask[self._on] = mask[self._velocity] = False
        mask[self._shift + cap : self._shift_end] = False
        self._forbid(mask)
        if np.count_nonzero(mask):
            return mask
        # The codec would have said it in one longer shift; time must pass all the same.
        return self._only_shifts(cap if self._now >= self._ringing else 1, max(cap, 1))

    def _forbid(self, mask: NDArray[np.bool_]) -> None:
        """Forbid what the task forbids besides."""

    def _oldest(self) -> tuple[int, int] | None:
        """Give the key that has been down longest, of those to be released, and since when."""
        return next(((k, on) for k, on in self._onset.items() if k not in self._led), None)

    def _close(self, mask: NDArray[np.bool_]) -> None:
        """Leave only what may happen while the last chord rings, or is still to be struck."""
        if self._chord:
            mask[self._on] = mask[self._velocity] = False
            for pitch in self._chord:
                mask[self._off + pitch] = False
        if self._can_ring() and len(self._chord or self._onset) == len(self._onset):
            # Nothing is left to release, so only time passes: in the longest shifts there are.
            wait = min(self._end - self._now, self._shift_end - self._shift)
            mask[self._shift : self._shift + wait - 1] = False
        if self._down is not None:
            mask[self._down] = False

    def _cap(self) -> int:
        """Give the most steps that may pass at once; 0 where a key must be struck first."""
        now = self._now
        cap = self._end - now
        if not self._chord and not self._can_ring():
            cap = min(cap, max(self._ringing - now, 0))
        if self._onset:
            oldest = self._oldest()
            if oldest is not None and oldest[0] not in self._chord:
                cap = min(cap, max(oldest[1] + self._longest_note - now, 1))
            return cap
        limit = self._quiet + self._longest_silence if self._started else self._lead
        return min(cap, max(limit - now, 0))

    def _only_shifts(self, fewest: int, most: int) -> NDArray[np.bool_]:
        """Allow nothing but shifts of so many steps, or the longest where that is too short."""
        count = self._shift_end - self._shift
        fewest = min(max(fewest, 1), count)
        mask = np.zeros(self._size, dtype=bool)
        mask[self._shift + fewest - 1 : self._shift + min(max(fewest, most), count)] = True
        return mask
