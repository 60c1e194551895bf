"""A MIDI file as a header and chunks of bytes: what is there before any event is read."""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from espressivo.errors import MidiError

Source = str | os.PathLike[str] | bytes | bytearray | memoryview

FRAME_RATES = {24: (24, 1), 25: (25, 1), 29: (30000, 1001), 30: (30, 1)}
"""Frames per second of the SMPTE time divisions, as fractions; 29 stands for 30 drop frame."""

_MOST_CHUNKS = 0xFFFF
_LOOKS_LIKE = (
    (b"<", "a web page or XML, not MIDI; save the file itself, not the page that shows it"),
    (b"RIFF", "a RIFF file (RMID or WAV), not a plain MIDI file"),
    (b"PK\x03\x04", "a zip archive, not MIDI; unpack it first"),
    (b"\x1f\x8b", "a gzip file, not MIDI; unpack it first"),
    (b"version https://git-lfs", "a Git LFS pointer, not the MIDI file it stands for"),
)


@dataclass(frozen=True)
class Limits:
    """How much of a file is believed: what goes beyond raises `MidiError` instead of memory.

    `notes` bounds the pedal moves of a file as well as its notes. The defaults hold half a
    day of dense playing; `tracks` cannot exceed the 256 a performance can number.
    """

    bytes: int = 8 * 1024 * 1024
    notes: int = 500_000
    seconds: float = 86_400.0
    tracks: int = 256


class Header(NamedTuple):
    """What the first chunk states: layout, number of tracks, and the meaning of a tick.

    `frames` is the SMPTE rate as a fraction, or None where ticks divide a quarter note.
    """

    format: int
    tracks: int
    resolution: int
    frames: tuple[int, int] | None


class Chunk(NamedTuple):
    """The body of one track and where in the file it begins."""

    start: int
    body: bytes


def name_of(source: Source) -> str:
    """Name a source in messages, on one line whatever it contains."""
    if isinstance(source, bytes | bytearray | memoryview):
        return "<bytes>"
    name = str(Path(source))
    return name if name.isprintable() else repr(name)


def load(source: Source, limits: Limits) -> bytes:
    """Read the whole file, never more than the limit; raises MidiError saying why not."""
    if isinstance(source, bytes | bytearray | memoryview):
        raw = bytes(source)
    else:
        try:
            with Path(source).open("rb") as file:
                size = os.fstat(file.fileno()).st_size
                raw = file.read(min(size or limits.bytes, limits.bytes) + 1)
        except FileNotFoundError:
            raise MidiError("no such file") from None
        except IsADirectoryError:
            raise MidiError("a folder, not a MIDI file") from None
        except (OSError, ValueError) as error:
            raise MidiError(f"cannot be read: {_why(error)}") from error
    if len(raw) > limits.bytes:
        raise MidiError(f"larger than the limit of {limits.bytes} bytes")
    if not raw:
        raise MidiError("empty (0 bytes), not a MIDI file")
    return raw


def header(raw: bytes) -> tuple[Header, int]:
    """Read the header chunk: what it says and where the next chunk begins."""
    if not raw.startswith(b"MThd"):
        raise MidiError(_what_instead(raw))
    if len(raw) < 14:
        raise MidiError(f"cut off inside its header: {len(raw)} bytes, at least 14 needed")
    length, form, tracks, division = struct.unpack(">IHHH", raw[4:14])
    if length < 6 or 8 + length > len(raw):
        raise MidiError(f"its header claims {length} bytes; 6 would be right")
    if form > 2:
        raise MidiError(f"MIDI file type {form} does not exist; 0, 1 or 2 would be right")
    if not division & 0x8000:
        if not division:
            raise MidiError("a time base of 0 ticks per quarter note; at least 1 is needed")
        return Header(form, tracks, division, None), 8 + length
    frames, resolution = FRAME_RATES.get(256 - (division >> 8)), division & 0xFF
    if frames is None or not resolution:
        raise MidiError(f"a time base of 0x{division:04X}, neither beats nor SMPTE frames")
    return Header(form, tracks, resolution, frames), 8 + length


def chunks(raw: bytes, at: int, count: int) -> Iterator[Chunk]:
    """Give the `count` tracks that follow, passing over chunks of other kinds."""
    found = 0
    while found < count:
        if at + 8 > len(raw):
            raise MidiError(f"truncated: {count} tracks announced, {found} found")
        length = int.from_bytes(raw[at + 4 : at + 8], "big")
        if at + 8 + length > len(raw):
            missing = at + 8 + length - len(raw)
            raise MidiError(f"truncated at byte {len(raw)}: {missing} bytes of a chunk missing")
        if raw[at : at + 4] == b"MTrk":
            found += 1
            yield Chunk(at + 8, raw[at + 8 : at + 8 + length])
        at += 8 + length


def surviving_chunks(raw: bytes, at: int) -> Iterator[Chunk]:
    """Give every track that can be found, whole or cut; the number announced is not believed.

    A length that does not lead to the end or to another chunk is not believed either: that
    track reaches to the next one.
    """
    at = raw.find(b"MTrk", at)
    for _ in range(_MOST_CHUNKS):
        if at < 0:
            return
        end = at + 8 + int.from_bytes(raw[at + 4 : at + 8], "big")
        follower = raw.find(b"MTrk", at + 8)
        if end != len(raw) and raw[end : end + 4] != b"MTrk":
            end = follower if follower >= 0 else len(raw)
        yield Chunk(at + 8, raw[at + 8 : end])
        at = raw.find(b"MTrk", max(end, at + 8))


def _what_instead(raw: bytes) -> str:
    start = raw[:64].lstrip(b"\xef\xbb\xbf \t\r\n")
    for magic, meaning in _LOOKS_LIKE:
        if start.startswith(magic):
            return meaning
    return f"not a MIDI file: it begins with {raw[:4]!r}, not with b'MThd'"


def _why(error: OSError | ValueError) -> str:
    return (getattr(error, "strerror", None) or str(error)).lower()
