"""The training loop: an iterator of steps. Who prints, stops or plots is the caller's business."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from espressivo.checkpoint import Checkpoint, described
from espressivo.codecs import Codec, NoteEvents
from espressivo.configs import ModelConfig
from espressivo.corpora import Batch, Corpus, Window
from espressivo.corpora.note_windows import NoteWindows
from espressivo.errors import CheckpointError, ConfigError, CorpusError, TrainingError
from espressivo.models import Model, build
from espressivo.training import state
from espressivo.training.batches import Reading, nats_of
from espressivo.training.config import SHORTER, TrainingConfig
from espressivo.training.likelihood import (
    Likelihood,
    each_likelihood,
    spread_windows,
    together,
)
from espressivo.training.optim import factor, optimizers
from espressivo.training.pace import Pace
from espressivo.training.parallel import Mode, checkpoint_activations, join, whole
from espressivo.training.record import versions
from espressivo.training.windows import Windows, training_windows


@dataclass(frozen=True)
class Step:
    """What happened in one step, and where the run stands.

    `loss` is in nats per token of this step's batch, `rate` in tokens per second, lately;
    `seconds` is what the step took, evaluation and saving included, and `left` the seconds until
    the run ends, by its last step or its deadline, as far as can be told. `end` says why this
    step is the last: "finished", "stopped early", "deadline" or "interrupted"; empty before.
    """

    step: int
    steps: int
    loss: float
    learning_rate: float
    gradient_norm: float
    tokens: int
    seconds: float
    rate: float
    left: float
    evaluation: Likelihood | None = None
    best: bool = False
    saved: Path | None = None
    end: str = ""


class Trainer:
    """A model on its way; iterate `steps()` to train it.

    The run lives in a folder: `run.json`, `metrics.jsonl`, checkpoints of the whole state from
    which training goes on bit for bit, and the best model so far as a release checkpoint. What is
    drawn in a step depends on the seed and the step alone, so the state holds no generators.
    Several processes may train it together, each with a Trainer of its own on the same folder;
    all of them take every step, save and release together, and the first one writes.
    """

    def __init__(
        self,
        run: Path | str,
        corpus: Corpus,
        codec: Codec | NoteEvents,
        model: ModelConfig,
        config: TrainingConfig,
        *,
        card: Mapping[str, Any] | None = None,
        device: str = "cpu",
        start: Path | str | None = None,
        change: bool = False,
        parallel: Mode | None = None,
        windows: Windows | None = None,
    ) -> None:
        """Begin a run, or go on from the last checkpoint in its folder.

        A run goes on only with the configuration it was begun with, but for how long it lasts and
        how often it is judged and saved; `change` allows other changes of training, not of model,
        codec or optimiser. A new run takes its weights from the checkpoint or run `start`, if
        given: the next phase of a training. `card` goes into every checkpoint. `parallel` says
        how processes share the work, by default "ddp" if there are several. `windows` are
        trained on in place of those of the corpus, which the run then is only judged on; run.json
        says of which corpora those of note events are.
        """
        self.pace = Pace()
        self.run, self.corpus, self.codec, self.config = Path(run), corpus, codec, config
        self.ensemble = join(parallel, device)
        if config.batch % (config.accumulate * self.ensemble.size):
            raise ConfigError(
                f"training.batch={config.batch} cannot be shared by {self.ensemble.size} processes "
                f"in {config.accumulate} parts; it must be a multiple of both together"
            )
        self.model_config, self.device = model, self.ensemble.device
        self.given = dict(card or {})
        self.trained_on = windows.facts if isinstance(windows, NoteWindows) else {}
        state.compare(self, change)
        with drawing(self.device, config.seed):
            self.model: Model = build(model, len(codec.vocabulary)).to(self.device)
        if config.checkpoint_activations:
            checkpoint_activations(self.model)
        self.reading = Reading(self.model)
        self.ensemble.shard(self.reading)
        self.average = [p.detach().clone() for p in self.model.parameters()]
        self.optimizers = optimizers(self.model, config)
        self.peaks = [[g["lr"] for g in o.param_groups] for o in self.optimizers]
        self.windows = windows or training_windows(corpus, codec, model, config)
        self.step, self.tokens, self.drawn = 0, 0, 0
        self.best, self.stale = math.inf, 0
        self.parent: str | None = None
        self.resumed = state.resume(self)
        if self.resumed is None and start is not None:
            self.parent = state.begin_from(self, start)
        self.forward = self.ensemble.exchanging(self.reading)
        if config.compile:
            self.forward.compile()
        self.torn = False  # while a step changes the weights

    @property
    def resolved(self) -> dict[str, Any]:
        """The whole configuration of the run, as written to run.json."""
        return {
            **described(self.model_config, self.codec),
            "training": asdict(self.config),
            "corpus": {key: self.corpus.card.get(key) for key in ("name", "licence", "sha256")},
            **({"windows": self.trained_on} if self.trained_on else {}),
        }

    @property
    def card(self) -> dict[str, Any]:
        """What a checkpoint says about where it comes from."""
        resolved, keys = self.resolved, ("training", "corpus", "windows")
        about = {key: resolved[key] for key in keys if key in resolved}
        where = {"step": self.step, "tokens": self.tokens}
        return {**self.given, **about, "versions": versions(), **where}

    @property
    def finished(self) -> bool:
        """Tell whether there is nothing left to do."""
        return self.step >= self.config.steps or self.stopped_early

    @property
    def stopped_early(self) -> bool:
        """Tell whether evaluations have not improved for as long as `patience` allows."""
        return bool(self.config.patience and self.stale >= self.config.patience)

    def steps(
        self, deadline: float = math.inf, asked: Callable[[], bool] = lambda: False
    ) -> Iterator[Step]:
        """Train; leaving the loop at any step loses nothing once `save` is called.

        `deadline` is in seconds since this Trainer was made: training ends early enough to judge
        and save the model before. After every step `asked` tells whether to save and end: one
        process that says so is enough. A loss that is not finite is a TrainingError, and a corpus
        without a piece to judge the model on a CorpusError before the first step.
        """
        if not self.finished:
            self._require_validation()
        with state.session(self) as session:
            if self.finished:
                session["exit"] = "nothing left to do"
                return
            end = ""
            while not end:
                with self.ensemble.watched(f"{self.run}, step {self.step + 1}"):
                    step = self._step(deadline, asked)
                end = step.end
                session["exit"] = end or session["exit"]
                yield step

    def save(self) -> Path:
        """Write the whole state; give the folder."""
        if self.torn:
            raise CheckpointError(
                f"{self.run}: step {self.step + 1} was cut short and cannot be saved; "
                "the run goes on from its last checkpoint"
            )
        began = time.monotonic()
        path = state.save(self)
        self.pace.saving = time.monotonic() - began
        return path

    def release(self, card: dict[str, Any]) -> Checkpoint:
        """Give the averaged model, all of it, as a checkpoint without any training state."""
        names = [name for name, _ in self.model.named_parameters()]
        weights = {n: whole(a).cpu().numpy() for n, a in zip(names, self.average, strict=True)}
        return Checkpoint(weights, self.model_config, self.codec, card)

    @contextmanager
    def averaged(self) -> Iterator[None]:
        """Use the averaged weights for a while: `with trainer.averaged(): ...`."""
        self.torn = True
        self._swap()
        try:
            yield
        finally:
            self._swap()
        self.torn = False

    def _require_validation(self) -> None:
        if not any(piece.split == "validation" for piece in self.corpus.pieces):
            raise CorpusError(
                f"{self.corpus.path}: no piece in split 'validation', which the model is judged on "
                "as it trains; at least two pieces are needed, or a table of splits"
            )

    def _step(self, deadline: float, asked: Callable[[], bool]) -> Step:
        """Update once, judge and save if it is time, and write it down."""
        config, pace, began, before = self.config, self.pace, time.monotonic(), self.tokens
        loss, norm, rate = self._update()
        pace.lately.append((self.tokens - before, time.monotonic() - began))
        late, judge = False, self.step % config.evaluate_every == 0 or self.step == config.steps
        if deadline < math.inf:
            closing = pace.closing(sum(len(window.targets) for window in self.validation))
            late = self.ensemble.any(pace.elapsed + 1.2 * (pace.update + closing) > deadline)
            judge = judge or (late and self.ensemble.any(pace.elapsed + closing < deadline))
        evaluation, best = self._evaluate() if judge else (None, False)
        end = ("stopped early" if self.stopped_early else "finished") if self.finished else ""
        end = end or ("deadline" if late else "")
        end = end or ("interrupted" if self.ensemble.any(asked()) else "")
        saved = self.save() if end or self.step % config.save_every == 0 else None
        missing = 0 if end else config.steps - self.step
        step = Step(
            step=self.step,
            steps=config.steps,
            loss=loss,
            learning_rate=rate,
            gradient_norm=norm,
            tokens=self.tokens,
            seconds=time.monotonic() - began,
            rate=pace.rate,
            left=pace.left(missing, missing // config.evaluate_every, deadline),
            evaluation=evaluation,
            best=best,
            saved=saved,
            end=end,
        )
        self._log(step)
        return step

    def _update(self) -> tuple[float, float, float]:
        """Change the weights once; give loss, norm of the gradient and learning rate."""
        config = self.config
        self.model.train()
        self.model.zero_grad(set_to_none=True)
        windows, count = self._due()
        indices = self.ensemble.share(range(self.drawn, self.drawn + count))
        batch = Batch.of([windows.sample(index) for index in indices])
        counted = int(self.ensemble.total(batch.counted))
        with drawing(self.device, config.seed, self.step, self.ensemble.rank):
            loss = self.ensemble.total(self._gradient(batch, counted))
        bound = config.clip_norm or math.inf
        norm = float(whole(nn.utils.clip_grad_norm_(self.model.parameters(), bound)))
        if not (math.isfinite(loss) and math.isfinite(norm)):
            raise TrainingError(state.diverged(self, loss, norm))
        scale = factor(config.schedule, self.step, config.warmup, config.steps, config.decay)
        self.torn = True
        for optimizer, peaks in zip(self.optimizers, self.peaks, strict=True):
            for group, peak in zip(optimizer.param_groups, peaks, strict=True):
                group["lr"] = peak * scale
            optimizer.step()
        self._average()
        self.step, self.tokens = self.step + 1, self.tokens + counted
        self.drawn += count
        self.torn = False
        return loss, norm, config.learning_rate * scale

    def _due(self) -> tuple[Windows, int]:
        """Give where this step's windows come from and how many: short ones at first."""
        batch = self.config.batch << sum(self.step >= step for step in self.config.grow)
        if self.step < self.config.short * self.config.steps:
            return self._short_windows, batch * SHORTER
        return self.windows, batch

    @cached_property
    def _short_windows(self) -> Windows:
        return replace(self.windows, length=self.config.length // SHORTER)

    def _gradient(self, batch: Batch, counted: int) -> float:
        """Add the gradient of windows out of `counted` tokens; give their share of the loss."""
        *parts, last = batch.split(self.config.accumulate)
        with self.ensemble.accumulating(self.forward):
            loss = sum(self._backward(part, counted) for part in parts)
        return loss + self._backward(last, counted)

    def _backward(self, part: Batch, counted: int) -> float:
        bfloat16 = self.config.precision == "bfloat16"
        with torch.autocast(self.device.type, torch.bfloat16, enabled=bfloat16):
            loss = nats_of(self.model, part, self.forward).sum() / counted
        # processes end up with the mean of their gradients, where the sum is wanted
        (loss * self.ensemble.size).backward()  # type: ignore[no-untyped-call]  # torch
        value: float = loss.item()
        return value

    @torch.no_grad()
    def _average(self) -> None:
        decay = min(self.config.ema, (1 + self.step) / (10 + self.step))
        for average, parameter in zip(self.average, self.model.parameters(), strict=True):
            average.lerp_(parameter, 1 - decay) if self.config.ema else average.copy_(parameter)

    @torch.no_grad()
    def _swap(self) -> None:
        for average, p in zip(self.average, self.model.parameters(), strict=True):
            held = p.detach().clone()
            p.copy_(average)
            average.copy_(held)

    def _evaluate(self) -> tuple[Likelihood, bool]:
        """Judge the averaged model; keep it as a checkpoint if it is the best so far."""
        began = time.monotonic()
        mine = self.ensemble.share(self.validation)
        with self.averaged(), self.ensemble.gathered(self.reading):
            each = each_likelihood(self.model, self.codec, mine)
            part = sum((one for _, one in each), Likelihood())
        result = together(self.ensemble.gather(part))
        best = result.per_token < self.best
        self.best, self.stale = (result.per_token, 0) if best else (self.best, self.stale + 1)
        if best:
            metrics = {
                "validation_nats_per_token": result.per_token,
                "validation_windows": result.windows,
                "validation_window_tokens": self.config.evaluation_length,
                "step": self.step,
                "tokens": self.tokens,
            }
            state.publish(self, {**self.card, "metrics": metrics})
        self.pace.judging = time.monotonic() - began
        return result, best

    @cached_property
    def validation(self) -> list[Window]:
        """The fixed windows of the validation split that the run is judged on."""
        length, count = self.config.evaluation_length, self.config.evaluation_windows
        return spread_windows(
            self.corpus, "validation", self.codec, length, count, self.model_config
        )

    def _log(self, step: Step) -> None:
        if not self.ensemble.leads:
            return
        line: dict[str, Any] = {
            "step": step.step,
            "loss": round(step.loss, 6),
            "learning_rate": step.learning_rate,
            "gradient_norm": round(step.gradient_norm, 6),
            "tokens": step.tokens,
            "seconds": round(step.seconds, 4),
        }
        if step.evaluation is not None:
            line["validation"] = {**step.evaluation.as_json(), "best": step.best}
        try:
            with (self.run / "metrics.jsonl").open("a") as log:
                log.write(json.dumps(line) + "\n")
        except OSError as error:
            raise TrainingError(
                f"{self.run}/metrics.jsonl cannot be written ({error.strerror})"
            ) from error


@contextmanager
def drawing(device: torch.device, *key: int) -> Iterator[None]:
    """Let torch draw from a stream of its own for this key, leaving the caller's alone."""
    generators = [torch.default_generator]
    if device.type == "cuda":
        torch.cuda.init()  # type: ignore[no-untyped-call]  # torch
        place = torch.cuda.current_device() if device.index is None else device.index
        generators.append(torch.cuda.default_generators[place])
    before = [generator.get_state() for generator in generators]
    seed = int(np.random.SeedSequence(key).generate_state(1, np.uint64)[0])
    try:
        for generator in generators:
            generator.manual_seed(seed)
        yield
    finally:
        for generator, state_before in zip(generators, before, strict=True):
            generator.set_state(state_before)
