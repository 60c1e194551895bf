"""Relative attention by blocks of queries: memory linear in length, on any device.

Only the inputs, the output and one number per query are kept for the backward pass, which
computes the probabilities again. The work goes head by head and block by block, in one or two
buffers that are small enough for a processor's cache and are used over and over.

Skewing costs nothing. The products of a block of c queries with the vectors of n distances are
written into rows of n + 1 numbers. The same memory from number c - 1 on, read in rows of n, is the
block by key: the key at p is heard by query m from the distance in column p + c - 1 - m, and what
lies in the future takes up the numbers left over. The products with the keys are added there. The
way back is the same: gradients are written by key and read by distance.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, Literal

import torch
from jaxtyping import Float
from torch import Tensor

BLOCK = 128
"""Queries per block; fewer cost time, more cost memory."""

AT_ONCE = {"cpu": 2**18}
"""Logits of a block that are computed together: what fits a cache. Elsewhere launches count."""

LOG2_E = math.log2(math.e)


def rows(
    q: Float[Tensor, "b h i d"],
    k: Float[Tensor, "b h j d"],
    v: Float[Tensor, "b h j e"],
    table: Float[Tensor, "#h r d"] | None,
    block: int = BLOCK,
    *,
    p: Float[Tensor, "b h i d"] | None = None,
    beyond: Literal["zero", "clamp"] = "zero",
) -> Float[Tensor, "b h i e"]:
    """Attend as `reference` does to a plain past, never holding more than `block` rows of logits.

    `p` is what the queries ask of distances, if not `q` (Dai et al. 2019). Further away than the
    table, which runs from the furthest distance to zero, the relative logit is zero, or with
    "clamp" that of the furthest row. Without a `table` order adds nothing.
    """
    wide = torch.promote_types(q.dtype, torch.float32)  # 16 bits are too few for a softmax
    table = None if table is None else table.expand(q.shape[1], -1, -1)
    with torch.autocast(q.device.type, enabled=False):
        inputs = [None if x is None else x.to(wide) for x in (q, p, k, v, table)]
        out: Tensor = _Rows.apply(*inputs, block, beyond)  # type: ignore[no-untyped-call]  # torch
    return out.to(q.dtype)


class _Rows(torch.autograd.Function):
    """Logits are in base 2 throughout: exp2 is faster than exp, above all where it underflows."""

    @staticmethod
    def forward(
        ctx: Any, q: Tensor, p: Tensor | None, k: Tensor, v: Tensor, table: Tensor | None,
        block: int, beyond: str,
    ) -> Tensor:  # fmt: skip
        b, h, i, d = q.shape
        out = v.new_empty(b, i, h, v.shape[3]).transpose(1, 2)
        norm = q.new_empty(b, h, i, 1)
        desk = _Desk(q, k, block, beyond)
        for some in desk.heads():
            keys, values = k[some].contiguous(), v[some].contiguous()
            vectors = None if table is None else table[some[1]]
            asked = q[some] * (d**-0.5 * LOG2_E)
            distant = asked if p is None else p[some] * (d**-0.5 * LOG2_E)
            for at, past in desk.blocks:
                logits = desk.logits(asked[:, at], distant[:, at], keys[:, past], vectors)
                most = logits.amax(-1, keepdim=True)
                weights = logits.sub_(most).exp2_()
                total = weights.sum(-1, keepdim=True)
                out[some][:, at] = (weights @ values[:, past]).div_(total)
                norm[some][:, at] = most.add_(total.log2_())
        ctx.save_for_backward(q, p, k, v, table, out, norm)
        ctx.choices = block, beyond
        return out

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        q, p, k, v, table, out, norm = ctx.saved_tensors
        scale = q.shape[3] ** -0.5
        dq, dk, dv = (torch.zeros_like(x) for x in (q, k, v))
        dtable = None if table is None else torch.zeros_like(table)
        dp = dq if p is None else torch.zeros_like(q)
        desk = _Desk(q, k, *ctx.choices)
        other = _Desk(q, k, *ctx.choices)
        for some in desk.heads():
            keys, values = k[some].contiguous(), v[some].contiguous()
            vectors = None if table is None else table[some[1]]
            asked = q[some] * (scale * LOG2_E)
            distant = asked if p is None else p[some] * (scale * LOG2_E)
            above = grads[0][some].contiguous()
            delta = (above * out[some]).sum(-1, keepdim=True)
            for at, past in desk.blocks:
                logits = desk.logits(asked[:, at], distant[:, at], keys[:, past], vectors)
                weights = logits.sub_(norm[some][:, at]).exp2_()
                dv[some][:, past].baddbmm_(weights.mT, above[:, at])
                by_distance, by_key = other.views(len(asked), *weights.shape[1:])
                torch.bmm(above[:, at], values[:, past].mT, out=by_key)
                by_key.sub_(delta[:, at]).mul_(weights)
                dq[some][:, at].baddbmm_(by_key, keys[:, past])
                dk[some][:, past].baddbmm_(by_key.mT, asked[:, at])
                if vectors is None or dtable is None:
                    continue
                near = vectors[:, -by_key.shape[2] :]
                by_distance = other.gathered(by_distance, near.shape[1])
                dp[some][:, at].baddbmm_(by_distance, near)
                dtable[some[1]][:, -near.shape[1] :].baddbmm_(by_distance.mT, distant[:, at])
        for gradient, factor in ((dq, scale), (dk, 1 / LOG2_E), (dtable, 1 / LOG2_E)):
            if gradient is not None:
                gradient.mul_(factor)
        return dq, None if p is None else dp.mul_(scale), dk, dv, dtable, None, None


class _Desk:
    """Room for the logits of one block of queries of some heads, and the order of the work."""

    def __init__(self, q: Tensor, k: Tensor, block: int, beyond: str) -> None:
        self.batch, self.all_heads, queries, _ = q.shape
        keys, block = k.shape[2], min(block, q.shape[2])
        at_once = AT_ONCE.get(q.device.type, 2**26) // (block * keys)
        self.heads_at_once = min(max(at_once, 1), self.all_heads)
        self.room = q.new_empty(self.heads_at_once * block * (keys + 1))
        self.future = torch.ones(block, block, dtype=torch.bool, device=q.device).triu(1)
        self.clamp = beyond == "clamp"
        cuts = [(a, min(a + block, queries)) for a in range(0, queries, block)]
        self.blocks = [(slice(a, b), slice(keys - queries + b)) for a, b in cuts]

    def heads(self) -> Iterator[tuple[int, slice]]:
        """Give what to work on together: a batch entry and some of its heads."""
        for entry in range(self.batch):
            for head in range(0, self.all_heads, self.heads_at_once):
                yield entry, slice(head, min(head + self.heads_at_once, self.all_heads))

    def views(self, heads: int, queries: int, keys: int) -> tuple[Tensor, Tensor]:
        """Give the room by distance, the furthest first, and by key; they share memory."""
        size = queries * (keys + 1)
        flat = self.room[: heads * size].view(heads, size)
        by_key = flat[:, queries - 1 : -1].view(heads, queries, keys)
        return flat.view(heads, queries, keys + 1)[..., :-1], by_key

    def logits(self, q: Tensor, p: Tensor, k: Tensor, vectors: Tensor | None) -> Tensor:
        """Give the masked logits of scaled queries that are the newest of the keys."""
        by_distance, by_key = self.views(len(q), q.shape[1], k.shape[1])
        if vectors is None:
            torch.bmm(q, k.mT, out=by_key)
        else:
            near = vectors[:, -k.shape[1] :]
            far, close = _parted(by_distance, near.shape[1])
            torch.bmm(p, near.mT, out=close)
            far.copy_(close[..., :1]) if self.clamp else far.zero_()
            by_key.baddbmm_(q, k.mT)
        future = self.future[: q.shape[1], : q.shape[1]]
        by_key[..., k.shape[1] - q.shape[1] :].masked_fill_(future, -torch.inf)
        return by_key

    def gathered(self, by_distance: Tensor, near: int) -> Tensor:
        """Give gradients by distance, those beyond the table where they belong."""
        by_distance[:, 0, : by_distance.shape[1] - 1] = 0  # before the first key of query 0
        far, close = _parted(by_distance, near)
        if self.clamp:
            close[..., 0] += far.sum(-1)
        return close


def _parted(by_distance: Tensor, near: int) -> tuple[Tensor, Tensor]:
    """Give what lies beyond the table, and the `near` distances within."""
    far = by_distance.shape[-1] - near
    return by_distance[..., :far], by_distance[..., far:]
