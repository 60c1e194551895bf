"""The weights of a Music Transformer, rearranged so that a step does as little as possible.

Nothing but normalisations reads the stream, and they ignore its mean. So everything that is added
to the stream is centred beforehand and divided by sqrt(width): the stream then has mean zero, its
variance is its squared length, and a normalisation is one division by sqrt(length^2 + epsilon).
Gains and biases of the normalisations, and the scale of the attention logits, are multiplied into
the matrices that follow.

A product of one row reads its matrix at the speed of memory if the rows of the matrix are long:
so `contract`, which narrows, lies [out, in], and the others lie [in, out]. The bias of one that
follows a normalisation is the row of an input that is always one.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from espressivo.configs import TransformerConfig
from espressivo.engines.engine import Weights
from espressivo.engines.slab import Matrix, slab
from espressivo.engines.transformer_order import order


@dataclass(frozen=True)
class Layer:
    """What one layer reads: width w, queries and keys a, values v, feed-forward f, heads h.

    The numbers behind a query are, head by head, those of its key and those of its value.
    """

    inputs: Matrix  # w+1 2a+v
    heard: Matrix  # v w
    expand: Matrix  # w+1 f
    contract: Matrix  # w f
    contract_bias: Matrix  # w
    gain: Matrix | None = None  # h, of queries of length sqrt(d)
    asked: Matrix | None = None  # h d; this and the rest: see `transformer_order.order`
    distances: Matrix | None = None  # h d r
    penalties: Matrix | None = None  # h r
    distance_values: Matrix | None = None  # h r e


@dataclass(frozen=True)
class Layout:
    """Everything a step reads: one row of the embedding, then all the rest."""

    embedding: Matrix  # v w
    signal: Matrix  # t w, added to the embedding at every place; or 0 w
    controls: Matrix  # c w, for what is told beside a token; or 0 w
    layers: tuple[Layer, ...]
    output: Matrix  # w+1 v


def lay_out(config: TransformerConfig, given: Weights) -> Layout:
    """Rearrange the weights of `espressivo.models.MusicTransformer`, in float32."""
    weights = {name: weight.astype(np.float32) for name, weight in given.items()}
    root = np.float32(config.width**0.5)
    told = weights.get("controls.weight", np.empty((config.width, 0), np.float32))
    arrays: dict[str, Matrix] = _ends(config, weights) | {"controls": _centred(told.T) / root}
    for layer in range(config.layers):
        path = f"layers.{layer}."
        arrays |= {
            path + "inputs": _inputs(config, weights, path),
            path + "heard": _centred(weights[path + "attention.output.weight"].T) / root,
            path + "expand": _normalised(weights, path + "forward_norm", path + "expand"),
            path + "contract": _centred(weights[path + "contract.weight"].T).T / root,
            path + "contract_bias": _centred(weights[path + "contract.bias"]) / root,
        }
        if config.qk_norm:
            arrays[path + "gain"] = weights[path + "attention.gain"] * _scale(config)
        tables = order(config, weights, path + "attention.")
        arrays |= {path + name: table for name, table in tables.items()}
    arrays["output"] = _normalised(weights, "norm", "output")
    views = slab(arrays)
    layers = (
        Layer(
            **{
                name: views[f"layers.{layer}.{name}"]
                for name in Layer.__annotations__
                if f"layers.{layer}.{name}" in views
            }
        )
        for layer in range(config.layers)
    )
    ends = {name: views[name] for name in ("embedding", "signal", "controls", "output")}
    return Layout(layers=tuple(layers), **ends)


def _scale(config: TransformerConfig) -> np.float32:
    return np.float32((config.attention // config.heads) ** -0.5)


def _inputs(config: TransformerConfig, weights: dict[str, Matrix], path: str) -> Matrix:
    """Give the projection to queries, then head by head to a key and a value."""
    matrix = _normalised(weights, path + "attention_norm", path + "attention.inputs")
    a, heads = config.attention, config.heads
    q, *rest = np.split(matrix, [a, 2 * a], 1)
    if not config.qk_norm:
        q = q * _scale(config)
    k, v = (part.reshape(len(matrix), heads, -1) for part in rest)
    return np.concatenate([q, np.concatenate([k, v], -1).reshape(len(matrix), -1)], -1)


def _ends(config: TransformerConfig, weights: dict[str, Matrix]) -> dict[str, Matrix]:
    """Give what enters the first layer: a row for every token, and one for every place."""
    embedding = weights["embedding.weight"]
    if config.sinusoids == "none":
        return {"embedding": _centred(embedding), "signal": np.empty((0, config.width), np.float32)}
    signal = sinusoids(config.context, embedding.shape[1]) / np.float32(config.width**0.5)
    if config.sinusoids == "concatenated":
        embedding = np.pad(embedding, ((0, 0), (0, signal.shape[1])))
        signal = np.pad(signal, ((0, 0), (config.width - signal.shape[1], 0)))
    return {"embedding": _centred(embedding), "signal": _centred(signal)}


def sinusoids(count: int, width: int) -> Matrix:
    """Give tensor2tensor's timing signal of the first positions."""
    half = width // 2
    step = np.float32(math.log(10_000) / max(half - 1, 1))
    rate = np.exp(-step * np.arange(half, dtype=np.float32))
    angle = np.arange(count, dtype=np.float32)[:, None] * rate
    return np.concatenate([np.sin(angle), np.cos(angle)], -1)


def _centred(rows: Matrix) -> Matrix:
    """Take its mean from every row."""
    centred: Matrix = rows - rows.mean(-1, keepdims=True)
    return centred


def _normalised(weights: dict[str, Matrix], norm: str, linear: str) -> Matrix:
    """Give a matrix [in + 1, out] that takes a stream scaled to length one, and a one."""
    weight, gain = weights[f"{linear}.weight"], weights[f"{norm}.weight"]
    bias: Matrix = weight @ weights[f"{norm}.bias"]
    if f"{linear}.bias" in weights:
        bias += weights[f"{linear}.bias"]
    matrix: Matrix = (weight * gain).T * np.float32(len(gain) ** 0.5)
    return np.concatenate([matrix, bias[None]])
