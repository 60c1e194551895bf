"""The one sampling loop of the project."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from espressivo import bundle
from espressivo.checkpoint import Checkpoint
from espressivo.codecs import Codec, NoteEvents, NoteTuple, decode
from espressivo.controls import Conditioning, Rows, at, moments
from espressivo.engines import Engine, State, build
from espressivo.errors import ConfigError
from espressivo.generation.accompanist import Accompanist
from espressivo.generation.beam import Beam, Player
from espressivo.generation.keyboard import Keyboard
from espressivo.generation.loops import LONGEST_PERIOD, Loops
from espressivo.generation.note_keyboard import NoteKeyboard
from espressivo.generation.provenance import Provenance, Take
from espressivo.generation.sampling import Sampler, Sampling, draw
from espressivo.generation.stretches import MelodyEngine, Stretches
from espressivo.generation.tasks import Prompt
from espressivo.performance import Event


class Performer:
    """A model that plays: an engine and the codec that says what its tokens mean.

    `conditioning` says what else it is told. `model` and `digest` name the checkpoint in the
    provenance of what is played.
    """

    def __init__(
        self,
        engine: Engine,
        codec: Codec,
        *,
        conditioning: Conditioning = Conditioning(),
        model: str = "",
        digest: str = "",
    ) -> None:
        """Join an engine with its codec."""
        if engine.vocabulary_size != len(codec.vocabulary):
            raise ConfigError(
                f"the engine knows {engine.vocabulary_size} tokens, "
                f"the codec has {len(codec.vocabulary)}; they must come from one checkpoint"
            )
        self.engine = engine
        self.codec = codec
        self.conditioning = conditioning
        self.model = model
        self.digest = digest

    @staticmethod
    def of(checkpoint: Checkpoint, model: str = "") -> Performer:
        """Wake a checkpoint; `model` is the name to remember it by."""
        engine = build(checkpoint.config, dict(checkpoint.weights))
        assert not isinstance(checkpoint.codec, NoteEvents)  # its models have no engine of ids
        return Performer(
            engine,
            checkpoint.codec,
            conditioning=Conditioning.of(checkpoint.config),
            model=model,
            digest=checkpoint.digest,
        )

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
        _refuse_untold(performer, prompt)
        if prompt.melody is not None and not isinstance(performer.engine, MelodyEngine):
            raise ConfigError(
                f"{performer.model or 'the model'} reads no melodies; name a model that accompanies"
            )
        if prompt.melody is not None and sampling.beam * sampling.branch > 1:
            raise ConfigError(
                f"beam={sampling.beam} and branch={sampling.branch} must be 1 around a melody: "
                "a beam does not follow one"
            )
        for name, number, least in (("seed", seed, 0), ("takes", count, 1)):
            if isinstance(number, bool) or not isinstance(number, int) or number < least:
                raise ConfigError(f"{name}={number!r} must be a whole number of at least {least}")
        self.performer = performer
        self.prompt = prompt
        self.sampling = sampling
        self.seed = seed
        self.keyboards: list[Player] = [_keyboard(prompt, sampling) for _ in range(count)]
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
        performance = self.prompt.gathered(keyboard.events)
        return Take(performance, tokens, provenance, self.prompt.mark)

    def _play(self) -> Iterator[tuple[int, Event]]:
        beam, engine = Beam(self.keyboards, self.sampling, self.seed), self.performer.engine
        keyboards = beam.keyboards
        start = self.performer.codec.start
        takes = len(keyboards)
        sampler = Sampler(self.sampling, self.performer.codec.vocabulary)
        loops = Loops(takes) if self.sampling.break_loops else None
        heat: NDArray[np.float64] | None = None
        told = _Told(self.performer.conditioning, self.prompt)
        history = _History(takes, self.prompt.tokens, start, told.before(keyboards[0].time))
        allowed = np.zeros((takes, engine.vocabulary_size), dtype=bool)
        uniform, eagerness = np.zeros(takes), np.ones(takes)
        reader = _reader(engine, self.prompt, takes)
        logits = reader.read(history)
        while True:
            for take, keyboard in enumerate(keyboards):
                if not keyboard.done:
                    allowed[take] = keyboard.allowed()
                    uniform[take] = beam.streams[take].random()
                    eagerness[take] = keyboard.eagerness
                    if isinstance(keyboard, Accompanist):
                        keyboard.lead(logits[take])
            closing = eagerness if min(eagerness.tolist()) < 1 else None
            tokens = draw(sampler.weights(logits, allowed, heat, closing), uniform)
            if loops is not None:
                heat = loops.hear(history.last(LONGEST_PERIOD), tokens)
            yield from beam.push(tokens, logits)
            if beam.done:
                return
            history.append(tokens, told.now([keyboard.time for keyboard in keyboards]))
            logits = reader.step(tokens, history)
            if beam.due:
                rows = beam.choose()
                logits = logits[rows]
                assert isinstance(reader, _Reader)  # around a melody there is no beam
                history.select(rows)
                reader.select(rows)
                if loops is not None:
                    heat = loops.select(rows)
                yield from beam.agreed()


def _reader(engine: Engine, prompt: Prompt, takes: int) -> _Reader | Stretches:
    """Give what lets the model hear: with a melody also what it reads ahead."""
    if prompt.melody is None:
        return _Reader(engine, takes)
    assert isinstance(engine, MelodyEngine)
    return Stretches(engine, prompt.codec, prompt.melody, takes)


def _refuse_untold(performer: Performer, prompt: Prompt) -> None:
    """Refuse controls that the model was not trained with."""
    for name in prompt.controls:
        if name not in performer.conditioning.names:
            able = ", ".join(bundle.told(name)) or "none; see espressivo presets for what to train"
            raise ConfigError(
                f"{performer.model or 'the model'} cannot be told {name}; "
                f"bundled checkpoints that can: {able}"
            )


class _Told:
    """What a model is told of every event before it plays it; None for a model told nothing.

    Of what it hears first it is told what that is; from then on, what is asked for.
    """

    def __init__(self, conditioning: Conditioning, prompt: Prompt) -> None:
        self._conditioning, self._prompt = conditioning, prompt

    def before(self, time: float) -> Rows | None:
        """Give the rows of the prompt's tokens and of the first one to play, [t, c]."""
        first = self.now([time])
        prompt = self._prompt
        if first is None or not len(prompt.tokens):
            return first
        heard, times = decode(prompt.codec, prompt.tokens), moments(prompt.codec, prompt.tokens)
        return np.concatenate([self._conditioning.measured(heard, times, prompt.controls), first])

    def now(self, times: list[float]) -> Rows | None:
        """Give the rows of the next token of every take, [b, c]; they follow the music's time."""
        if not self._conditioning:
            return None
        passed = (np.array(times) - self._prompt.mark) / self._prompt.seconds
        values = {name: at(track, passed) for name, track in self._prompt.controls.items()}
        return self._conditioning.rows(values, len(times))


def _keyboard(prompt: Prompt, sampling: Sampling) -> Player:
    """Sit down at the keyboard a codec is played on."""
    if prompt.melody is not None:
        return Accompanist(prompt, sampling, prompt.melody)
    if isinstance(prompt.codec, NoteTuple):
        return NoteKeyboard(prompt, prompt.codec, sampling)
    return Keyboard(prompt, sampling)


class _History:
    """All tokens of all takes, the start token and the prompt included.

    Where the model is told things, with what held for the token after each.
    """

    def __init__(
        self, takes: int, prompt: NDArray[np.int64], start: int, told: Rows | None
    ) -> None:
        self.start = start
        # Before the start lie nobody's tokens, so that `last` never runs short.
        self._first = LONGEST_PERIOD
        self.length = 1 + len(prompt)
        self._tokens = np.full((takes, self._first + self.length + 4096), -1, dtype=np.int64)
        self._tokens[:, self._first] = start
        self._tokens[:, self._first + 1 : self._first + self.length] = prompt
        self._told: Rows | None = None
        if told is not None:
            self._told = np.zeros((*self._tokens.shape, told.shape[-1]), dtype=np.float32)
            self._told[:, self._first : self._first + self.length] = told

    def select(self, rows: NDArray[np.int64]) -> None:
        """Go on from some takes, in that order."""
        self._tokens = self._tokens[rows]
        if self._told is not None:
            self._told = self._told[rows]

    def last(self, count: int) -> NDArray[np.int64]:
        end = self._first + self.length
        return self._tokens[:, end - count : end]

    def told(self, count: int) -> Rows | None:
        """Give what held for the token after each of the last ones, [b, count, c]."""
        end = self._first + self.length
        return None if self._told is None else self._told[:, end - count : end]

    def append(self, tokens: NDArray[np.int64], told: Rows | None) -> None:
        """Add a token of every take, and what holds for the one after it."""
        end = self._first + self.length
        if end == self._tokens.shape[1]:
            self._tokens = np.concatenate([self._tokens, np.full_like(self._tokens, -1)], axis=1)
            if self._told is not None:
                self._told = np.concatenate([self._told, np.zeros_like(self._told)], axis=1)
        self._tokens[:, end] = tokens
        if self._told is not None and told is not None:
            self._told[:, end] = told
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
        self._state: State

    def read(self, history: _History) -> NDArray[np.floating]:
        """Begin: every take hears the same, so it is read once."""
        logits = self._read(history, 1)
        if self._takes > 1:
            self._state = self._state.fork(self._takes)
            logits = np.repeat(logits, self._takes, axis=0)
        return logits

    def step(self, tokens: NDArray[np.int64], history: _History) -> NDArray[np.floating]:
        """Go on by one token of every take."""
        if self._context is None or self._state.length < self._context:
            told = history.told(1)
            return self._engine.step(tokens, self._state, None if told is None else told[:, 0])
        return self._read(history, self._takes)

    def select(self, rows: NDArray[np.int64]) -> None:
        """Go on from some takes, in that order."""
        self._state = self._state.select(rows)

    def _read(self, history: _History, takes: int) -> NDArray[np.floating]:
        """Forget everything, then read what fits for the first `takes`."""
        window = self._window(history)
        tokens, told = history.last(window)[:takes].copy(), history.told(window)
        tokens[:, 0] = history.start
        self._state = self._engine.start(takes)
        return self._engine.read(tokens, self._state, None if told is None else told[:takes])

    def _window(self, history: _History) -> int:
        """Give how many of the latest tokens to read, the start token in the first one's place."""
        if self._context is None or history.length < self._context:
            return history.length
        return max(self._context // 2, 1)
