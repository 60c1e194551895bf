"""Local attention block by block: every block of queries sees its own keys and those before.

This is the scheme of Huang et al. 2018, section 3.5, with 2N - 1 distances for blocks of N. Memory
is linear in length: N x 2N logits per block.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from espressivo.configs.patterns import Blocks, Pattern, Window
from espressivo.models.attention.dense import dense
from espressivo.models.attention.position import Position


def blocked(
    q: Float[Tensor, "b h i d"],
    k: Float[Tensor, "b h j d"],
    v: Float[Tensor, "b h j e"],
    pattern: Pattern,
    position: Position,
    first_key: int = 0,
) -> Float[Tensor, "b h i e"]:
    """Attend as `reference` does, where nobody hears further than the block before."""
    if not isinstance(pattern, Blocks | Window):
        raise ValueError(f"{pattern} hears further than two blocks")
    i, j, size = q.shape[2], k.shape[2], pattern.length
    key = first_key + torch.arange(j, device=k.device)
    q, k = position.rotate(q, key[-i:]), position.rotate(k, key)

    first = first_key + j - i
    ahead = first % size  # the first block is filled up in front, the last one behind
    blocks = -(-(ahead + i) // size)
    behind = blocks * size - ahead - i
    start = first - ahead
    queries = _cut(F.pad(q, (0, 0, ahead, behind)), size)
    keys, values = (_pairs(x, start - size - first_key, behind, size) for x in (k, v))

    query = start + torch.arange(blocks * size, device=k.device).view(blocks, size, 1)
    heard = query[:, :1] - size + torch.arange(2 * size, device=k.device)  # m 1 2n
    real = (query >= first) & (query < first + i)
    allowed = ~real | (pattern(query, heard) & (heard >= first_key))  # padding hears anything
    out = dense(queries, keys, values, position, allowed[:, None])
    return out.transpose(1, 2).flatten(2, 3)[:, :, ahead : ahead + i]


def _pairs(
    x: Float[Tensor, "b h j d"], start: int, behind: int, size: int
) -> Float[Tensor, "b m h l d"]:
    """Give every block from `start` but the first, behind the one before it."""
    blocks = _cut(F.pad(x[:, :, max(start, 0) :], (0, 0, max(-start, 0), behind)), size)
    return torch.cat([blocks[:, :-1], blocks[:, 1:]], 3)


def _cut(x: Float[Tensor, "b h t d"], size: int) -> Float[Tensor, "b m h n d"]:
    """Cut time into blocks."""
    b, h, _, d = x.shape
    return x.view(b, h, -1, size, d).transpose(1, 2)
