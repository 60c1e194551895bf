"""Weights, configuration and codec in one folder that is enough on its own.

    model.safetensors   the weights, as float32 or, in a release, float16 or int8 rows with scales
    config.json         model, codec, vocabulary fingerprint; the card: training, corpus, metrics
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
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from types import UnionType
from typing import Any, Literal, TypeVar, get_args, get_origin, get_type_hints

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from espressivo.codecs import Codec, MidiLike, NoteEvents, NoteTuple
from espressivo.configs import CONFIGS, ModelConfig
from espressivo.errors import CheckpointError, EspressivoError

FORMAT = 2
CODEC_KINDS: dict[str, type[MidiLike] | type[NoteTuple] | type[NoteEvents]] = {
    "midi-like": MidiLike,
    "note-tuple": NoteTuple,
    "note-events": NoteEvents,
}

SCALE = ".scale"
"""What follows the name of an int8 matrix in that of its rows' scales, float32."""

Weights = Mapping[str, NDArray[Any]]
C = TypeVar("C")


@dataclass(frozen=True)
class Checkpoint:
    """A trained model: enough to play, judge or train on.

    `card` says where it comes from: preset, training, corpus, licence, metrics. `digest` is the
    SHA-256 of the manifest, the identity of the checkpoint.
    """

    weights: Weights
    config: ModelConfig
    codec: Codec | NoteEvents
    card: dict[str, Any] = field(default_factory=dict)
    digest: str = ""


def save(
    path: Path, checkpoint: Checkpoint, extra: Mapping[str, bytes | Path] | None = None
) -> None:
    """Write a checkpoint to a folder that must not exist yet, all of it or nothing.

    `extra` holds further files by name, or where they lie and are moved from. Everything is
    written to a temporary folder beside `path`, flushed to disk and renamed, so that a killed
    process leaves no half checkpoint.
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
    except SafetensorError as error:
        raise CheckpointError(f"{path}: cannot be written ({error})") from error
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def load(path: Path | str) -> Checkpoint:
    """Read and verify a checkpoint; CheckpointError names the file that is wrong.

    Weights come as float32, whatever they are stored as.
    """
    path = Path(path)
    manifest = verify(path)
    content = _upgraded(path, _json(path / "config.json", (path / "config.json").read_bytes()))
    config = _build(path, "model", CONFIGS, content)
    codec = _build(path, "codec", CODEC_KINDS, content)
    vocabulary = content.get("vocabulary")
    if not isinstance(vocabulary, dict) or vocabulary.get("sha256") != (
        codec.vocabulary.fingerprint()
    ):
        raise CheckpointError(
            f"{path}: its token ids are not those of codec {content['codec']}; "
            "it was trained with another version of the vocabulary"
        )
    card = content.get("card")
    digest = hashlib.sha256(manifest).hexdigest()
    return Checkpoint(_weights(path), config, codec, card if isinstance(card, dict) else {}, digest)


def verify(path: Path) -> bytes:
    """Compare every file with the manifest and give the manifest back."""
    file = path / "manifest.json"
    try:
        manifest = file.read_bytes()
    except OSError as error:
        raise CheckpointError(f"{path} is no checkpoint: manifest.json is missing") from error
    entries = _json(file, manifest)
    if not {"model.safetensors", "config.json"} <= entries.keys():
        raise CheckpointError(f"{file} does not name the weights and their config")
    for name, entry in entries.items():
        file = path / name
        if Path(name).name != name or not file.is_file():
            raise CheckpointError(f"{file} is missing")
        try:
            intact = entry == _entry(file)
        except OSError as error:
            raise CheckpointError(f"{file}: cannot be read ({error.strerror})") from error
        if not intact:
            raise CheckpointError(f"{file} is damaged: its SHA-256 is not that of the manifest")
    return manifest


def find(path: Path | str) -> Path:
    """Give the checkpoint meant by a folder: itself, or the best of a run, or its newest."""
    path = Path(path)
    if not path.is_dir():
        raise CheckpointError(f"{path} is no folder; give a checkpoint or a run")
    if (path / "manifest.json").is_file():
        return path
    found = folders(path, "best-") or folders(path / "checkpoints", "step-")
    if not found:
        raise CheckpointError(f"{path} holds no checkpoint: no manifest.json and nothing saved yet")
    return found[-1]


def folders(parent: Path, prefix: str) -> list[Path]:
    """Give the checkpoints of a run whose names begin so, the newest last."""
    if not parent.is_dir():
        return []
    return sorted(p for p in parent.iterdir() if p.name.startswith(prefix) and p.is_dir())


def release(
    source: Path | str,
    path: Path,
    dtype: Literal["float32", "float16", "int8"] = "float16",
    card: Mapping[str, Any] | None = None,
    extra: Mapping[str, bytes | Path] | None = None,
) -> Path:
    """Write a checkpoint, or the best of a run, as one to give away: weights, config and card.

    Half as large in float16; what float16 cannot hold is refused. With int8 the rows of matrices
    are 8-bit whole numbers, each row with a scale of its own, and all else is float16: a quarter.
    `card` adds to the card, `extra` adds files, such as a licence.
    """
    origin = find(source)
    checkpoint = load(origin)
    weights = _stored(origin, checkpoint.weights, dtype)
    about = {**checkpoint.card, **(card or {}), "dtype": dtype, "released_from": checkpoint.digest}
    save(path, replace(checkpoint, weights=weights, card=about), extra)
    return Path(path)


def kind_of(config: ModelConfig) -> str:
    """Give the name a kind of model has on disk."""
    return next(kind for kind, known in CONFIGS.items() if isinstance(config, known))


def described(config: ModelConfig, codec: Codec | NoteEvents) -> dict[str, dict[str, Any]]:
    """Give a model and a codec as they are written in config.json."""
    kind = next(kind for kind, known in CODEC_KINDS.items() if isinstance(codec, known))
    return {
        "model": {"kind": kind_of(config), **asdict(config)},
        "codec": {"kind": kind, **asdict(codec)},  # type: ignore[arg-type]  # every codec is a dataclass
    }


def _stored(path: Path, weights: Weights, dtype: str) -> dict[str, NDArray[Any]]:
    """Return weights as a release keeps them."""
    if dtype != "int8":
        return {name: _cast(path, name, w, dtype) for name, w in weights.items()}
    stored: dict[str, NDArray[Any]] = {}
    for name, array in weights.items():
        if array.ndim != 2:
            stored[name] = _cast(path, name, array, "float16")
            continue
        scale = np.abs(array).max(1, keepdims=True).astype(np.float32) / 127
        stored[name] = np.rint(array / np.where(scale > 0, scale, 1)).astype(np.int8)
        stored[name + SCALE] = scale[:, 0]
    return stored


def _cast(path: Path, name: str, weights: NDArray[Any], dtype: str) -> NDArray[Any]:
    with np.errstate(over="ignore"):
        cast = weights.astype(dtype)
    if not np.isfinite(cast).all():
        raise CheckpointError(f"{path}: {name} holds values that {dtype} cannot; try float32")
    return cast


def _write(folder: Path, checkpoint: Checkpoint, extra: Mapping[str, bytes | Path]) -> None:
    vocabulary = checkpoint.codec.vocabulary
    content = {
        "format": FORMAT,
        **described(checkpoint.config, checkpoint.codec),
        "vocabulary": {"size": len(vocabulary), "sha256": vocabulary.fingerprint()},
        "card": checkpoint.card,
    }
    weights = {name: np.ascontiguousarray(array) for name, array in checkpoint.weights.items()}
    save_file(weights, folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps(content, indent=1) + "\n")
    for name, content_or_place in extra.items():
        if isinstance(content_or_place, Path):
            content_or_place.rename(folder / name)
        else:
            (folder / name).write_bytes(content_or_place)
    manifest = {file.name: _entry(file) for file in sorted(folder.iterdir())}
    (folder / "manifest.json").write_text(json.dumps(manifest, indent=1) + "\n")
    for file in folder.iterdir():
        file.chmod(0o644)  # safetensors writes for its owner only
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


def _weights(path: Path) -> dict[str, NDArray[Any]]:
    try:
        stored = load_file(path / "model.safetensors")
    except (SafetensorError, OSError, KeyError, ValueError) as error:
        raise CheckpointError(f"{path}/model.safetensors: cannot be read ({error})") from error
    scales = {name: stored.pop(name) for name in list(stored) if name.endswith(SCALE)}
    for name, array in stored.items():
        if array.dtype == np.int8 and name + SCALE in scales:
            stored[name] = array * scales.pop(name + SCALE)[:, None]
        elif array.dtype.kind != "f":
            raise CheckpointError(f"{path}/model.safetensors: {name} is {array.dtype}, not float")
    if scales:
        raise CheckpointError(f"{path}/model.safetensors: {next(iter(scales))} scales nothing")
    return {name: array.astype(np.float32, copy=False) for name, array in stored.items()}


def _json(file: Path, content: bytes) -> dict[str, Any]:
    try:
        read = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"{file} is damaged: it is not JSON") from error
    if not isinstance(read, dict):
        raise CheckpointError(f"{file} is damaged: it holds {type(read).__name__}, not an object")
    return read


def _upgraded(path: Path, content: dict[str, Any]) -> dict[str, Any]:
    """Give the content of config.json as this version would have written it."""
    version = content.get("format")
    if version == 1:  # sinusoids were added or not
        model = content.get("model")
        if isinstance(model, dict) and isinstance(model.get("sinusoids"), bool):
            model["sinusoids"] = "added" if model["sinusoids"] else "none"
    elif version != FORMAT:
        raise CheckpointError(
            f"{path}: format {version!r} is not {FORMAT}; a newer espressivo wrote it"
        )
    return content


def _build(path: Path, noun: str, kinds: Mapping[str, type[C]], content: dict[str, Any]) -> C:
    """Make a model's config or a codec from its fields, every one of the type it must have."""
    given = content.get(noun)
    given = dict(given) if isinstance(given, dict) else {}
    kind = given.pop("kind", None)
    if not isinstance(kind, str) or kind not in kinds:
        raise CheckpointError(f"{path}: unknown {noun} {kind!r}; known are {', '.join(kinds)}")
    known = kinds[kind]
    hints = get_type_hints(known)
    names = {field.name for field in fields(known)}  # type: ignore[arg-type]  # all are dataclasses
    given = {name: tuple(v) if isinstance(v, list) else v for name, v in given.items()}
    for name, value in given.items():
        if name not in names:
            raise CheckpointError(f"{path}/config.json: {kind} has no field {name!r}")
        if not _is_a(value, hints[name]):
            raise CheckpointError(f"{path}/config.json: {noun}.{name}={value!r} cannot be")
    try:
        return known(**given)
    except EspressivoError as error:
        raise CheckpointError(f"{path}/config.json: {error}") from error


def _is_a(value: object, hint: Any) -> bool:
    origin, inner = get_origin(hint), get_args(hint)
    if origin is Literal:
        return value in inner
    if origin is UnionType:
        return any(_is_a(value, one) for one in inner)
    if origin is tuple:
        return isinstance(value, tuple) and all(_is_a(one, inner[0]) for one in value)
    if hint is float:
        return isinstance(value, (int, float)) and not isinstance(value, bool)
    return type(value) is hint
