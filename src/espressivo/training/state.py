"""The state of a run on disk: saved whole, found again, never half."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors
from torch import Tensor

from espressivo import checkpoint
from espressivo.errors import CheckpointError

if TYPE_CHECKING:
    from espressivo.training.train import Trainer

KEEP = 2
"""Checkpoints of the whole state that stay on disk."""


def save(trainer: Trainer) -> Path:
    """Write weights, average, optimisers, random state and position, then drop older ones."""
    path = trainer.run / "checkpoints" / f"step-{trainer.step:08d}"
    if path.exists():
        return path
    tensors = {f"weights.{n}": p.detach() for n, p in trainer.model.named_parameters()}
    facts: dict[str, Any] = {
        "step": trainer.step,
        "tokens": trainer.tokens,
        "best": trainer.best if trainer.step and trainer.best < float("inf") else None,
        "stale": trainer.stale,
    }
    for index, optimizer in enumerate(trainer.optimizers):
        for number, values in optimizer.state_dict()["state"].items():
            for name, value in values.items():
                tensors[f"optimizer.{index}.{number}.{name}"] = torch.as_tensor(value)
    tensors["random"] = torch.get_rng_state()
    if trainer.device.type == "cuda":
        tensors["random.cuda"] = torch.cuda.get_rng_state(trainer.device)
    extra = {
        "optimizer.safetensors": save_tensors({k: v.contiguous() for k, v in tensors.items()}),
        "trainer.json": json.dumps(facts).encode(),
    }
    checkpoint.save(path, trainer.release(trainer.card), extra)
    for old in _folders(trainer.run / "checkpoints", "step-")[:-KEEP]:
        shutil.rmtree(old, ignore_errors=True)
    return path


def publish(trainer: Trainer, card: dict[str, Any]) -> None:
    """Write the averaged model as the best so far; an older best goes once the new one stands."""
    path = trainer.run / f"best-{trainer.step:08d}"
    if not path.exists():
        checkpoint.save(path, trainer.release(card))
    for old in _folders(trainer.run, "best-"):
        if old != path:
            shutil.rmtree(old, ignore_errors=True)


def resume(trainer: Trainer) -> None:
    """Go on from the newest whole checkpoint of a run, if there is one."""
    for path in reversed(_folders(trainer.run / "checkpoints", "step-")):
        try:
            saved = checkpoint.load(path)
        except CheckpointError:
            continue  # an older one may be whole
        if saved.config != trainer.model_config or saved.codec != trainer.codec:
            raise CheckpointError(
                f"{path} holds {saved.config} with {saved.codec}; this run asks for "
                f"{trainer.model_config} with {trainer.codec}"
            )
        _restore(trainer, path, saved)
        return


def _restore(trainer: Trainer, path: Path, saved: checkpoint.Checkpoint) -> None:
    tensors = load_tensors((path / "optimizer.safetensors").read_bytes())
    facts = json.loads((path / "trainer.json").read_text())
    names = [name for name, _ in trainer.model.named_parameters()]
    with torch.no_grad():
        for name, parameter in trainer.model.named_parameters():
            parameter.copy_(tensors[f"weights.{name}"])
        for name, average in zip(names, trainer.average, strict=True):
            average.copy_(torch.from_numpy(saved.weights[name]))
    for index, optimizer in enumerate(trainer.optimizers):
        content = optimizer.state_dict()
        content["state"] = _optimizer_state(tensors, f"optimizer.{index}.")
        optimizer.load_state_dict(content)
    torch.set_rng_state(tensors["random"].clone())
    if "random.cuda" in tensors and trainer.device.type == "cuda":
        torch.cuda.set_rng_state(tensors["random.cuda"].clone(), trainer.device)
    trainer.step, trainer.tokens, trainer.stale = facts["step"], facts["tokens"], facts["stale"]
    trainer.best = float("inf") if facts["best"] is None else facts["best"]


def _optimizer_state(tensors: dict[str, Tensor], prefix: str) -> dict[int, dict[str, Tensor]]:
    values: dict[int, dict[str, Tensor]] = {}
    for key, tensor in tensors.items():
        if key.startswith(prefix):
            number, name = key.removeprefix(prefix).split(".", 1)
            values.setdefault(int(number), {})[name] = tensor
    return values


def best(run: Path) -> Path | None:
    """Give the best checkpoint of a run, or its newest, or None."""
    found = _folders(run, "best-") or _folders(run / "checkpoints", "step-")
    return found[-1] if found else None


def _folders(parent: Path, prefix: str) -> list[Path]:
    if not parent.is_dir():
        return []
    return sorted(p for p in parent.iterdir() if p.name.startswith(prefix) and p.is_dir())
