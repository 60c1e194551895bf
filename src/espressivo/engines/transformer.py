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
from espressivo.engines.engine import (
    Controls,
    Logits,
    State,
    Tokens,
    Weights,
    check_room,
    check_tokens,
    refuse_controls,
    refuse_source,
)
from espressivo.engines.transformer_weights import Layer, lay_out

EPSILON = 1e-5
"""Added to the variance in every normalisation, as torch's LayerNorm does."""

FIRST_CAPACITY = 256
"""Tokens a new cache has room for; it doubles when full, up to the context."""

PADDING = 16
"""Unused numbers after each cached row: rows a power of two apart would share cache lines."""

BUDGET = 1 << 22
"""Attention logits held at once while reading a primer."""


class TransformerState:
    """Keys and values of every layer, [l, 2, b, h, d, capacity], of which `length` are used."""

    def __init__(self, cache: Logits, length: int = 0) -> None:
        """Hold the cache; room for a step's intermediate values comes with the first step."""
        self.cache, self.length = cache, length
        self.room: Room | None = None

    @property
    def batch(self) -> int:
        """How many sequences it follows."""
        return int(self.cache.shape[2])

    @property
    def capacity(self) -> int:
        """How many tokens fit before the cache must grow."""
        return int(self.cache.shape[-1]) - PADDING

    def fork(self, count: int) -> TransformerState:
        """Give `count` independent copies of every sequence."""
        return self.select(np.repeat(np.arange(self.batch), count))

    def select(self, rows: NDArray[np.integer]) -> TransformerState:
        """Give independent copies of the sequences `rows`."""
        layers, two, _, *rest, _ = self.cache.shape
        shape = (layers, two, len(rows), *rest, self.capacity + PADDING)
        cache = np.empty(shape, np.float32)
        for new, old in enumerate(rows):
            cache[:, :, new, ..., : self.length] = self.cache[:, :, old, ..., : self.length]
        return TransformerState(cache, self.length)

    def grow(self, capacity: int) -> None:
        """Make room for `capacity` tokens."""
        old = self.cache
        self.cache = np.empty((*old.shape[:-1], capacity + PADDING), np.float32)
        self.cache[..., : self.length] = old[..., : self.length]


class Room:
    """Where one step puts what it computes on the way, so that it allocates next to nothing."""

    def __init__(self, config: TransformerConfig, batch: int) -> None:
        """Allocate for `batch` sequences of up to the whole context."""

        def ones(*shape: int) -> Logits:
            return np.ones(shape, np.float32)

        width, heads = config.width, config.heads
        self.extended = ones(batch, width + 1) * np.float32(EPSILON**0.5)
        self.stream, self.spread = self.extended[:, :width], ones(batch, 1)
        self.normal = ones(batch, width + 1)
        self.scaled = self.normal[:, :width]
        self.projected = ones(batch, 3 * config.attention)
        self.split = self.projected.reshape(batch, 3, heads, -1).swapaxes(0, 1)  # 3 b h d
        self._logits = np.empty(heads * batch * config.context, np.float32)
        self._relative = np.empty_like(self._logits)
        self.peak = ones(heads, batch, 1)
        self.heard, self.added = ones(batch, config.attention), ones(batch, width)
        self.by_head = self.heard.reshape(batch, heads, -1)
        self.hidden = ones(batch, config.feed_forward)

    def open(self, keys: int, near: int) -> None:
        """Shape what depends on the number of keys, and on how many of them are within reach."""
        shape = (*self.peak.shape[:2], keys)
        self.logits = self._logits[: math.prod(shape)].reshape(shape)  # h b j
        self.within_reach = self.logits[..., keys - near :]
        self.relative = self._relative[: self.within_reach.size].reshape(*shape[:2], near)
        self.by_sequence = self.logits.swapaxes(0, 1)


class TransformerEngine:
    """Plays the weights of `espressivo.models.MusicTransformer`."""

    def __init__(self, config: TransformerConfig, weights: Weights) -> None:
        """Lay the weights out for reading once per token."""
        self.config = config
        self.vocabulary_size = len(weights["output.weight"])
        self.weights = lay_out(config, weights)
        self._sinusoids: Logits | None = None
        if config.sinusoids == "added":
            self._sinusoids = sinusoids(config.context, config.width)

    @property
    def context(self) -> int | None:
        """The most tokens a state can hold."""
        return self.config.context

    def start(self, batch: int, source: Tokens | None = None) -> TransformerState:
        """Give the memory of having read nothing."""
        refuse_source(self, source)
        config = self.config
        head_width = config.attention // config.heads
        capacity = min(FIRST_CAPACITY, config.context)
        shape = (config.layers, 2, batch, config.heads, head_width, capacity + PADDING)
        return TransformerState(np.empty(shape, np.float32))

    def step(self, tokens: Tokens, state: State, controls: Controls | None = None) -> Logits:
        """Read one token of each sequence; give the logits after it."""
        refuse_controls(self, controls)
        check_tokens(tokens, state, 1, self.vocabulary_size)
        state = _own(state)
        self._make_room(state, 1)
        if state.room is None:
            state.room = Room(self.config, state.batch)
        room = state.room
        room.open(state.length + 1, min(state.length + 1, self.config.reach))
        room.stream[...] = self.weights.embedding[tokens]
        if self._sinusoids is not None:
            room.stream += self._sinusoids[state.length]
        for index, layer in enumerate(self.weights.layers):
            _attend_once(layer, state.cache[index], state.length, room)
            _forward_once(layer, room)
        state.length += 1
        _normal_once(room)
        logits: Logits = room.normal @ self.weights.output
        return logits

    def read(self, tokens: Tokens, state: State, controls: Controls | None = None) -> Logits:
        """Read tokens many at a time; give the logits after the last."""
        refuse_controls(self, controls)
        check_tokens(tokens, state, 2, self.vocabulary_size)
        state = _own(state)
        self._make_room(state, tokens.shape[1])
        rows = max(1, BUDGET // (state.batch * self.config.heads * state.capacity))
        for first in range(0, tokens.shape[1], rows):
            x = self._read(tokens[:, first : first + rows], state)
        logits: Logits = _normal(x[:, -1]) @ self.weights.output
        return logits

    def _make_room(self, state: TransformerState, count: int) -> None:
        needed = state.length + count
        check_room(state.length, count, self.config.context)
        if needed > state.capacity:
            doubled = 1 << (needed - 1).bit_length()
            state.grow(min(doubled, self.config.context))

    def _read(self, tokens: Tokens, state: TransformerState) -> Logits:
        """Give the stream after some tokens, and remember their keys and values."""
        x: Logits = self.weights.embedding[tokens]  # b t w
        if self._sinusoids is not None:
            x += self._sinusoids[state.length : state.length + x.shape[1]]
        for index, layer in enumerate(self.weights.layers):
            x += _attend(layer, _normal(x), state.cache[index], state.length) @ layer.heard
            hidden = _normal(x) @ layer.expand
            np.maximum(hidden, 0, out=hidden)
            x += hidden @ layer.contract.T
            x += layer.contract_bias
        state.length += tokens.shape[1]
        return x


def sinusoids(count: int, width: int) -> Logits:
    """Give tensor2tensor's timing signal of the first positions, as it is added to the stream."""
    half = width // 2
    step = np.float32(math.log(10_000) / max(half - 1, 1))
    rate = np.exp(-step * np.arange(half, dtype=np.float32))
    angle = np.arange(count, dtype=np.float32)[:, None] * rate
    signal = np.concatenate([np.sin(angle), np.cos(angle)], -1)
    signal -= signal.mean(-1, keepdims=True)
    signal /= np.float32(width**0.5)
    return signal


def _own(state: State) -> TransformerState:
    if not isinstance(state, TransformerState):
        raise TypeError(f"a transformer cannot continue from {type(state).__name__}")
    return state


def _normal_once(room: Room) -> None:
    """Scale the stream, whose mean is zero, to length one."""
    np.vecdot(room.extended, room.extended, out=room.spread[:, 0])
    np.divide(room.stream, np.sqrt(room.spread, out=room.spread), out=room.scaled)


def _attend_once(layer: Layer, cache: Logits, now: int, room: Room) -> None:
    """Add to the stream what the newest token hears of all, and remember it."""
    _normal_once(room)
    np.matmul(room.normal, layer.inputs, out=room.projected)
    q, cache[..., now] = room.split[0], room.split[1:]  # b h d
    keys, values = cache[0, ..., : now + 1], cache[1, ..., : now + 1]  # b h d j
    distances = layer.distances[..., layer.distances.shape[-1] - room.relative.shape[-1] :]
    np.matmul(q[:, :, None], keys, out=room.by_sequence[:, :, None])
    room.within_reach += np.matmul(q.swapaxes(0, 1), distances, out=room.relative)
    room.logits -= np.maximum.reduce(room.logits, axis=-1, keepdims=True, out=room.peak)
    np.exp(room.logits, out=room.logits)
    np.matmul(values, room.by_sequence[..., None], out=room.by_head[..., None])
    total = np.add.reduce(room.logits, axis=-1, keepdims=True, out=room.peak)
    np.divide(room.by_head, total.swapaxes(0, 1), out=room.by_head)
    room.stream += np.matmul(room.heard, layer.heard, out=room.added)


def _forward_once(layer: Layer, room: Room) -> None:
    """Add to the stream what the feed-forward part makes of it."""
    _normal_once(room)
    np.matmul(room.normal, layer.expand, out=room.hidden)
    np.maximum(room.hidden, 0, out=room.hidden)
    room.stream += np.matmul(room.hidden, layer.contract.T, out=room.added)
    room.stream += layer.contract_bias


def _normal(x: Logits) -> Logits:
    """Scale rows, whose mean is zero, to length one, and put a one behind."""
    normal = np.ones((*x.shape[:-1], x.shape[-1] + 1), np.float32)
    spread = np.sqrt(np.vecdot(x, x) + np.float32(EPSILON))
    np.divide(x, spread[..., None], out=normal[..., :-1])
    return normal


def _attend(layer: Layer, x: Logits, cache: Logits, before: int) -> Logits:
    """Give what each new token hears of itself and the past; remember them."""
    b, t, _ = x.shape
    heads, total = len(layer.distances), before + t
    q, *new = (x @ layer.inputs).reshape(b, t, 3, heads, -1).transpose(2, 0, 3, 1, 4)  # b h t d
    cache[..., before:total] = np.swapaxes(new, -1, -2)
    keys, values = cache[..., :total]
    logits = q @ keys  # b h t j
    logits += _by_key(q, layer.distances, total)
    logits[..., before:][..., np.triu(np.ones((t, t), bool), 1)] = -np.inf
    logits -= logits.max(-1, keepdims=True)
    np.exp(logits, out=logits)
    heard = logits @ values.swapaxes(-1, -2)
    heard /= logits.sum(-1, keepdims=True)
    result: Logits = heard.swapaxes(1, 2).reshape(b, t, -1)
    return result


def _by_key(q: Logits, distances: Logits, keys: int) -> Logits:
    """Give the relative logits of queries that are the newest of the keys, zero beyond reach."""
    b, h, t, _ = q.shape
    near = min(keys, distances.shape[-1])
    flat = np.zeros((b, h, t * keys + t), np.float32)
    by_distance = flat[..., : t * keys].reshape(b, h, t, keys)
    np.matmul(q, distances[..., distances.shape[-1] - near :], out=by_distance[..., keys - near :])
    s0, s1, s = flat.strides  # row m by key is row m by distance, t - 1 - m further right
    return as_strided(flat[..., t - 1 :], (b, h, t, keys), (s0, s1, s * (keys - 1), s))
