"""A small corpus of made-up music, and what to train on it."""

import json

import numpy as np

from espressivo.codecs import MidiLike
from espressivo.configs import LstmConfig, TransformerConfig
from espressivo.corpora import Corpus, Piece
from espressivo.performance import CONTROL, NOTE, SUSTAIN
from espressivo.training import TrainingConfig

CODEC = MidiLike(steps_per_second=20, max_shift=20, velocity_bins=4)
LSTM = LstmConfig(layers=1, width=16, dropout=0.2)
TRANSFORMER = TransformerConfig(
    layers=1, width=16, attention=16, feed_forward=32, heads=2, reach=16, context=32, dropout=0.2
)
SMALL = TrainingConfig(
    steps=6,
    batch=4,
    length=24,
    learning_rate=1e-2,
    schedule="constant",
    warmup=0,
    evaluate_every=3,
    save_every=3,
    evaluation_length=24,
    evaluation_windows=4,
)


def broken_chords(root, bars, rng):
    """Bars of eight quavers, a little loose in time."""
    rows = []
    for step in range(8 * bars):
        onset = step * 0.2 + rng.uniform(0, 0.02)
        pitch = root + (0, 7, 4, 7, 12, 7, 4, 7)[step % 8]
        rows.append((onset, onset + 0.3, pitch, 40 + 8 * (step % 8), 0))
    return np.array(rows, dtype=NOTE)


def pedalled(bars):
    """The pedal down in every fourth bar."""
    moves = [
        (1.6 * bar + at, SUSTAIN, value, 0)
        for bar in range(0, bars, 4)
        for at, value in ((0.1, 127), (1.5, 0))
    ]
    return np.array(moves, dtype=CONTROL)


def write_corpus(path, splits, apart=1, pedal=False):
    """Store pieces of 12 bars and more, their keys so many semitones apart."""
    path.mkdir()
    rng = np.random.default_rng(0)
    notes = [broken_chords(48 + apart * i, 12 + i, rng) for i, _ in enumerate(splits)]
    moves = [pedalled(12 + i if pedal else 0) for i, _ in enumerate(splits)]
    first, moved, pieces = 0, 0, []
    for number, (split, rows, controls) in enumerate(zip(splits, notes, moves, strict=True)):
        name = f"piece-{number}"
        seconds = float(rows["offset"].max())
        stored = (0, first, len(rows), moved, len(controls), seconds)
        pieces.append(Piece(name, split, name, "CC0", "made up", *stored))
        first, moved = first + len(rows), moved + len(controls)
    np.save(path / "notes-00000.npy", np.concatenate(notes))
    np.save(path / "controls-00000.npy", np.concatenate(moves))
    lines = [json.dumps(piece._asdict()) + "\n" for piece in pieces]
    (path / "pieces.jsonl").write_text("".join(lines))
    card = {"format": 1, "name": "made up", "licence": "CC0", "sha256": "0" * 64}
    (path / "corpus.json").write_text(json.dumps(card))
    return Corpus(path)
