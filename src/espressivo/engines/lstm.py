"""An LSTM by hand: a column lookup and one product for the first layer, one for each other.

The sigmoid is written as (1 + tanh(x / 2)) / 2 and the halves are put into the weights, so one
tanh serves all four gates. Gates lie in the order input, forget, output, candidate.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from espressivo.configs import LstmConfig
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
from espressivo.engines.slab import slab

CHUNK = 256
"""Tokens per pass of `read`."""


class LstmState:
    """Hidden values beside the input they are multiplied with, and the cells, per layer."""

    def __init__(self, joined: Logits, cells: Logits, length: int = 0) -> None:
        """Hold `joined` [l, b, 2w], the input and hidden values of each layer, and `cells`."""
        self.joined, self.cells, self.length = joined, cells, length
        _, batch, width = cells.shape
        self.gates = np.empty((batch, 4 * width), np.float32)
        self.scratch = np.empty((batch, width), np.float32)

    @property
    def batch(self) -> int:
        """How many sequences it follows."""
        return int(self.cells.shape[1])

    def fork(self, count: int) -> LstmState:
        """Give `count` independent copies of every sequence."""
        return self.select(np.repeat(np.arange(self.batch), count))

    def select(self, rows: NDArray[np.integer]) -> LstmState:
        """Give independent copies of the sequences `rows`."""
        return LstmState(self.joined[:, rows], self.cells[:, rows], self.length)


class LstmEngine:
    """Plays the weights of `espressivo.models.Lstm`."""

    context: int | None = None

    def __init__(self, config: LstmConfig, weights: Weights) -> None:
        """Lay the weights out for reading row by row, once per token."""
        self.config = config
        self.vocabulary_size = len(weights["output.weight"])
        arrays: Weights = {}
        for layer in range(config.layers):
            inputs, hidden = (
                _gates(weights[f"lstm.weight_{way}_l{layer}"]).T for way in ("ih", "hh")
            )
            bias = _gates(weights[f"lstm.bias_ih_l{layer}"]) + _gates(
                weights[f"lstm.bias_hh_l{layer}"]
            )
            if layer:
                arrays[f"joined{layer}"] = np.concatenate([inputs, hidden])
                arrays[f"bias{layer}"] = bias
            else:
                events, told = inputs[: self.vocabulary_size], inputs[self.vocabulary_size :]
                arrays |= {"events": events + bias, "told": told, "joined0": hidden}
        arrays["output"] = weights["output.weight"].T
        arrays["output_bias"] = weights["output.bias"]
        self.weights = slab(arrays)

    def start(self, batch: int, source: Tokens | None = None) -> LstmState:
        """Give the memory of having read nothing."""
        refuse_source(self, source)
        layers, width = self.config.layers, self.config.width
        joined = np.zeros((layers, batch, 2 * width), np.float32)
        return LstmState(joined, np.zeros((layers, batch, width), np.float32))

    def step(self, tokens: Tokens, state: State, controls: Controls | None = None) -> Logits:
        """Read one token of each sequence; give the logits after it."""
        check_tokens(tokens, state, 1, self.vocabulary_size)
        self._check(tokens, controls)
        state = _own(state)
        weights, width = self.weights, self.config.width
        for layer in range(self.config.layers):
            joined = state.joined[layer]
            if layer:
                np.matmul(joined, weights[f"joined{layer}"], out=state.gates)
                state.gates += weights[f"bias{layer}"]
            else:
                np.matmul(joined[:, width:], weights["joined0"], out=state.gates)
                state.gates += self._heard(tokens, controls)
            _cell(state.gates, state.cells[layer], joined[:, width:], state.scratch)
            if layer + 1 < self.config.layers:
                state.joined[layer + 1, :, :width] = joined[:, width:]
        state.length += 1
        return self._logits(state)

    def read(self, tokens: Tokens, state: State, controls: Controls | None = None) -> Logits:
        """Read tokens layer by layer, so that inputs are multiplied many at a time."""
        check_tokens(tokens, state, 2, self.vocabulary_size)
        self._check(tokens, controls)
        state = _own(state)
        for first in range(0, tokens.shape[1], CHUNK):
            now = slice(first, first + CHUNK)
            self._read(tokens[:, now], state, None if controls is None else controls[:, now])
        return self._logits(state)

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

    def _read(self, tokens: Tokens, state: LstmState, controls: Controls | None) -> None:
        weights, width = self.weights, self.config.width
        told = None if controls is None else controls.swapaxes(0, 1)
        gates = self._heard(tokens.T, told)  # t b 4w
        for layer in range(self.config.layers):
            hidden = np.empty((*gates.shape[:2], width), np.float32)
            weight = weights[f"joined{layer}"][-width:]
            latest = state.joined[layer, :, width:]
            for now, at in zip(gates, hidden, strict=True):
                np.matmul(latest, weight, out=state.gates)
                now += state.gates
                _cell(now, state.cells[layer], at, state.scratch)
                latest = at
            state.joined[layer, :, width:] = latest
            if layer + 1 < self.config.layers:
                state.joined[layer + 1, :, :width] = latest
                gates = hidden @ weights[f"joined{layer + 1}"][:width]
                gates += weights[f"bias{layer + 1}"]
        state.length += tokens.shape[1]

    def _logits(self, state: LstmState) -> Logits:
        hidden = state.joined[-1, :, self.config.width :]
        logits: Logits = hidden @ self.weights["output"]
        logits += self.weights["output_bias"]
        return logits


def _own(state: State) -> LstmState:
    if not isinstance(state, LstmState):
        raise TypeError(f"an LSTM cannot continue from {type(state).__name__}")
    return state


def _gates(array: NDArray[np.floating]) -> Logits:
    """Reorder i, f, g, o to i, f, o, g, and halve what goes into a sigmoid."""
    i, f, g, o = np.split(array.astype(np.float32), 4)
    return np.concatenate([i / 2, f / 2, o / 2, g])


def _cell(gates: Logits, cell: Logits, hidden: Logits, scratch: Logits) -> None:
    """Turn the four sums of a layer into its next cell and hidden values, all in place."""
    width = cell.shape[-1]
    np.tanh(gates, out=gates)
    sigmoid, candidate = gates[:, : 3 * width], gates[:, 3 * width :]
    sigmoid *= 0.5
    sigmoid += 0.5
    cell *= gates[:, width : 2 * width]
    np.multiply(gates[:, :width], candidate, out=scratch)
    cell += scratch
    np.tanh(cell, out=scratch)
    np.multiply(scratch, gates[:, 2 * width : 3 * width], out=hidden)
