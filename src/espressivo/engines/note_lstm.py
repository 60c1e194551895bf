"""LSTM layers over whole notes by hand: five tokens of six cost a lookup, the sixth moves them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from espressivo.configs import NoteLstmConfig
from espressivo.engines import lstm_layers
from espressivo.engines.engine import (
    Controls,
    Logits,
    State,
    Tokens,
    Weights,
    check_tokens,
    refuse_controls,
    refuse_source,
)
from espressivo.engines.lstm_layers import LayersState
from espressivo.engines.slab import slab

NEVER = np.float32(-1e4)
"""The logit of an id whose slot is not next."""


class NoteLstmState:
    """The layers, what of the next note goes into them [b, 4w], and the logits of its slots."""

    def __init__(
        self, layers: LayersState, pending: Logits, logits: Logits, length: int = 0
    ) -> None:
        """Hold the state of sequences of which `length` tokens were read."""
        self.layers, self.pending, self.logits, self.length = layers, pending, logits, length

    @property
    def batch(self) -> int:
        """How many sequences it follows."""
        return len(self.pending)

    def fork(self, count: int) -> NoteLstmState:
        """Give `count` independent copies of every sequence."""
        return self.select(np.repeat(np.arange(self.batch), count))

    def select(self, rows: NDArray[np.integer]) -> NoteLstmState:
        """Give independent copies of the sequences `rows`."""
        layers = self.layers.select(rows)
        return NoteLstmState(layers, self.pending[rows], self.logits[rows], self.length)


class NoteLstmEngine:
    """Plays the weights of `espressivo.models.NoteLstm`."""

    context: int | None = None

    def __init__(self, config: NoteLstmConfig, weights: Weights) -> None:
        """Lay the weights out for reading row by row, once per note."""
        self.config = config
        self.vocabulary_size = len(weights["output.weight"])
        arrays = lstm_layers.laid_out(weights, config.layers)
        arrays["output"], arrays["output_bias"] = weights["output.weight"].T, weights["output.bias"]
        self.weights = slab(arrays)
        slots = np.arange(len(config.slots))
        self._slot_of = np.repeat(slots, config.slots)
        self._closed = self._slot_of != np.roll(slots, -1)[:, None]

    def start(self, batch: int, source: Tokens | None = None) -> NoteLstmState:
        """Give the memory of having read nothing."""
        refuse_source(self, source)
        layers = LayersState.start(self.config.layers, batch, self.config.width)
        pending = np.tile(self.weights["bias0"], (batch, 1))
        return NoteLstmState(layers, pending, np.tile(self.weights["output_bias"], (batch, 1)))

    def step(self, tokens: Tokens, state: State, controls: Controls | None = None) -> Logits:
        """Read one token of each sequence; give the logits after it."""
        refuse_controls(self, controls)
        check_tokens(tokens, state, 1, self.vocabulary_size)
        return self._step(tokens, _own(state))

    def read(self, tokens: Tokens, state: State, controls: Controls | None = None) -> Logits:
        """Read token after token: whole notes may end in each sequence somewhere else."""
        refuse_controls(self, controls)
        check_tokens(tokens, state, 2, self.vocabulary_size)
        state = _own(state)
        for now in tokens.T:
            logits = self._step(now, state)
        return logits

    def _step(self, tokens: Tokens, state: NoteLstmState) -> Logits:
        state.pending += self.weights["inputs0"][tokens]
        state.length += 1
        slot = self._slot_of[tokens]
        ended = np.flatnonzero(slot == len(self.config.slots) - 1)
        if len(ended) == state.batch:
            self._move(state.layers, state.pending, state.logits)
        elif len(ended):
            some = state.select(ended)
            self._move(some.layers, some.pending, some.logits)
            state.layers.put(ended, some.layers)
            state.pending[ended], state.logits[ended] = some.pending, some.logits
        return np.where(self._closed[slot], NEVER, state.logits)

    def _move(self, layers: LayersState, pending: Logits, logits: Logits) -> None:
        """Let the layers hear a note, and clear what was pending for the next."""
        hidden = lstm_layers.step(self.weights, layers, pending)
        np.matmul(hidden, self.weights["output"], out=logits)
        logits += self.weights["output_bias"]
        pending[:] = self.weights["bias0"]


def _own(state: State) -> NoteLstmState:
    if not isinstance(state, NoteLstmState):
        raise TypeError(f"an LSTM of notes cannot continue from {type(state).__name__}")
    return state
