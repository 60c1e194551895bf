"""The training loop: an iterator of steps. Who prints, stops or plots is the caller's business."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import nn

from espressivo.checkpoint import Checkpoint
from espressivo.codecs import Codec
from espressivo.configs import ModelConfig
from espressivo.corpora import Augmentation, Corpus, TrainingWindows, Window, evaluation_windows
from espressivo.errors import ConfigError
from espressivo.models import Model, build
from espressivo.training import state
from espressivo.training.likelihood import Likelihood, likelihood, loss_of
from espressivo.training.optim import Schedule, factor, optimizers


@dataclass(frozen=True, kw_only=True)
class TrainingConfig:
    """How a model is trained. A step is one update of the weights.

    `batch` windows of `length` tokens make a step, in `accumulate` equal parts. `learning_rate` is
    the peak of the schedule; Muon's matrices have their own. `ema` is the decay of the averaged
    weights, zero for none. Every `evaluate_every` steps the averaged weights are judged on
    `evaluation_windows` fixed windows of the validation split; training stops early after
    `patience` evaluations without a better one, never if zero.
    """

    steps: int = 100_000
    batch: int = 16
    length: int = 512
    accumulate: int = 1
    optimizer: Literal["adamw", "muon"] = "adamw"
    learning_rate: float = 1e-3
    matrix_learning_rate: float = 0.02
    schedule: Schedule = "linear"
    warmup: int = 200
    betas: tuple[float, float] = (0.9, 0.98)
    eps: float = 1e-9
    weight_decay: float = 0.0
    clip_norm: float = 1.0
    ema: float = 0.0
    precision: Literal["float32", "bfloat16"] = "float32"
    compile: bool = False
    evaluate_every: int = 500
    evaluation_length: int = 2048
    evaluation_windows: int = 16
    patience: int = 0
    save_every: int = 500
    seed: int = 0
    augmentation: Augmentation = field(default_factory=Augmentation)

    def __post_init__(self) -> None:
        """Refuse what cannot be trained."""
        positive = ("steps", "batch", "length", "accumulate", "evaluate_every", "save_every")
        for name in positive:
            if getattr(self, name) < 1:
                raise ConfigError(f"training.{name}={getattr(self, name)} must be at least 1")
        if self.batch % self.accumulate:
            raise ConfigError(
                f"training.accumulate={self.accumulate} must divide batch={self.batch}"
            )
        if not 0 <= self.ema < 1:
            raise ConfigError(f"training.ema={self.ema} must lie in [0, 1); try 0.999")


@dataclass(frozen=True)
class Step:
    """What happened in one step, and where the run stands."""

    step: int
    loss: float
    learning_rate: float
    tokens: int
    seconds: float
    evaluation: Likelihood | None = None
    best: bool = False


class Trainer:
    """A model on its way; iterate `steps()` to train it.

    The run lives in a folder: `metrics.jsonl`, checkpoints of the whole state from which training
    goes on bit for bit, and the best model so far as a release checkpoint.
    """

    def __init__(
        self,
        run: Path,
        corpus: Corpus,
        codec: Codec,
        model: ModelConfig,
        config: TrainingConfig,
        card: dict[str, Any] | None = None,
        device: str = "cpu",
    ) -> None:
        """Begin a run, or go on from the last checkpoint in its folder."""
        self.run, self.corpus, self.codec, self.config = Path(run), corpus, codec, config
        self.card, self.device = dict(card or {}), torch.device(device)
        torch.manual_seed(config.seed)
        self.model: Model = build(model, len(codec.vocabulary)).to(self.device)
        self.model_config = model
        self.average = [p.detach().clone() for p in self.model.parameters()]
        self.optimizers = optimizers(
            self.model,
            config.optimizer,
            config.learning_rate,
            config.matrix_learning_rate,
            config.betas,
            config.eps,
            config.weight_decay,
        )
        self.peaks = [[g["lr"] for g in o.param_groups] for o in self.optimizers]
        self.windows = TrainingWindows(
            corpus, codec, config.length, config.seed, augmentation=config.augmentation
        )
        self.step, self.tokens, self.best, self.stale = 0, 0, math.inf, 0
        self.run.mkdir(parents=True, exist_ok=True)
        state.resume(self)
        self.forward = torch.compile(self.model) if config.compile else self.model

    @property
    def finished(self) -> bool:
        """Tell whether there is nothing left to do."""
        patience = self.config.patience
        return self.step >= self.config.steps or bool(patience and self.stale >= patience)

    def steps(self) -> Iterator[Step]:
        """Train; leaving the loop at any step loses nothing once `save` is called."""
        while not self.finished:
            began = time.monotonic()
            loss, rate = self._update()
            self.step += 1
            evaluation, best = None, False
            if self.step % self.config.evaluate_every == 0 or self.step == self.config.steps:
                evaluation, best = self._evaluate()
            seconds = time.monotonic() - began
            done = Step(self.step, loss, rate, self.tokens, seconds, evaluation, best)
            self._log(done)
            if self.step % self.config.save_every == 0 or self.finished:
                self.save()
            yield done

    def _update(self) -> tuple[float, float]:
        config = self.config
        self.model.train()
        batch = torch.from_numpy(self.windows.batch(self.step, config.batch)).to(self.device)
        counted = int((batch[:, 1:] >= 0).sum())
        total = 0.0
        for part in batch.chunk(config.accumulate):
            with torch.autocast(
                self.device.type, torch.bfloat16, enabled=config.precision == "bfloat16"
            ):
                logits, _ = self.forward(part[:, :-1].clamp(min=0))
            loss = loss_of(logits, part[:, 1:], "sum") / counted
            loss.backward()  # type: ignore[no-untyped-call]  # torch
            total += loss.item()
        if config.clip_norm:
            nn.utils.clip_grad_norm_(self.model.parameters(), config.clip_norm)
        scale = factor(config.schedule, self.step, config.warmup, config.steps)
        for optimizer, peaks in zip(self.optimizers, self.peaks, strict=True):
            for group, peak in zip(optimizer.param_groups, peaks, strict=True):
                group["lr"] = peak * scale
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        self._average()
        self.tokens += counted
        return total, config.learning_rate * scale

    @torch.no_grad()
    def _average(self) -> None:
        decay = min(self.config.ema, (1 + self.step) / (10 + self.step))
        for average, parameter in zip(self.average, self.model.parameters(), strict=True):
            average.lerp_(parameter, 1 - decay) if self.config.ema else average.copy_(parameter)

    def _evaluate(self) -> tuple[Likelihood, bool]:
        with self.averaged():
            result = likelihood(self.model, self.codec, self._validation())
        best = result.per_token < self.best
        self.best, self.stale = (result.per_token, 0) if best else (self.best, self.stale + 1)
        if best:
            metrics = {
                "validation_nats_per_token": result.per_token,
                "validation_windows": result.windows,
                "step": self.step,
                "tokens": self.tokens,
            }
            state.publish(self, {**self.card, "metrics": metrics})
        return result, best

    def _validation(self) -> list[Window]:
        """Choose windows evenly over the validation split, always the same ones."""
        pieces = self.corpus.split("validation")
        count = self.config.evaluation_windows
        chosen = [pieces[i * len(pieces) // count] for i in range(min(count, len(pieces)))]
        performances = (self.corpus.performance(i) for i in chosen)
        first: dict[int, Window] = {}
        for window in evaluation_windows(performances, self.codec, self.config.evaluation_length):
            first.setdefault(window.piece, window)
        return list(first.values())

    def averaged(self) -> _Averaged:
        """Use the averaged weights for a while: `with trainer.averaged(): ...`."""
        return _Averaged(self)

    def release(self, card: dict[str, Any]) -> Checkpoint:
        """Give the averaged model as a checkpoint without any training state."""
        names = [name for name, _ in self.model.named_parameters()]
        weights = {n: a.cpu().numpy() for n, a in zip(names, self.average, strict=True)}
        return Checkpoint(weights, self.model_config, self.codec, card)

    def save(self) -> Path:
        """Write the whole state; give the folder."""
        return state.save(self)

    def _log(self, step: Step) -> None:
        line: dict[str, Any] = {
            "step": step.step,
            "loss": round(step.loss, 6),
            "learning_rate": step.learning_rate,
            "tokens": step.tokens,
            "seconds": round(step.seconds, 4),
        }
        if step.evaluation is not None:
            line["validation"] = {
                **asdict(step.evaluation),
                "per_token": step.evaluation.per_token,
                "best": step.best,
            }
        with (self.run / "metrics.jsonl").open("a") as log:
            log.write(json.dumps(line) + "\n")


class _Averaged:
    def __init__(self, trainer: Trainer) -> None:
        self.trainer = trainer

    def __enter__(self) -> None:
        self._swap()

    def __exit__(self, *_: object) -> None:
        self._swap()

    @torch.no_grad()
    def _swap(self) -> None:
        for average, p in zip(self.trainer.average, self.trainer.model.parameters(), strict=True):
            held = p.detach().clone()
            p.copy_(average)
            average.copy_(held)


def generator_state() -> np.ndarray[Any, np.dtype[np.uint8]]:
    """Give torch's random state, which dropout draws from, as bytes."""
    return torch.get_rng_state().numpy().copy()
