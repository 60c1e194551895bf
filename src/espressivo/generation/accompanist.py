"""Playing around a melody: every note of it is struck in its time, whatever the model wants.

The melody is played as the model would play it itself, token by token, so that it hears it:

- Time does not pass the moment at which a note of the melody begins or ends: a longer wait
  counts as a wait until then. At that moment the note's own token is due: until it is played,
  only what is told before it may come - releases of keys struck earlier, lower keys of the same
  chord - as often as the model would have wanted just that. Whatever else it would have wanted
  counts as wanting the melody.
- The player neither releases a key that the melody holds nor strikes the key of a note of the
  melody in the last tenth of a second before it.
- A melody that lies above middle C, most of it, stays on top: while it holds a key, none above it
  is struck.
- The last note of the melody may ring to the end.

In the result the notes of the melody stand as they were given, in a track of their own.
"""

from __future__ import annotations

from collections import deque
from dataclasses import replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from espressivo.codecs import Codec
from espressivo.generation.keyboard import Keyboard
from espressivo.generation.sampling import Sampling
from espressivo.generation.tasks import Melody, Prompt
from espressivo.performance import Event

ALONE = 0.1
"""Seconds before a note of the melody in which its key is the melody's alone."""

MIDDLE_C = 60

NEVER = 1 << 60

Note = tuple[float, float, int, int]
"""Onset, offset, pitch and velocity, as they were given."""


class Due(NamedTuple):
    """A note of the melody as the codec says it, in steps, and as it was given."""

    step: int
    end: int
    pitch: int
    velocity: int | None  # the token that must hold, where the vocabulary has any
    given: Note


class Accompanist(Keyboard):
    """One take around a melody."""

    def __init__(self, prompt: Prompt, sampling: Sampling, melody: Melody) -> None:
        """Lay the melody out; its keys may be struck even where `sampling` allows fewer."""
        pitches = [pitch for _, _, pitch, _ in melody.notes]
        lowest, highest = min(pitches), max(pitches)
        super().__init__(
            prompt,
            replace(
                sampling,
                lowest_key=min(lowest, sampling.lowest_key),
                highest_key=max(highest, sampling.highest_key),
            ),
        )
        self._coming = deque(schedule(prompt.codec, melody))
        self._ends: dict[int, int] = {}  # of every key the melody holds
        self._given: dict[int, Note] = {}  # likewise
        self._on_top = sorted(pitches)[len(pitches) // 2] >= MIDDLE_C
        self._loud: int | None = None  # the latest velocity token
        self._alone = round(ALONE * prompt.codec.steps_per_second)
        self._gives_way: tuple[int, NDArray[np.bool_] | slice] | None = None
        self._first_key = self._on.start - prompt.codec.vocabulary.kinds["note_on"].start

    def allowed(self) -> NDArray[np.bool_]:
        """Tell for every id whether it may come next; some id always may."""
        self._gives_way = None
        pitch = self._key_to_release()
        if pitch is None:
            return super().allowed()
        mask = self._decoder.allowed()
        mask[self._on] = mask[self._velocity] = False
        mask[self._shift : self._shift_end] = False
        latest = self._onset[pitch], pitch
        for other, onset in self._onset.items():
            if (onset, other) > latest or (other in self._led and other != pitch):
                mask[self._off + other] = False
        self._gives_way = self._off + pitch, ~mask
        return mask

    def lead(self, logits: NDArray[np.floating]) -> None:
        """Let what is due have the probability of what it keeps from coming."""
        if self._gives_way is not None:
            due, others = self._gives_way
            logits[due] = np.logaddexp(logits[due], np.logaddexp.reduce(logits[others]))

    def _key_to_release(self) -> int | None:
        """Give the key that must go up now, the one struck first if there are several."""
        now = self._now
        struck = {note.pitch for note in self._coming if note.step == now}
        over = {k for k, end in self._ends.items() if end <= now} - self._chord
        late = [(self._onset[key], key) for key in (struck | over) & self._onset.keys()]
        return min(late)[1] if late else None

    def _forbid(self, mask: NDArray[np.bool_]) -> None:
        """Keep what the melody holds, and everything else until what is due has been struck."""
        for pitch in self._led:
            mask[self._off + pitch] = False
        if self._on_top and self._led:
            mask[self._first_key + max(self._led) : self._on.stop] = False
        for note in self._coming:
            if note.step > self._now + self._alone:
                break
            if note.step > self._now:
                mask[self._first_key + note.pitch] = False
        if self._coming and self._coming[0].step == self._now:
            self._await(self._coming[0], mask)
            return
        if not mask[self._on].any():
            mask[self._velocity] = False
        longest = self._shift + self._until_next() - 1
        if longest < self._shift_end and mask[longest]:
            self._gives_way = longest, slice(longest + 1, self._shift_end)

    def _await(self, due: Due, mask: NDArray[np.bool_]) -> None:
        """Leave only what may be told before a note, and the note or its velocity."""
        key = self._first_key + due.pitch
        mask[key + 1 : self._on.stop] = False
        mask[key] = due.velocity == self._loud
        token = key
        if due.velocity is not None and due.velocity != self._loud:
            token = due.velocity
            if not mask[self._on].any():
                mask[self._velocity] = False
                mask[token] = True
        others = ~mask
        others[token] = False
        self._gives_way = token, others

    def _cap(self) -> int:
        """Give the most steps that may pass at once."""
        return min(super()._cap(), self._until_next())

    def _until_next(self) -> int:
        """Give the steps until the melody strikes a key or lets one go."""
        moments = [note.step for note in list(self._coming)[:1]]
        moments += [end for end in self._ends.values() if end > self._now]
        return min(moments, default=NEVER) - self._now

    def _hear(self, token: int) -> list[Event]:
        if self._velocity.start <= token < self._velocity.stop:
            self._loud = token
        return super()._hear(token)

    def _told(self, events: list[Event]) -> list[Event]:
        """Give the melody's notes as they were given, and the others to the second track."""
        return [self._as_given(event) for event in events]

    def _as_given(self, event: Event) -> Event:
        due = self._coming[0] if self._coming else None
        if event.kind == "on" and due and (due.step, due.pitch) == (self._now, event.number):
            self._coming.popleft()
            self._led.add(due.pitch)
            self._ends[due.pitch] = due.end if self._coming else NEVER
            self._given[due.pitch] = due.given
            onset, _, pitch, velocity = due.given
            return Event(onset, "on", pitch, velocity)
        if event.kind == "off" and event.number in self._given:
            self._led.discard(event.number)
            del self._ends[event.number]
            _, offset, pitch, _ = self._given.pop(event.number)
            return Event(offset, "off", pitch)
        return event._replace(track=1)


def schedule(codec: Codec, melody: Melody) -> list[Due]:
    """Give the notes of a melody as the codec says them, in the order in which they are struck."""
    step, loud = 0, None
    struck: list[tuple[int, int, int | None]] = []
    ends: dict[int, list[int]] = {}
    for token in melody.tokens.tolist():
        kind, value = codec.vocabulary.describe(token)
        step += codec.steps_of(token)
        if kind == "velocity":
            loud = token
        elif kind == "note_on":
            struck.append((step, value, loud))
        elif kind == "note_off":
            ends.setdefault(value, []).append(step)
    each_end = {pitch: iter(steps) for pitch, steps in ends.items()}
    return [
        Due(step, next(each_end[pitch]), pitch, loud, given)
        for (step, pitch, loud), given in zip(struck, melody.notes, strict=True)
    ]
