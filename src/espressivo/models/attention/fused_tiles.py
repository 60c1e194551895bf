"""The tiles of fused attention; nothing of size length x length is ever stored.

Queries, keys and distances come in tiles of B. A query tile and a key tile that lie `apart` tiles
from each other need two neighbouring chunks of the table: chunk `apart` where the query's place in
its tile is not before the key's, chunk `apart - 1` elsewhere. Three observations make that cheap.

Carry: walking through the keys, the second chunk of one step is the first of the next, so each
step multiplies the queries with one new chunk only.

Select, then turn: a chunk's rows are read in the order 0, B - 1, ..., 1. Cell x of query m then
holds distance (B - x) mod B of its chunk, the cells needed of the two chunks are disjoint, and
row m of the logits is row m of the selection, turned cyclically by m places.

The adjoint turns back: what comes out belongs to the first chunk where the selection took it from
there, and to the second chunk elsewhere, which the next step completes.

Keys are numbered so that the tile of a query is also a tile of keys: `geometry` puts some absent
keys before the first. Logits are in units of log 2, so that exp2 gives the weights.
Types are Triton's: no_type_check keeps other checkers away.
"""

from typing import no_type_check

import triton
import triton.language as tl

NEVER = tl.constexpr(-1.0e30)  # the logit of a key that must not be heard
ALWAYS = tl.constexpr(1.0e30)  # the norm of a query that does not exist: its weights are zero


@triton.jit
@no_type_check
def geometry(queries, keys, B: tl.constexpr):
    """Give how many keys precede the first query, in keys and in tiles, and the absent keys."""
    before = keys - queries
    tiles = (before + B - 1) // B
    return before, tiles, tiles * B - before


@triton.jit
@no_type_check
def oldest(position, window, blocks, phase):
    """Give the first key that a position hears: of a window, and of its own and the last block.

    `phase` is the place of key 0 in its block.
    """
    block = (position + phase) // blocks
    return tl.maximum(tl.maximum(position - window + 1, (block - 1) * blocks - phase), 0)


@triton.jit
@no_type_check
def newest(key, window, blocks, phase):
    """Give the last position that hears a key."""
    block = (key + phase) // blocks
    return tl.minimum(key + window - 1, (block + 2) * blocks - phase - 1)


@triton.jit
@no_type_check
def read(base, first, count, WIDTH: tl.constexpr, D: tl.constexpr, B: tl.constexpr):
    """Read rows `first` to `first + B - 1` of `count`; rows and columns that do not exist are 0."""
    rows = first + tl.arange(0, B)
    columns = tl.arange(0, D)
    inside = ((rows >= 0) & (rows < count))[:, None]
    if WIDTH != D:
        inside = inside & (columns < WIDTH)[None, :]
    return tl.load(base + rows[:, None] * WIDTH + columns[None, :], mask=inside, other=0.0)


@triton.jit
@no_type_check
def write(base, x, first, count, WIDTH: tl.constexpr, D: tl.constexpr, B: tl.constexpr):
    """Write what `read` would read."""
    rows = first + tl.arange(0, B)
    columns = tl.arange(0, D)
    inside = ((rows >= 0) & (rows < count))[:, None] & (columns < WIDTH)[None, :]
    places = base + rows[:, None] * WIDTH + columns[None, :]
    tl.store(places, x.to(base.dtype.element_ty), mask=inside)


@triton.jit
@no_type_check
def distances(chunk, B: tl.constexpr):
    """Give the distance that each cell of a chunk stands for."""
    return chunk * B + ((B - tl.arange(0, B)) & (B - 1))


@triton.jit
@no_type_check
def read_chunk(table, chunk, reach, WIDTH: tl.constexpr, D: tl.constexpr, B: tl.constexpr):
    """Read a chunk of the table, cell by cell; 0 for distances it does not have."""
    distance = distances(chunk, B)
    columns = tl.arange(0, D)
    inside = ((distance >= 0) & (distance < reach))[:, None]
    if WIDTH != D:
        inside = inside & (columns < WIDTH)[None, :]
    places = table + (reach - 1 - distance)[:, None] * WIDTH + columns[None, :]
    return tl.load(places, mask=inside, other=0.0)


@triton.jit
@no_type_check
def furthest(table, WIDTH: tl.constexpr, D: tl.constexpr):
    """Read the vector of the furthest distance."""
    columns = tl.arange(0, D)
    return tl.load(table + columns, mask=columns < WIDTH, other=0.0).to(tl.float32)


@triton.jit
@no_type_check
def from_furthest(
    p, table, WIDTH: tl.constexpr, D: tl.constexpr, B: tl.constexpr, CLAMP: tl.constexpr
):
    """Give what every distance beyond the table scores: nothing, or what its furthest does."""
    if CLAMP:
        score = tl.sum(p.to(tl.float32) * furthest(table, WIDTH, D)[None, :], 1)
    else:
        score = tl.zeros((B,), tl.float32)
    return score


@triton.jit
@no_type_check
def score_chunk(
    p, table, chunk, beyond, reach, scale,
    WIDTH: tl.constexpr, D: tl.constexpr, B: tl.constexpr, CLAMP: tl.constexpr,
    TURN: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    """Score queries against a chunk of distances, in the precision in which they are turned."""
    cells = read_chunk(table, chunk, reach, WIDTH, D, B)
    scores = tl.dot(p, tl.trans(cells), input_precision=PRECISION)
    if CLAMP:
        scores = tl.where((distances(chunk, B) >= reach)[None, :], beyond[:, None], scores)
    return (scores * scale).to(TURN)


@triton.jit
@no_type_check
def in_tile(chunk, lag, B: tl.constexpr):
    """Tell which cells of the further chunk mean a key of the tile.

    `lag` is how far the first key of the tile lies behind each query.
    """
    return distances(chunk, B)[None, :] <= lag[:, None]


@triton.jit
@no_type_check
def by_key(further, nearer, chunk, lag, B: tl.constexpr):
    """Put scores by distance, of two neighbouring chunks, where their keys are."""
    turn = (tl.arange(0, B)[None, :] - lag[:, None]) & (B - 1)
    return tl.gather(tl.where(in_tile(chunk, lag, B), further, nearer), turn, 1)


@triton.jit
@no_type_check
def by_distance(gradients, lag, B: tl.constexpr):
    """Put gradients by key where their distances are: the adjoint of `by_key`."""
    return tl.gather(gradients, (tl.arange(0, B)[None, :] + lag[:, None]) & (B - 1), 1)


@triton.jit
@no_type_check
def score_content(
    q, k, position, key, window, blocks, phase, scale,
    PRECISION: tl.constexpr, BOUNDED: tl.constexpr, DIAGONAL: tl.constexpr,
):  # fmt: skip
    """Score queries against keys; those that a query must not hear are NEVER.

    DIAGONAL says that some may lie in the future, BOUNDED that some may be too far away or absent.
    """
    logits = tl.dot(q, tl.trans(k), input_precision=PRECISION) * scale
    if DIAGONAL:
        logits = tl.where(key[None, :] <= position[:, None], logits, NEVER)
    if BOUNDED:
        first = oldest(position, window, blocks, phase)
        logits = tl.where(key[None, :] >= first[:, None], logits, NEVER)
    return logits


@triton.jit
@no_type_check
def descend(logits, norm, above, v, drop, PRECISION: tl.constexpr):
    """Give the weights, and the gradient by the logits; `drop` is the part the norm takes off."""
    weights = tl.exp2(logits - norm[:, None])
    slope = tl.dot(above, tl.trans(v), input_precision=PRECISION) - drop[:, None]
    return weights, weights * slope
