"""A corpus on disk: note and pedal arrays, and one line per piece.

corpus.json        format, name, licence, counts, digest
pieces.jsonl       one Piece per line, in the order of the arrays
notes-00000.npy    NOTE rows of one shard of pieces, one after another
controls-00000.npy CONTROL rows, likewise
shard-00000.json   SHA-256 of both
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from sys import intern
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from espressivo.errors import CorpusError
from espressivo.performance import CONTROL, NOTE, Performance

FORMAT = 1
SPLITS = ("train", "validation", "test")

_OPEN = 384
"""Arrays kept open; each costs a file descriptor, of which a process has about a thousand."""


class Piece(NamedTuple):
    """One stored performance: who and what it is, its split and licence, and where it lies.

    `seconds` reach from its first onset, which is at zero, to its last release.
    """

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
        card = dict(_parsed(self._file("corpus.json")))
        if card.get("format", FORMAT) != FORMAT:
            raise CorpusError(
                f"{self.path}: format {card['format']!r} is not {FORMAT}; "
                "a newer espressivo wrote it"
            )
        return card

    @cached_property
    def pieces(self) -> list[Piece]:
        """Every piece, in the order of the arrays."""
        self._file("corpus.json")  # written last: without it the rest may be half
        with self._file("pieces.jsonl").open() as lines:
            try:
                return [_piece(json.loads(line)) for line in lines]
            except (ValueError, TypeError) as error:
                raise CorpusError(f"{self.path}/pieces.jsonl is damaged: {error}") from error

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
        shard = _array(self.path / f"notes-{piece.shard:05d}.npy", NOTE)
        return shard[piece.first_note : piece.first_note + piece.notes]

    def controls(self, index: int) -> NDArray[Any]:
        """Give the pedal moves of a piece without copying them."""
        piece = self.pieces[index]
        shard = _array(self.path / f"controls-{piece.shard:05d}.npy", CONTROL)
        return shard[piece.first_control : piece.first_control + piece.controls]

    def performance(self, index: int) -> Performance:
        """Give a whole piece."""
        return Performance(self.notes(index), self.controls(index))

    def verify(self) -> None:
        """Compare every array with its SHA-256; CorpusError names the file that is damaged."""
        for number in sorted({piece.shard for piece in self.pieces}):
            sidecar = _parsed(self._file(f"shard-{number:05d}.json"))
            for what in ("notes", "controls"):
                file = self._file(f"{what}-{number:05d}.npy")
                with file.open("rb") as content:
                    found = hashlib.file_digest(content, "sha256").hexdigest()
                if found != sidecar[what]["sha256"]:
                    raise CorpusError(
                        f"{file} is damaged: its SHA-256 is not that of shard-{number:05d}.json; "
                        "delete that file and corpus.json and run espressivo prepare again"
                    )

    def _file(self, name: str) -> Path:
        path = Path(self.path) / name
        if not path.is_file():
            raise CorpusError(
                f"{self.path} is no finished corpus: {name} is missing; run espressivo prepare"
            )
        return path


def _parsed(file: Path) -> Any:
    try:
        return json.loads(file.read_text())
    except (OSError, ValueError) as error:
        raise CorpusError(f"{file} is damaged: {error}") from error


def _piece(row: dict[str, Any]) -> Piece:
    """Make a piece whose repeated words are shared: half the memory of a large corpus."""
    for name in ("split", "composition", "licence", "source"):
        row[name] = intern(row[name])
    return Piece(**row)


@lru_cache(maxsize=_OPEN)
def _array(path: Path, dtype: np.dtype[Any]) -> NDArray[Any]:
    try:
        array: NDArray[Any] = np.load(path, mmap_mode="r")
    except (OSError, ValueError, EOFError) as error:
        raise CorpusError(f"{path}: cannot be read ({error}); run espressivo prepare") from error
    if array.dtype != dtype:
        raise CorpusError(f"{path}: holds {array.dtype}, not {dtype}; run espressivo prepare")
    return np.asarray(array)
