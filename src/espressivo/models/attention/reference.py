"""Attention as it is defined; read this first. Every back end is tested against it."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from espressivo.configs.patterns import Causal, Pattern
from espressivo.models.attention.position import Position


def reference(
    q: Float[Tensor, "b h i d"],
    k: Float[Tensor, "b h j d"],
    v: Float[Tensor, "b h j e"],
    pattern: Pattern = Causal(),
    position: Position = Position(),
    first_key: int = 0,
) -> Float[Tensor, "b h i e"]:
    """Attend: who hears whom says `pattern`, what order adds says `position`.

    The queries belong to the newest `i` of `j` keys, the first of which has the absolute position
    `first_key`. Training, reading a primer and playing one token are this with other lengths.
    """
    key = first_key + torch.arange(k.shape[2], device=k.device)
    query = key[-q.shape[2] :]
    distance = query[:, None] - key  # i j
    q, k = position.rotate(q, query), position.rotate(k, key)
    logits = q @ k.mT * q.shape[-1] ** -0.5
    if (bias := position.bias(q, k, distance)) is not None:
        logits = logits + bias
    weights = logits.masked_fill(~pattern(query[:, None], key), -torch.inf).softmax(-1)
    heard: Tensor = weights @ v
    extra = position.extra(weights, distance)
    return heard if extra is None else heard + extra
