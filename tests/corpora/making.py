"""Small folders of music, and corpora made of them."""

import json
from pathlib import Path

import numpy as np

from espressivo.corpora import Corpus, Piece, prepare
from espressivo.midi import midi_bytes
from espressivo.performance import SOFT, SUSTAIN, Performance


def music(seed: int, notes: int = 60) -> Performance:
    """A rolling piece under a pedal that is often half down, its times on no grid at all."""
    rng = np.random.default_rng(seed)
    onset = np.cumsum(rng.exponential(0.08, notes) * (rng.random(notes) < 0.7)) + rng.random()
    length = rng.exponential(0.3, notes) + 0.005
    pitch, velocity = rng.integers(15, 115, notes), rng.integers(1, 128, notes)
    moves = np.sort(rng.uniform(0, onset[-1], notes // 2))
    return Performance(
        [
            (a, a + b, int(c), int(d), 0)
            for a, b, c, d in zip(onset, length, pitch, velocity, strict=True)
        ],
        [(t, int(rng.choice([SUSTAIN, SUSTAIN, SOFT])), int(rng.integers(128)), 0) for t in moves],
    )


def folder_of(path: Path, pieces: dict[str, Performance | bytes]) -> Path:
    """A folder with some files in it."""
    for name, content in pieces.items():
        file = path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content if isinstance(content, bytes) else midi_bytes(content))
    return path


def prepared(inputs, out: Path, **settings) -> Corpus:
    """A corpus made in this process, unless asked for otherwise."""
    for _ in prepare(inputs, out, **{"workers": 0, **settings}):
        pass
    return Corpus(out)


def written(path: Path, pieces: dict[str, Performance], source: str = "folder") -> Corpus:
    """A corpus of performances to be trained on whose times are no file's ticks."""
    path.mkdir(parents=True)
    first, moved, lines = 0, 0, []
    for name, piece in pieces.items():
        notes, moves = len(piece.notes), len(piece.controls)
        row = Piece(
            name, "train", name, "CC0", source, 0, first, notes, moved, moves, piece.duration
        )
        lines.append(json.dumps(row._asdict()) + "\n")
        first, moved = first + notes, moved + moves
    for what in ("notes", "controls"):
        rows = [getattr(piece, what) for piece in pieces.values()]
        np.save(path / f"{what}-00000.npy", np.concatenate(rows))
    (path / "pieces.jsonl").write_text("".join(lines))
    card = {"format": 1, "name": path.name, "licence": "CC0", "sha256": "0" * 64}
    (path / "corpus.json").write_text(json.dumps(card))
    return Corpus(path)


def stored(corpus: Path) -> dict[str, dict]:
    """What pieces.jsonl says, by path."""
    return _rows(corpus / "pieces.jsonl")


def quarantined(corpus: Path) -> dict[str, dict]:
    """What quarantine.jsonl says, by path."""
    return _rows(corpus / "quarantine.jsonl")


def _rows(file: Path) -> dict[str, dict]:
    found = [json.loads(line) for line in file.read_text().splitlines()]
    assert len({row["path"] for row in found}) == len(found)
    return {row["path"]: row for row in found}
