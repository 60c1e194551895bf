"""Relative attention as it is defined; read this first. Every back end is tested against it."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor


def reference(
    q: Float[Tensor, "b h i d"],
    k: Float[Tensor, "b h j d"],
    v: Float[Tensor, "b h j d"],
    table: Float[Tensor, "h r d"],
) -> Float[Tensor, "b h i d"]:
    """Attend causally, with a learned vector per head and distance (Huang et al. 2018, 3.3-3.4).

    The queries belong to the newest `i` of `j` keys. `table` runs from the furthest distance to
    zero, so distance c is row `r - 1 - c`; beyond the table the relative logit is zero, as in
    tensor2tensor. Both logits are divided by sqrt(d).
    """
    i, j, reach = q.shape[2], k.shape[2], table.shape[1]
    query = torch.arange(j - i, j, device=q.device)
    distance = query[:, None] - torch.arange(j, device=q.device)  # i j
    row = (reach - 1 - distance).clamp(0, reach - 1)
    relative = torch.einsum("b h i d, h i j d -> b h i j", q, table[:, row])
    relative = relative.masked_fill(distance >= reach, 0.0)
    logits = (q @ k.mT + relative) * q.shape[-1] ** -0.5
    heard: Tensor = logits.masked_fill(distance < 0, -torch.inf).softmax(-1) @ v
    return heard
