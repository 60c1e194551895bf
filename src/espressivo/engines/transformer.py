"""A Music Transformer by hand, with a preallocated cache of keys and values.

A step asks for the distances n - 1 ... 0, which is a contiguous slice of the table of distances,
already in the order of the keys: nothing is skewed. Keys, values and distances lie [.., d, time],
so that every product reads long contiguous rows, at nearly the speed of the memory.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from espressivo.configs import Pattern, TransformerConfig, pattern
from espressivo.engines.engine import (
    Controls,
    Logits,
    State,
    Tokens,
    Weights,
    check_controls,
    check_room,
    check_tokens,
    refuse_controls,
    refuse_source,
)
from espressivo.engines.transformer_order import (
    beside,
    beside_once,
    by_key,
    heard_by,
    rotation,
    turn,
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


def _relu(x: Logits) -> None:
    np.maximum(x, 0, out=x)


def _relu2(x: Logits) -> None:
    np.maximum(x, 0, out=x)
    np.square(x, out=x)


def _gelu(x: Logits) -> None:
    x *= 0.5 + 0.5 * np.tanh(np.float32((2 / math.pi) ** 0.5) * (x + np.float32(0.044715) * x**3))


ACTIVATIONS = {"relu": _relu, "relu2": _relu2, "gelu": _gelu}
"""Of the feed-forward part, in place."""


class TransformerState:
    """Keys and, behind them, values of every layer: [l, b, h, d + e, capacity], `length` used."""

    def __init__(self, cache: Logits, length: int = 0) -> None:
        """Hold the cache; room for a step's intermediate values comes with the first step."""
        self.cache, self.length = cache, length
        self.room: Room | None = None

    @property
    def batch(self) -> int:
        """How many sequences it follows."""
        return int(self.cache.shape[1])

    @property
    def capacity(self) -> int:
        """How many tokens fit before the cache must grow."""
        return int(self.cache.shape[-1]) - PADDING

    def fork(self, count: int) -> TransformerState:
        """Give `count` independent copies of every sequence."""
        return self.select(np.repeat(np.arange(self.batch), count))

    def select(self, rows: NDArray[np.integer]) -> TransformerState:
        """Give independent copies of the sequences `rows`."""
        layers, _, *rest, _ = self.cache.shape
        shape = (layers, len(rows), *rest, self.capacity + PADDING)
        cache = np.empty(shape, np.float32)
        for new, old in enumerate(rows):
            cache[:, new, ..., : self.length] = self.cache[:, old, ..., : self.length]
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
        self.projected = ones(batch, 2 * config.attention + config.value_width)
        q, rest = np.split(self.projected, [config.attention], 1)
        self.q, self.new = (x.reshape(batch, heads, -1) for x in (q, rest))  # b h d, b h d+e
        self.k = self.new[..., : self.q.shape[-1]]
        self._logits = np.empty(heads * batch * config.context, np.float32)
        self._relative = np.empty_like(self._logits)
        self.peak = ones(heads, batch, 1)
        self.heard, self.added = ones(batch, config.value_width), ones(batch, width)
        self.by_head = self.heard.reshape(batch, heads, -1)
        self.hidden = ones(batch, config.feed_forward)

    def open(self, pattern: Pattern, now: int, reach: int) -> None:
        """Shape what depends on which keys are heard, and on how many of them are within reach."""
        self.first, self.heard_keys = heard_by(pattern, now, 1)
        keys = now + 1 - self.first
        near = min(keys, reach)
        shape = (*self.peak.shape[:2], keys)
        self.logits = self._logits[: math.prod(shape)].reshape(shape)  # h b j
        self.within_reach = self.logits[..., keys - near :]
        self.beyond = self.logits[..., : keys - near]
        self.relative = self._relative[: self.within_reach.size].reshape(*shape[:2], near)
        self.by_sequence = self.logits.swapaxes(0, 1)


class TransformerEngine:
    """Plays the weights of `espressivo.models.MusicTransformer`."""

    def __init__(self, config: TransformerConfig, weights: Weights) -> None:
        """Lay the weights out for reading once per token."""
        self.config = config
        self.vocabulary_size = len(weights["output.weight"])
        self.weights = lay_out(config, weights)
        self.patterns = [pattern(text) for text in config.patterns]
        self.rotation = rotation(config)
        self.activate = ACTIVATIONS[config.activation]
        tables = config.position in ("relative", "shaw")
        self.reach = config.reach if tables else config.context

    @property
    def context(self) -> int | None:
        """The most tokens a state can hold."""
        return self.config.context

    def start(self, batch: int, source: Tokens | None = None) -> TransformerState:
        """Give the memory of having read nothing."""
        refuse_source(self, source)
        config = self.config
        both = (config.attention + config.value_width) // config.heads
        capacity = min(FIRST_CAPACITY, config.context)
        shape = (config.layers, batch, config.heads, both, capacity + PADDING)
        return TransformerState(np.empty(shape, np.float32))

    def step(self, tokens: Tokens, state: State, controls: Controls | None = None) -> Logits:
        """Read one token of each sequence; give the logits after it."""
        check_tokens(tokens, state, 1, self.vocabulary_size)
        self._check(tokens, controls)
        state = _own(state)
        self._make_room(state, 1)
        if state.room is None:
            state.room = Room(self.config, state.batch)
        room = state.room
        room.stream[...] = self._embedded(tokens[:, None], state)[:, 0]
        if controls is not None:
            room.stream += controls @ self.weights.controls
        for index, layer in enumerate(self.weights.layers):
            if index == 0 or len(self.patterns) > 1:
                room.open(self._pattern(index), state.length, self.reach)
            self._attend_once(layer, state.cache[index], state.length, room)
            self._hear_once(index, state, room)
            self._forward_once(layer, room)
        state.length += 1
        _normal_once(room)
        logits: Logits = room.normal @ self.weights.output
        return logits

    def read(self, tokens: Tokens, state: State, controls: Controls | None = None) -> Logits:
        """Read tokens many at a time; give the logits after the last."""
        check_tokens(tokens, state, 2, self.vocabulary_size)
        self._check(tokens, controls)
        state = _own(state)
        self._make_room(state, tokens.shape[1])
        rows = max(1, BUDGET // (state.batch * self.config.heads * state.capacity))
        for first in range(0, tokens.shape[1], rows):
            now = slice(first, first + rows)
            x = self._read(tokens[:, now], state, None if controls is None else controls[:, now])
        logits: Logits = _normal(x[:, -1]) @ self.weights.output
        return logits

    def _make_room(self, state: TransformerState, count: int) -> None:
        needed = state.length + count
        check_room(state.length, count, self.config.context)
        if needed > state.capacity:
            doubled = 1 << (needed - 1).bit_length()
            state.grow(min(doubled, self.config.context))

    def _check(self, tokens: Tokens, controls: Controls | None) -> None:
        if not self.config.controls:
            refuse_controls(self, controls)
        elif controls is not None:
            check_controls(controls, tokens, self.config.told)

    def _read(self, tokens: Tokens, state: TransformerState, controls: Controls | None) -> Logits:
        """Give the stream after some tokens, and remember their keys and values."""
        x = self._embedded(tokens, state)
        if controls is not None:
            x += controls @ self.weights.controls
        for index, layer in enumerate(self.weights.layers):
            x += self._attend(layer, index, _normal(x), state) @ layer.heard
            self._hear(index, x, state)
            hidden = _normal(x) @ layer.expand
            self.activate(hidden)
            x += hidden @ layer.contract.T
            x += layer.contract_bias
        state.length += tokens.shape[1]
        return x

    def _embedded(self, tokens: Tokens, state: TransformerState) -> Logits:
        """Give what enters the first layer, [b, t, w]."""
        x: Logits = self.weights.embedding[tokens]
        if len(self.weights.signal):
            x += self.weights.signal[state.length : state.length + x.shape[1]]
        return x

    def _pattern(self, layer: int) -> Pattern:
        return self.patterns[layer % len(self.patterns)]

    def _attend_once(self, layer: Layer, cache: Logits, now: int, room: Room) -> None:
        """Add to the stream what the newest token hears of all, and remember it."""
        _normal_once(room)
        np.matmul(room.normal, layer.inputs, out=room.projected)
        self._place(layer, room.q, room.k, now, 1)
        cache[..., now] = room.new
        d, past = room.q.shape[-1], slice(room.first, now + 1)
        keys, values = cache[:, :, :d, past], cache[:, :, d:, past]
        np.matmul(room.q[:, :, None], keys, out=room.by_sequence[:, :, None])  # b h 1 j
        if layer.distances is not None:
            near = layer.distances[..., layer.distances.shape[-1] - room.relative.shape[-1] :]
            room.within_reach += np.matmul(room.q.swapaxes(0, 1), near, out=room.relative)
            if self.config.clamped:
                room.beyond += room.relative[..., :1]
        if layer.penalties is not None:
            room.logits += layer.penalties[:, None, -room.logits.shape[-1] :]
        if room.heard_keys is not None:
            np.copyto(room.logits, -np.inf, where=~room.heard_keys)
        room.logits -= np.maximum.reduce(room.logits, axis=-1, keepdims=True, out=room.peak)
        np.exp(room.logits, out=room.logits)
        np.matmul(values, room.by_sequence[..., None], out=room.by_head[..., None])
        if layer.distance_values is not None:
            room.by_head += beside_once(
                layer.distance_values, room.within_reach, room.beyond, self.config.clamped
            )
        total = np.add.reduce(room.logits, axis=-1, keepdims=True, out=room.peak)
        np.divide(room.by_head, total.swapaxes(0, 1), out=room.by_head)
        room.stream += np.matmul(room.heard, layer.heard, out=room.added)

    def _attend(self, layer: Layer, index: int, x: Logits, state: TransformerState) -> Logits:
        """Give what each new token hears of itself and the past; remember them."""
        config, before, cache = self.config, state.length, state.cache[index]
        b, t, _ = x.shape
        q, new = (
            part.reshape(b, t, config.heads, -1).swapaxes(1, 2)  # b h t d
            for part in np.split(x @ layer.inputs, [config.attention], -1)
        )
        d, total = q.shape[-1], before + t
        self._place(layer, q, new[..., :d], before, t)
        cache[..., before:total] = new.swapaxes(-1, -2)
        first, heard_keys = heard_by(self._pattern(index), before, t)
        keys, values = cache[:, :, :d, first:total], cache[:, :, d:, first:total]
        logits = q @ keys  # b h t j
        if layer.distances is not None or layer.penalties is not None:
            logits += by_key(layer.distances, layer.penalties, q, total - first, config.clamped)
        if heard_keys is None:
            logits[..., -t:][..., np.triu(np.ones((t, t), bool), 1)] = -np.inf
        else:
            np.copyto(logits, -np.inf, where=~heard_keys)
        logits -= logits.max(-1, keepdims=True)
        np.exp(logits, out=logits)
        heard = logits @ values.swapaxes(-1, -2)
        if layer.distance_values is not None:
            heard += beside(layer.distance_values, logits, config.clamped)
        heard /= logits.sum(-1, keepdims=True)
        result: Logits = heard.swapaxes(1, 2).reshape(b, t, -1)
        return result

    def _hear_once(self, layer: int, state: TransformerState, room: Room) -> None:
        """Add to the stream what a layer hears besides, in an engine that hears anything else."""

    def _hear(self, layer: int, x: Logits, state: TransformerState) -> None:
        """Add the same for many tokens."""

    def _place(self, layer: Layer, q: Logits, k: Logits, at: int, count: int) -> None:
        """Make queries and keys, [b, h, d] or [b, h, t, d], what their places ask for."""
        if layer.gain is not None:
            for x in (q, k):
                x /= np.sqrt(np.vecdot(x, x)[..., None] / x.shape[-1] + np.float32(1e-6))
            q *= layer.gain.reshape(-1, *(q.ndim - 2) * [1])
        if self.rotation is not None:
            places = self.rotation[at : at + count]
            turn(q, places)
            turn(k, places)
        if layer.asked is not None:
            q += layer.asked if q.ndim == 3 else layer.asked[:, None]

    def _forward_once(self, layer: Layer, room: Room) -> None:
        """Add to the stream what the feed-forward part makes of it."""
        _normal_once(room)
        np.matmul(room.normal, layer.expand, out=room.hidden)
        self.activate(room.hidden)
        room.stream += np.matmul(room.hidden, layer.contract.T, out=room.added)
        room.stream += layer.contract_bias


def _own(state: State) -> TransformerState:
    if not isinstance(state, TransformerState):
        raise TypeError(f"a transformer cannot continue from {type(state).__name__}")
    return state


def _normal_once(room: Room) -> None:
    """Scale the stream, whose mean is zero, to length one."""
    np.vecdot(room.extended, room.extended, out=room.spread[:, 0])
    np.divide(room.stream, np.sqrt(room.spread, out=room.spread), out=room.scaled)


def _normal(x: Logits) -> Logits:
    """Scale rows, whose mean is zero, to length one, and put a one behind."""
    normal = np.ones((*x.shape[:-1], x.shape[-1] + 1), np.float32)
    spread = np.sqrt(np.vecdot(x, x) + np.float32(EPSILON))
    np.divide(x, spread[..., None], out=normal[..., :-1])
    return normal
