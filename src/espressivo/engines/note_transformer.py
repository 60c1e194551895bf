"""A transformer over notes and pedal changes by hand, with a cache of keys and values.

An event has four fields instead of one id, so this is no `Engine` of tokens: `feed` returns the
hidden vector after the newest event, and a `FieldChain` of it the logits of one field of the next
event after another. Written to be compared with `espressivo.models.NoteTransformer` line by line.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from espressivo.codecs.note_events import FIELDS
from espressivo.configs import NoteTransformerConfig
from espressivo.engines.engine import Controls, Logits, Tokens, Weights, check_controls
from espressivo.engines.lstm_layers import Matrices
from espressivo.engines.transformer_order import waves
from espressivo.errors import CheckpointError

PIECE = 256
"""Events of a primer computed at once, for bounded memory; a new cache has room for as many."""


class NoteTransformerState:
    """Keys and values of the events so far: [l, b, h, capacity, d], `length` of them used."""

    def __init__(self, keys: Logits, values: Logits, length: int = 0) -> None:
        """Hold the cache."""
        self.keys, self.values, self.length = keys, values, length

    @property
    def batch(self) -> int:
        """How many sequences it follows."""
        return int(self.keys.shape[1])

    def fork(self, count: int) -> NoteTransformerState:
        """Return `count` independent copies of every sequence, next to each other."""
        return self.select(np.repeat(np.arange(self.batch), count))

    def select(self, rows: NDArray[np.integer]) -> NoteTransformerState:
        """Return independent copies of the sequences `rows`, in that order."""
        return NoteTransformerState(self.keys[:, rows], self.values[:, rows], self.length)

    def make_room(self, count: int) -> None:
        """Let the cache grow until it holds `count` events."""
        if count > (capacity := self.keys.shape[3]):
            more = [(0, 0)] * 3 + [(0, max(count, 2 * capacity) - capacity), (0, 0)]
            self.keys, self.values = np.pad(self.keys, more), np.pad(self.values, more)


class NoteTransformerEngine:
    """Plays the weights of `espressivo.models.NoteTransformer`."""

    def __init__(self, config: NoteTransformerConfig, weights: Weights) -> None:
        """Keep the weights under the names of the model; 16-bit ones become float32."""
        wanted = shapes(config)
        for name in [*wanted, *weights]:
            there = weights[name].shape if name in weights else "missing"
            if there != (here := wanted.get(name, "no such tensor")):
                raise CheckpointError(f"tensor {name} is {there}; this model has {here}")
        self.config = config
        self.weights = {name: weight.astype(np.float32) for name, weight in weights.items()}
        octaves = np.linspace(0, 1, config.frequencies)
        self._rates: NDArray[np.float64] = math.tau / 4 * np.power(1 / config.context, octaves)

    def start(self, batch: int) -> NoteTransformerState:
        """Return the memory of having read nothing, for `batch` sequences."""
        config = self.config
        shape = (config.layers, batch, config.heads, PIECE)
        keys = np.zeros((*shape, config.key_dim + 2 * config.frequencies), np.float32)
        values = np.zeros((*shape, config.width // config.heads), np.float32)
        return NoteTransformerState(keys, values)

    def feed(
        self, state: NoteTransformerState, events: Tokens, controls: Controls | None = None
    ) -> Logits:
        """Read events [b, t, 4] into the state, in place; return the hidden vectors [b, w].

        They are those after the last event, for `chain`. Fields that an event has no use for are
        -1. `controls` [b, t, c] are what holds for the event after each; None if unset. A state
        may become longer than `config.context`, at the same exactness.
        """
        if events.ndim != 3 or events.shape[::2] != (state.batch, len(FIELDS)) or not events.size:
            asked = f"[{state.batch}, at least 1, {len(FIELDS)}]"
            raise ValueError(f"events have shape {list(events.shape)}; this state needs {asked}")
        for name, size, classes in zip(FIELDS, self.config.classes, events.T, strict=True):
            _check_classes(name, size, classes)
        if controls is not None:
            if not self.config.condition_dim:
                raise TypeError("NoteTransformerEngine plays a model without controls; give none")
            check_controls(controls, events[..., 0], self.config.condition_dim)
        for first in range(0, events.shape[1], PIECE):
            now = slice(first, first + PIECE)
            x = self._feed(state, events[:, now], None if controls is None else controls[:, now])
        return _norm(self.weights, "norm", x[:, -1])

    def chain(self, hidden: Logits) -> FieldChain:
        """Begin to predict the event that comes after the hidden vectors [b, w]."""
        return FieldChain(self.config, self.weights, hidden)

    def _feed(
        self, state: NoteTransformerState, events: Tokens, controls: Controls | None
    ) -> Logits:
        total = state.length + events.shape[1]
        state.make_room(total)
        x = np.zeros((*events.shape[:2], self.config.width), np.float32)
        for index, name in enumerate(FIELDS):
            x += self.weights[f"embedding.{name}.weight"][events[..., index] + 1]
        if controls is not None:
            x += _linear(self.weights, "conditioning", controls.astype(np.float32))
        position = waves(np.arange(state.length, total), self._rates).astype(np.float32)
        for layer in range(self.config.layers):
            x += self._attention(layer, x, position, state)
            x += _mlp(self.weights, f"layers.{layer}.mlp", x)
        state.length = total
        return x

    def _attention(
        self, layer: int, x: Logits, position: Logits, state: NoteTransformerState
    ) -> Logits:
        """Extend the cache of a layer; return what is added to the residual stream [b, t, w].

        A key is followed by the cosines and sines of its position, and a query by what turns
        these into the logit of the distance, by the angle-sum identities.
        """
        (b, t, width), heads, dim = x.shape, self.config.heads, self.config.key_dim
        weights, path = self.weights, f"layers.{layer}.attention"
        projected = _linear(weights, f"{path}.qkv_proj", _norm(weights, f"{path}.norm", x))
        q, k, v = (
            part.reshape(b, t, heads, -1).swapaxes(1, 2)
            for part in np.split(projected, [heads * dim, 2 * heads * dim], -1)
        )
        scale = weights[f"{path}.gain"] * np.float32(dim**-0.5)
        q, k = _normalised(q) * scale[:, None, None], _normalised(k)
        cosine, sine = np.split(position, 2, -1)
        for_cosine, for_sine = np.split(q @ weights[f"{path}.fourier"].swapaxes(-1, -2), 2, -1)
        near = for_cosine * cosine + for_sine * sine
        far = for_cosine * sine - for_sine * cosine
        past, total = state.length, state.length + t
        keys, values = state.keys[layer, :, :, :total], state.values[layer, :, :, :total]
        keys[:, :, past:, :dim], keys[:, :, past:, dim:], values[:, :, past:] = k, position, v
        logits = np.concatenate([q, near, far], -1) @ keys.swapaxes(-1, -2)  # b h t total
        logits[..., past:][..., np.triu(np.ones((t, t), bool), 1)] = -np.inf
        probabilities = np.exp(logits - logits.max(-1, keepdims=True))
        probabilities /= probabilities.sum(-1, keepdims=True)
        attended = (probabilities @ values).swapaxes(1, 2).reshape(b, t, width)
        return _linear(weights, f"{path}.out_proj", attended)


class FieldChain:
    """The fields of the next event one at a time, each conditioned on those before it."""

    def __init__(self, config: NoteTransformerConfig, weights: Matrices, hidden: Logits) -> None:
        """Begin with hidden vectors [b, w], which stay as they are."""
        self._sizes, self._weights, self._hidden, self.index = config.classes, weights, hidden, 0

    def logits(self, given: Tokens | None = None) -> Logits:
        """Return the logits [b, n] of field `index`, given the classes [b] of the one before.

        The first field takes none. A class of -1 counts as 0.
        """
        if self.index == len(FIELDS) or (given is None) != (self.index == 0):
            raise ValueError("a chain takes nothing, then shift, kind, velocity; begin another")
        hidden, weights, name = self._hidden, self._weights, FIELDS[self.index]
        if given is not None:
            before = FIELDS[self.index - 1]
            _check_classes(before, self._sizes[self.index - 1], given)
            hidden = hidden + weights[f"embedding_of_field.{before}.weight"][np.maximum(given, 0)]
        self._hidden = hidden = hidden + _mlp(weights, f"head.{name}", hidden)
        self.index += 1
        return _linear(weights, f"output.{name}", _norm(weights, f"output_norm.{name}", hidden))


def shapes(config: NoteTransformerConfig) -> dict[str, tuple[int, ...]]:
    """Return the names and shapes of the weights of a model."""
    width, heads, dim = config.width, config.heads, config.key_dim
    found: dict[str, tuple[int, ...]] = {"norm.weight": (width,)}
    mlps = {f"head.{name}": config.head_hidden for name in FIELDS}
    if config.condition_dim:
        found["conditioning.weight"] = (width, config.condition_dim)
    for name, size in zip(FIELDS, config.classes, strict=True):
        found |= {f"embedding.{name}.weight": (size + 1, width)}
        found |= {f"embedding_of_field.{name}.weight": (size, width)}
        found |= {f"output_norm.{name}.weight": (width,)}
        found |= {f"output.{name}.weight": (size, width), f"output.{name}.bias": (size,)}
    del found[f"embedding_of_field.{FIELDS[-1]}.weight"]  # nothing comes after it
    for layer in range(config.layers):
        path = f"layers.{layer}.attention"
        found |= {f"{path}.norm.weight": (width,), f"{path}.gain": (heads,)}
        found |= {f"{path}.qkv_proj.weight": (2 * heads * dim + width, width)}
        found |= {f"{path}.out_proj.weight": (width, width)}
        found |= {f"{path}.fourier": (heads, 2 * config.frequencies, dim)}
        mlps[f"layers.{layer}.mlp"] = config.feed_forward
    for path, hidden in mlps.items():
        found |= {f"{path}.norm.weight": (width,)}
        found |= {f"{path}.up_proj.weight": (hidden, width), f"{path}.up_proj.bias": (hidden,)}
        found |= {f"{path}.down_proj.weight": (width, hidden), f"{path}.down_proj.bias": (width,)}
    return found


def _check_classes(name: str, size: int, classes: Tokens) -> None:
    for one in (classes.min(), classes.max()):
        if not -1 <= one < size:
            raise ValueError(f"{name} {one} is outside the classes -1 to {size - 1}")


def _normalised(x: Logits) -> Logits:
    """Scale vectors to the length sqrt(d)."""
    normal: Logits = x / np.sqrt(np.square(x).mean(-1, keepdims=True) + np.float32(1e-6))
    return normal


def _linear(weights: Matrices, path: str, x: Logits) -> Logits:
    y: Logits = x @ weights[f"{path}.weight"].T
    return y + weights[f"{path}.bias"] if f"{path}.bias" in weights else y


def _norm(weights: Matrices, path: str, x: Logits) -> Logits:
    centred = x - x.mean(-1, keepdims=True)
    variance = np.square(centred).mean(-1, keepdims=True)
    normal: Logits = centred / np.sqrt(variance + np.float32(1e-5)) * weights[f"{path}.weight"]
    return normal


def _mlp(weights: Matrices, path: str, x: Logits) -> Logits:
    up = _linear(weights, f"{path}.up_proj", _norm(weights, f"{path}.norm", x))
    return _linear(weights, f"{path}.down_proj", np.maximum(up, 0))
