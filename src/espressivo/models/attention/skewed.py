"""Relative attention by skewing: one product and one reshape (Huang et al. 2018, 3.4.1)."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F


def skew(x: Float[Tensor, "*lead i j"]) -> Float[Tensor, "*lead i j"]:
    """Turn scores by distance into scores by key, for the newest `i` of `j` keys.

    Column c of the input belongs to distance j - 1 - c. Entries right of the diagonal of the
    result are meaningless; the causal mask must remove them.
    """
    *lead, i, j = x.shape
    shifted = F.pad(x, (0, i)).flatten(-2)[..., :-i].reshape(*lead, i, j + i - 1)
    return shifted[..., i - 1 :]


def skewed(
    q: Float[Tensor, "b h i d"],
    k: Float[Tensor, "b h j d"],
    v: Float[Tensor, "b h j d"],
    table: Float[Tensor, "h r d"],
) -> Float[Tensor, "b h i d"]:
    """Attend as `reference` does, holding h x i x j numbers instead of h x i x j x d."""
    i, j = q.shape[2], k.shape[2]
    near = table[:, -j:]
    by_distance = F.pad(q @ near.mT, (j - near.shape[1], 0))
    logits = (q @ k.mT + skew(by_distance)) * q.shape[-1] ** -0.5
    future = torch.ones(i, j, dtype=torch.bool, device=q.device).triu(j - i + 1)
    heard: Tensor = logits.masked_fill(future, -torch.inf).softmax(-1) @ v
    return heard
