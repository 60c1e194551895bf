"""Fused relative attention: the kernels of the backward pass. Start with `fused_tiles`.

`queries_kernel` runs first: it notes `drop`, one number per query, that the others need. The
gradient of the table is added up there, in whatever order programs run, or by `table_kernel`,
which takes half as much arithmetic again and always gives the same result.
"""

from typing import no_type_check

import triton
import triton.language as tl

from espressivo.models.attention.fused_tiles import (
    ALWAYS,
    by_distance,
    by_key,
    descend,
    distances,
    from_furthest,
    furthest,
    geometry,
    in_tile,
    newest,
    oldest,
    read,
    read_chunk,
    score_chunk,
    score_content,
    write,
)


@triton.jit
@no_type_check
def queries_kernel(
    q_base, p_base, k_base, v_base, table_base, out_base, norm_base, above_base,
    drop_base, dq_base, dp_base, dtable_base, dfurthest_base,
    heads, tables, queries, keys, reach, window, blocks, phase, scale, rate,
    WIDTH: tl.constexpr, D: tl.constexpr, B: tl.constexpr, CLAMP: tl.constexpr,
    BOUNDED: tl.constexpr, SPLIT: tl.constexpr, TURN: tl.constexpr, PRECISION: tl.constexpr,
    TABLE: tl.constexpr,
):  # fmt: skip
    """Give the gradients of one tile of queries, and of the table; grid as forward."""
    tile = tl.num_programs(0) - 1 - tl.program_id(0)
    sequence = tl.program_id(1).to(tl.int64)
    head = (sequence % heads) % tables
    table = table_base + head * reach * WIDTH
    k_base += sequence * keys * WIDTH
    v_base += sequence * keys * WIDTH
    own = sequence * queries * WIDTH
    q = read(q_base + own, tile * B, queries, WIDTH, D, B)
    p = q
    if SPLIT:
        p = read(p_base + own, tile * B, queries, WIDTH, D, B)
    above = read(above_base + own, tile * B, queries, WIDTH, D, B)
    out = read(out_base + own, tile * B, queries, WIDTH, D, B)
    drop = tl.sum(above.to(tl.float32) * out.to(tl.float32), 1)
    place = tl.arange(0, B)
    row = tile * B + place
    tl.store(drop_base + sequence * queries + row, drop, mask=row < queries)
    norm = tl.load(norm_base + sequence * queries + row, mask=row < queries, other=ALWAYS)
    before, tiles_before, absent = geometry(queries, keys, B)
    position = before + row
    here = tiles_before + tile
    first = (oldest(before + tile * B, window, blocks, phase) + absent) // B
    near = tl.maximum(first, here - (reach + B - 1) // B)
    beyond = from_furthest(p, table, WIDTH, D, B, CLAMP)
    dbeyond = tl.zeros((B,), tl.float32)
    dq = tl.zeros((B, D), tl.float32)
    dp = tl.zeros((B, D), tl.float32)

    for other in range(first, near):
        start = other * B - absent
        k = read(k_base, start, keys, WIDTH, D, B)
        logits = score_content(
            q, k, position, start + place, window, blocks, phase, scale, PRECISION, BOUNDED, False
        )
        if CLAMP:
            logits += beyond[:, None] * scale
        v = read(v_base, start, keys, WIDTH, D, B)
        _, slope = descend(logits, norm, above, v, drop, PRECISION)
        dq = tl.dot(slope.to(k.dtype), k, dq, input_precision=PRECISION)
        if CLAMP:
            dbeyond += tl.sum(slope, 1)

    further = score_chunk(
        p, table, here - near, beyond, reach, scale, WIDTH, D, B, CLAMP, TURN, PRECISION
    )
    half = tl.zeros((B, B), k_base.dtype.element_ty)  # of a chunk's gradient, from the last step
    for other in range(near, here + 1):
        start, chunk = other * B - absent, here - other
        nearer = score_chunk(
            p, table, chunk - 1, beyond, reach, scale, WIDTH, D, B, CLAMP, TURN, PRECISION
        )
        relative = by_key(further, nearer, chunk, position - start, B)
        further = nearer
        k = read(k_base, start, keys, WIDTH, D, B)
        logits = relative + score_content(
            q, k, position, start + place, window, blocks, phase, scale, PRECISION, BOUNDED, True
        )
        v = read(v_base, start, keys, WIDTH, D, B)
        _, slope = descend(logits, norm, above, v, drop, PRECISION)
        slope = slope.to(k.dtype)
        dq = tl.dot(slope, k, dq, input_precision=PRECISION)
        turned = by_distance(slope, position - start, B)
        dscores = tl.where(in_tile(chunk, position - start, B), turned, half)
        half = turned
        distance = distances(chunk, B)
        if CLAMP:
            outside = (distance >= reach)[None, :]
            dbeyond += tl.sum(tl.where(outside, dscores, 0.0).to(tl.float32), 1)
        cells = read_chunk(table, chunk, reach, WIDTH, D, B)
        if SPLIT:
            dp = tl.dot(dscores, cells, dp, input_precision=PRECISION)
        else:
            dq = tl.dot(dscores, cells, dq, input_precision=PRECISION)
        if TABLE:
            dcells = tl.dot(tl.trans(dscores), p, input_precision=PRECISION)
            columns = tl.arange(0, D)
            inside = (distance < reach)[:, None] & (columns < WIDTH)[None, :]
            places = (head * reach + reach - 1 - distance)[:, None] * WIDTH + columns[None, :]
            tl.atomic_add(dtable_base + places, dcells, mask=inside, sem="relaxed")

    if CLAMP:
        toward = dbeyond[:, None] * furthest(table, WIDTH, D)[None, :]
        if SPLIT:
            dp += toward
        else:
            dq += toward
        columns = tl.arange(0, D)
        places = (sequence * tl.num_programs(0) + tile) * WIDTH + columns
        dfurthest = tl.sum(dbeyond[:, None] * p.to(tl.float32), 0)
        tl.store(dfurthest_base + places, dfurthest, mask=columns < WIDTH)
    write(dq_base + own, dq * rate, tile * B, queries, WIDTH, D, B)
    if SPLIT:
        write(dp_base + own, dp * rate, tile * B, queries, WIDTH, D, B)


@triton.jit
@no_type_check
def keys_kernel(
    q_base, p_base, k_base, v_base, table_base, norm_base, above_base, drop_base,
    dk_base, dv_base,
    heads, tables, queries, keys, reach, window, blocks, phase, scale, rate,
    WIDTH: tl.constexpr, D: tl.constexpr, B: tl.constexpr, CLAMP: tl.constexpr,
    BOUNDED: tl.constexpr, SPLIT: tl.constexpr, TURN: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    """Give the gradients of one tile of keys and values; grid: tiles of keys, batch x heads."""
    tile = tl.program_id(0)
    sequence = tl.program_id(1).to(tl.int64)
    table = table_base + (sequence % heads) % tables * reach * WIDTH
    q_base += sequence * queries * WIDTH
    p_base += sequence * queries * WIDTH
    above_base += sequence * queries * WIDTH
    norm_base += sequence * queries
    drop_base += sequence * queries
    before, tiles_before, absent = geometry(queries, keys, B)
    place = tl.arange(0, B)
    start = tile * B - absent
    k = read(k_base + sequence * keys * WIDTH, start, keys, WIDTH, D, B)
    v = read(v_base + sequence * keys * WIDTH, start, keys, WIDTH, D, B)
    end = tl.minimum(newest(start + B - 1, window, blocks, phase) + 1 - before, queries)
    end = (tl.maximum(end, 0) + B - 1) // B
    first = tl.maximum(tile - tiles_before, 0)
    far = tl.minimum(tile - tiles_before + (reach + B - 1) // B + 1, end)
    dk = tl.zeros((B, D), tl.float32)
    dv = tl.zeros((B, D), tl.float32)

    for other in range(first, far):
        row = other * B + place
        q = read(q_base, other * B, queries, WIDTH, D, B)
        p = q
        if SPLIT:
            p = read(p_base, other * B, queries, WIDTH, D, B)
        chunk = tiles_before + other - tile
        beyond = from_furthest(p, table, WIDTH, D, B, CLAMP)
        further = score_chunk(
            p, table, chunk, beyond, reach, scale, WIDTH, D, B, CLAMP, TURN, PRECISION
        )
        nearer = score_chunk(
            p, table, chunk - 1, beyond, reach, scale, WIDTH, D, B, CLAMP, TURN, PRECISION
        )
        relative = by_key(further, nearer, chunk, before + row - start, B)
        logits = relative + score_content(
            q,
            k,
            before + row,
            start + place,
            window,
            blocks,
            phase,
            scale,
            PRECISION,
            BOUNDED,
            True,
        )
        above = read(above_base, other * B, queries, WIDTH, D, B)
        norm = tl.load(norm_base + row, mask=row < queries, other=ALWAYS)
        drop = tl.load(drop_base + row, mask=row < queries, other=0.0)
        weights, slope = descend(logits, norm, above, v, drop, PRECISION)
        dv = tl.dot(tl.trans(weights.to(v.dtype)), above, dv, input_precision=PRECISION)
        dk = tl.dot(tl.trans(slope.to(k.dtype)), q, dk, input_precision=PRECISION)

    for other in range(tl.maximum(first, far), end):
        row = other * B + place
        q = read(q_base, other * B, queries, WIDTH, D, B)
        above = read(above_base, other * B, queries, WIDTH, D, B)
        norm = tl.load(norm_base + row, mask=row < queries, other=ALWAYS)
        drop = tl.load(drop_base + row, mask=row < queries, other=0.0)
        logits = score_content(
            q,
            k,
            before + row,
            start + place,
            window,
            blocks,
            phase,
            scale,
            PRECISION,
            BOUNDED,
            False,
        )
        if CLAMP:
            p = q
            if SPLIT:
                p = read(p_base, other * B, queries, WIDTH, D, B)
            logits += from_furthest(p, table, WIDTH, D, B, CLAMP)[:, None] * scale
        weights, slope = descend(logits, norm, above, v, drop, PRECISION)
        dv = tl.dot(tl.trans(weights.to(v.dtype)), above, dv, input_precision=PRECISION)
        dk = tl.dot(tl.trans(slope.to(k.dtype)), q, dk, input_precision=PRECISION)

    write(dk_base + sequence * keys * WIDTH, dk * rate, start, keys, WIDTH, D, B)
    write(dv_base + sequence * keys * WIDTH, dv, start, keys, WIDTH, D, B)


@triton.jit
@no_type_check
def table_kernel(
    q_base, p_base, k_base, v_base, table_base, norm_base, above_base, drop_base, dtable_base,
    heads, tables, queries, keys, reach, window, blocks, phase, scale,
    WIDTH: tl.constexpr, D: tl.constexpr, B: tl.constexpr, CLAMP: tl.constexpr,
    BOUNDED: tl.constexpr, SPLIT: tl.constexpr, TURN: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    """Give the gradient of one chunk of the table; grid: chunks, batch x heads.

    Every sequence and head has its own part, [reach, width], of what is written.
    """
    chunk = tl.program_id(0)
    sequence = tl.program_id(1).to(tl.int64)
    table = table_base + (sequence % heads) % tables * reach * WIDTH
    q_base += sequence * queries * WIDTH
    p_base += sequence * queries * WIDTH
    k_base += sequence * keys * WIDTH
    v_base += sequence * keys * WIDTH
    above_base += sequence * queries * WIDTH
    before, tiles_before, absent = geometry(queries, keys, B)
    place = tl.arange(0, B)
    dcells = tl.zeros((B, D), tl.float32)

    for tile in range(tl.maximum(chunk - tiles_before, 0), (queries + B - 1) // B):
        row = tile * B + place
        q = read(q_base, tile * B, queries, WIDTH, D, B)
        p = q
        if SPLIT:
            p = read(p_base, tile * B, queries, WIDTH, D, B)
        above = read(above_base, tile * B, queries, WIDTH, D, B)
        norm = tl.load(norm_base + sequence * queries + row, mask=row < queries, other=ALWAYS)
        drop = tl.load(drop_base + sequence * queries + row, mask=row < queries, other=0.0)
        beyond = from_furthest(p, table, WIDTH, D, B, CLAMP)
        # Half of the chunk is heard by the keys `chunk` tiles ago, half by those one tile before.
        middle = score_chunk(
            p, table, chunk, beyond, reach, scale, WIDTH, D, B, CLAMP, TURN, PRECISION
        )
        dscores = tl.zeros((B, B), k_base.dtype.element_ty)
        for back in tl.static_range(2):
            start = (tiles_before + tile - chunk - back) * B - absent
            lag = before + row - start
            neighbour = score_chunk(
                p, table, chunk - 1 + 2 * back, beyond, reach, scale,
                WIDTH, D, B, CLAMP, TURN, PRECISION,
            )  # fmt: skip
            if back == 0:
                relative = by_key(middle, neighbour, chunk, lag, B)
            else:
                relative = by_key(neighbour, middle, chunk + 1, lag, B)
            k = read(k_base, start, keys, WIDTH, D, B)
            v = read(v_base, start, keys, WIDTH, D, B)
            logits = relative + score_content(
                q,
                k,
                before + row,
                start + place,
                window,
                blocks,
                phase,
                scale,
                PRECISION,
                BOUNDED,
                True,
            )
            _, slope = descend(logits, norm, above, v, drop, PRECISION)
            turned = by_distance(slope.to(k.dtype), lag, B)
            own = in_tile(chunk + back, lag, B) == (back == 0)
            dscores = tl.where(own, turned, dscores)
        dcells = tl.dot(tl.trans(dscores), p, dcells, input_precision=PRECISION)

    distance = distances(chunk, B)
    columns = tl.arange(0, D)
    inside = (distance < reach)[:, None] & (columns < WIDTH)[None, :]
    places = (sequence * reach + reach - 1 - distance)[:, None] * WIDTH + columns[None, :]
    tl.store(dtable_base + places, dcells, mask=inside)
