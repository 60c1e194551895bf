"""Training with a deadline: a constant rate, then a fall to zero by the clock."""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from gpu_leg_ahead import Ahead
from gpu_leg_files import size_of
from gpu_leg_weights import write_parts

from espressivo import checkpoint
from espressivo.corpora import Corpus
from espressivo.corpora.note_windows import NoteWindows, composers
from espressivo.presets import override, preset
from espressivo.training.likelihood import Likelihood, each_likelihood, spread_windows
from espressivo.training.train import Trainer
from espressivo.training.windows import labels_of, training_windows

DECAY = 0.3
"""The share of the time over which the rate falls."""
FINE = 10**6
LEAST_PIECES = 10
"""Training pieces a composer must have to be one that the model is conditioned on."""
RUNS: dict[str, list[str]] = {
    "note-transformer": [],
    "music-transformer": [
        "model.layers=8", "model.width=512", "model.feed_forward=2048", "model.values=512",
        "training.batch=16", "training.clip_norm=1",
    ],
    "performance-rnn": ["training.batch=256"],
}  # fmt: skip

Say = Callable[[dict[str, Any]], None]


def train(name: str, settings: dict[str, Any], say: Say) -> dict[str, Any]:
    """Train one model until its seconds are over and judge it; `say` takes what is known so far."""
    began, seconds = time.monotonic(), settings["until"] - time.time()
    rehearsed, device = settings["rehearse"], settings["device"]
    place, out = Path(settings["corpora"]), Path(settings["out"])
    chosen = override(preset(f"{name}-tiny" if rehearsed else name), RUNS[name] * (not rehearsed))
    recipe = _recipe(place)
    corpora = tuple(Corpus(place / one) for one in recipe["corpora"])
    model, codec, start = chosen.model, chosen.codec, None
    training = replace(
        chosen.training,
        schedule="constant", steps=10**9, decay=0, warmup=100, grow=(), patience=0,
        precision="float32" if rehearsed else "bfloat16", compile=settings.get("compile", False),
        evaluate_every=10**9, save_every=10**9, learning_rate=_times(settings, chosen, "learning"),
        matrix_learning_rate=_times(settings, chosen, "matrix_learning"),
    )  # fmt: skip
    if name == "note-transformer":
        batch = 4 if rehearsed else settings["batch"]
        training = replace(training, batch=batch, warmup=5 if rehearsed else 100)
        start = place / "start" if (place / "start").is_dir() else None
        if start:
            known = checkpoint.load(start)
            model, codec = known.config, known.codec
            training = replace(training, length=min(training.length, model.context))
        else:
            names = composers(corpora, recipe["composers"], LEAST_PIECES)
            model = replace(model, composers=names)
        windows: Any = NoteWindows(
            corpora, codec, training.length, training.seed, tuple(recipe["parts"]),
            augmentation=training.augmentation, labels=labels_of(model, recipe["composers"]),
        )  # fmt: skip
    else:
        windows = training_windows(corpora[0], codec, model, training)
    ahead = Ahead(windows, 1 if rehearsed else max((os.cpu_count() or 2) - 1, 1))
    run = place / f"run-{name}-{os.getpid()}"
    try:
        trainer = Trainer(
            run, corpora[0], codec, model, training, device=device, start=start, windows=ahead,
            card={**chosen.card, "leg": settings["why"]},
        )  # fmt: skip
        result = {"parameters": sum(p.numel() for p in trainer.model.parameters())}
        result |= {"batch": training.batch, "length": training.length, "start": bool(start)}
        result |= {
            "compiled": training.compile,
            "deviations": DEVIATIONS[name == "performance-rnn"],
        }
        judging = time.monotonic()
        result["before"] = _judged(trainer, rehearsed)
        closing = 4 + 2 * (time.monotonic() - judging)
        say(result)

        def keep() -> None:
            if name == "note-transformer":
                write_parts(trainer.release(trainer.card), out)

        result |= _drive(trainer, began, seconds - closing, say, keep, result)
        ended = replace(training, steps=trainer.step, decay=result["decay_steps"])
        trainer.config = ended
        result["after"] = _judged(trainer, rehearsed)
        if name == "note-transformer":
            metrics = {"validation": result["after"], "events": trainer.tokens}
            card = {**trainer.card, "metrics": metrics, "recipe": {"parts": recipe["parts"]}}
            result["weights"] = write_parts(trainer.release(card), out)
        return result | {"run_bytes": size_of(run)}
    finally:
        ahead.close()
        shutil.rmtree(run, ignore_errors=True)


DEVIATIONS = (
    "constant rate, then linearly to zero over the last 30 % of the time, not the preset's",
    "batch of 256 windows and a rate that falls to zero over the last 30 % of the time",
)


def _drive(
    trainer: Trainer,
    began: float,
    until: float,
    say: Say,
    keep: Callable[[], None],
    known: dict[str, Any],
) -> dict[str, Any]:
    """Take steps until so many seconds after `began`; the rate falls by the clock at the end.

    `keep` is called before it falls, in case there is no end.
    """
    config, first = trainer.config, time.monotonic()
    decay = DECAY * (until - (first - began))
    curve: list[dict[str, Any]] = []
    losses: list[float] = []
    steps_of_decay, written, found = 0, first, {}
    for step in trainer.steps():
        now = time.monotonic()
        left = until - (now - began)
        losses.append(step.loss)
        if now - written > (until - (first - began)) / 40 or left <= 0:
            curve.append({"seconds": round(now - first, 1), "step": step.step})
            curve[-1] |= {"events": step.tokens, "loss": round(sum(losses) / len(losses), 4)}
            losses, written = [], now
            seconds = max(now - first, 1e-9)
            found = {"seconds": round(seconds, 1), "steps": step.step, "events": step.tokens}
            found |= {"events_per_second": round(step.tokens / seconds)}
            found |= {"events_per_second_lately": round(step.rate), "curve": curve}
            if trainer.device.type == "cuda":
                found["peak_bytes"] = torch.cuda.max_memory_allocated()
            say(known | found)
        if left <= 0:
            break
        if left < decay:
            if not steps_of_decay:
                keep()
            steps_of_decay += 1
            share = max(int(FINE * left / decay), 1)
            trainer.config = replace(config, steps=trainer.step + share, decay=FINE)
    return found | {"decay_steps": steps_of_decay}


def _judged(trainer: Trainer, rehearsed: bool) -> dict[str, Any]:
    """Judge the averages on the packed validation pieces, told nothing."""
    config = trainer.config
    length = min(config.evaluation_length, getattr(trainer.model_config, "context", 2048))
    count, found = 3 if rehearsed else 24, {}
    with trainer.averaged():
        for coarse in (False, True)[: 1 + hasattr(trainer.codec, "sizes")]:
            windows = spread_windows(
                trainer.corpus, "validation", trainer.codec, length, count,
                trainer.model_config, (), coarse=coarse,
            )  # fmt: skip
            found |= _nats(trainer, windows)
    return {"windows": count, "length": length} | found


def _nats(trainer: Trainer, windows: list[Any]) -> dict[str, Any]:
    """Return nats per token and note, or per note at the information of the 390 events."""
    each = each_likelihood(trainer.model, trainer.codec, windows)
    total = sum((one for _, one in each), Likelihood())
    if total.notes_390 and not total.tokens:
        return {"per_note_390": total.per_note_390, "notes_390": total.notes_390}
    return {"per_token": total.per_token, "per_note": total.per_note, "notes": total.notes}


def _recipe(place: Path) -> dict[str, Any]:
    recipe: dict[str, Any] = json.loads((place / "recipe.json").read_text())
    return recipe


def _times(settings: dict[str, Any], chosen: Any, which: str) -> float:
    rate: float = getattr(chosen.training, f"{which}_rate")
    return rate * settings.get("rate", 1.0)
