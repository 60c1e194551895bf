"""What order adds to attention, made at loading into what a step only has to slice or look up.

Whatever a model learns about order becomes a vector per distance, a penalty per distance, or a
rotation per place. Distances run from the furthest to zero, as keys do.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.lib.stride_tricks import as_strided
from numpy.typing import NDArray

from espressivo.configs import Pattern, TransformerConfig
from espressivo.configs.patterns import Causal
from espressivo.engines.engine import Weights
from espressivo.engines.slab import Matrix

Heard = NDArray[np.bool_]


def order(config: TransformerConfig, weights: Weights, path: str) -> dict[str, Matrix]:
    """Give the tables of the layer at `path`, by name; all logits divided by sqrt(d) already.

    asked            h d    what is asked of keys and distances, whatever the query
    distances        h d r  the vector of every distance; h may be 1
    penalties        h r    what is added at every distance
    distance_values  h r e  what is heard beside the values; h may be 1
    """
    scale: float = (config.attention // config.heads) ** -0.5
    if config.position == "alibi":
        return {"penalties": -_slopes(config.heads)[:, None] * _back(config.context)}
    if config.position in ("relative", "shaw"):
        tables = {"distances": weights[path + "distances"].swapaxes(-1, -2)}
        if config.value_table:
            tables["distance_values"] = weights[path + "distance_values"]
        return tables
    if config.position in ("fourier", "xl"):
        table = waves(_back(config.context), _rates(config)) @ weights[path + "waves"]
        tables = {"distances": table.swapaxes(-1, -2)}
        if config.position == "xl":
            # (q + u) k + (q + v) e = (q + u) (k + e) + (v - u) e
            u, v = weights[path + "key_bias"], weights[path + "distance_bias"]
            tables |= {
                "asked": u * scale,
                "penalties": (table @ (v - u)[..., None])[..., 0] * scale,
            }
        return tables
    return {}


def rotation(config: TransformerConfig) -> Matrix | None:
    """Give cosines, then sines, by which pairs of numbers are turned at every place, if any."""
    if config.position != "rotary":
        return None
    half = config.attention // config.heads // 2
    return waves(np.arange(config.context), 10_000 ** (-np.arange(half) / half)).astype(np.float32)


def waves(at: NDArray[np.integer], rates: NDArray[np.float64]) -> NDArray[np.float64]:
    """Give cosines, then sines."""
    angle = at[:, None] * rates
    return np.concatenate([np.cos(angle), np.sin(angle)], -1)


def turn(x: Matrix, rotation: Matrix) -> None:
    """Turn pairs of numbers, half a vector apart, in place."""
    half = x.shape[-1] // 2
    cos, sin = rotation[..., :half], rotation[..., half:]
    a, b = x[..., :half].copy(), x[..., half:]
    x[..., :half] = a * cos - b * sin
    x[..., half:] = a * sin + b * cos


def heard_by(pattern: Pattern, first: int, count: int) -> tuple[int, Heard | None]:
    """Give the first key that `count` queries from `first` on hear, and which they hear from there.

    None stands for all of the past.
    """
    if isinstance(pattern, Causal):
        return 0, None
    keys = np.arange(first + count)
    heard: Heard = pattern(keys[first:, None], keys)
    start = int(heard.any(0).argmax())
    heard = heard[:, start:]
    return start, None if count == 1 and heard.all() else heard


def _rates(config: TransformerConfig) -> NDArray[np.float64]:
    if config.position == "xl":
        half = config.width // 2
        return np.power(10_000.0, -np.arange(half) / half)
    octaves = np.linspace(0, 1, config.frequencies)
    rates: NDArray[np.float64] = math.tau / 4 * np.power(1 / config.reach, octaves)
    return rates


def _slopes(heads: int) -> NDArray[np.float64]:
    slopes: NDArray[np.float64] = np.power(2.0, -8 / heads * np.arange(1, heads + 1))
    return slopes


def _back(count: int) -> NDArray[np.integer]:
    """Give distances from the furthest to zero."""
    return np.arange(count)[::-1]


def beside_once(values: Matrix, within_reach: Matrix, beyond: Matrix, clamped: bool) -> Matrix:
    """Give what weights [h, b, j] of distances add to what is heard, [b, h, e]."""
    heard: Matrix = within_reach @ values[:, values.shape[1] - within_reach.shape[-1] :]
    if clamped:
        heard += beyond.sum(-1, keepdims=True) * values[:, :1]
    return heard.swapaxes(0, 1)


class ByKey:
    """Numbers [b, h, t, j] in memory that can be read by distance and by key, t being newest.

    Row m by key is row m by distance, t - 1 - m further right.
    """

    def __init__(self, batch: int, heads: int, queries: int, keys: int) -> None:
        """Begin with zeros."""
        self.flat = np.zeros((batch, heads, queries * keys + queries), np.float32)
        shape = (batch, heads, queries, keys)
        self.by_distance = self.flat[..., : queries * keys].reshape(shape)
        s0, s1, s = self.flat.strides
        self.by_key = as_strided(self.flat[..., queries - 1 :], shape, (s0, s1, s * (keys - 1), s))

    def put(self, by_key: Matrix) -> None:
        """Take numbers by key, zero in the future: the last of a row is the first of the next."""
        self.by_key[..., :-1] = by_key[..., :-1]
        self.by_key[..., -1, -1] = by_key[..., -1, -1]


def by_key(
    distances: Matrix | None, penalties: Matrix | None, q: Matrix, keys: int, clamped: bool
) -> Matrix:
    """Give what distances add to the logits of queries that are the newest of the keys."""
    b, h, t, _ = q.shape
    added = ByKey(b, h, t, keys)
    if distances is not None:
        reach = distances.shape[-1]
        near = min(keys, reach)
        out = added.by_distance[..., keys - near :]
        np.matmul(q, distances[..., reach - near :], out=out)
        if clamped:
            added.by_distance[..., : keys - near] = out[..., :1]
    if penalties is not None:
        added.by_distance += penalties[:, None, -keys:]
    return added.by_key


def beside(values: Matrix, weights: Matrix, clamped: bool) -> Matrix:
    """Give what the weights of distances add to what queries hear that are the newest keys."""
    by = ByKey(*weights.shape)
    by.put(weights)
    near = min(weights.shape[-1], values.shape[1])
    far = weights.shape[-1] - near
    heard: Matrix = by.by_distance[..., far:] @ values[:, values.shape[1] - near :]
    if clamped:
        heard += by.by_distance[..., :far].sum(-1, keepdims=True) * values[:, :1]
    return heard
