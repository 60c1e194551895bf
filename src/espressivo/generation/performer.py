"""The one sampling loop of the project."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from espressivo.checkpoint import Checkpoint
from espressivo.codecs import Codec
from espressivo.engines import Engine, build
from espressivo.errors import ConfigError
from espressivo.generation.keyboard import Keyboard
from espressivo.generation.loops import LONGEST_PERIOD, Loops
from espressivo.generation.provenance import Provenance, Take
from espressivo.generation.sampling import Sampler, Sampling, draw
from espressivo.generation.tasks import Prompt
from espressivo.performance import Event, Performance


class Performer:
    """A model that plays: an engine and the codec that says what its tokens mean.

    `model` and `digest` name the checkpoint in the provenance of what is played.
    """

    def __init__(self, engine: Engine, codec: Codec, *, model: str = "", digest: str = "") -> None:
        """Join an engine with its codec."""
        if engine.vocabulary_size != len(codec.vocabulary):
            raise ConfigError(
                f"the engine knows {engine.vocabulary_size} tokens, "
                f"the codec has {len(codec.vocabulary)}; they must come from one checkpoint"
            )
        self.engine = engine
        self.codec = codec
        self.model = model
        self.digest = digest

    @staticmethod
    def of(checkpoint: Checkpoint, model: str = "") -> Performer:
        """Wake a checkpoint; `model` is the name to remember it by."""
        engine = build(checkpoint.config, dict(checkpoint.weights))
        return Performer(engine, checkpoint.codec, model=model, digest=checkpoint.digest)

    def play(self, prompt: Prompt, sampling: Sampling, seed: int) -> Iterator[Event]:
        """Stream the events of one take, those before the mark first.

        It is the only take of `takes(prompt, sampling, seed, 1)`: `Performance.from_events` of
        the whole stream gives its performance.
        """
        yield from prompt.opening
        for _, event in self.perform(prompt, sampling, seed):
            yield event

    def takes(self, prompt: Prompt, sampling: Sampling, seed: int, count: int) -> list[Take]:
        """Play several takes as one batch; see `perform` for what a seed promises."""
        return self.perform(prompt, sampling, seed, count).takes()

    def perform(self, prompt: Prompt, sampling: Sampling, seed: int, count: int = 1) -> Playing:
        """Begin `count` takes as one batch: an iterator of events that ends in takes.

        Take i draws from a random stream of its own, made of (seed, i) alone. Alone or among
        others it would choose the same, but for the last bits of the engine's sums, which
        depend on the size of the batch: to repeat a take exactly, repeat its whole batch.
        """
        return Playing(self, prompt, sampling, seed, count)


class Playing:
    """Takes in the making. Iterating gives (take, event) as the music comes into being."""

    def __init__(
        self, performer: Performer, prompt: Prompt, sampling: Sampling, seed: int, count: int
    ) -> None:
        """Prepare to play; nothing is computed before the first event is asked for."""
        if prompt.codec != performer.codec:
            raise ConfigError(
                f"the prompt is written for codec {prompt.codec}, "
                f"the model plays {performer.codec}; build the prompt with the model's codec"
            )
        for name, number, least in (("seed", seed, 0), ("takes", count, 1)):
            if isinstance(number, bool) or not isinstance(number, int) or number < least:
                raise ConfigError(f"{name}={number!r} must be a whole number of at least {least}")
        self.performer = performer
        self.prompt = prompt
        self.sampling = sampling
        self.seed = seed
        self.keyboards = [Keyboard(prompt, sampling) for _ in range(count)]
        self._streams = [
            np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(take,)))
            for take in range(count)
        ]
        self._events = self._play()

    def __iter__(self) -> Iterator[tuple[int, Event]]:
        """Go on where the last iteration stopped."""
        return self._events

    def takes(self) -> list[Take]:
        """Play what is left, then give every take with its provenance."""
        for _ in self._events:
            pass
        return [self.take(index) for index in range(len(self.keyboards))]

    def take(self, index: int) -> Take:
        """Give one take, playing on until it is finished."""
        keyboard = self.keyboards[index]
        while not keyboard.done:
            next(self._events)
        tokens = np.array(keyboard.tokens, dtype=np.int64)
        provenance = Provenance.of(
            self.prompt,
            self.sampling,
            tokens,
            model=self.performer.model,
            digest=self.performer.digest,
            seed=self.seed,
            take=index,
            takes=len(self.keyboards),
        )
        performance = Performance.from_events(keyboard.events)
        return Take(performance, tokens, provenance, self.prompt.mark)

    def _play(self) -> Iterator[tuple[int, Event]]:
        keyboards, engine = self.keyboards, self.performer.engine
        start = self.performer.codec.start
        takes = len(keyboards)
        sampler = Sampler(self.sampling, self.performer.codec.vocabulary)
        loops = Loops(takes) if self.sampling.break_loops else None
        heat: NDArray[np.float64] | None = None
        history = _History(takes, self.prompt.tokens, start)
        allowed = np.zeros((takes, engine.vocabulary_size), dtype=bool)
        uniform, eagerness = np.zeros(takes), np.ones(takes)
        reader = _Reader(engine, takes)
        logits = reader.read(history)
        while True:
            for take, keyboard in enumerate(keyboards):
                if not keyboard.done:
                    allowed[take] = keyboard.allowed()
                    uniform[take] = self._streams[take].random()
                    eagerness[take] = keyboard.eagerness
            closing = eagerness if min(eagerness.tolist()) < 1 else None
            tokens = draw(sampler.weights(logits, allowed, heat, closing), uniform)
            if loops is not None:
                heat = loops.hear(history.last(LONGEST_PERIOD), tokens)
            history.append(tokens)
            for take, token in enumerate(tokens.tolist()):
                if not keyboards[take].done:
                    for event in keyboards[take].push(token):
                        yield take, event
            if all(keyboard.done for keyboard in keyboards):
                return
            logits = reader.step(tokens, history)


class _History:
    """All tokens of all takes, the start token and the prompt included."""

    def __init__(self, takes: int, prompt: NDArray[np.int64], start: int) -> None:
        self.start = start
        # Before the start lie nobody's tokens, so that `last` never runs short.
        self._first = LONGEST_PERIOD
        self.length = 1 + len(prompt)
        self._tokens = np.full((takes, self._first + self.length + 4096), -1, dtype=np.int64)
        self._tokens[:, self._first] = start
        self._tokens[:, self._first + 1 : self._first + self.length] = prompt

    def last(self, count: int) -> NDArray[np.int64]:
        end = self._first + self.length
        return self._tokens[:, end - count : end]

    def append(self, tokens: NDArray[np.int64]) -> None:
        end = self._first + self.length
        if end == self._tokens.shape[1]:
            self._tokens = np.concatenate([self._tokens, np.full_like(self._tokens, -1)], axis=1)
        self._tokens[:, end] = tokens
        self.length += 1


class _Reader:
    """An engine that never runs out of context.

    When its state is full, or the prompt alone would fill it, it forgets and reads again: the
    start token and the latest tokens, half a context in all.
    """

    def __init__(self, engine: Engine, takes: int) -> None:
        self._engine = engine
        self._takes = takes
        self._context = engine.context

    def read(self, history: _History) -> NDArray[np.floating]:
        """Begin: every take hears the same, so it is read once."""
        tokens = history.last(self._window(history))[:1].copy()
        tokens[:, 0] = history.start
        self._state = self._engine.start(1)
        logits = self._engine.read(tokens, self._state)
        if self._takes > 1:
            self._state = self._state.fork(self._takes)
            logits = np.repeat(logits, self._takes, axis=0)
        return logits

    def step(self, tokens: NDArray[np.int64], history: _History) -> NDArray[np.floating]:
        """Go on by one token of every take."""
        if self._context is None or self._state.length < self._context:
            return self._engine.step(tokens, self._state)
        recent = history.last(self._window(history)).copy()
        recent[:, 0] = history.start
        self._state = self._engine.start(self._takes)
        return self._engine.read(recent, self._state)

    def _window(self, history: _History) -> int:
        """Give how many of the latest tokens to read, the start token in the first one's place."""
        if self._context is None or history.length < self._context:
            return history.length
        return max(self._context // 2, 1)
