"""The state of a run on disk: saved whole, found again, never half."""

from __future__ import annotations

import fcntl
import hashlib
import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors.torch import save as save_tensors
from torch import Tensor

from espressivo import checkpoint
from espressivo.checkpoint import folders
from espressivo.configs import TransformerConfig
from espressivo.errors import CheckpointError, ConfigError, TrainingError
from espressivo.training import record
from espressivo.training.parallel import read_parts, write_parts
from espressivo.training.weights import put
from espressivo.training.widening import tells_more, told_alike, widened

if TYPE_CHECKING:
    from espressivo.training.train import Trainer

KEEP = 2
"""Checkpoints of the whole state that stay on disk."""


def save(trainer: Trainer) -> Path:
    """Write weights, average, optimisers and position, then drop older checkpoints."""
    path = trainer.run / "checkpoints" / f"step-{trainer.step:08d}"
    leads = trainer.ensemble.leads
    if trainer.ensemble.any(leads and not _whole(path)):
        release, contents = trainer.release(trainer.card), _contents(trainer, path)
        if leads:
            _discard(path)
            checkpoint.save(path, release, contents)
            shutil.rmtree(_parts(path), ignore_errors=True)
    if leads:
        for old in folders(path.parent, "step-")[:-KEEP]:
            _discard(old)
        _note_checkpoints(trainer.run)
    return path


def publish(trainer: Trainer, card: dict[str, Any]) -> None:
    """Write the averaged model as the best so far; an older best goes once the new one stands."""
    path, release = trainer.run / f"best-{trainer.step:08d}", trainer.release(card)
    if not trainer.ensemble.leads:
        return
    _discard(path)  # left by a run that was killed before it saved this step
    checkpoint.save(path, release)
    for old in folders(trainer.run, "best-"):
        if old != path:
            _discard(old)
    _note_checkpoints(trainer.run)


def _note_checkpoints(run: Path) -> None:
    content = record.read_record(run)
    if content:
        content["checkpoints"] = _checkpoints(run)
        with suppress(OSError):  # the checkpoint itself stands
            record.write_record(run, content)


def compare(trainer: Trainer, change: bool) -> None:
    """Refuse to go on with a run that was begun with another configuration.

    Runs of before may not say of which corpora their windows are: they go on with any, and say it
    from then on.
    """
    try:
        trainer.run.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"{trainer.run} cannot be a run folder ({error.strerror})") from error
    begun, asked = record.read_record(trainer.run).get("config", {}), trainer.resolved
    if "windows" not in begun:
        asked.pop("windows", None)
    for key, before, now in record.differences(begun, asked) if begun else ():
        fixed = key.startswith(("model.", "codec.")) or key == "training.optimizer"
        if fixed or not change:
            raise ConfigError(
                f"{trainer.run} was begun with {key}={before!r}, this asks for {now!r}; "
                + ("choose another folder" if fixed else "choose another folder or allow changes")
            )


def resume(trainer: Trainer) -> Path | None:
    """Go on from the newest whole checkpoint of a run, if it has any; give its folder.

    A damaged one is passed over for the one before; CheckpointError if none is whole.
    """
    path = _resume(trainer)
    found = {one.name if one else "nothing" for one in trainer.ensemble.gather(path)}
    if len(found) > 1:
        raise CheckpointError(
            f"{trainer.run}: processes go on from {' and '.join(sorted(found))}; all of them must "
            "see the same folder"
        )
    return path


def _resume(trainer: Trainer) -> Path | None:
    wrong: CheckpointError | None = None
    for path in reversed(folders(trainer.run / "checkpoints", "step-")):
        try:
            saved = checkpoint.load(path)
        except CheckpointError as error:
            wrong = wrong or error
            continue
        if saved.config != trainer.model_config or saved.codec != trainer.codec:
            raise CheckpointError(
                f"{path} holds {saved.config} with {saved.codec}; this run asks for "
                f"{trainer.model_config} with {trainer.codec}"
            )
        _restore(trainer, path)
        return path
    if wrong is not None:
        raise CheckpointError(f"{trainer.run} has no whole checkpoint to go on from: {wrong}")
    return None


def begin_from(trainer: Trainer, source: Path | str) -> str:
    """Take the weights of another checkpoint or run; give its digest.

    Dropout and context may differ: they change no tensor. So may what the model is told, if the
    other is told nothing: it starts with no effect. A transformer that tells the pedal may begin
    as one that folds it into the notes.
    """
    path = checkpoint.find(source)
    other = checkpoint.load(path)
    more = isinstance(trainer.model_config, TransformerConfig) and tells_more(
        trainer.codec, other.codec
    )
    if other.codec != trainer.codec and not more:
        raise CheckpointError(f"{path} speaks {other.codec}; this run speaks {trainer.codec}")
    config: Any = other.config
    if type(config) is type(trainer.model_config):
        free = [name for name in ("dropout", "context") if hasattr(config, name)]
        config = replace(config, **{n: getattr(trainer.model_config, n) for n in free})
    config = told_alike(config, trainer.model_config)
    if config != trainer.model_config:
        raise CheckpointError(
            f"{path} holds {other.config}; this run asks for {trainer.model_config}"
        )
    put(widened(other.weights, trainer.model), trainer.model, str(path))
    with torch.no_grad():
        for average, parameter in zip(trainer.average, trainer.model.parameters(), strict=True):
            average.copy_(parameter)
    return other.digest


def diverged(trainer: Trainer, loss: float, norm: float) -> str:
    """Say that a step cannot be taken, and what is left."""
    saved = folders(trainer.run / "checkpoints", "step-")
    left = f"the last good checkpoint is {saved[-1]}" if saved else "nothing was saved yet"
    return (
        f"step {trainer.step + 1}: loss {loss} with a gradient of norm {norm}; {left}. Try a lower "
        f"training.learning_rate than {trainer.config.learning_rate} or training.clip_norm=1"
    )


@contextmanager
def session(trainer: Trainer) -> Iterator[dict[str, Any]]:
    """Keep run.json while a run is being trained: when, from where to where, why it ended.

    Whoever trains writes the reason into what this gives, under "exit".
    """
    if not trainer.ensemble.leads:
        yield {"exit": "running"}
        return
    with _alone(trainer.run), _recorded(trainer) as here:
        yield here


@contextmanager
def _alone(run: Path) -> Iterator[None]:
    """Keep other trainers out of a run, on any file system that knows locks.

    The system lets them in again when this process ends, whatever ends it.
    """
    try:
        lock = (run / "lock").open("a")
    except OSError as error:
        raise TrainingError(f"{run}/lock: cannot write ({error.strerror})") from error
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise ConfigError(
                f"{run} is being trained by another process; wait for it, or choose another folder"
            ) from error
        except OSError:
            pass  # no locks here
        yield


@contextmanager
def _recorded(trainer: Trainer) -> Iterator[dict[str, Any]]:
    _sweep(trainer.run)
    record.mend_metrics(trainer.run)
    content = _record(trainer)
    here = {"started": record.now(), "ended": None, "first_step": trainer.step + 1}
    here |= {"config_sha256": content["config_sha256"], "exit": "running"}
    content["sessions"].append(here)
    try:
        record.write_record(trainer.run, content)
    except OSError as error:
        raise TrainingError(f"{trainer.run}/run.json: cannot write ({error.strerror})") from error
    here["exit"] = "left by the caller"
    try:
        yield here
    except GeneratorExit:
        raise
    except BaseException as error:
        here["exit"] = f"{type(error).__name__}: {error}"
        raise
    finally:
        here |= {"ended": record.now(), "last_step": trainer.step}
        content["checkpoints"] = _checkpoints(trainer.run)
        with suppress(OSError):  # a full disk has been told of already
            record.write_record(trainer.run, content)


def _record(trainer: Trainer) -> dict[str, Any]:
    """Give the content of run.json as a session begins."""
    before = record.read_record(trainer.run)
    sessions = list(before.get("sessions", []))
    if sessions and sessions[-1]["exit"] == "running":
        sessions[-1]["exit"] = "killed"
    vocabulary, resolved = trainer.codec.vocabulary, trainer.resolved
    return {
        **trainer.given,
        "format": record.FORMAT,
        "config": resolved,
        "config_sha256": record.sha256_of(resolved),
        "vocabulary": {"size": len(vocabulary), "sha256": vocabulary.fingerprint()},
        "seed": trainer.config.seed,
        "parent": trainer.parent or before.get("parent"),
        "code_sha256": record.code_digest(),
        "versions": record.versions(),
        "hardware": record.hardware(str(trainer.device), torch.get_num_threads()),
        "parallel": {"mode": trainer.ensemble.mode, "processes": trainer.ensemble.size},
        "metrics": "metrics.jsonl",
        "sessions": sessions,
        "checkpoints": _checkpoints(trainer.run),
    }


def _checkpoints(run: Path) -> list[dict[str, str]]:
    """List what stands in a run, with the digest each is known by."""
    found = [*folders(run / "checkpoints", "step-"), *folders(run, "best-")]
    return [
        {
            "path": path.relative_to(run).as_posix(),
            "digest": hashlib.sha256((path / "manifest.json").read_bytes()).hexdigest(),
        }
        for path in found
        if (path / "manifest.json").is_file()
    ]


def _contents(trainer: Trainer, path: Path) -> dict[str, bytes | Path]:
    """Give the files of a checkpoint from which training goes on.

    Where weights are cut into parts, every process writes its own beside `path`.
    """
    tensors = {f"weights.{n}": p.detach() for n, p in trainer.model.named_parameters()}
    for index, optimizer in enumerate(trainer.optimizers):
        for number, values in optimizer.state_dict()["state"].items():
            for name, value in values.items():
                tensors[f"optimizer.{index}.{number}.{name}"] = torch.as_tensor(value)
    facts: dict[str, Any] = {
        "step": trainer.step,
        "tokens": trainer.tokens,
        "drawn": trainer.drawn,
        "best": trainer.best if trainer.best < float("inf") else None,
        "stale": trainer.stale,
    }
    contents: dict[str, bytes | Path] = {"trainer.json": json.dumps(facts).encode()}
    if trainer.ensemble.mode == "fsdp":
        parts = write_parts(tensors, _parts(path))
        return contents | {f"optimizer-{n:05d}.safetensors": p for n, p in enumerate(parts, 1)}
    whole = save_tensors({name: tensor.contiguous() for name, tensor in tensors.items()})
    return contents | {"optimizer.safetensors": whole}


def _parts(path: Path) -> Path:
    """Give the folder where processes write before a checkpoint is put together."""
    return path.with_name(f".{path.name}-parts")


@torch.no_grad()
def _restore(trainer: Trainer, path: Path) -> None:
    parameters = dict(trainer.model.named_parameters())
    facts = json.loads((path / "trainer.json").read_bytes())
    try:
        tensors = read_parts(path, lambda name: _belonging(trainer, name))
        for (name, parameter), average in zip(parameters.items(), trainer.average, strict=True):
            parameter.copy_(tensors[f"weights.{name}"])
            average.copy_(tensors[name])
    except (AttributeError, IndexError, KeyError, RuntimeError) as error:
        raise CheckpointError(f"{path} does not fit this model: {error}") from error
    for index, optimizer in enumerate(trainer.optimizers):
        content = optimizer.state_dict()
        content["state"] = _optimizer_state(tensors, f"optimizer.{index}.")
        optimizer.load_state_dict(content)
    trainer.step, trainer.tokens, trainer.stale = facts["step"], facts["tokens"], facts["stale"]
    trainer.drawn = facts.get("drawn", facts["step"] * trainer.config.batch)
    trainer.best = float("inf") if facts["best"] is None else facts["best"]


def _belonging(trainer: Trainer, name: str) -> Tensor:
    """Give the parameter that a tensor of a checkpoint belongs to."""
    if name.startswith("optimizer."):
        _, index, number, _ = name.split(".")
        groups = trainer.optimizers[int(index)].param_groups
        parameter: Tensor = [p for group in groups for p in group["params"]][int(number)]
        return parameter
    return trainer.model.get_parameter(name.removeprefix("weights."))


def _optimizer_state(tensors: dict[str, Tensor], prefix: str) -> dict[int, dict[str, Tensor]]:
    values: dict[int, dict[str, Tensor]] = {}
    for key, tensor in tensors.items():
        if key.startswith(prefix):
            number, name = key.removeprefix(prefix).split(".", 1)
            values.setdefault(int(number), {})[name] = tensor
    return values


def _whole(path: Path) -> bool:
    try:
        checkpoint.verify(path)
    except CheckpointError:
        return False
    return True


def _discard(path: Path) -> None:
    """Delete a checkpoint under another name, so that a kill leaves none that is half gone."""
    hidden = path.with_name(f".{path.name}-old")
    with suppress(OSError):  # what cannot be deleted now is swept up when the run goes on
        path.rename(hidden)
    shutil.rmtree(hidden, ignore_errors=True)


def _sweep(run: Path) -> None:
    """Remove what killed saves and deletions have left."""
    for parent, prefix in ((run / "checkpoints", ".step-"), (run, ".best-")):
        for path in folders(parent, prefix):
            shutil.rmtree(path, ignore_errors=True)
