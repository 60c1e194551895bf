"""All logits at once, those of distances by skewing: h x i x j numbers instead of h x i x j x d."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from espressivo.configs.patterns import Pattern
from espressivo.models.attention.position import Position


def skewed(
    q: Float[Tensor, "b h i d"],
    k: Float[Tensor, "b h j d"],
    v: Float[Tensor, "b h j e"],
    pattern: Pattern,
    position: Position,
    first_key: int = 0,
) -> Float[Tensor, "b h i e"]:
    """Attend as `reference` does."""
    key = first_key + torch.arange(k.shape[2], device=k.device)
    query = key[-q.shape[2] :]
    q, k = position.rotate(q, query), position.rotate(k, key)
    return dense(q, k, v, position, pattern(query[:, None], key))


def dense(
    q: Float[Tensor, "*b h i d"],
    k: Float[Tensor, "*b h j d"],
    v: Float[Tensor, "*b h j e"],
    position: Position,
    allowed: Bool[Tensor, "... i j"],
) -> Float[Tensor, "*b h i e"]:
    """Attend with queries and keys that are rotated already, where it is allowed."""
    logits = q @ k.mT * q.shape[-1] ** -0.5
    if (bias := position.fast_bias(q, k)) is not None:
        logits = logits + bias
    weights = logits.masked_fill(~allowed, -torch.inf).softmax(-1)
    heard: Tensor = weights @ v
    extra = position.fast_extra(weights)
    return heard if extra is None else heard + extra
