"""What is this? MIDI files, checkpoints, corpora and training runs told in plain values."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from espressivo import bundle, checkpoint
from espressivo.corpora import Corpus
from espressivo.errors import EspressivoError
from espressivo.generation import Provenance
from espressivo.generation.provenance import MARKER
from espressivo.midi import read_midi, read_texts
from espressivo.performance import SOFT, SOSTENUTO, SUSTAIN, Performance
from espressivo.training import read_metrics

Facts = dict[str, Any]

_PEDALS = {SUSTAIN: "sustain", SOSTENUTO: "sostenuto", SOFT: "soft"}


def inspect(target: str | Path) -> Facts:
    """Tell what a MIDI file, a checkpoint by name or folder, a corpus or a run holds.

    Everything in the answer can be written as JSON; `kind` says which of the four it is. Raises
    EspressivoError for anything else, or for what is damaged.
    """
    path = Path(target)
    if path.is_file():
        return midi(path)
    if (path / "corpus.json").is_file():
        return corpus(path)
    if (path / "metrics.jsonl").is_file():
        return run(path)
    if not path.exists() and path.suffix.lower() in (".mid", ".midi"):
        return midi(path)  # says in its own words that it is not there
    return trained(bundle.path(target))


def midi(path: Path) -> Facts:
    """Tell what was played in a file, what its text events say, and which model played."""
    performance, texts = read_midi(path), read_texts(path)
    facts = {"kind": "midi", "path": str(path), **played(performance)}
    facts["texts"] = [text for text in texts if not text.startswith(MARKER)]
    provenance = Provenance.find(texts)
    if provenance is not None:
        facts["played_by"] = asdict(replace(provenance, primer=()))
        facts["played_by"]["primer"] = len(provenance.primer)
    return facts


def played(performance: Performance) -> Facts:
    """Tell the size of a performance, its ranges and its pedals."""
    notes, controls = performance.notes, performance.controls
    facts: Facts = {
        "seconds": round(performance.duration, 3),
        "notes": len(notes),
        "tracks": [track._asdict() for track in performance.tracks],
        "tempo_marks": len(performance.tempi),
    }
    if len(notes):
        facts["lowest_pitch"], facts["highest_pitch"] = _range(notes["pitch"])
        facts["softest"], facts["loudest"] = _range(notes["velocity"])
        facts["notes_per_second"] = round(len(notes) / performance.duration, 2)
    for number, name in _PEDALS.items():
        facts[f"{name}_moves"] = int((controls["number"] == number).sum())
    return facts


def trained(path: Path) -> Facts:
    """Tell what a checkpoint is and where it comes from; every file of it is verified."""
    found = checkpoint.load(path)
    return {
        "kind": "checkpoint",
        "path": str(path),
        "model": {"kind": checkpoint.kind_of(found.config), **asdict(found.config)},
        "codec": repr(found.codec),
        "vocabulary": len(found.codec.vocabulary),
        "parameters": sum(int(array.size) for array in found.weights.values()),
        "megabytes": round(sum(file.stat().st_size for file in path.iterdir()) / 1e6, 1),
        "digest": found.digest,
        "card": found.card,
    }


def corpus(path: Path) -> Facts:
    """Tell what a prepared corpus holds, split by split."""
    stored = Corpus(path)
    counts = Counter(piece.split for piece in stored.pieces)
    seconds = dict.fromkeys(counts, 0.0)
    for piece in stored.pieces:
        seconds[piece.split] += piece.seconds
    splits = {
        name: {"pieces": counts[name], "hours": round(seconds[name] / 3600, 2)} for name in counts
    }
    return {"kind": "corpus", "path": str(path), "splits": splits, "card": stored.card}


def run(path: Path) -> Facts:
    """Tell how far a training run has come."""
    steps = read_metrics(path)
    judged = [step["validation"]["per_token"] for step in steps if "validation" in step]
    facts: Facts = {
        "kind": "run",
        "path": str(path),
        "steps": steps[-1]["step"] if steps else 0,
        "last_loss": steps[-1]["loss"] if steps else None,
        "best_validation_nats_per_token": min(judged, default=None),
    }
    try:
        facts["best"] = trained(bundle.path(path))
    except EspressivoError:
        facts["best"] = None  # nothing has been saved yet
    return facts


def _range(values: Any) -> tuple[int, int]:
    return int(values.min()), int(values.max())
