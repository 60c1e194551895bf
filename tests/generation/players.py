"""Engines without a network, for tests of what must hold whatever a model wants."""

import numpy as np

from espressivo.codecs import CODECS
from espressivo.generation import Performer

EVERY = list(CODECS.values())


class Memory:
    """What a `Table` has read: its tokens."""

    def __init__(self, tokens):
        self.tokens = tokens

    @property
    def batch(self):
        return len(self.tokens)

    @property
    def length(self):
        return self.tokens.shape[1]

    def fork(self, count):
        return Memory(np.repeat(self.tokens, count, axis=0))

    def select(self, rows):
        return Memory(self.tokens[rows])


class Table:
    """Logits drawn from a seed for every last token, as wild as `scale` says."""

    def __init__(self, size, scale=3.0, seed=0, context=None):
        self.vocabulary_size = size
        self.context = context
        self.read_lengths = []
        random = np.random.default_rng(seed)
        self.table = (random.normal(size=(size, size)) * scale).astype(np.float32)

    def start(self, batch, source=None):
        return Memory(np.zeros((batch, 0), dtype=np.int64))

    def read(self, tokens, state, controls=None):
        self.read_lengths.append(tokens.shape[1])
        state.tokens = np.concatenate([state.tokens, tokens], axis=1)
        assert self.context is None or state.length <= self.context, "more than a state can hold"
        return self.logits(state.tokens)

    def step(self, tokens, state, controls=None):
        state.tokens = np.concatenate([state.tokens, tokens[:, None]], axis=1)
        assert self.context is None or state.length <= self.context, "more than a state can hold"
        return self.logits(state.tokens)

    def logits(self, tokens):
        return self.table[tokens[:, -1]].copy()


class Stubborn(Table):
    """Wants the same logits for ever."""

    def __init__(self, logits):
        super().__init__(1)
        self.vocabulary_size = len(logits)
        self.wish = np.asarray(logits, dtype=np.float32)

    def logits(self, tokens):
        return np.tile(self.wish, (len(tokens), 1))


def wanting(codec, strength=50.0, **values):
    """Logits that want some events, such as `shift=range(100, 101)`, more than all others."""
    logits = np.zeros(len(codec.vocabulary), dtype=np.float32)
    for kind, wished in values.items():
        for value in wished:
            if kind in codec.vocabulary.kinds and value in codec.vocabulary.kinds[kind]:
                logits[codec.vocabulary.id(kind, value)] = strength
    return logits


def table_player(codec, scale=3.0, seed=0, context=None):
    """A performer whose model is a table."""
    return Performer(Table(len(codec.vocabulary), scale, seed, context), codec)
