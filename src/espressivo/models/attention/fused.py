"""Relative attention in one pass over tiles: fast on CUDA, memory linear in length.

The kernels need Triton, which comes with CUDA builds of torch; `fused_tiles` explains them. With
TRITON_INTERPRET=1 they also run on a CPU, slowly, for tests. torch.compile takes them as they are.
"""

import contextlib
import functools
import os
from collections.abc import Sequence
from importlib.util import find_spec
from typing import Any, Literal

import torch
from jaxtyping import Float
from torch import Tensor

if find_spec("triton") is not None:
    import triton

    from espressivo.models.attention import fused_backward, fused_forward

    TRITON = True
else:
    TRITON = False

WIDEST = 128
"""Numbers in the query of a head, at most."""

UNBOUNDED = 1 << 29
"""A window or block that is wider than any sequence."""

LOG2_E = 1.4426950408889634


def unavailable(device: torch.device) -> str | None:
    """Say why the kernels cannot run on a device, or nothing if they can."""
    if not TRITON:
        return "fused attention needs triton, which is not installed"
    if device.type == "cuda" or interpreted():
        return None
    return f"fused attention runs on cuda, not on {device.type}"


def interpreted() -> bool:
    """Tell whether Triton interprets kernels on the CPU."""
    return os.environ.get("TRITON_INTERPRET") == "1"


def fused(
    q: Float[Tensor, "b h i d"],
    k: Float[Tensor, "b h j d"],
    v: Float[Tensor, "b h j e"],
    table: Float[Tensor, "n r d"],
    *,
    p: Float[Tensor, "b h i d"] | None = None,
    beyond: Literal["zero", "clamp", "mask"] = "zero",
    window: int | None = None,
    blocks: int | None = None,
    first_key: int = 0,
    turn: Literal["float32", "float16"] | None = None,
) -> Float[Tensor, "b h i d"]:
    """Attend as `reference` does, without ever holding what any two positions have in common.

    `table` has a vector per distance, the furthest first, for each head or (n = 1) for all.
    `p` are the queries that meet the table, where they differ from those that meet the keys
    (Transformer-XL: q + v and q + u). A distance `beyond` the table scores zero, or as the
    furthest, or is not heard. A position hears no more than `window` keys, itself included, and
    no more than its own block of `blocks` and the one before; `first_key` is the position of key
    0, from which blocks count.

    Relative logits move into place as `turn` says; float16, the default where inputs have 16
    bits, is faster and loses less than those inputs already have. The gradient of the table is
    added up in no particular order, unless torch.use_deterministic_algorithms is on: that takes
    longer.

    Raises ValueError for heads wider than 128, for float64, and where Triton cannot run.
    """
    if (reason := unavailable(q.device) or unfit(q, k, v, table)) is not None:
        raise ValueError(reason)
    kind = common_type(q, k, v)
    q, k, v, p = q.to(kind), k.to(kind), v.to(kind), None if p is None else p.to(kind)
    if beyond == "mask":
        window = min(window or UNBOUNDED, table.shape[1])
    span = [window or UNBOUNDED, blocks or UNBOUNDED, first_key % (blocks or UNBOUNDED)]
    turn = turn or ("float32" if q.dtype == torch.float32 else "float16")
    ordered = torch.are_deterministic_algorithms_enabled()
    out, _ = attend(q, p, k, v, table, span, beyond == "clamp", turn, ordered)
    heard: Tensor = out
    return heard


def unfit(q: Tensor, k: Tensor, v: Tensor, table: Tensor) -> str | None:
    """Say why the kernels cannot take these tensors, or nothing if they can."""
    if (kind := common_type(q, k, v)) not in (torch.float32, torch.float16, torch.bfloat16):
        return f"fused attention takes float32, float16 or bfloat16, not {kind}"
    if q.shape[-1] > WIDEST:
        return f"a head's width of {q.shape[-1]} is more than {WIDEST}"
    if v.shape[-1] != q.shape[-1]:
        return f"values are {v.shape[-1]} wide, queries {q.shape[-1]}; they must be equal"
    if q.shape[2] > k.shape[2]:
        return f"{q.shape[2]} queries are more than {k.shape[2]} keys"
    if table.shape[0] not in (1, q.shape[1]):
        return f"{table.shape[0]} tables are neither one nor one for each of {q.shape[1]} heads"
    return None


def common_type(*tensors: Tensor) -> torch.dtype:
    """Give the type to compute in: autocast's, or the widest there is."""
    device = tensors[0].device.type
    if torch.is_autocast_enabled(device):
        return torch.get_autocast_dtype(device)
    return functools.reduce(torch.promote_types, (x.dtype for x in tensors))


def layout(kernel: str, dtype: torch.dtype, width: int) -> dict[str, int]:
    """Choose tiles and warps so that registers suffice; benchmarks/README.md lists their use."""
    if interpreted():
        return {"B": 16}
    if kernel == "table" or dtype == torch.float32 or width > 64:
        return {"B": 32, "num_warps": 4, "num_stages": 2}
    return {"B": 64, "num_warps": 4, "num_stages": 1 if kernel == "keys" else 2}


def constants(
    kernel: str, q: Tensor, split: bool, keys: int, span: Sequence[int], clamp: bool, turn: str
) -> dict[str, Any]:
    """Give everything that a kernel is compiled for."""
    *_, queries, width = q.shape
    shape = layout(kernel, q.dtype, width)
    whole = (keys - queries) % shape["B"] == 0
    return shape | {
        "WIDTH": width,
        "D": max(16, triton.next_power_of_2(width)),
        "CLAMP": clamp,
        "BOUNDED": not whole or min(span[:2]) < keys,
        "SPLIT": split,
        "TURN": getattr(triton.language, turn),
        "PRECISION": "ieee",
    }


def scalars(q: Tensor, k: Tensor, table: Tensor, span: Sequence[int]) -> tuple[int | float, ...]:
    """Give the numbers that every kernel is told."""
    sizes = q.shape[1], table.shape[0], q.shape[2], k.shape[2], table.shape[1]
    return *sizes, *span, q.shape[-1] ** -0.5 * LOG2_E


def on(device: torch.device) -> contextlib.AbstractContextManager[Any]:
    """Launch on the device where the tensors are."""
    return torch.cuda.device(device) if device.type == "cuda" else contextlib.nullcontext()


@torch.library.custom_op("espressivo::relative_attention", mutates_args=())
def attend(
    q: Tensor, p: Tensor | None, k: Tensor, v: Tensor, table: Tensor,
    span: Sequence[int], clamp: bool, turn: str, ordered: bool,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """Give what is heard, and the norm of every query's weights (log 2 of their sum)."""
    q, k, v = q.contiguous(), k.contiguous(), v.contiguous()
    places = q if p is None else p.contiguous()
    out, norm = torch.empty_like(q), q.new_empty(q.shape[:3], dtype=torch.float32)
    known = constants("forward", q, p is not None, k.shape[2], span, clamp, turn)
    with on(q.device):
        fused_forward.forward_kernel[triton.cdiv(q.shape[2], known["B"]), q.shape[0] * q.shape[1]](
            q, places, k, v, table.to(q.dtype).contiguous(), out, norm,
            *scalars(q, k, table, span), **known,
        )  # fmt: skip
    return out, norm


@attend.register_fake
def _(
    q: Tensor, p: Tensor | None, k: Tensor, v: Tensor, table: Tensor,
    span: Sequence[int], clamp: bool, turn: str, ordered: bool,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    return q.new_empty(q.shape), q.new_empty(q.shape[:3], dtype=torch.float32)


@torch.library.custom_op("espressivo::relative_attention_backward", mutates_args=())
def descend(
    above: Tensor, q: Tensor, p: Tensor | None, k: Tensor, v: Tensor, table: Tensor, out: Tensor,
    norm: Tensor, span: Sequence[int], clamp: bool, turn: str, ordered: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:  # fmt: skip
    """Give the gradients of q, p (empty if there is none), k, v and the table."""
    q, k, v, above = q.contiguous(), k.contiguous(), v.contiguous(), above.contiguous()
    places = q if p is None else p.contiguous()
    small = table.to(q.dtype).contiguous()
    numbers = scalars(q, k, table, span)
    (b, h, i, d), j, (n, r, _) = q.shape, k.shape[2], table.shape
    rate = d**-0.5
    dq, dk, dv, drop = (torch.empty_like(x) for x in (q, k, v, norm))
    dp = q.new_empty(0) if p is None else torch.empty_like(q)

    def known(kernel: str) -> dict[str, Any]:
        return constants(kernel, q, p is not None, j, span, clamp, turn)

    with on(q.device):
        compiled = known("queries")
        tiles = triton.cdiv(i, compiled["B"])
        dtable = q.new_zeros(b * h if ordered else n, r, d, dtype=torch.float32)
        dfurthest = q.new_empty(b * h if clamp else 0, tiles, d, dtype=torch.float32)
        fused_backward.queries_kernel[tiles, b * h](
            q, places, k, v, small, out, norm, above, drop, dq, dp, dtable, dfurthest,
            *numbers, rate, **compiled, TABLE=not ordered,
        )  # fmt: skip
        compiled = known("keys")
        tiles = triton.cdiv(j - i, compiled["B"]) + triton.cdiv(i, compiled["B"])
        fused_backward.keys_kernel[tiles, b * h](
            q, places, k, v, small, norm, above, drop, dk, dv, *numbers, rate, **compiled
        )
        if ordered:
            compiled = known("table")
            fused_backward.table_kernel[triton.cdiv(r, compiled["B"]), b * h](
                q, places, k, v, small, norm, above, drop, dtable, *numbers, **compiled
            )
    dtable = dtable.view(-1, n, r, d).sum(0)
    if clamp:
        dtable[:, 0] += dfurthest.sum(1).view(-1, n, d).sum(0)
    return dq, dp, dk, dv, (dtable * rate).to(table.dtype)


@descend.register_fake
def _(
    above: Tensor, q: Tensor, p: Tensor | None, k: Tensor, v: Tensor, table: Tensor, out: Tensor,
    norm: Tensor, span: Sequence[int], clamp: bool, turn: str, ordered: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:  # fmt: skip
    dp = q.new_empty(0) if p is None else q.new_empty(q.shape)
    dq, dk, dv, dtable = (x.new_empty(x.shape) for x in (q, k, v, table))
    return dq, dp, dk, dv, dtable


def _remember(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
    *tensors, ctx.span, ctx.clamp, ctx.turn, ctx.ordered = inputs
    ctx.save_for_backward(*tensors, *output)


def _backward(ctx: Any, above: Tensor, _: Tensor | None) -> tuple[Tensor | None, ...]:
    saved = ctx.saved_tensors
    dq, dp, dk, dv, dtable = descend(above, *saved, ctx.span, ctx.clamp, ctx.turn, ctx.ordered)
    return dq, None if saved[1] is None else dp, dk, dv, dtable, None, None, None, None


attend.register_autograd(_backward, setup_context=_remember)
