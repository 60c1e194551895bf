"""Weights, configuration and codec in one folder that is enough on its own.

    model.safetensors   the weights, as float32 or float16
    config.json         model, codec, vocabulary fingerprint, and the card: training, corpus, metrics
    manifest.json       SHA-256 and size of every other file, checked on every load

Nothing is pickled, so loading never runs code. A damaged file is refused by name: safetensors
alone loads a flipped bit without complaint.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from espressivo.codecs import Codec, MidiLike
from espressivo.configs import CONFIGS, ModelConfig
from espressivo.errors import CheckpointError, EspressivoError

FORMAT = 1
CODEC_KINDS: dict[str, type[MidiLike]] = {"midi-like": MidiLike}

Weights = Mapping[str, NDArray[Any]]


@dataclass(frozen=True)
class Checkpoint:
    """A trained model: enough to play, judge or train on.

    `card` says where it comes from: preset, training, corpus, licence, metrics. `digest` is the
    SHA-256 of the manifest, the identity of the checkpoint.
    """

    weights: Weights
    config: ModelConfig
    codec: Codec
    card: dict[str, Any] = field(default_factory=dict)
    digest: str = ""


def save(path: Path, checkpoint: Checkpoint, extra: Mapping[str, bytes] | None = None) -> None:
    """Write a checkpoint to a folder that must not exist yet, all of it or nothing.

    `extra` holds further files by name. Everything is written to a temporary folder beside
    `path`, flushed to disk and renamed, so that a killed process leaves no half checkpoint.
    """
    path = Path(path)
    if path.exists():
        raise CheckpointError(f"{path} exists; a checkpoint is never written over another")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        draft = Path(tempfile.mkdtemp(prefix=f".{path.name}-", dir=path.parent))
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be written ({error.strerror})") from error
    try:
        _write(draft, checkpoint, extra or {})
        draft.chmod(0o755)
        draft.rename(path)
        _flush(path.parent)
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be written ({error.strerror})") from error
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def load(path: Path | str) -> Checkpoint:
    """Read and verify a checkpoint; CheckpointError names the file that is wrong."""
    path = Path(path)
    manifest = verify(path)
    text = json.loads((path / "config.json").read_text())
    if text.get("format") != FORMAT:
        raise CheckpointError(
            f"{path}: format {text.get('format')!r} is not {FORMAT}; a newer espressivo wrote it"
        )
    config, codec = _config(path, text["model"]), _codec(path, text["codec"])
    if codec.vocabulary.fingerprint() != text["vocabulary"]["sha256"]:
        raise CheckpointError(
            f"{path}: its token ids are not those of codec {text['codec']}; "
            "it was trained with another version of the vocabulary"
        )
    try:
        weights = load_file(path / "model.safetensors")
    except SafetensorError as error:
        raise CheckpointError(f"{path}/model.safetensors: cannot be read ({error})") from error
    digest = hashlib.sha256(manifest).hexdigest()
    return Checkpoint(weights, config, codec, text.get("card", {}), digest)


def verify(path: Path) -> bytes:
    """Compare every file with the manifest and give the manifest back."""
    try:
        manifest = (path / "manifest.json").read_bytes()
    except OSError as error:
        raise CheckpointError(f"{path} is no checkpoint: manifest.json is missing") from error
    try:
        entries = json.loads(manifest)
        named = {"model.safetensors", "config.json"} <= entries.keys()
    except (ValueError, AttributeError) as error:
        raise CheckpointError(f"{path}/manifest.json is damaged") from error
    if not named:
        raise CheckpointError(f"{path}/manifest.json does not name the weights and their config")
    for name, entry in entries.items():
        file = path / name
        if Path(name).name != name or not file.is_file():
            raise CheckpointError(f"{file} is missing")
        if entry != _entry(file):
            raise CheckpointError(f"{file} is damaged: its SHA-256 is not that of the manifest")
    return manifest


def _write(folder: Path, checkpoint: Checkpoint, extra: Mapping[str, bytes]) -> None:
    vocabulary = checkpoint.codec.vocabulary
    text = {
        "format": FORMAT,
        "model": {"kind": kind_of(checkpoint.config), **asdict(checkpoint.config)},
        "codec": {"kind": "midi-like", **asdict(checkpoint.codec)},  # type: ignore[call-overload]  # every codec is a dataclass
        "vocabulary": {"size": len(vocabulary), "sha256": vocabulary.fingerprint()},
        "card": checkpoint.card,
    }
    weights = {name: np.ascontiguousarray(array) for name, array in checkpoint.weights.items()}
    save_file(weights, folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps(text, indent=1) + "\n")
    for name, content in extra.items():
        (folder / name).write_bytes(content)
    manifest = {file.name: _entry(file) for file in sorted(folder.iterdir())}
    (folder / "manifest.json").write_text(json.dumps(manifest, indent=1) + "\n")
    for file in folder.iterdir():
        _flush(file)
    _flush(folder)


def _flush(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _entry(file: Path) -> dict[str, Any]:
    with file.open("rb") as content:
        digest = hashlib.file_digest(content, "sha256").hexdigest()
    return {"sha256": digest, "bytes": file.stat().st_size}


def kind_of(config: ModelConfig) -> str:
    """Give the name a kind of model has on disk."""
    return next(kind for kind, known in CONFIGS.items() if isinstance(config, known))


def _config(path: Path, fields: dict[str, Any]) -> ModelConfig:
    kind = fields.pop("kind", None)
    if kind not in CONFIGS:
        raise CheckpointError(f"{path}: unknown model {kind!r}; known are {', '.join(CONFIGS)}")
    try:
        return CONFIGS[kind](**fields)
    except (TypeError, EspressivoError) as error:
        raise CheckpointError(f"{path}/config.json: {error}") from error


def _codec(path: Path, fields: dict[str, Any]) -> Codec:
    kind = fields.pop("kind", None)
    if kind not in CODEC_KINDS:
        raise CheckpointError(f"{path}: unknown codec {kind!r}; known: {', '.join(CODEC_KINDS)}")
    try:
        return CODEC_KINDS[kind](**fields)
    except (TypeError, EspressivoError) as error:
        raise CheckpointError(f"{path}/config.json: {error}") from error
