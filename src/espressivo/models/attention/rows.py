"""Relative attention by blocks of queries: memory linear in length, on any device.

Only the inputs, the output and one number per query are kept for the backward pass, which
computes the probabilities again. Within a block, skewing is a view of memory and moves nothing:
row m of the scores by distance, read with a row stride one shorter, is row m by key.
"""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

BLOCK = 128
"""Queries per block; fewer cost time, more cost memory."""


def rows(
    q: Float[Tensor, "b h i d"],
    k: Float[Tensor, "b h j d"],
    v: Float[Tensor, "b h j d"],
    table: Float[Tensor, "h r d"],
    block: int = BLOCK,
) -> Float[Tensor, "b h i d"]:
    """Attend as `reference` does, never holding more than `block` rows of logits."""
    wide = torch.promote_types(q.dtype, torch.float32)  # 16 bits are too few for a softmax
    with torch.autocast(q.device.type, enabled=False):
        inputs = [x.to(wide) for x in (q, k, v, table)]
        out: Tensor = _Rows.apply(*inputs, block)  # type: ignore[no-untyped-call]  # torch
    return out.to(q.dtype)


def _blocks(queries: int, keys: int, block: int) -> list[tuple[int, int, int]]:
    """Give (first query, last query, keys seen by the last one) of every block."""
    before = keys - queries
    cuts = range(0, queries, block)
    return [(a, min(a + block, queries), before + min(a + block, queries)) for a in cuts]


def _logits(q: Tensor, k: Tensor, table: Tensor) -> Tensor:
    """Give the scaled, masked logits of queries that are the newest of the keys."""
    i, j = q.shape[2], k.shape[2]
    near = table[:, -j:]
    by_distance = F.pad(q @ near.mT, (j - near.shape[1], 0)).contiguous()  # b h i j
    s0, s1, *_ = by_distance.stride()
    relative = by_distance.as_strided(by_distance.shape, (s0, s1, j - 1, 1), i - 1)
    logits = (q @ k.mT).add_(relative).mul_(q.shape[-1] ** -0.5)
    future = torch.ones(i, i, dtype=torch.bool, device=q.device).triu(1)
    logits[..., j - i :].masked_fill_(future, -torch.inf)
    return logits


def _unskew(by_key: Tensor) -> Tensor:
    """Put gradients by key, zero in the future, where they came from: by distance."""
    *lead, i, j = by_key.shape
    flat = by_key.new_zeros(*lead, i * j)
    flat[..., i - 1 : i - 1 + i * (j - 1)].view(*lead, i, j - 1).copy_(by_key[..., :-1])
    flat[..., -1] = by_key[..., -1, -1]
    return flat.view(by_key.shape)


class _Rows(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, q: Tensor, k: Tensor, v: Tensor, table: Tensor, block: int) -> Tensor:
        out, norm = torch.empty_like(q), q.new_empty(q.shape[:3])
        for a, b, seen in _blocks(q.shape[2], k.shape[2], block):
            logits = _logits(q[:, :, a:b], k[:, :, :seen], table)
            norm[:, :, a:b] = logits.logsumexp(-1)
            weights = logits.sub_(norm[:, :, a:b, None]).exp_()
            out[:, :, a:b] = weights @ v[:, :, :seen]
        ctx.save_for_backward(q, k, v, table, out, norm)
        ctx.block = block
        return out

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor, None]:
        (grad,) = grads
        q, k, v, table, out, norm = ctx.saved_tensors
        dq, dk, dv = torch.empty_like(q), torch.zeros_like(k), torch.zeros_like(v)
        dtable = torch.zeros_like(table)
        delta = (grad * out).sum(-1, keepdim=True)
        for a, b, seen in _blocks(q.shape[2], k.shape[2], ctx.block):
            queries, keys, above = q[:, :, a:b], k[:, :, :seen], grad[:, :, a:b]
            weights = _logits(queries, keys, table).sub_(norm[:, :, a:b, None]).exp_()
            dv[:, :, :seen] += weights.mT @ above
            ds = (above @ v[:, :, :seen].mT).sub_(delta[:, :, a:b]).mul_(weights)
            ds.mul_(q.shape[-1] ** -0.5)
            near = table[:, -seen:]
            by_distance = _unskew(ds)[..., seen - near.shape[1] :]
            dq[:, :, a:b] = ds @ keys + by_distance @ near
            dk[:, :, :seen] += ds.mT @ queries
            dtable[:, -seen:] += torch.einsum("b h i r, b h i d -> h r d", by_distance, queries)
        return dq, dk, dv, dtable, None
