"""Beam search whose branches are drawn (Magenta's `beam_size`, `branch_factor`).

Of every take `beam` candidates are kept, each with `branch` copies that go their own ways by
chance. After every `steps_per_iteration` tokens all are compared by how likely the model, untouched
by temperatures and rules, finds them, and the best are kept. Likelihood is counted per token, so
that one that has come to its end can be compared with those that go on. With one candidate and one
branch this is drawing as ever.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from copy import copy
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from espressivo.codecs.midi_like_decoder import MidiLikeDecoder
from espressivo.codecs.note_tuple_decoder import NoteTupleDecoder
from espressivo.generation.keyboard import Keyboard
from espressivo.generation.note_keyboard import NoteKeyboard
from espressivo.generation.sampling import Sampling
from espressivo.performance import Event

Player = Keyboard | NoteKeyboard
T = TypeVar("T")


class Beam:
    """The candidates of all takes, side by side: a keyboard and a random stream for each.

    What all candidates of a take agree on is decided, and played on the keyboard of the take.
    """

    def __init__(self, takes: list[Player], sampling: Sampling, seed: int) -> None:
        """Begin with candidates that have played nothing."""
        self._takes, self._sampling = takes, sampling
        self._each = sampling.beam * sampling.branch
        self.keyboards: list[Player] = takes
        if self._each > 1:
            self.keyboards = [forked(k) for k in takes for _ in range(self._each)]
        self.streams = [
            np.random.default_rng(np.random.SeedSequence(seed, spawn_key=key))
            for take in range(len(takes))
            for key in [(take,), *((take, row) for row in range(1, self._each))]
        ]
        self._undecided: list[list[int]] = [[] for _ in self.keyboards]
        self._nats = np.zeros(len(self.keyboards))
        self._count = np.zeros(len(self.keyboards), dtype=np.int64)
        self._spare = np.zeros(len(self.keyboards), dtype=bool)  # copies of what has ended
        self._steps = 0

    def push(
        self, tokens: NDArray[np.int64], logits: NDArray[np.floating]
    ) -> Iterator[tuple[int, Event]]:
        """Play a token on every keyboard that is not done; give what that decides."""
        self._steps += 1
        if self._each == 1:
            for take, token in enumerate(tokens.tolist()):
                if not self.keyboards[take].done:
                    for event in self.keyboards[take].push(token):
                        yield take, event
            return
        wishes = logits.astype(np.float64)
        wishes -= wishes.max(axis=1, keepdims=True)
        chosen = wishes[np.arange(len(tokens)), tokens] - np.log(np.exp(wishes).sum(axis=1))
        for row, (keyboard, token) in enumerate(zip(self.keyboards, tokens.tolist(), strict=True)):
            if not keyboard.done:
                keyboard.push(token)
                self._undecided[row].append(token)
                self._nats[row] -= chosen[row]
                self._count[row] += 1
        if self.done:
            for take in range(len(self._takes)):
                yield from self._decide(take, self._undecided[self._best(take)[0]])

    @property
    def done(self) -> bool:
        """Tell whether every candidate has come to its end."""
        return all(keyboard.done for keyboard in self.keyboards)

    @property
    def due(self) -> bool:
        """Tell whether it is time to choose."""
        return self._each > 1 and self._steps % self._sampling.steps_per_iteration == 0

    def choose(self) -> NDArray[np.int64]:
        """Keep the best of every take and branch them; give which row each row now goes on from."""
        best = [row for take in range(len(self._takes)) for row in self._best(take)]
        rows = np.repeat(best, self._sampling.branch)
        first = np.append(True, rows[1:] != rows[:-1])
        self.keyboards[:] = [forked(self.keyboards[row]) for row in rows]
        self._undecided = [[*self._undecided[row]] for row in rows]
        self._nats, self._count = self._nats[rows], self._count[rows]
        ended = np.array([keyboard.done for keyboard in self.keyboards])
        self._spare = self._spare[rows] | (ended & ~first)
        return rows

    def agreed(self) -> Iterator[tuple[int, Event]]:
        """Give what all candidates have in common and has not been given."""
        for take in range(len(self._takes)):
            mine = self._undecided[take * self._each : (take + 1) * self._each]
            yield from self._decide(take, _common(mine))

    def _best(self, take: int) -> list[int]:
        """Give the likeliest candidates of a take, the best first."""
        rows = np.arange(take * self._each, (take + 1) * self._each)
        cost = np.where(self._spare[rows], np.inf, self._nats[rows] / self._count[rows].clip(1))
        order = np.argsort(cost, kind="stable")
        return [int(row) for row in rows[order[: self._sampling.beam]]]

    def _decide(self, take: int, tokens: list[int]) -> Iterator[tuple[int, Event]]:
        """Play tokens on the keyboard of a take."""
        for row in range(take * self._each, (take + 1) * self._each):
            self._undecided[row] = self._undecided[row][len(tokens) :]
        for token in list(tokens):
            for event in self._takes[take].push(token):
                yield take, event


def _common(sequences: list[list[int]]) -> list[int]:
    """Give what all sequences begin with."""
    same = [len({*tokens}) == 1 for tokens in zip(*sequences, strict=False)]
    return sequences[0][: [*same, False].index(False)]


def forked(thing: T) -> T:
    """Copy a keyboard and the containers it holds, whose elements never change."""
    twin = copy(thing)
    for name, value in vars(thing).items():
        if isinstance(value, list | dict | set | deque | np.ndarray):
            setattr(twin, name, copy(value))
        elif isinstance(value, MidiLikeDecoder | NoteTupleDecoder):
            setattr(twin, name, forked(value))
    return twin
