"""Prepared corpora as few bytes, to be carried to a machine and restored there.

Kept: all training pieces of every corpus, or as many, evenly, as there is room for, and some
validation pieces of the first. Lost:

    times     rounded to a thousandth of a second, unless the piece's own clock ticks no faster:
              then they are exact. A note lasts a tick at least.
    pedals    only where the sustain pedal passes 64, as 127 and 0; no other pedal
    tracks    one, which prepared corpora have anyway
    pieces    those of the test split, and of validation all but the few

Notes are columns of whole corpora, times as differences in ticks, each byte of a number in a file
of its own, which xz takes better than rows.
"""

from __future__ import annotations

import hashlib
import json
import lzma
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from espressivo.corpora import Corpus
from espressivo.errors import CorpusError
from espressivo.performance import CONTROL, NOTE, PEDAL_DOWN, SUSTAIN

CLOCKS = (100, 200, 250, 384, 400, 480, 500, 768, 880, 960, 1000)
"""Ticks per second of the files that are known; the coarsest that a piece fits is its own."""
FINEST = 1000
SHARD = 64
COLUMNS = ("onset", "held", "pitch", "velocity", "moved")

Ints = NDArray[np.int64]


def clock_of(times: NDArray[np.float64]) -> int:
    """Return the ticks per second of which all times are multiples, or the finest."""
    for rate in CLOCKS:
        ticks = times * rate
        if len(ticks) == 0 or np.abs(ticks - np.rint(ticks)).max() < 1e-3:
            return rate
    return FINEST


def columns_of(corpus: Corpus, number: int) -> tuple[int, dict[str, Ints]]:
    """Return the clock of a piece and its columns."""
    notes, controls = corpus.notes(number), corpus.controls(number)
    rate = clock_of(np.concatenate([notes["onset"], notes["offset"]]))
    onset, offset = (np.rint(notes[edge] * rate).astype(np.int64) for edge in ("onset", "offset"))
    held = np.maximum(offset - onset, 1)
    order = np.lexsort([held, notes["pitch"], onset])
    moves = controls[controls["number"] == SUSTAIN]
    down = (moves["value"] >= PEDAL_DOWN).astype(np.int8)
    moved = np.rint(moves["time"][np.diff(down, prepend=0) != 0] * rate).astype(np.int64)
    return rate, {
        "onset": np.diff(onset[order], prepend=0),
        "held": held[order],
        "pitch": notes["pitch"][order].astype(np.int64),
        "velocity": notes["velocity"][order].astype(np.int64),
        "moved": np.diff(moved, prepend=0),
    }


def spread(corpus: Corpus, split: str, count: int) -> list[int]:
    """Return the pieces that `count` windows spread over a split fall into."""
    try:
        pieces = corpus.split(split)
    except CorpusError:
        return []
    ends = np.cumsum([corpus.pieces[i].notes for i in pieces])
    points = (np.arange(count) + 0.5) * float(ends[-1]) / count
    return [pieces[place] for place in np.unique(np.searchsorted(ends, points, side="right"))]


def thinned(pieces: Sequence[int], share: float) -> list[int]:
    """Return a share of some pieces, evenly spread; one at least."""
    places = np.arange(len(pieces) + 1)
    kept = np.diff(np.ceil(places * min(share, 1.0) - 1e-9)) > 0
    return [piece for piece, keep in zip(pieces, kept, strict=True) if keep]


def pack_corpus(
    corpus: Corpus, pieces: Sequence[int], composer_of: dict[str, str], out: Path
) -> dict[str, Any]:
    """Write some pieces of a corpus into a folder of xz files; say how many bytes it took."""
    out.mkdir(parents=True)
    found: dict[str, list[Ints]] = {name: [] for name in COLUMNS}
    rows, clocks = [], {}
    for number in pieces:
        about = corpus.pieces[number]
        rate, columns = columns_of(corpus, number)
        for name, column in columns.items():
            found[name].append(column)
        clocks[rate] = clocks.get(rate, 0) + len(columns["pitch"])
        facts = [about.path, about.split, about.composition, about.licence, about.source]
        counts = [rate, len(columns["pitch"]), len(columns["moved"])]
        rows.append([*facts, *counts, composer_of.get(about.path)])
    (out / "pieces.json.xz").write_bytes(squeezed(json.dumps(rows).encode()))
    for name, parts in found.items():
        column = np.concatenate([np.zeros(0, dtype=np.int64), *parts])
        for place, plane in enumerate(planes(column)):
            (out / f"{name}.{place}.xz").write_bytes(squeezed(plane))
    return {
        "pieces": len(rows),
        "notes": sum(clocks.values()),
        "notes_by_clock": clocks,
        "bytes": size_of(out),
    }


def unpack_corpus(packed: Path, card: dict[str, Any], out: Path) -> dict[str, str]:
    """Restore a corpus that `Corpus` reads; give composers by path."""
    out.mkdir(parents=True)
    rows = json.loads(lzma.decompress((packed / "pieces.json.xz").read_bytes()))
    columns = {name: _column(packed, name) for name in COLUMNS}
    lines, composers, note, move = [], {}, 0, 0
    for shard, first in enumerate(range(0, len(rows), SHARD)):
        notes, controls, outcomes = [], [], []
        for path, split, composition, licence, source, rate, count, moves, composer in rows[
            first : first + SHARD
        ]:
            part = {name: columns[name][note : note + count] for name in COLUMNS[:-1]}
            piece = _notes(part, rate)
            pedal = _pedal(columns["moved"][move : move + moves], rate)
            seconds = float(piece["offset"].max(initial=0.0))
            about = {"path": path, "split": split, "composition": composition}
            about |= {"licence": licence, "source": source, "shard": shard}
            about |= {"first_note": sum(map(len, notes)), "notes": count}
            about |= {"first_control": sum(map(len, controls)), "controls": moves}
            lines.append(json.dumps(about | {"seconds": seconds}))
            outcomes.append({"notes": count, "controls": moves, "seconds": seconds})
            notes.append(piece)
            controls.append(pedal)
            note, move = note + count, move + moves
            if composer:
                composers[path] = composer
        sidecar = {
            "plan": "packed",
            "notes": _store(out / f"notes-{shard:05d}.npy", notes, NOTE),
            "controls": _store(out / f"controls-{shard:05d}.npy", controls, CONTROL),
            "outcomes": outcomes,
        }
        (out / f"shard-{shard:05d}.json").write_text(json.dumps(sidecar) + "\n")
    (out / "pieces.jsonl").write_text("".join(line + "\n" for line in lines))
    (out / "corpus.json").write_text(json.dumps(card, indent=1) + "\n")
    return composers


def planes(column: Ints) -> list[bytes]:
    """Return the bytes of whole numbers from 0 on, the lowest of all of them first."""
    if len(column) and not 0 <= column.min() <= column.max() < 1 << 32:
        raise ValueError("a column to pack holds numbers outside 0 to 2 ** 32")
    bits = max(int(column.max(initial=0)).bit_length(), 1)
    return [(column >> at & 255).astype(np.uint8).tobytes() for at in range(0, bits, 8)]


def squeezed(data: bytes) -> bytes:
    """Return data as xz, set for bytes that stand alone."""
    room = max(4096, min(1 << 26, len(data)))
    chain = {"id": lzma.FILTER_LZMA2, "preset": 9, "lc": 3, "lp": 0, "pb": 0, "dict_size": room}
    return lzma.compress(data, format=lzma.FORMAT_XZ, filters=[chain])


def size_of(folder: Path) -> int:
    """Return the bytes of all files in a folder."""
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())


def _column(packed: Path, name: str) -> Ints:
    files = sorted(packed.glob(f"{name}.*.xz"))
    column = np.zeros(0, dtype=np.int64)
    for place, file in enumerate(files):
        plane = np.frombuffer(lzma.decompress(file.read_bytes()), dtype=np.uint8)
        column = plane.astype(np.int64) << 8 * place | (column if place else 0)
    return column


def _notes(part: dict[str, Ints], rate: int) -> NDArray[Any]:
    notes = np.zeros(len(part["pitch"]), dtype=NOTE)
    onset = np.cumsum(part["onset"])
    notes["onset"], notes["offset"] = onset / rate, (onset + part["held"]) / rate
    notes["pitch"], notes["velocity"] = part["pitch"], part["velocity"]
    return notes


def _pedal(moved: Ints, rate: int) -> NDArray[Any]:
    moves = np.zeros(len(moved), dtype=CONTROL)
    moves["time"], moves["number"] = np.cumsum(moved) / rate, SUSTAIN
    moves["value"][::2] = 127  # it begins up, so the first change is down
    return moves


def _store(path: Path, parts: Sequence[NDArray[Any]], dtype: np.dtype[Any]) -> dict[str, Any]:
    np.save(path, np.concatenate([np.empty(0, dtype), *parts]))
    content = path.read_bytes()
    return {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
