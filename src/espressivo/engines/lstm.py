"""LSTM layers over events by hand: what goes into the first layer is looked up."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from espressivo.configs import LstmConfig, modulo
from espressivo.engines import lstm_layers
from espressivo.engines.engine import (
    Controls,
    Logits,
    State,
    Tokens,
    Weights,
    check_controls,
    check_tokens,
    refuse_controls,
    refuse_source,
)
from espressivo.engines.lstm_layers import LayersState
from espressivo.engines.slab import slab

CHUNK = 256
"""Tokens per pass of `read`."""


class LstmState:
    """The layers, and how many tokens of each sequence they have heard."""

    def __init__(self, layers: LayersState, length: int = 0) -> None:
        """Hold the state of the layers."""
        self.layers, self.length = layers, length

    @property
    def batch(self) -> int:
        """How many sequences it follows."""
        return self.layers.batch

    def fork(self, count: int) -> LstmState:
        """Give `count` independent copies of every sequence."""
        return self.select(np.repeat(np.arange(self.batch), count))

    def select(self, rows: NDArray[np.integer]) -> LstmState:
        """Give independent copies of the sequences `rows`."""
        return LstmState(self.layers.select(rows), self.length)


class LstmEngine:
    """Plays the weights of `espressivo.models.Lstm`."""

    context: int | None = None

    def __init__(self, config: LstmConfig, weights: Weights) -> None:
        """Lay the weights out for reading row by row, once per token."""
        self.config = config
        self.vocabulary_size = len(weights["output.weight"])
        arrays = lstm_layers.laid_out(weights, config.layers)
        inputs, bias = arrays.pop("inputs0"), arrays.pop("bias0")
        shown = len(inputs) - config.told
        events = inputs[:shown]
        if config.inputs == "modulo":
            events = modulo.features() @ events
        arrays |= {"events": events + bias, "told": inputs[shown:]}
        arrays["output"] = weights["output.weight"].T
        arrays["output_bias"] = weights["output.bias"]
        self.weights = slab(arrays)

    def start(self, batch: int, source: Tokens | None = None) -> LstmState:
        """Give the memory of having read nothing."""
        refuse_source(self, source)
        return LstmState(LayersState.start(self.config.layers, batch, self.config.width))

    def step(self, tokens: Tokens, state: State, controls: Controls | None = None) -> Logits:
        """Read one token of each sequence; give the logits after it."""
        check_tokens(tokens, state, 1, self.vocabulary_size)
        self._check(tokens, controls)
        state = _own(state)
        hidden = lstm_layers.step(self.weights, state.layers, self._heard(tokens, controls))
        state.length += 1
        return self._logits(hidden)

    def read(self, tokens: Tokens, state: State, controls: Controls | None = None) -> Logits:
        """Read tokens layer by layer, so that inputs are multiplied many at a time."""
        check_tokens(tokens, state, 2, self.vocabulary_size)
        self._check(tokens, controls)
        state = _own(state)
        for first in range(0, tokens.shape[1], CHUNK):
            now = slice(first, first + CHUNK)
            told = None if controls is None else controls[:, now].swapaxes(0, 1)
            heard = self._heard(tokens[:, now].T, told)
            hidden = lstm_layers.read(self.weights, state.layers, heard)[-1]
        state.length += tokens.shape[1]
        return self._logits(hidden)

    def _check(self, tokens: Tokens, controls: Controls | None) -> None:
        if not self.config.controls:
            refuse_controls(self, controls)
        elif controls is not None:
            check_controls(controls, tokens, self.config.told)

    def _heard(self, tokens: Tokens, controls: Controls | None) -> Logits:
        """Give what events, and what is told beside them, add to the gates of the first layer."""
        gates: Logits = self.weights["events"][tokens]
        if controls is not None:
            gates += controls.astype(np.float32, copy=False) @ self.weights["told"]
        elif self.config.optional:
            gates += self.weights["told"][0]  # the flag that says so
        return gates

    def _logits(self, hidden: Logits) -> Logits:
        logits: Logits = hidden @ self.weights["output"]
        logits += self.weights["output_bias"]
        return logits


def _own(state: State) -> LstmState:
    if not isinstance(state, LstmState):
        raise TypeError(f"an LSTM cannot continue from {type(state).__name__}")
    return state
