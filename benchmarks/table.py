"""How our models stand beside the published ones, trained alike and judged alike.

    python benchmarks/table.py CORPUS --out RUNS [--budget small|medium|full] [--plan papers|recipe]

trains every row of a plan (or goes on where it was stopped), one seed after the other, judges the
best checkpoint of each run on validation and test by the protocol of fixed windows, and writes
`benchmarks/results/PLAN-BUDGET.json` and the page in `docs/`. `--write` writes the page alone.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shlex
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from pages import write
from plans import BUDGETS, PLANS, Budget, Row

from espressivo import checkpoint
from espressivo.corpora import Corpus
from espressivo.presets import Preset, override, preset
from espressivo.training.evaluate import evaluate
from espressivo.training.record import read_metrics
from espressivo.training.train import Trainer

RESULTS = Path(__file__).parent / "results"


def main() -> None:
    """Train, judge and write what the command line asks for."""
    options = parsed()
    budget, rows = BUDGETS[options.budget], PLANS[options.plan]
    chosen = options.rows.split(",") if options.rows else [row.name for row in rows]
    file = RESULTS / f"{options.plan}-{budget.name}.json"
    for seed in map(int, options.seeds.split(",")) if not options.write else ():
        for row in rows:
            if row.name in chosen:
                keep(file, budget, rows, finish(row, budget, seed, options))
                write(options.plan)
    write(options.plan)


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("corpus", type=Path, help="a prepared corpus, split as MAESTRO is")
    parser.add_argument("--out", type=Path, required=True, help="where the runs are kept")
    parser.add_argument("--budget", choices=BUDGETS, default="small")
    parser.add_argument("--plan", choices=PLANS, default="papers")
    parser.add_argument("--rows", help="names, separated by commas; all if left out")
    parser.add_argument("--seeds", default="0,1,2", help="seeds, separated by commas")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--write", action="store_true", help="write the page, train nothing")
    return parser.parse_args()


def fitted(row: Row, budget: Budget, seed: int) -> tuple[Preset, list[str]]:
    """Give a row's preset at the size of a budget, and the settings that make it so."""
    plain = preset(row.preset)
    settings = [*budget.settings(row, plain.model), f"training.seed={seed}"]
    training = override(plain, settings).training
    steps = budget.tokens // (training.batch * training.length)
    every = max(steps // 4, 1)
    settings += [
        f"training.steps={steps}",
        f"training.evaluate_every={every}",
        f"training.save_every={every}",
    ]
    return override(plain, settings), settings


def finish(row: Row, budget: Budget, seed: int, options: argparse.Namespace) -> dict[str, Any]:
    """Train one row with one seed to its end, judge it, and give everything known of it."""
    run = options.out / f"{budget.name} {row.name} {seed}".replace(" ", "-")
    done = run / "result.json"
    if done.is_file():
        result: dict[str, Any] = json.loads(done.read_text())
        return result
    chosen, settings = fitted(row, budget, seed)
    command = ["espressivo", "train", row.preset, options.corpus.name, "-o", run.name, *settings]
    result = {
        "row": row.name,
        "published": row.published,
        "seed": seed,
        "machine": machine(options.device),
        "command": shlex.join(command),
        **train(run, chosen, options),
    }
    length = chosen.training.evaluation_length
    for split in ("validation", "test"):
        result[split] = judged(run, split, length, budget, options)
    done.write_text(json.dumps(result))
    told = " ".join(f"{split} {result[split]['per_token']:.4f}" for split in ("validation", "test"))
    print(f"{row.name} seed {seed}: {told}", flush=True)
    return result


def train(run: Path, chosen: Preset, options: argparse.Namespace) -> dict[str, Any]:
    """Train to the end; give the size, the tokens and what they cost in seconds."""
    began = time.process_time()
    trainer = Trainer(
        run,
        Corpus(options.corpus),
        chosen.codec,
        chosen.model,
        chosen.training,
        card=chosen.card,
        device=options.device,
    )
    resumed = trainer.step
    for step in trainer.steps():
        if step.evaluation is not None:
            best = step.evaluation.per_token
            print(f"{run.name} step {step.step}: {step.loss:.4f}, {best:.4f}", flush=True)
    metrics = read_metrics(run)
    return {
        "parameters": sum(p.numel() for p in trainer.model.parameters()),
        "tokens": trainer.tokens,
        "wall_seconds": sum(line["seconds"] for line in metrics),
        "cpu_seconds": None if resumed else time.process_time() - began,
    }


def judged(
    run: Path, split: str, length: int, budget: Budget, options: argparse.Namespace
) -> dict[str, Any]:
    """Give nats per token, note and second, and those of each piece for the intervals."""
    verdict = evaluate(
        checkpoint.find(run),
        corpus=options.corpus,
        split=split,
        length=length,
        limit=budget.pieces,
        device=options.device,
    )
    total = verdict.total
    return {
        "per_token": total.per_token,
        "per_note": total.per_note,
        "per_second": total.per_second,
        "pieces": {p.name: [p.likelihood.nats, p.likelihood.tokens] for p in verdict.pieces},
        "window_tokens": verdict.length,
    }


def keep(file: Path, budget: Budget, rows: Sequence[Row], result: dict[str, Any]) -> None:
    """Put a result among the others of its file, in place of an older one of its kind."""
    kept = json.loads(file.read_text())["results"] if file.is_file() else []
    kept = [r for r in kept if (r["row"], r["seed"]) != (result["row"], result["seed"])]
    place = {row.name: number for number, row in enumerate(rows)}
    kept = sorted([*kept, result], key=lambda r: (r["seed"], place.get(r["row"], len(place))))
    content = {"budget": budget.name, "tokens": budget.tokens, "results": kept}
    file.parent.mkdir(exist_ok=True)
    file.write_text(json.dumps(content, indent=1) + "\n")


def machine(device: str) -> str:
    """Name what trained: the GPU, or the processor and its threads."""
    if device.startswith("cuda"):
        return torch.cuda.get_device_name(device)
    return f"{platform.machine()}, {os.environ.get('OMP_NUM_THREADS', os.cpu_count())} threads"


if __name__ == "__main__":
    main()
