"""Does relative attention help a decoder that is given the melody, as in the paper's table?

    python benchmarks/melody.py CORPUS --out RUNS [--rows plain,relative] [--steps 400]

Trains tiny accompanists from scratch, alike but for what is named - the same seed, so the same
segments in the same order - and judges them on the same segments of the validation split, melody
given. Huang et al. 2018, table 4, has 2.066 nats per token for the plain decoder and 1.786 for the
relative one. A run that was stopped goes on. Prints a table in Markdown.
"""

from __future__ import annotations

import argparse
import json
import platform
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from espressivo.configs import MelodyTransformerConfig
from espressivo.corpora import Corpus
from espressivo.presets import preset
from espressivo.training.evaluate import evaluate
from espressivo.training.train import Trainer

MODEL = MelodyTransformerConfig(
    layers=2, width=96, attention=96, feed_forward=384, heads=3, context=512, reach=256, dropout=0.0
)
ROWS = {
    "plain": replace(MODEL, position="none"),
    "relative": MODEL,
    "waves": replace(MODEL, position="fourier"),
    "plain-clock": replace(MODEL, position="none", clock=True),
    "relative-clock": replace(MODEL, clock=True),
}
PUBLISHED = {"plain": 2.066, "relative": 1.786}


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Plain and relative decoders, given a melody.")
    parser.add_argument("corpus", type=Path)
    parser.add_argument("--out", type=Path, required=True, help="where the runs are kept")
    parser.add_argument("--rows", default="plain,relative", help=f"of {', '.join(ROWS)}")
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("--precision", choices=("float32", "bfloat16"), default="float32")
    parser.add_argument("--pieces", type=int, default=20, help="of the validation split")
    parser.add_argument("--json", type=Path)
    return parser.parse_args()


def trained(name: str, options: argparse.Namespace) -> dict[str, Any]:
    """Train a row to its end and judge it."""
    like = preset("melody-transformer-tiny")
    training = replace(
        like.training,
        steps=options.steps,
        batch=8,
        length=512,
        optimizer="muon",
        learning_rate=2e-3,
        matrix_learning_rate=0.02,
        precision=options.precision,
        evaluate_every=100,
        save_every=50,
        evaluation_windows=24,
        evaluation_length=512,
        seed=0,
    )
    run = options.out / name
    corpus = Corpus(options.corpus)
    trainer = Trainer(run, corpus, like.codec, ROWS[name], training, card=like.card)
    began, used = time.perf_counter(), time.process_time()
    for step in trainer.steps():
        if step.step % 10 == 0:
            print(f"{name}: step {step.step}, loss {step.loss:.4f}", flush=True)
    verdict = evaluate(run, corpus=options.corpus, split="validation", limit=options.pieces)
    return {
        "row": name,
        "published": PUBLISHED.get(name),
        "parameters": sum(p.numel() for p in trainer.model.parameters()),
        "steps": trainer.step,
        "tokens_trained": trainer.tokens,
        "nats_per_token": round(verdict.total.per_token, 4),
        "interval": verdict.interval(),
        "nats_per_note": round(verdict.total.per_note, 4),
        "tokens_judged": verdict.total.tokens,
        "seconds": round(time.perf_counter() - began, 1),
        "cpu_seconds": round(time.process_time() - used, 1),
    }


def main() -> None:
    options = arguments()
    rows = [trained(name, options) for name in options.rows.split(",")]
    print("| decoder | published | nats per token (95 %) | nats per note | parameters | tokens |")
    print("|---|---|---|---|---|---|")
    for row in rows:
        low, high = row["interval"] or (float("nan"), float("nan"))
        print(
            f"| {row['row']} | {row['published'] or ''} "
            f"| {row['nats_per_token']} ({low:.3f} to {high:.3f}) | {row['nats_per_note']} "
            f"| {row['parameters']:,} | {row['tokens_trained']:,} |"
        )
    if options.json:
        machine = {"machine": platform.machine(), "processor": platform.processor()}
        content = {**machine, "corpus": Corpus(options.corpus).card.get("name"), "rows": rows}
        options.json.write_text(json.dumps(content, indent=1) + "\n")


if __name__ == "__main__":
    main()
