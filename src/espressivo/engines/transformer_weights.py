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

from dataclasses import dataclass

import numpy as np

from espressivo.configs import TransformerConfig
from espressivo.engines.engine import Weights
from espressivo.engines.slab import Matrix, slab


@dataclass(frozen=True)
class Layer:
    """What one layer reads, with w the width, a that of all heads and f that of feed-forward."""

    inputs: Matrix  # w+1 3a
    distances: Matrix  # h d r
    heard: Matrix  # a w
    expand: Matrix  # w+1 f
    contract: Matrix  # w f
    contract_bias: Matrix  # w


@dataclass(frozen=True)
class Layout:
    """Everything a step reads: one row of the embedding, then all the rest."""

    embedding: Matrix  # v w
    layers: tuple[Layer, ...]
    output: Matrix  # w+1 v


def lay_out(config: TransformerConfig, given: Weights) -> Layout:
    """Rearrange the weights of `espressivo.models.MusicTransformer`, in float32."""
    weights = {name: weight.astype(np.float32) for name, weight in given.items()}
    root = np.float32(config.width**0.5)
    arrays: dict[str, Matrix] = {"embedding": _centred(weights["embedding.weight"])}
    for layer in range(config.layers):
        path = f"layers.{layer}."
        inputs = _normalised(weights, path + "attention_norm", path + "attention.inputs")
        inputs[:, : config.attention] *= (config.attention // config.heads) ** -0.5
        arrays |= {
            path + "inputs": inputs,
            path + "distances": weights[path + "attention.distances"].swapaxes(-1, -2),
            path + "heard": _centred(weights[path + "attention.output.weight"].T) / root,
            path + "expand": _normalised(weights, path + "forward_norm", path + "expand"),
            path + "contract": _centred(weights[path + "contract.weight"].T).T / root,
            path + "contract_bias": _centred(weights[path + "contract.bias"]) / root,
        }
    arrays["output"] = _normalised(weights, "norm", "output")
    views = slab(arrays)
    layers = (
        Layer(**{name: views[f"layers.{layer}.{name}"] for name in Layer.__annotations__})
        for layer in range(config.layers)
    )
    return Layout(views["embedding"], tuple(layers), views["output"])


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
