"""Reading a melody of any length, a stretch at a time.

A model that accompanies was trained on segments of half a minute at most. So it reads the melody
of one such stretch, from where it begins to play it; when two thirds of the stretch have passed
and more of the melody is to come, or when its context is full, it begins another stretch a few
seconds back: it hears again what it has played since then, reads the melody from there on, and
goes on as if it had begun there. Nothing that has been played changes, and there is no break.
"""

from __future__ import annotations

from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from espressivo.codecs import Codec, decode
from espressivo.codecs.melody import MelodySteps
from espressivo.engines import Engine, State
from espressivo.generation.tasks import Melody
from espressivo.performance import Performance

RENEW = 2 / 3
"""The part of a stretch after which another one begins."""

RECALL = 1 / 3
"""The most of a stretch, in time, that is heard again at the beginning of another one."""


@runtime_checkable
class MelodyEngine(Engine, Protocol):
    """An engine whose states start from a melody of so many steps at most."""

    @property
    def melody_steps(self) -> int:
        """The most steps of a melody it was trained to read at once."""
        ...

    @property
    def clock(self) -> bool:
        """Whether it is told, beside every token, how many of them have passed."""
        ...


class Heard(Protocol):
    """The tokens of all takes so far."""

    start: int
    length: int

    def last(self, count: int) -> NDArray[np.int64]:
        """Give the latest tokens, [take, count]."""
        ...


class Stretches:
    """An engine that hears what is played and reads the melody ahead of it."""

    def __init__(self, engine: MelodyEngine, codec: Codec, melody: Melody, takes: int) -> None:
        """Begin before the first note."""
        self._engine, self._takes = engine, takes
        self._melody, self._steps = decode(codec, melody.tokens), MelodySteps()
        seconds = [codec.steps_of(t) / codec.steps_per_second for t in range(len(codec.vocabulary))]
        self._passing = np.array(seconds)
        self._length = engine.melody_steps / self._steps.steps_per_second
        self._clock = engine.clock
        self._now = np.zeros(takes)
        self._begin = np.zeros(takes)
        self._state: State

    def read(self, heard: Heard) -> NDArray[np.floating]:
        """Begin: every take reads the same."""
        return self._renewed(heard, 0)

    def step(self, tokens: NDArray[np.int64], heard: Heard) -> NDArray[np.floating]:
        """Go on by one token of every take."""
        self._now += self._passing[tokens]
        if self._state.length == self._engine.context or self._runs_out():
            return self._renewed(heard, self._recall(heard))
        clock = self._clocks(self._now[:, None])
        return self._engine.step(tokens, self._state, None if clock is None else clock[:, 0])

    def _runs_out(self) -> bool:
        """Tell whether the melody goes on beyond a stretch most of which has passed."""
        more = self._melody.duration > self._begin + self._length
        return bool((more & (self._now - self._begin > RENEW * self._length)).any())

    def _recall(self, heard: Heard) -> int:
        """Give how many tokens to hear again: half a context, or a third of a stretch in time."""
        context = self._engine.context or heard.length
        most = min(heard.length - 1, max(context // 2 - 1, 0))
        ago = self._passing[heard.last(most)[:, ::-1]].cumsum(axis=1).max(axis=0, initial=0.0)
        return int(np.searchsorted(ago, RECALL * self._length, side="right"))

    def _renewed(self, heard: Heard, count: int) -> NDArray[np.floating]:
        """Begin a stretch before the last `count` tokens."""
        recent = heard.last(count + 1).copy()
        passed = self._passing[recent]
        passed[:, 0] = 0.0
        recent[:, 0] = heard.start
        self._begin = self._now - passed.sum(axis=1)
        self._state = self._engine.start(self._takes, self._source())
        clock = self._clocks(self._begin[:, None] + passed.cumsum(axis=1))
        return self._engine.read(recent, self._state, clock)

    def _source(self) -> NDArray[np.int64]:
        """Write the melody of every take's stretch, -1 padded."""
        told = [self._steps.encode(self._from(begin)) for begin in self._begin.tolist()]
        source = np.full((self._takes, max(map(len, told))), -1, dtype=np.int64)
        for row, tokens in zip(source, told, strict=True):
            row[: len(tokens)] = tokens
        return source

    def _from(self, begin: float) -> Performance:
        return self._melody.slice(begin, begin + self._length)

    def _clocks(self, times: NDArray[np.float64]) -> NDArray[np.float32] | None:
        """Give the steps of the melody that have passed at some times, [take, time, 1]."""
        if not self._clock:
            return None
        steps = (times - self._begin[:, None]) * self._steps.steps_per_second
        return steps[..., None].astype(np.float32)
