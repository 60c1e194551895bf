"""Samples in and out of audio files: the only file that knows the audio file library."""

from __future__ import annotations

import contextlib
import io
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np
import soundfile
from numpy.typing import NDArray

from espressivo.errors import AudioError

Array = NDArray[Any]

BLOCK = 65_536
"""Frames per write. A Vorbis file written in one long call crashes the encoder."""

FORMATS = {
    "wav": ("WAV", "PCM_16"),
    "flac": ("FLAC", "PCM_16"),
    "ogg": ("OGG", "VORBIS"),
    "mp3": ("MP3", "MPEG_LAYER_III"),
}
"""What can be written, by suffix: container and encoding."""

MP3_RATES = (8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000)


class Tags(NamedTuple):
    """What a file says about itself; empty ones are left out."""

    title: str = ""
    artist: str = ""
    comment: str = ""
    copyright: str = ""


def check(path: Path, rate: int) -> None:
    """Raise AudioError if it is clear beforehand that `path` cannot be written."""
    name = path.suffix.lower().removeprefix(".")
    if name not in FORMATS:
        known = ", ".join(f".{suffix}" for suffix in FORMATS)
        raise AudioError(f"{path}: unknown audio suffix {path.suffix!r}; use one of {known}")
    if not path.parent.is_dir():
        raise AudioError(f"cannot write {path}: there is no folder {path.parent}")
    if path.is_dir():
        raise AudioError(f"cannot write {path}: it is a folder")
    if not os.access(path.parent, os.W_OK):
        raise AudioError(f"cannot write {path}: no permission to write in {path.parent}")
    check_format(name, rate)


def check_format(name: str, rate: int) -> None:
    """Raise AudioError unless `name` is a key of `FORMATS` and has the rate."""
    if name not in FORMATS:
        raise AudioError(f"unknown audio format {name!r}; use one of {', '.join(FORMATS)}")
    if name == "mp3" and rate not in MP3_RATES:
        rates = ", ".join(map(str, MP3_RATES))
        raise AudioError(f"mp3 has no rate of {rate} Hz; use one of {rates}, or flac")


def decode(content: bytes, frames: int = -1) -> Array:
    """Decode the first `frames` (-1: all) of one mono audio file in memory to float32."""
    try:
        with soundfile.SoundFile(io.BytesIO(content)) as file:
            return np.asarray(file.read(frames, dtype="float32", always_2d=True))[:, 0]
    except soundfile.SoundFileError as error:
        raise AudioError(f"a sample cannot be decoded: {error}") from error


def blocks(path: Path) -> Iterator[Array]:
    """Read a stereo file as float32 blocks [frames, 2] of at most 65,536 frames."""
    try:
        with soundfile.SoundFile(path) as file:
            yield from file.blocks(BLOCK, dtype="float32", always_2d=True)
    except soundfile.SoundFileError as error:
        raise AudioError(f"{path} cannot be read as audio: {error}") from error


def write(path: Path, blocks: Iterable[Array], rate: int, tags: Tags) -> None:
    """Write float32 blocks [frames, 2] to `path`, whole or not at all.

    The file grows under a temporary name beside `path` and takes its place at the end. Raises
    AudioError, leaving nothing behind, if the folder cannot be written or the disk is full.
    """
    check(path, rate)
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        written = _write(str(partial), blocks, rate, tags, path.suffix.lower().removeprefix("."))
        kept = soundfile.info(str(partial)).frames
        if kept < written:
            raise AudioError(f"cannot write {path}: {kept} of {written} frames fit; disk full?")
        partial.replace(path)
    except soundfile.LibsndfileError as error:
        reason = error.error_string.rstrip(".")
        raise AudioError(f"cannot write {path}: {reason}; is the disk full?") from error
    except OSError as error:
        raise AudioError(f"cannot write {path}: {error.strerror or error}") from error
    finally:
        with contextlib.suppress(OSError):
            partial.unlink(missing_ok=True)


def encode(blocks: Iterable[Array], rate: int, tags: Tags, name: str) -> bytes:
    """Give a whole file in memory; `name` is a key of `FORMATS`."""
    check_format(name, rate)
    content = io.BytesIO()
    _write(content, blocks, rate, tags, name)
    return content.getvalue()


def _write(
    target: str | BinaryIO, blocks: Iterable[Array], rate: int, tags: Tags, name: str
) -> int:
    container, encoding = FORMATS[name]
    frames = 0
    with soundfile.SoundFile(
        target, "w", samplerate=rate, channels=2, format=container, subtype=encoding
    ) as file:
        for tag, text in tags._asdict().items():
            if text:
                setattr(file, tag, text)
        for block in blocks:
            for start in range(0, len(block), BLOCK):
                piece = block[start : start + BLOCK]
                try:
                    file.write(piece)
                except AssertionError as error:  # the library's answer to a short write
                    raise OSError("not everything arrived; is the disk full?") from error
                frames += len(piece)
    return frames
