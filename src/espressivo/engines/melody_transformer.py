"""A transformer that accompanies, by hand: the engine of a Music Transformer, told of a melody.

The melody is read once, when a state is started; every step then hears all of it again, one
product with its keys and one with its values in each layer.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from espressivo.configs import MelodyTransformerConfig
from espressivo.engines.engine import (
    Controls,
    Logits,
    State,
    Tokens,
    Weights,
    check_tokens,
    refuse_controls,
)
from espressivo.engines.slab import Matrix, slab
from espressivo.engines.transformer import (
    EPSILON,
    Room,
    TransformerEngine,
    TransformerState,
    _normal,
    _normal_once,
)
from espressivo.engines.transformer_order import turn
from espressivo.engines.transformer_weights import _centred, _normalised, sinusoids


@dataclass(frozen=True)
class Melody:
    """What is heard of a melody: keys [l, b, h, d, s], values [l, b, h, s, d] and silence [b, s].

    `silence` is zero, and minus infinity where there is no step.
    """

    keys: Logits
    values: Logits
    silence: Logits

    def select(self, rows: NDArray[np.integer]) -> Melody:
        """Give what some sequences hear."""
        return Melody(self.keys[:, rows], self.values[:, rows], self.silence[rows])


class MelodyState(TransformerState):
    """The cache of the decoder, and the melody it was started with, if any."""

    def __init__(self, cache: Logits, length: int = 0, melody: Melody | None = None) -> None:
        """Hold both; the time comes with every call."""
        super().__init__(cache, length)
        self.melody = melody
        self.turns: Logits | None = None  # [b, t, d] of the tokens being read, if there is a clock
        self.turns_from = 0

    def fork(self, count: int) -> MelodyState:
        """Give `count` independent copies of every sequence."""
        return self.select(np.repeat(np.arange(self.batch), count))

    def select(self, rows: NDArray[np.integer]) -> MelodyState:
        """Give independent copies of the sequences `rows`."""
        melody = None if self.melody is None else self.melody.select(rows)
        return MelodyState(super().select(rows).cache, self.length, melody)


class MelodyTransformerEngine(TransformerEngine):
    """Plays the weights of `espressivo.models.MelodyTransformer`."""

    def __init__(self, config: MelodyTransformerConfig, weights: Weights) -> None:
        """Lay the weights out for reading once per token, but for those of the encoder."""
        super().__init__(config.decoder, weights)
        self.melody_steps, self.clock = config.melody_steps, config.clock
        self._encoder = {
            name: weight.astype(np.float32)
            for name, weight in weights.items()
            if name.startswith("encoder.") or ".melody.memory." in name
        }
        half = config.attention // config.heads // 2
        self._rates = (10_000.0 ** (-np.arange(half) / half)).astype(np.float32)
        self._heads = self._lay_out_heads(weights)

    def _lay_out_heads(self, given: Weights) -> list[tuple[Matrix, Matrix]]:
        """Give what asks the melody, [w+1, a], and what brings the answer, [a, w], by layer."""
        weights = {name: weight.astype(np.float32) for name, weight in given.items()}
        config, arrays = self.config, {}
        for layer in range(config.layers):
            path = f"layers.{layer}.melody"
            queries = _normalised(weights, f"{path}_norm", f"{path}.queries")
            answer = _centred(weights[f"{path}.output.weight"].T)
            arrays[f"{layer} asks"] = queries * np.float32(
                (config.attention // config.heads) ** -0.5
            )
            arrays[f"{layer} hears"] = answer / np.float32(config.width**0.5)
        views = slab(arrays)
        return [(views[f"{n} asks"], views[f"{n} hears"]) for n in range(config.layers)]

    def start(self, batch: int, source: Tokens | None = None) -> MelodyState:
        """Read the melody, if there is one; every row of it must hold a token."""
        cache = super().start(batch).cache
        return MelodyState(cache, 0, None if source is None else self._read_melody(source))

    def step(self, tokens: Tokens, state: State, controls: Controls | None = None) -> Logits:
        """Read one token of each sequence; give the logits after it.

        With a clock, the one control is the number of steps of the melody that have passed.
        """
        check_tokens(tokens, state, 1, self.vocabulary_size)
        self._set_clock(state, None if controls is None else controls[:, None])
        return super().step(tokens, state)

    def read(self, tokens: Tokens, state: State, controls: Controls | None = None) -> Logits:
        """Read tokens many at a time; give the logits after the last."""
        check_tokens(tokens, state, 2, self.vocabulary_size)
        self._set_clock(state, controls)
        return super().read(tokens, state)

    def _set_clock(self, state: State, controls: Controls | None) -> None:
        """Note how queries to the melody are to be turned."""
        state = _own(state)
        if not self.clock or state.melody is None:
            refuse_controls(self, controls)
            return
        if controls is None:
            raise ValueError("this model follows a clock; give the steps of the melody that passed")
        state.turns, state.turns_from = self._turns(controls[..., 0]), state.length

    def _turns(self, steps: NDArray[np.floating]) -> Logits:
        """Give cosines, then sines, by which pairs of numbers turn at some times."""
        angle = steps.astype(np.float32)[..., None] * self._rates
        return np.concatenate([np.cos(angle), np.sin(angle)], -1)

    def _hear_once(self, layer: int, state: TransformerState, room: Room) -> None:
        melody = _own(state).melody
        if melody is not None:
            _normal_once(room)
            room.stream += self._heard(layer, room.normal[:, None], _own(state), melody)[:, 0]

    def _hear(self, layer: int, x: Logits, state: TransformerState) -> None:
        melody = _own(state).melody
        if melody is not None:
            x += self._heard(layer, _normal(x), _own(state), melody)

    def _heard(self, layer: int, x: Logits, state: MelodyState, melody: Melody) -> Logits:
        """Give what normalised places [b, t, w+1] of the decoder hear of the melody, [b, t, w]."""
        asks, hears = self._heads[layer]
        q = _by_head(x @ asks, self.config.heads)
        if state.turns is not None:
            first = state.length - state.turns_from
            turn(q, state.turns[:, None, first : first + x.shape[1]])
        heard = _softmax(q @ melody.keys[layer] + melody.silence[:, None, None])
        return _joined(heard @ melody.values[layer]) @ hears

    def _read_melody(self, source: Tokens) -> Melody:
        """Encode a melody and give what each layer of the decoder hears of it."""
        present = source >= 0
        if not present.any(axis=1).all():
            raise ValueError("a row of the source holds no token; write at least its end")
        silence = np.where(present, np.float32(0), -np.float32(np.inf))
        read, heads = self._encoded(np.maximum(source, 0), silence), self.config.heads
        keys, values = [], []
        for layer in range(self.config.layers):
            part = _part(self._encoder, f"layers.{layer}.melody.memory.")
            memory = read @ part["weight"].T + part.get("bias", np.float32(0))
            key, value = (_by_head(part, heads) for part in np.split(memory, 2, -1))
            if self.clock:
                turn(key, self._turns(np.arange(source.shape[1], dtype=np.float32)))
            keys.append(key.swapaxes(-1, -2))
            values.append(value)
        return Melody(np.stack(keys), np.stack(values), silence)

    def _encoded(self, source: Tokens, silence: Logits) -> Logits:
        """Give what the encoder makes of every step, [b, s, w]."""
        weights, config = self._encoder, self.config
        width, heads = config.width, config.heads
        scale = np.float32((config.attention // heads) ** -0.5)
        x = weights["encoder.embedding.weight"][source] * np.float32(width**0.5)
        x += sinusoids(source.shape[1], width).astype(np.float32)
        for layer in range(config.layers):
            part = _part(weights, f"encoder.layers.{layer}.")
            inputs = _layer_norm(x, part, "attention_norm") @ part["inputs.weight"].T
            q, k, v = (_by_head(piece, heads) for piece in np.split(inputs, 3, -1))
            heard = _softmax(q @ k.swapaxes(-1, -2) * scale + silence[:, None, None]) @ v
            x += _joined(heard) @ part["output.weight"].T
            hidden = _layer_norm(x, part, "forward_norm") @ part["expand.weight"].T
            hidden = np.maximum(hidden + part["expand.bias"], 0)
            x += hidden @ part["contract.weight"].T + part["contract.bias"]
        return _layer_norm(x, _part(weights, "encoder."), "norm")


def _own(state: State) -> MelodyState:
    if not isinstance(state, MelodyState):
        raise TypeError(f"a melody transformer cannot continue from {type(state).__name__}")
    return state


def _part(weights: dict[str, Matrix], path: str) -> dict[str, Matrix]:
    """Give the weights below a path, by what is left of their names."""
    return {name[len(path) :]: w for name, w in weights.items() if name.startswith(path)}


def _by_head(x: Logits, heads: int) -> Logits:
    """Cut [b, t, a] into [b, h, t, d]."""
    return x.reshape(*x.shape[:2], heads, -1).swapaxes(1, 2)


def _joined(x: Logits) -> Logits:
    """Put [b, h, t, d] together again: [b, t, a]."""
    b, _, t, _ = x.shape
    return x.swapaxes(1, 2).reshape(b, t, -1)


def _softmax(x: Logits) -> Logits:
    weights: Logits = np.exp(x - x.max(-1, keepdims=True))
    weights /= weights.sum(-1, keepdims=True)
    return weights


def _layer_norm(x: Logits, weights: dict[str, Matrix], name: str) -> Logits:
    centred = x - x.mean(-1, keepdims=True)
    spread = np.sqrt(np.square(centred).mean(-1, keepdims=True) + np.float32(EPSILON))
    normal: Logits = centred / spread * weights[f"{name}.weight"] + weights[f"{name}.bias"]
    return normal
