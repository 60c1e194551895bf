"""Which choices of the note-level model pay, at equal CPU time of one thread?

    python benchmarks/note_ablations.py CORPUS VALIDATION --only base,10ms --minutes 2.5

Every row is the same small model with one thing changed, trained from scratch on CORPUS for the
same CPU seconds with a rate that falls to zero, and judged on the same windows of VALIDATION at
the information of the 390 events, conditioned on nothing. Rows are appended to a JSONL file;
`--table FILE` prints them beside the base, paired window by window.
"""

from __future__ import annotations

import argparse
import json
import shutil
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from espressivo.codecs import NoteEvents
from espressivo.configs import NoteTransformerConfig
from espressivo.corpora import Augmentation, Corpus
from espressivo.training.config import TrainingConfig
from espressivo.training.likelihood import each_likelihood, spread_windows
from espressivo.training.train import Trainer

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
CALIBRATION = 12
"""Steps whose CPU time says how many fit into the budget; the first half is warming up."""

Row = dict[str, dict[str, object]]
ROWS: dict[str, Row] = {
    "base": {},
    "10 ms": {"codec": {"steps_per_second": 100}},
    "2.5 ms": {"codec": {"steps_per_second": 400}},
    "32 velocities": {"codec": {"velocity_bins": 32}},
    "64 velocities": {"codec": {"velocity_bins": 64}},
    "10 ms, 32 velocities": {"codec": {"steps_per_second": 100, "velocity_bins": 32}},
    "4 pedal levels": {"codec": {"pedal_levels": 4}},
    "8 pedal levels": {"codec": {"pedal_levels": 8}},
    "soft pedal": {"codec": {"soft_pedal": True}},
    "8 heads": {"model": {"heads": 8, "key_dim": 32}},
    "windows of 512": {"training": {"length": 512, "batch": 4}},
    "windows of 256": {"training": {"length": 256, "batch": 8}},
    "4,096 events a step": {"training": {"batch": 32}},
    "1,024 events a step": {"training": {"batch": 8}},
    "dropout 0.1": {"model": {"dropout": 0.1}},
    "no weight decay": {"training": {"weight_decay": 0.0}},
    "4 wider layers": {"model": {"layers": 4, "width": 320, "feed_forward": 1280}},
    "9 narrower layers": {"model": {"layers": 9, "width": 208, "feed_forward": 832}},
    "head of width 256": {"model": {"head_hidden": 256}},
}


def trained(row: Row, corpus: Corpus, budget: float, run: Path) -> Trainer:
    """Train one row for `budget` CPU seconds."""
    codec = NoteEvents(**row.get("codec", {}))
    model = replace(MODEL, classes=codec.sizes, **row.get("model", {}))
    config = replace(TRAINING, **row.get("training", {}))
    probe = Trainer(run / "probe", corpus, codec, model, replace(config, steps=10**6))
    for step in probe.steps(asked=lambda: probe.step >= CALIBRATION):
        if step.step == CALIBRATION // 2:
            began = time.process_time()
    cost = (time.process_time() - began) / (CALIBRATION - CALIBRATION // 2)
    steps = max(int(budget / cost), 10)
    trainer = Trainer(
        run / "run",
        corpus,
        codec,
        model,
        replace(config, steps=steps, evaluate_every=steps, evaluation_windows=1),
    )
    for _ in trainer.steps():
        pass
    return trainer


def measured(name: str, corpus: Corpus, judged: Corpus, minutes: float) -> dict[str, object]:
    run = Path(tempfile.mkdtemp())
    try:
        began = time.process_time()
        trainer = trained(ROWS[name], corpus, 60 * minutes, run)
        spent = time.process_time() - began
    finally:
        shutil.rmtree(run)
    windows = spread_windows(
        judged, "validation", trainer.codec, 512, 48, trainer.model_config, (), coarse=True
    )
    with trainer.averaged():
        each = list(each_likelihood(trainer.model, trainer.codec, windows))
    keys = [(w.piece, int(w.targets[:5].sum()), len(w.targets)) for w, _ in each]
    order = sorted(range(len(each)), key=lambda i: keys[i])
    return {
        "row": name,
        "parameters": sum(p.numel() for p in trainer.model.parameters()),
        "cpu_minutes": round(spent / 60, 2),
        "steps": trainer.step,
        "events": trainer.tokens,
        "nats": [round(each[i][1].nats_390, 3) for i in order],
        "notes": [each[i][1].notes_390 for i in order],
    }


def table(file: Path) -> None:
    rows = {row["row"]: row for row in map(json.loads, file.read_text().splitlines())}
    base = np.array(rows["base"]["nats"])
    rng = np.random.default_rng(0)
    print(
        "| | parameters | events seen | nats per note | beside base (95 %) |\n|---|---|---|---|---|"
    )
    for name, row in rows.items():
        nats, notes = np.array(row["nats"]), np.array(row["notes"])
        difference = nats - base
        drawn = rng.integers(len(nats), size=(2000, len(nats)))
        low, high = np.quantile(difference[drawn].sum(1) / notes[drawn].sum(1), [0.025, 0.975])
        print(
            f"| {name} | {row['parameters'] / 1e6:.2f} M | {row['events'] / 1e3:,.0f} k "
            f"| {nats.sum() / notes.sum():.3f} "
            f"| {difference.sum() / notes.sum():+.3f} ({low:+.3f} to {high:+.3f}) |"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("corpora", nargs="*", type=Path)
    parser.add_argument("--only", default=";".join(ROWS), help="names of rows, ; between them")
    parser.add_argument("--minutes", type=float, default=2.5)
    parser.add_argument("--output", type=Path, default=Path("note_ablations.jsonl"))
    parser.add_argument("--table", type=Path)
    options = parser.parse_args()
    if options.table:
        table(options.table)
        return
    torch.set_num_threads(1)
    corpus, judged = (Corpus(path) for path in options.corpora)
    for name in options.only.split(";"):
        row = measured(name, corpus, judged, options.minutes)
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
