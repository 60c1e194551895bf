"""A corpus on disk: note and pedal arrays, and one line per piece.

    corpus.json        name, licence, counts, digest
    pieces.jsonl       one Piece per line, in the order of the arrays
    notes-00000.npy    NOTE rows of one shard of pieces, one after another
    controls-00000.npy CONTROL rows, likewise
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from espressivo.errors import CorpusError
from espressivo.performance import Performance

SPLITS = ("train", "validation", "test")


class Piece(NamedTuple):
    """One stored performance: who and what it is, its split and licence, and where it lies."""

    path: str
    split: str
    composition: str
    licence: str
    source: str
    shard: int
    first_note: int
    notes: int
    first_control: int
    controls: int
    seconds: float


@dataclass(frozen=True)
class Corpus:
    """A prepared corpus; arrays are read from disk when asked for."""

    path: Path

    @cached_property
    def card(self) -> dict[str, Any]:
        """Name, licence, counts and digest."""
        return dict(json.loads(self._file("corpus.json").read_text()))

    @cached_property
    def pieces(self) -> list[Piece]:
        """Every piece, in the order of the arrays."""
        lines = self._file("pieces.jsonl").read_text().splitlines()
        return [Piece(**json.loads(line)) for line in lines]

    def split(self, name: str) -> list[int]:
        """Give the numbers of the pieces of a split; CorpusError if there are none."""
        if name not in SPLITS:
            raise CorpusError(f"split={name!r} must be one of {', '.join(SPLITS)}")
        chosen = [i for i, piece in enumerate(self.pieces) if piece.split == name]
        if not chosen:
            raise CorpusError(f"{self.path}: no piece in split {name!r}")
        return chosen

    def notes(self, index: int) -> NDArray[Any]:
        """Give the notes of a piece without copying them."""
        piece = self.pieces[index]
        shard = _array(self.path / f"notes-{piece.shard:05d}.npy")
        return shard[piece.first_note : piece.first_note + piece.notes]

    def controls(self, index: int) -> NDArray[Any]:
        """Give the pedal moves of a piece without copying them."""
        piece = self.pieces[index]
        shard = _array(self.path / f"controls-{piece.shard:05d}.npy")
        return shard[piece.first_control : piece.first_control + piece.controls]

    def performance(self, index: int) -> Performance:
        """Give a whole piece."""
        return Performance(self.notes(index), self.controls(index))

    def _file(self, name: str) -> Path:
        path = self.path / name
        if not path.is_file():
            raise CorpusError(f"{self.path} is no corpus: {name} is missing; run espressivo prepare")
        return path


@lru_cache(maxsize=4096)
def _array(path: Path) -> NDArray[Any]:
    try:
        array: NDArray[Any] = np.load(path, mmap_mode="r")
    except (OSError, ValueError) as error:
        raise CorpusError(f"{path}: cannot be read ({error}); run espressivo prepare") from error
    return array
