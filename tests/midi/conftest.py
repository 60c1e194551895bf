"""Bytes of MIDI files, laid out by hand so that the tests do not depend on our writer."""

from __future__ import annotations

import struct
from pathlib import Path
from types import SimpleNamespace

import pytest


def quantity(value: int) -> bytes:
    out = bytes([value & 0x7F])
    while value := value >> 7:
        out = bytes([value & 0x7F | 0x80]) + out
    return out


def track(*events: tuple[int, bytes], end: int = 0, padding: int = 300) -> bytes:
    """A track of (delta ticks, event bytes); padded so that it is not read as a small one."""
    body = b"\x00\xff\x7f" + quantity(padding) + bytes(padding) if padding else b""
    body += b"".join(quantity(delta) + event for delta, event in events)
    body += quantity(end) + b"\xff\x2f\x00"
    return b"MTrk" + struct.pack(">I", len(body)) + body


def smf(*tracks: bytes, form: int = 1, division: int = 480) -> bytes:
    header = struct.pack(">IHHH", 6, form, len(tracks), division)
    return b"MThd" + header + b"".join(tracks)


def meta(kind: int, content: bytes) -> bytes:
    return bytes([0xFF, kind]) + quantity(len(content)) + content


def tempo(microseconds: int) -> bytes:
    return meta(0x51, microseconds.to_bytes(3, "big"))


@pytest.fixture(scope="session")
def lay() -> SimpleNamespace:
    return SimpleNamespace(track=track, smf=smf, meta=meta, tempo=tempo, quantity=quantity)


@pytest.fixture(scope="session")
def samples() -> list[Path]:
    return sorted((Path(__file__).parents[1] / "samples").glob("*.mid"))
