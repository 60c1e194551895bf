"""A small reader of SoundFont 3: preset, instrument, zones, each sample its own Ogg stream."""

from __future__ import annotations

import mmap
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from espressivo.audio import files
from espressivo.errors import AudioError

Array = NDArray[Any]

PAN, KEY_RANGE, VELOCITY_RANGE, SAMPLE, SCALE_TUNING, INSTRUMENT = 17, 43, 44, 53, 56, 41
"""Generator numbers of the SoundFont 2.01 specification, section 8.1.2."""

_NAME = ("name", "S20")
_PRESET = np.dtype([_NAME, ("program", "<u2"), ("bank", "<u2"), ("bag", "<u2"), ("", "V12")])
_INSTRUMENT = np.dtype([_NAME, ("bag", "<u2")])
_BAG = np.dtype([("generator", "<u2"), ("modulator", "<u2")])
_GENERATOR = np.dtype([("number", "<u2"), ("amount", "<u2")])
_SAMPLE = np.dtype(
    [
        _NAME,
        ("start", "<u4"),
        ("end", "<u4"),
        ("loop", "<u4", 2),
        ("rate", "<u4"),
        ("root", "u1"),
        ("cents", "i1"),
        ("link", "<u2"),
        ("type", "<u2"),
    ]
)
_TABLES = {
    b"phdr": _PRESET,
    b"pbag": _BAG,
    b"pgen": _GENERATOR,
    b"inst": _INSTRUMENT,
    b"ibag": _BAG,
    b"igen": _GENERATOR,
    b"shdr": _SAMPLE,
}


class Zone(NamedTuple):
    """One recording and the keys and velocities it serves; ranges include both ends."""

    keys: tuple[int, int]
    velocities: tuple[int, int]
    channels: tuple[int, ...]
    """Rows of the sample table: one for mono, left and right for stereo."""
    rate: int
    root: int
    cents: int
    follows_key: bool


class SoundFont:
    """An opened .sf3 file; samples are decoded when asked for, never before."""

    def __init__(self, path: Path) -> None:
        """Read the tables; raises AudioError if `path` is missing or not a SoundFont 3."""
        try:
            with path.open("rb") as file:
                self._bytes = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        except (OSError, ValueError) as error:
            raise AudioError(f"cannot read the SoundFont {path}: {error}") from error
        where = dict(_chunks(self._bytes))
        missing = [name.decode() for name in (b"smpl", *_TABLES) if name not in where]
        if self._bytes[:4] != b"RIFF" or self._bytes[8:12] != b"sfbk" or missing:
            lacking = f" lacks {', '.join(missing)}" if missing else " does not begin as one"
            raise AudioError(f"{path} is not a SoundFont:{lacking}")
        self._samples_at = where[b"smpl"][0]
        self._tables = {
            name: np.frombuffer(self._bytes, kind, where[name][1] // kind.itemsize, where[name][0])
            for name, kind in _TABLES.items()
        }

    def zones(self, bank: int, program: int) -> list[Zone]:
        """List what one preset plays, left and right joined; raises AudioError if it is absent."""
        presets = self._tables[b"phdr"]
        for index in range(len(presets) - 1):
            if (presets[index]["bank"], presets[index]["program"]) == (bank, program):
                generators = self._generators(b"p", index)
                instruments = [g[INSTRUMENT] for g in generators if INSTRUMENT in g]
                return [zone for i in instruments for zone in self._instrument_zones(i)]
        raise AudioError(f"the SoundFont has no preset {bank}:{program}")

    def decode(self, zone: Zone, frames: int = -1) -> Array:
        """Give the first `frames` (-1: all) of a zone as float32 [channels, frames], at most 1.0.

        Raises AudioError if the stream is damaged.
        """
        samples = self._tables[b"shdr"]
        streams = []
        for row in zone.channels:
            start, end = (self._samples_at + int(samples[row][side]) for side in ("start", "end"))
            streams.append(files.decode(self._bytes[start:end], frames))
        return np.stack([stream[: min(map(len, streams))] for stream in streams])

    def _instrument_zones(self, instrument: int) -> list[Zone]:
        samples = self._tables[b"shdr"]
        sides: dict[tuple[Any, ...], dict[int, int]] = {}
        for generator in self._generators(b"i", instrument):
            if SAMPLE not in generator:
                continue
            row = generator[SAMPLE]
            about = (
                _range(generator.get(KEY_RANGE, 0x7F00)),
                _range(generator.get(VELOCITY_RANGE, 0x7F00)),
                int(samples[row]["rate"]),
                int(samples[row]["root"]),
                int(samples[row]["cents"]),
                generator.get(SCALE_TUNING, 100) != 0,
            )
            pan = (generator.get(PAN, 0) + 0x8000) % 0x10000 - 0x8000
            sides.setdefault(about, {})[pan] = row
        return [
            Zone(about[0], about[1], tuple(rows[pan] for pan in sorted(rows)), *about[2:])
            for about, rows in sides.items()
        ]

    def _generators(self, kind: bytes, index: int) -> Iterator[dict[int, int]]:
        """Give the generators of each zone of one preset (b"p") or instrument (b"i")."""
        header = self._tables[b"phdr" if kind == b"p" else b"inst"]["bag"]
        bag = self._tables[kind + b"bag"]["generator"]
        generators = self._tables[kind + b"gen"]
        for zone in range(int(header[index]), int(header[index + 1])):
            rows = generators[int(bag[zone]) : int(bag[zone + 1])]
            yield {int(number): int(amount) for number, amount in rows}


def _range(amount: int) -> tuple[int, int]:
    return amount & 0xFF, amount >> 8


def _chunks(content: mmap.mmap) -> Iterator[tuple[bytes, tuple[int, int]]]:
    """Give (name, (where, how many bytes)) of every chunk inside the RIFF lists."""
    position = 12
    while position + 8 <= len(content):
        name = content[position : position + 4]
        size = int.from_bytes(content[position + 4 : position + 8], "little")
        if name == b"LIST":
            position += 12
            continue
        yield name, (position + 8, min(size, len(content) - position - 8))
        position += 8 + size + size % 2
