"""Fused relative attention: the kernel of the forward pass. Start with `fused_tiles`."""

from typing import no_type_check

import triton
import triton.language as tl

from espressivo.models.attention.fused_tiles import (
    NEVER,
    by_key,
    from_furthest,
    geometry,
    oldest,
    read,
    score_chunk,
    score_content,
    write,
)


@triton.jit
@no_type_check
def hear(logits, v, best, total, heard, PRECISION: tl.constexpr):
    """Add a tile of keys to a softmax that is still being taken."""
    better = tl.maximum(best, tl.max(logits, 1))
    fade = tl.exp2(best - better)
    weights = tl.exp2(logits - better[:, None])
    total = total * fade + tl.sum(weights, 1)
    heard = tl.dot(weights.to(v.dtype), v, heard * fade[:, None], input_precision=PRECISION)
    return better, total, heard


@triton.jit
@no_type_check
def forward_kernel(
    q_base, p_base, k_base, v_base, table_base, out_base, norm_base,
    heads, tables, queries, keys, reach, window, blocks, phase, scale,
    WIDTH: tl.constexpr, D: tl.constexpr, B: tl.constexpr, CLAMP: tl.constexpr,
    BOUNDED: tl.constexpr, SPLIT: tl.constexpr, TURN: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    """Attend from one tile of queries; grid: tiles of queries, batch x heads."""
    tile = tl.num_programs(0) - 1 - tl.program_id(0)  # those with most to hear begin
    sequence = tl.program_id(1).to(tl.int64)
    table = table_base + (sequence % heads) % tables * reach * WIDTH
    k_base += sequence * keys * WIDTH
    v_base += sequence * keys * WIDTH
    own = sequence * queries * WIDTH
    q = read(q_base + own, tile * B, queries, WIDTH, D, B)
    p = q
    if SPLIT:
        p = read(p_base + own, tile * B, queries, WIDTH, D, B)
    before, tiles_before, absent = geometry(queries, keys, B)
    place = tl.arange(0, B)
    position = before + tile * B + place
    here = tiles_before + tile
    first = (oldest(before + tile * B, window, blocks, phase) + absent) // B
    near = tl.maximum(first, here - (reach + B - 1) // B)
    beyond = from_furthest(p, table, WIDTH, D, B, CLAMP)
    best = tl.full((B,), NEVER, tl.float32)
    total = tl.zeros((B,), tl.float32)
    heard = tl.zeros((B, D), tl.float32)

    for other in range(first, near):
        start = other * B - absent
        k = read(k_base, start, keys, WIDTH, D, B)
        logits = score_content(
            q, k, position, start + place, window, blocks, phase, scale, PRECISION, BOUNDED, False
        )
        if CLAMP:
            logits += beyond[:, None] * scale
        v = read(v_base, start, keys, WIDTH, D, B)
        best, total, heard = hear(logits, v, best, total, heard, PRECISION)

    further = score_chunk(
        p, table, here - near, beyond, reach, scale, WIDTH, D, B, CLAMP, TURN, PRECISION
    )
    for other in range(near, here):
        start = other * B - absent
        nearer = score_chunk(
            p, table, here - other - 1, beyond, reach, scale, WIDTH, D, B, CLAMP, TURN, PRECISION
        )
        relative = by_key(further, nearer, here - other, position - start, B)
        further = nearer
        k = read(k_base, start, keys, WIDTH, D, B)
        logits = relative + score_content(
            q, k, position, start + place, window, blocks, phase, scale, PRECISION, BOUNDED, False
        )
        v = read(v_base, start, keys, WIDTH, D, B)
        best, total, heard = hear(logits, v, best, total, heard, PRECISION)

    start = here * B - absent
    relative = by_key(further, further, 0, position - start, B)  # the nearer chunk is the future
    k = read(k_base, start, keys, WIDTH, D, B)
    logits = relative + score_content(
        q, k, position, start + place, window, blocks, phase, scale, PRECISION, BOUNDED, True
    )
    v = read(v_base, start, keys, WIDTH, D, B)
    best, total, heard = hear(logits, v, best, total, heard, PRECISION)

    write(out_base + own, heard / total[:, None], tile * B, queries, WIDTH, D, B)
    row = tile * B + place
    norms = norm_base + sequence * queries + row
    tl.store(norms, best + tl.log2(total), mask=row < queries)
