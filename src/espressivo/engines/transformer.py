"""A Music Transformer by hand, with a preallocated cache of keys and values.

A step asks for the distances n - 1 ... 0, which is a contiguous slice of the table of distances,
already in the order of the keys: nothing is skewed. Keys, values and distances lie [.., d, time],
so that every product reads long contiguous rows, at nearly the speed of the memory.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.lib.stride_tricks import as_strided
from numpy.typing import NDArray

from espressivo.configs import TransformerConfig
from espressivo.engines.engine import Logits, Slab, State, Tokens, Weights, check_tokens

EPSILON = 1e-5
"""Added to the variance in every normalisation, as torch's LayerNorm does."""

FIRST_CAPACITY = 256
"""Tokens a new cache has room for; it doubles when full, up to the context."""

PADDING = 16
"""Unused numbers after each cached row: rows a power of two apart would share cache lines."""

BUDGET = 1 << 22
"""Attention logits held at once while reading a primer."""


class TransformerState:
    """Keys and values of every layer, each [l, b, h, d, capacity], of which `length` are used."""

    def __init__(self, keys: Logits, values: Logits, length: int = 0) -> None:
        """Hold the caches and room for one step's intermediate values."""
        self.keys, self.values, self.length = keys, values, length

    @property
    def batch(self) -> int:
        """How many sequences it follows."""
        return int(self.keys.shape[1])

    @property
    def capacity(self) -> int:
        """How many tokens fit before the caches must grow."""
        return int(self.keys.shape[-1]) - PADDING

    def fork(self, count: int) -> TransformerState:
        """Give `count` independent copies of every sequence."""
        return self.select(np.repeat(np.arange(self.batch), count))

    def select(self, rows: NDArray[np.integer]) -> TransformerState:
        """Give independent copies of the sequences `rows`."""
        return TransformerState(self.keys[:, rows], self.values[:, rows], self.length)

    def grow(self, capacity: int) -> None:
        """Make room for `capacity` tokens."""
        for name in ("keys", "values"):
            old = getattr(self, name)
            new = np.empty((*old.shape[:-1], capacity + PADDING), np.float32)
            new[..., : self.length] = old[..., : self.length]
            setattr(self, name, new)


class TransformerEngine:
    """Plays the weights of `espressivo.models.MusicTransformer`."""

    def __init__(self, config: TransformerConfig, weights: Weights) -> None:
        """Lay the weights out for reading once per token.

        The gains and biases of the normalisations, the scale of the embeddings and that of the
        logits are multiplied into the matrices beside them.
        """
        self.config, self._context = config, config.context
        self.context: int | None = config.context
        self.vocabulary_size = len(weights["output.weight"])
        self.head_width = config.attention // config.heads
        arrays: Weights = {"embedding": weights["embedding.weight"] * np.float32(config.width**0.5)}
        for layer in range(config.layers):
            arrays |= _layer(layer, weights, self.head_width, config.attention)
        arrays["output"], arrays["output_bias"] = _after_norm(weights, "norm", "output")
        self._slab = Slab(arrays)

    def start(self, batch: int) -> TransformerState:
        """Give the memory of having read nothing."""
        config = self.config
        capacity = min(FIRST_CAPACITY, config.context) + PADDING
        shape = (config.layers, batch, config.heads, self.head_width, capacity)
        return TransformerState(np.empty(shape, np.float32), np.empty(shape, np.float32))

    def step(self, tokens: Tokens, state: State) -> Logits:
        """Read one token of each sequence; give the logits after it."""
        return self.read(tokens[:, None], state)

    def read(self, tokens: Tokens, state: State) -> Logits:
        """Read tokens a few at a time; give the logits after the last."""
        check_tokens(tokens, state, 2, self.vocabulary_size)
        state = _own(state)
        self._make_room(state, tokens.shape[1])
        rows = max(1, BUDGET // (state.batch * self.config.heads * state.capacity))
        for first in range(0, tokens.shape[1], rows):
            x = self._read(tokens[:, first : first + rows], state)
        logits: Logits = _normal(x[:, -1]) @ self._slab["output"]
        logits += self._slab["output_bias"]
        return logits

    def _make_room(self, state: TransformerState, count: int) -> None:
        needed = state.length + count
        if needed > self._context:
            raise ValueError(
                f"{state.length} tokens read and {count} to come are more than the context of "
                f"{self._context}; start a new state from the last {self._context // 2}"
            )
        if needed > state.capacity:
            doubled = 1 << (needed - 1).bit_length()
            state.grow(min(doubled, self._context))

    def _read(self, tokens: Tokens, state: TransformerState) -> Logits:
        slab = self._slab
        x: Logits = slab["embedding"][tokens]  # b t w
        if self.config.sinusoids:
            x += sinusoids(state.length, x.shape[1], x.shape[2])
        for layer in range(self.config.layers):
            x += self._attend(layer, _normal(x), state) @ slab[f"heard{layer}"]
            hidden = _normal(x) @ slab[f"expand{layer}"]
            hidden += slab[f"expand_bias{layer}"]
            np.maximum(hidden, 0, out=hidden)
            x += hidden @ slab[f"contract{layer}"].T
            x += slab[f"contract_bias{layer}"]
        state.length += tokens.shape[1]
        return x

    def _attend(self, layer: int, x: Logits, state: TransformerState) -> Logits:
        b, t, _ = x.shape
        total, heads = state.length + t, self.config.heads
        projected = x @ self._slab[f"inputs{layer}"]
        projected += self._slab[f"inputs_bias{layer}"]
        q, k, v = projected.reshape(b, t, 3, heads, -1).transpose(2, 0, 3, 1, 4)  # b h t d
        keys, values = (c[layer, ..., :total] for c in (state.keys, state.values))
        keys[..., state.length :] = k.swapaxes(-1, -2)
        values[..., state.length :] = v.swapaxes(-1, -2)
        logits = q @ keys  # b h t j
        logits += _by_key(q, self._slab[f"distances{layer}"], total)
        if t > 1:
            logits[..., state.length :][..., np.triu(np.ones((t, t), bool), 1)] = -np.inf
        logits -= logits.max(-1, keepdims=True)
        np.exp(logits, out=logits)
        heard = logits @ values.swapaxes(-1, -2)
        heard /= logits.sum(-1, keepdims=True)
        result: Logits = heard.swapaxes(1, 2).reshape(b, t, -1)
        return result


def _own(state: State) -> TransformerState:
    if not isinstance(state, TransformerState):
        raise TypeError(f"a transformer cannot continue from {type(state).__name__}")
    return state


def sinusoids(first: int, count: int, width: int) -> Logits:
    """Give tensor2tensor's timing signal of `count` positions: all sines, then all cosines."""
    half = width // 2
    step = np.float32(math.log(10_000) / max(half - 1, 1))
    rate = np.exp(-step * np.arange(half, dtype=np.float32))
    angle = np.arange(first, first + count, dtype=np.float32)[:, None] * rate
    return np.concatenate([np.sin(angle), np.cos(angle)], -1)


def _by_key(q: Logits, distances: Logits, keys: int) -> Logits:
    """Give the relative logits of queries that are the newest of the keys, zero beyond reach."""
    b, h, t, _ = q.shape
    near = min(keys, distances.shape[-1])
    flat = np.zeros((b, h, t * keys + t), np.float32)
    by_distance = flat[..., : t * keys].reshape(b, h, t, keys)
    np.matmul(q, distances[..., distances.shape[-1] - near :], out=by_distance[..., keys - near :])
    s0, s1, s = flat.strides  # row m by key is row m by distance, t - 1 - m further right
    return as_strided(flat[..., t - 1 :], (b, h, t, keys), (s0, s1, s * (keys - 1), s))


def _normal(x: Logits) -> Logits:
    """Centre and scale the last axis; gain and bias are in the matrix that follows."""
    centred: Logits = x - x.mean(-1, keepdims=True)
    variance = np.vecdot(centred, centred)[..., None]
    centred /= np.sqrt(variance / x.shape[-1] + EPSILON)
    return centred


def _after_norm(weights: Weights, norm: str, linear: str) -> tuple[Logits, Logits]:
    """Give a matrix [in, out] and bias that take a bare normalised stream."""
    weight = weights[f"{linear}.weight"].astype(np.float32)
    bias: Logits = weight @ weights[f"{norm}.bias"].astype(np.float32)
    if f"{linear}.bias" in weights:
        bias += weights[f"{linear}.bias"]
    return (weight * weights[f"{norm}.weight"]).T, bias


def _layer(layer: int, weights: Weights, head_width: int, attention: int) -> Weights:
    """Give the arrays of one layer, as they are read."""
    path = f"layers.{layer}."
    inputs, inputs_bias = _after_norm(weights, path + "attention_norm", path + "attention.inputs")
    expand, expand_bias = _after_norm(weights, path + "forward_norm", path + "expand")
    scale = np.ones(3 * attention, np.float32)
    scale[:attention] = head_width**-0.5  # of the logits, relative ones included
    return {
        f"inputs{layer}": inputs * scale,
        f"inputs_bias{layer}": inputs_bias * scale,
        f"distances{layer}": weights[path + "attention.distances"].swapaxes(-1, -2),
        f"heard{layer}": weights[path + "attention.output.weight"].T,
        f"expand{layer}": expand,
        f"expand_bias{layer}": expand_bias,
        f"contract{layer}": weights[path + "contract.weight"],
        f"contract_bias{layer}": weights[path + "contract.bias"],
    }
