"""Torch's own attention, where order adds a rotation, waves, or nothing that needs a product."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from espressivo.configs.patterns import Causal, Pattern
from espressivo.models.attention.position import Position, Waves


def sdpa(
    q: Float[Tensor, "b h i d"],
    k: Float[Tensor, "b h j d"],
    v: Float[Tensor, "b h j e"],
    pattern: Pattern,
    position: Position,
    first_key: int = 0,
) -> Float[Tensor, "b h i e"]:
    """Attend as `reference` does: everything but waves and a plain past becomes a mask [.., i, j].

    Torch's causal flag puts query 0 on key 0, so it is used only when all keys have queries.
    """
    scale, width = q.shape[-1] ** -0.5, v.shape[-1]
    key = first_key + torch.arange(k.shape[2], device=k.device)
    query = key[-q.shape[2] :]
    q, k = position.rotate(q, query), position.rotate(k, key)
    bias = None
    if isinstance(position, Waves):
        q, k = position.widened(q, k)
    else:
        bias = position.fast_bias(q, k)
    plain = bias is None and isinstance(pattern, Causal)
    causal = plain and len(query) == len(key)
    mask = None if causal or (plain and len(query) == 1) else pattern(query[:, None], key)
    if mask is not None and bias is not None:
        mask = bias.masked_fill(~mask, -torch.inf)
    v = F.pad(v, (0, max(0, q.shape[-1] - width)))  # the fused kernels want one width
    heard = F.scaled_dot_product_attention(q, k, v, mask, is_causal=causal, scale=scale)
    return heard[..., :width]
