"""The weights of a Music Transformer, rearranged so that a step does as little as possible.

Nothing but normalisations reads the stream, and they ignore its mean. So everything that is added
to the stream is centred beforehand and divided by sqrt(width): the stream then has mean zero, its
variance is its squared length, and a normalisation is one division by sqrt(length^2 + epsilon).
Gains and biases of the normalisations, and the scale of the attention logits, are multiplied into
the matrices that follow.

A product of one row reads its matrix at the speed of memory if the rows of the matrix are long:
so `contract`, which narrows, lies [out, in], and the others lie [in, out].
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from espressivo.configs import TransformerConfig
from espressivo.engines.engine import Weights
from espressivo.engines.slab import Matrix, slab


@dataclass(frozen=True)
class Layer:
    """What one layer reads, with w the width, a that of all heads and f that of feed-forward."""

    inputs: Matrix  # w 3a
    inputs_bias: Matrix
    distances: Matrix  # h d r
    heard: Matrix  # a w
    expand: Matrix  # w f
    expand_bias: Matrix
    contract: Matrix  # w f
    contract_bias: Matrix


@dataclass(frozen=True)
class Layout:
    """Everything a step reads: one row of the embedding, then all the rest."""

    embedding: Matrix  # v w
    layers: tuple[Layer, ...]
    output: Matrix  # w v
    output_bias: Matrix


def lay_out(config: TransformerConfig, weights: Weights) -> Layout:
    """Rearrange the weights of `espressivo.models.MusicTransformer`, in float32."""
    weights = {name: weight.astype(np.float32) for name, weight in weights.items()}
    root = np.float32(config.width**0.5)
    arrays: Weights = {"embedding": _centred(weights["embedding.weight"])}
    for layer in range(config.layers):
        path = f"layers.{layer}."
        names = path + "attention_norm", path + "attention.inputs"
        inputs, inputs_bias = _normalised(weights, *names)
        queries = np.arange(len(inputs_bias)) < config.attention
        scale = np.where(queries, (config.attention // config.heads) ** -0.5, 1)
        expand, expand_bias = _normalised(weights, path + "forward_norm", path + "expand")
        arrays |= {
            path + "inputs": inputs * scale,
            path + "inputs_bias": inputs_bias * scale,
            path + "distances": weights[path + "attention.distances"].swapaxes(-1, -2),
            path + "heard": _centred(weights[path + "attention.output.weight"].T) / root,
            path + "expand": expand,
            path + "expand_bias": expand_bias,
            path + "contract": _centred(weights[path + "contract.weight"].T).T / root,
            path + "contract_bias": _centred(weights[path + "contract.bias"]) / root,
        }
    arrays["output"], arrays["output_bias"] = _normalised(weights, "norm", "output")
    views = slab(arrays)
    layers = (
        Layer(**{name: views[f"layers.{layer}.{name}"] for name in Layer.__annotations__})
        for layer in range(config.layers)
    )
    return Layout(views["embedding"], tuple(layers), views["output"], views["output_bias"])


def _centred(rows: Matrix) -> Matrix:
    """Take its mean from every row."""
    centred: Matrix = rows - rows.mean(-1, keepdims=True)
    return centred


def _normalised(weights: Weights, norm: str, linear: str) -> tuple[Matrix, Matrix]:
    """Give a matrix [in, out] and a bias that take a stream scaled to length one."""
    weight, gain = weights[f"{linear}.weight"], weights[f"{norm}.weight"]
    bias: Matrix = (weight @ weights[f"{norm}.bias"]).astype(np.float32)
    if f"{linear}.bias" in weights:
        bias += weights[f"{linear}.bias"]
    matrix: Matrix = ((weight * gain).T * len(gain) ** 0.5).astype(np.float32)
    return matrix, bias
