"""Which choices of the note-level model pay, and what do they cost?

    python benchmarks/note_ablations.py CORPUS VALIDATION --only "base;10 ms" --steps 300

Every row is the same small model with one thing changed, trained from scratch on as many events of
CORPUS with a rate that falls to zero, and judged on the same windows of VALIDATION at the
information of the 390 events, conditioned on nothing. Corpora named after the two are those that
rows with shares mix in. Rows are appended to a JSONL file; `--table FILE` prints them beside the
base, paired window by window.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from note_variants import VARIANTS

from espressivo.codecs import NoteEvents
from espressivo.configs import NoteTransformerConfig
from espressivo.corpora import Augmentation, Corpus
from espressivo.corpora.note_windows import NoteWindows
from espressivo.models import build
from espressivo.training import train
from espressivo.training.config import TrainingConfig
from espressivo.training.likelihood import each_likelihood, spread_windows
from espressivo.training.train import Trainer

CODEC = {"steps_per_second": 200, "velocity_bins": 64}
"""What the rows were measured beside; that 10 ms are better is one of them."""
MODEL = NoteTransformerConfig(layers=6, width=256, feed_forward=1024, head_hidden=512)
TRAINING = TrainingConfig(
    batch=16,
    length=128,
    optimizer="muon",
    learning_rate=2e-3,
    matrix_learning_rate=0.02,
    betas=(0.9, 0.95),
    eps=1e-8,
    warmup=50,
    weight_decay=0.1,
    ema=0.998,
    precision="bfloat16",
    evaluate_every=10**9,
    save_every=10**9,
    augmentation=Augmentation(transpose=6, stretch=(0.9, 0.95, 1.0, 1.05, 1.1), curve=1.2),
)
Row = dict[str, Any]
ROWS: dict[str, Row] = {
    "base": {},
    "base, another seed": {"training": {"seed": 1}},
    "10 ms": {"codec": {"steps_per_second": 100}},
    "2.5 ms": {"codec": {"steps_per_second": 400}},
    "32 velocities": {"codec": {"velocity_bins": 32}},
    "127 velocities": {"codec": {"velocity_bins": 127}},
    "4 pedal levels": {"codec": {"pedal_levels": 4}},
    "8 pedal levels": {"codec": {"pedal_levels": 8}},
    "soft pedal": {"codec": {"soft_pedal": True}},
    "no chain of MLPs": {"variant": "no chain"},
    "GRU for the chain": {"variant": "gru"},
    "transformer for the chain": {"variant": "transformer"},
    "squared ReLU": {"variant": "squared relu"},
    "value embeddings": {"variant": "value embeddings"},
    "one head of keys and values": {"variant": "shared keys"},
    "8 heads": {"model": {"heads": 8, "key_dim": 32}},
    "4 wider layers": {"model": {"layers": 4, "width": 320, "feed_forward": 1280}},
    "9 narrower layers": {"model": {"layers": 9, "width": 208, "feed_forward": 832}},
    "dropout 0.1": {"model": {"dropout": 0.1}},
    "no weight decay": {"training": {"weight_decay": 0.0}},
    "windows of 512": {"training": {"length": 512, "batch": 4}},
    "windows of 512 for the last 30 %": {"training": {"length": 512, "batch": 4, "short": 0.7}},
    "half transcribed and rolls": {"parts": (5, 4, 1)},
    "1,024 events a step": {"training": {"batch": 8}, "steps": 2.0},
    "4,096 events a step": {"training": {"batch": 32}, "steps": 0.5},
}


def trained(row: Row, corpus: Corpus, more: Sequence[Corpus], steps: int, run: Path) -> Trainer:
    """Train one row."""
    codec = NoteEvents(**{**CODEC, **row.get("codec", {})})
    model = replace(MODEL, classes=codec.sizes, **row.get("model", {}))
    steps = int(steps * row.get("steps", 1.0))
    config = replace(TRAINING, steps=steps, **row.get("training", {}))
    if "variant" in row:
        train.build = lambda config, size: VARIANTS[row["variant"]](config, size)
    windows = None
    if "parts" in row:
        windows = NoteWindows(
            (corpus, *more),
            codec,
            config.length,
            config.seed,
            row["parts"],
            augmentation=config.augmentation,
        )
    trainer = Trainer(run, corpus, codec, model, config, windows=windows)
    train.build = build
    while trainer.step < steps:
        trainer._update()
    return trainer


def measured(
    name: str, corpus: Corpus, judged: Corpus, more: Sequence[Corpus], steps: int
) -> dict[str, Any]:
    began = time.process_time()
    with tempfile.TemporaryDirectory() as run:
        trainer = trained(ROWS[name], corpus, more, steps, Path(run))
    spent = time.process_time() - began
    windows = spread_windows(
        judged, "validation", trainer.codec, 512, 64, trainer.model_config, (), coarse=True
    )
    with trainer.averaged():
        each = list(each_likelihood(trainer.model, trainer.codec, windows))
    place = {id(window): i for i, window in enumerate(windows)}
    each.sort(key=lambda pair: place[id(pair[0])])
    return {
        "row": name,
        "parameters": sum(p.numel() for p in trainer.model.parameters()),
        "cpu_minutes": round(spent / 60, 2),
        "steps": trainer.step,
        "events": trainer.tokens,
        "nats": [round(one.nats_390, 3) for _, one in each],
        "notes": [one.notes_390 for _, one in each],
    }


def table(file: Path) -> None:
    rows = {row["row"]: row for row in map(json.loads, file.read_text().splitlines())}
    base = np.array(rows["base"]["nats"])
    rng = np.random.default_rng(0)
    print(
        "| | parameters | CPU minutes | nats per note | beside base (95 %) |\n|---|---|---|---|---|"
    )
    for name, row in rows.items():
        nats, notes = np.array(row["nats"]), np.array(row["notes"])
        difference = nats - base
        drawn = rng.integers(len(nats), size=(2000, len(nats)))
        low, high = np.quantile(difference[drawn].sum(1) / notes[drawn].sum(1), [0.025, 0.975])
        print(
            f"| {name} | {row['parameters'] / 1e6:.2f} M | {row['cpu_minutes']:.1f} "
            f"| {nats.sum() / notes.sum():.3f} "
            f"| {difference.sum() / notes.sum():+.3f} ({low:+.3f} to {high:+.3f}) |"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("corpora", nargs="*", type=Path)
    parser.add_argument("--only", default=";".join(ROWS), help="names of rows, ; between them")
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--output", type=Path, default=Path("note_ablations.jsonl"))
    parser.add_argument("--table", type=Path)
    options = parser.parse_args()
    if options.table:
        table(options.table)
        return
    torch.set_num_threads(1)
    corpus, judged, *more = (Corpus(path) for path in options.corpora)
    for name in options.only.split(";"):
        row = measured(name, corpus, judged, more, options.steps)
        with options.output.open("a") as file:
            file.write(json.dumps(row) + "\n")
        print(
            name,
            sum(row["nats"]) / sum(row["notes"]),
            row["events"],
            row["cpu_minutes"],
            flush=True,
        )


if __name__ == "__main__":
    main()
