"""Weights on their way: to the machine as bytes with a scale per row, back in parts.

What goes there loses at most half a 255th of the range of its row (`bits=8`) or what float16
loses (`bits=16`). What comes back is a checkpoint in float16, its `model.safetensors` cut into
parts; joined it is the same folder again, digest and all.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import load_file, save_file

from espressivo import checkpoint
from espressivo.checkpoint import Checkpoint

PART = 15_000_000
"""Bytes of one part; files of at most 16 MiB come back."""
SMALL = 4096
"""Tensors of fewer numbers than this stay float16."""


def pack_start(source: Path, out: Path, bits: int) -> dict[str, Any]:
    """Write the weights of a checkpoint or run into a folder, small; say what it is."""
    path = checkpoint.find(source)
    weights = checkpoint.load(path).weights  # which compares all files with their digests
    packed: dict[str, Any] = {}
    for name, tensor in weights.items():
        half = tensor.astype(np.float16)
        if not np.isfinite(half).all():
            raise ValueError(f"{path}: {name} holds values that float16 cannot")
        if bits == 16 or tensor.ndim < 2 or tensor.size < SMALL:
            packed[name] = half
            continue
        rows = tensor.reshape(-1, tensor.shape[-1])
        scale = (np.abs(rows).max(1, keepdims=True) / 127).astype(np.float32)
        whole = np.rint(rows / np.where(scale > 0, scale, 1.0)).astype(np.int8)
        packed[f"{name}:rows"] = whole.reshape(tensor.shape)
        packed[f"{name}:scale"] = scale[:, 0]
    out.mkdir(parents=True)
    save_file(packed, out / "packed.safetensors")
    shutil.copy(path / "config.json", out / "config.json")
    digest = hashlib.sha256((path / "manifest.json").read_bytes()).hexdigest()
    files = {file.name: _entry(file) for file in sorted(out.iterdir())}
    about = {"digest": digest, "bits": bits, "files": files}
    (out / "start.json").write_text(json.dumps(about, indent=1) + "\n")
    return about


def unpack_start(packed: Path, out: Path) -> Path:
    """Restore a checkpoint folder from what `pack_start` wrote."""
    about = json.loads((packed / "start.json").read_text())
    for name, entry in about["files"].items():
        if _entry(packed / name) != entry:
            raise ValueError(f"{packed / name} is damaged: it is not what was packed")
    weights: dict[str, Any] = {}
    stored = load_file(packed / "packed.safetensors")
    for name, tensor in stored.items():
        plain, _, kind = name.partition(":")
        if kind == "rows":
            rows = tensor.reshape(-1, tensor.shape[-1]).astype(np.float32)
            weights[plain] = (rows * stored[f"{plain}:scale"][:, None]).reshape(tensor.shape)
        elif not kind:
            weights[plain] = tensor.astype(np.float32)
    out.mkdir(parents=True)
    save_file(weights, out / "model.safetensors")
    shutil.copy(packed / "config.json", out / "config.json")
    manifest = {file.name: _entry(file) for file in sorted(out.iterdir())}
    (out / "manifest.json").write_text(json.dumps(manifest, indent=1) + "\n")
    checkpoint.load(out)
    return out


def write_parts(trained: Checkpoint, out: Path, most: int = PART) -> dict[str, Any]:
    """Write a model in float16, in parts, beside its config.json and manifest.json."""
    half = {name: np.asarray(w).astype(np.float16) for name, w in trained.weights.items()}
    for name, tensor in half.items():
        if not np.isfinite(tensor).all():
            raise ValueError(f"{name} holds values that float16 cannot")
    card = {**trained.card, "dtype": "float16"}
    with tempfile.TemporaryDirectory() as draft:
        folder = Path(draft) / "checkpoint"
        checkpoint.save(folder, Checkpoint(half, trained.config, trained.codec, card))
        content = (folder / "model.safetensors").read_bytes()
        for old in out.glob("weights-*.bin"):
            old.unlink()
        for place, first in enumerate(range(0, len(content), most)):
            (out / f"weights-{place:02d}.bin").write_bytes(content[first : first + most])
        for name in ("config.json", "manifest.json"):
            shutil.copy(folder / name, out / name)
    parts = sorted(file.name for file in out.glob("weights-*.bin"))
    digest = hashlib.sha256((out / "manifest.json").read_bytes()).hexdigest()
    return {"digest": digest, "parts": parts, "bytes": len(content)}


def join(out: Path, path: Path) -> str:
    """Put the parts together into a checkpoint folder; give its digest.

    Nothing is left behind unless every file is what its digest says, and the whole the model that
    the report of the run names.
    """
    parts = sorted(out.glob("weights-*.bin"))
    if not parts:
        raise ValueError(f"{out} holds no weights-00.bin: the run wrote no weights")
    if path.exists():
        raise ValueError(f"{path} exists; a checkpoint is never written over another")
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = Path(tempfile.mkdtemp(prefix=f".{path.name}-", dir=path.parent))
    try:
        with (draft / "model.safetensors").open("wb") as file:
            for part in parts:
                file.write(part.read_bytes())
        for name in ("config.json", "manifest.json"):
            shutil.copyfile(out / name, draft / name)
        digest = checkpoint.load(draft).digest
        promised = _promised(out)
        if promised not in (None, digest):
            raise ValueError(f"{out} holds {digest}; its report names {promised}")
        draft.chmod(0o755)
        draft.rename(path)
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    return digest


def _promised(out: Path) -> str | None:
    """Return the digest that the report names, if there is a report that does."""
    try:
        parts = json.loads((out / "report.json").read_text())["parts"]
        return str(parts["note-transformer"]["result"]["weights"]["digest"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _entry(file: Path) -> dict[str, Any]:
    content = file.read_bytes()
    return {"sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content)}
