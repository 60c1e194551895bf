"""LSTM layers that look back, by hand; what is compared with an output is computed once."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from espressivo.configs import AttentionLstmConfig
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

CHUNK = 256
"""Tokens per pass of `read`."""


class AttentionLstmState:
    """The layers, and the last outputs with what they are compared by, [b, n, w] each."""

    def __init__(self, layers: LayersState, past: Logits, keys: Logits, length: int = 0) -> None:
        """Hold the state of sequences of which `length` tokens were read."""
        self.layers, self.past, self.keys, self.length = layers, past, keys, length

    @property
    def batch(self) -> int:
        """How many sequences it follows."""
        return len(self.past)

    def fork(self, count: int) -> AttentionLstmState:
        """Give `count` independent copies of every sequence."""
        return self.select(np.repeat(np.arange(self.batch), count))

    def select(self, rows: NDArray[np.integer]) -> AttentionLstmState:
        """Give independent copies of the sequences `rows`."""
        layers = self.layers.select(rows)
        return AttentionLstmState(layers, self.past[rows], self.keys[rows], self.length)


class AttentionLstmEngine:
    """Plays the weights of `espressivo.models.AttentionLstm`."""

    context: int | None = None

    def __init__(self, config: AttentionLstmConfig, weights: Weights) -> None:
        """Lay the weights out for reading row by row, once per token."""
        self.config = config
        self.vocabulary_size = len(weights["output.weight"])
        arrays = lstm_layers.laid_out(weights, config.layers)
        arrays["events"] = arrays.pop("inputs0") + arrays.pop("bias0")
        for name in ("key", "query", "place", "mix"):
            if f"look_back.{name}.weight" in weights:
                arrays[name] = weights[f"look_back.{name}.weight"].T
        for name in ("energy", "place_energy"):
            if f"look_back.{name}" in weights:
                arrays[name] = weights[f"look_back.{name}"]
        arrays["output"], arrays["output_bias"] = weights["output.weight"].T, weights["output.bias"]
        self.weights = slab(arrays)
        self._distance = np.arange(config.look_back, 0, -1, dtype=np.float32)

    def start(self, batch: int, source: Tokens | None = None) -> AttentionLstmState:
        """Give the memory of having read nothing."""
        refuse_source(self, source)
        config = self.config
        layers = LayersState.start(config.layers, batch, config.width)
        past = np.zeros((batch, config.look_back, config.width), np.float32)
        return AttentionLstmState(layers, past, np.zeros_like(past))

    def step(self, tokens: Tokens, state: State, controls: Controls | None = None) -> Logits:
        """Read one token of each sequence; give the logits after it."""
        refuse_controls(self, controls)
        check_tokens(tokens, state, 1, self.vocabulary_size)
        state = _own(state)
        heard = lstm_layers.step(self.weights, state.layers, self.weights["events"][tokens])
        state.length += 1
        return self._look(heard[None], state)

    def read(self, tokens: Tokens, state: State, controls: Controls | None = None) -> Logits:
        """Read tokens many at a time; only the last output needs to look back."""
        refuse_controls(self, controls)
        check_tokens(tokens, state, 2, self.vocabulary_size)
        state = _own(state)
        for first in range(0, tokens.shape[1], CHUNK):
            piece = tokens[:, first : first + CHUNK]
            heard = lstm_layers.read(self.weights, state.layers, self.weights["events"][piece.T])
            state.length += piece.shape[1]
            logits = self._look(heard, state)
        return logits

    def _look(self, heard: Logits, state: AttentionLstmState) -> Logits:
        """Give the logits after the last of new outputs [t, b, w], and remember them all."""
        self._remember(heard[:-1], state)
        now = heard[-1]
        weights = self._focused(self._scores(now, state.keys), now)
        found = (weights[:, None] @ state.past)[:, 0]
        mixed = np.tanh(np.concatenate([found, now], axis=1) @ self.weights["mix"])
        self._remember(heard[-1:], state)
        logits: Logits = mixed @ self.weights["output"]
        logits += self.weights["output_bias"]
        return logits

    def _remember(self, heard: Logits, state: AttentionLstmState) -> None:
        """Let outputs [t, b, w] take the places of the oldest."""
        heard = heard[-self.config.look_back :].swapaxes(0, 1)
        count = heard.shape[1]
        if not count:
            return
        keys = heard @ self.weights["key"] if "key" in self.weights else heard
        for memory, new in ((state.past, heard), (state.keys, keys)):
            memory[:, :-count] = memory[:, count:]
            memory[:, -count:] = new

    def _scores(self, now: Logits, keys: Logits) -> Logits:
        scores: Logits
        if self.config.score == "concat":
            asked = now @ self.weights["query"]
            scores = np.tanh(keys + asked[:, None]) @ self.weights["energy"]
        else:
            scores = (keys @ now[:, :, None])[:, :, 0]
        return scores

    def _focused(self, scores: Logits, now: Logits) -> Logits:
        """Turn scores into weights: a softmax over what is in focus."""
        if self.config.focus == "all":
            return _softmax(scores)
        window = np.float32(self.config.window)
        if self.config.focus == "local-m":
            return _softmax(np.where(self._distance > window, -np.inf, scores))
        wish = np.tanh(now @ self.weights["place"]) @ self.weights["place_energy"]
        place = self.config.look_back / (1 + np.exp(-wish))
        off = self._distance - place[:, None]
        weights = _softmax(np.where(abs(off) > window, -np.inf, scores))
        gaussian: Logits = np.exp(-2 * (off / window) ** 2)
        return weights * gaussian


def _softmax(scores: Logits) -> Logits:
    weights: Logits = np.exp(scores - scores.max(axis=1, keepdims=True))
    weights /= weights.sum(axis=1, keepdims=True)
    return weights


def _own(state: State) -> AttentionLstmState:
    if not isinstance(state, AttentionLstmState):
        raise TypeError(f"an LSTM that looks back cannot continue from {type(state).__name__}")
    return state
