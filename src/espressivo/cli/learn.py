"""Verbs of learning: prepare, train, evaluate, presets."""

from __future__ import annotations

import json
import shlex
import sys
import time
from contextlib import redirect_stdout
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from espressivo.cli import printing
from espressivo.cli.parser import Options, parse
from espressivo.errors import ConfigError

if TYPE_CHECKING:
    from espressivo.presets import Preset
    from espressivo.training.evaluate import Evaluation
    from espressivo.training.train import Step, Trainer

INTERRUPTED = 130


def prepare(options: Options) -> int:
    """Store performances as a corpus."""
    from espressivo.corpora import Report
    from espressivo.corpora import prepare as preparing
    from espressivo.training.interruption import interruptible

    progress = preparing(
        options.inputs,
        options.output,
        splits=options.splits,
        split_column=options.split_column,
        name=options.name,
        licence=options.licence,
        workers=options.workers,
    )
    line = printing.Line()
    with interruptible() as asked:
        for state in progress:
            line.show(f"{state.done:,} of {state.files:,} files, {state.quarantined:,} quarantined")
            if asked() and state.done < state.files:
                line.end()
                printing.note(f"interrupted; the same command goes on in {options.output}")
                return INTERRUPTED
    line.end()
    report = Report.read(options.output)
    print(json.dumps(report.as_dict(), indent=1) if options.json else str(report).rstrip())
    return 0


def train(options: Options) -> int:
    """Train a model by a preset."""
    from espressivo.presets import override, preset

    chosen = override(preset(options.preset), options.settings)
    _needs_torch("train")
    facts = _trained(options, chosen) if options.ray is None else _on_ray(options)
    if facts:
        printing.result(facts, options.json)
    return INTERRUPTED if facts.get("end") == "interrupted" else 0


def _trained(options: Options, chosen: Preset) -> dict[str, Any]:
    """Train, and tell how it ended; of several processes only the first has something to say."""
    trainer = _trainer(options, chosen)
    line = printing.Line(silent=not trainer.ensemble.leads)
    if trainer.resumed:
        line.note(f"going on from {trainer.resumed}, step {trainer.step}")
    line.note(json.dumps(trainer.resolved))
    last = _steps(options, trainer, line)
    if not trainer.ensemble.leads:
        return {}
    return {
        "run": str(options.output),
        "step": trainer.step,
        "end": last.end if last else "nothing left to do",
        "best_validation_nats_per_token": round(trainer.best, 5) if trainer.best < 1e9 else None,
        "checkpoint": str(_best(options)),
        "seed": chosen.training.seed,
        "again": shlex.join(["espressivo", *options.arguments]),
    }


def _on_ray(options: Options) -> dict[str, Any]:
    """Train in workers of a Ray cluster."""
    if options.ray < 1:
        raise ConfigError(f"--ray {options.ray} is no number of processes; try --ray 2")
    if find_spec("ray") is None:
        raise ConfigError("--ray needs ray, not installed; pip install 'espressivo[cluster]'")
    from espressivo.training.cluster import on_ray

    work = partial(_in_worker, options.arguments)
    try:
        with redirect_stdout(sys.stderr):  # where Ray repeats what workers print
            first, *_ = on_ray(work, options.ray, gpus=options.device.startswith("cuda"))
    except KeyboardInterrupt:
        printing.note("interrupted; the same command goes on from the last checkpoint")
        return {"run": str(options.output), "end": "interrupted"}
    return first


def _in_worker(arguments: list[str]) -> dict[str, Any]:
    from espressivo.presets import override, preset

    options = parse(arguments)
    return _trained(options, override(preset(options.preset), options.settings))


def evaluate(options: Options) -> None:
    """Print how well a checkpoint predicts performances."""
    from espressivo import bundle

    path = bundle.path(options.checkpoint)
    _needs_torch("evaluate")
    from espressivo.training.evaluate import Judge

    judge = Judge(
        path,
        corpus=options.corpus,
        split=options.split,
        midi=options.midi,
        length=options.length,
        limit=options.limit,
        device=options.device,
        unset=options.unset,
    )
    line, pieces = printing.Line(), []
    for piece in judge.pieces():
        pieces.append(piece)
        line.show(f"{len(pieces)} of {len(judge.names)} pieces")
    line.end()
    verdict = judge.verdict(pieces)
    printing.result(verdict.as_json() if options.json else _short(verdict), options.json)


def presets(options: Options) -> None:
    """List the presets, or tell one of them in full."""
    from espressivo.presets import PRESETS, preset

    if options.name is None:
        listed = {name: preset(name).source for name in PRESETS}
        printing.result(listed, options.json)
        return
    chosen = preset(options.name)
    facts = {**chosen.resolved(), **chosen.card}
    printing.result(facts, options.json)


def _needs_torch(verb: str) -> None:
    if find_spec("torch") is None:
        raise ConfigError(f"{verb} needs torch, not installed; pip install 'espressivo[train]'")


def _trainer(options: Options, chosen: Preset) -> Trainer:
    """Begin the run, or go on with it."""
    from espressivo.corpora import Corpus
    from espressivo.training.train import Trainer

    return Trainer(
        options.output,
        Corpus(options.corpus),
        chosen.codec,
        chosen.model,
        chosen.training,
        card=chosen.card,
        device=options.device,
        start=options.start,
        change=options.change,
        parallel=options.parallel,
    )


def _steps(options: Options, trainer: Trainer, line: printing.Line) -> Step | None:
    """Train to the end, or until someone asks to stop; give the last step."""
    from espressivo.training.interruption import interruptible

    last = None
    with interruptible() as asked:
        for step in trainer.steps(options.deadline, asked):
            last = step
            line.show(_told(step), lasting=step.evaluation is not None)
    line.end()
    if last is not None and last.end == "interrupted":
        line.note(f"interrupted; saved in {last.saved}; the same command goes on")
    return last


def _told(step: Step) -> str:
    words = f"step {step.step:,} of {step.steps:,}, loss {step.loss:.4f}, {step.rate:,.0f} tokens/s"
    if step.left:
        words += f", {time.strftime('%H:%M:%S', time.gmtime(step.left))} left"
    if step.evaluation is not None:
        best = " (best)" if step.best else ""
        words += f", validation {step.evaluation.per_token:.4f} nats per token{best}"
    return words


def _best(options: Options) -> Path:
    from espressivo import checkpoint

    return checkpoint.find(options.output)


def _short(verdict: Evaluation) -> dict[str, Any]:
    total, interval = verdict.total, verdict.interval()
    facts: dict[str, Any] = {
        "checkpoint": verdict.checkpoint,
        "performances": f"{verdict.performances}: {len(verdict.pieces)} pieces",
        "window_tokens": verdict.length,
        "told": list(verdict.told),
        "tokens": total.tokens,
        "nats_per_token": round(total.per_token, 4),
        "nats_per_note": round(total.per_note, 4),
        "nats_per_second": round(total.per_second, 4),
        "skipped": [f"{name}: {reason}" for name, reason in verdict.skipped],
    }
    if total.per_note_390 is not None:
        facts["nats_per_note_of_390_events"] = round(total.per_note_390, 4)
    if interval is not None:
        facts["nats_per_token_95_%"] = f"{interval[0]:.4f} to {interval[1]:.4f}"
    return facts
