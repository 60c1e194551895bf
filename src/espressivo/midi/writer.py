"""Performances to files.

The bytes are laid out here, vectorised, because the MIDI library can neither write text events
nor address more than 16 channels, and the order of simultaneous events is ours to say.
"""

from __future__ import annotations

import os
import secrets
import struct
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from espressivo.errors import MidiError
from espressivo.midi.chunks import name_of
from espressivo.midi.ticks import DEFAULT_TEMPO, DRUMS, Clock
from espressivo.performance import Array, Performance, Track

TICK = 500
"""Microseconds a tick lasts at most, so that the grids of 8 ms and 10 ms fall on ticks."""

_MOST_RESOLUTION, _SLOWEST, _LONGEST_TIME = 32_767, 0xFFFFFF, (1 << 28) - 1
_MELODIC = [channel for channel in range(16) if channel != DRUMS]
_END = b"\x00\xff\x2f\x00"


def write_midi(
    performance: Performance, path: str | os.PathLike[str], *, text: str | None = None
) -> None:
    """Write a performance as a file of type 1; `text` becomes a text event at its start.

    The file appears whole or not at all; an existing one is replaced. Times are kept within
    0.3 ms, without accumulating. Every note keeps onset, pitch and velocity. Where a note lies
    inside another of the same pitch on one track, which no keyboard can play, MIDI cannot say
    which of the two ends first, and they exchange their ends. `beats` are not written, nor
    tracks on which nothing happens. Raises MidiError if the folder is missing, cannot be
    written or is full.
    """
    content = midi_bytes(performance, text=text)
    target = Path(path)
    try:
        if target.exists() and not target.is_file() and not target.is_dir():
            target.write_bytes(content)  # a device or a pipe
        else:
            _replace(target, content)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise MidiError(
            f"{name_of(target)}: cannot be written: {reason.lower()}; "
            "choose a folder that exists and has room"
        ) from error


def midi_bytes(performance: Performance, *, text: str | None = None) -> bytes:
    """Lay out the file that `write_midi` writes; raises MidiError for what MIDI cannot hold."""
    clock, resolution = _tempo_map(performance.tempi)
    conductor = b"" if text is None else _meta(0x01, text.encode("utf-8", "replace"))
    tracks = [_chunk(conductor + _tempo_events(clock))]
    notes, controls = performance.notes, performance.controls
    for index, (port, channel) in enumerate(_wires(performance.tracks)):
        mine = notes[notes["track"] == index], controls[controls["track"] == index]
        if len(mine[0]) or len(mine[1]):
            head = _heading(performance.tracks[index], port, channel)
            tracks.append(_chunk(head + _played(*mine, clock, channel)))
    return b"".join([b"MThd", struct.pack(">IHHH", 6, 1, len(tracks), resolution), *tracks])


def _replace(target: Path, content: bytes) -> None:
    """Write beside the target and rename, so that no reader ever meets half a file."""
    beside = target.with_name(f".{secrets.token_hex(8)}.tmp")
    try:
        with beside.open("xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        beside.replace(target)
    except BaseException:
        beside.unlink(missing_ok=True)
        raise


def _tempo_map(tempi: Array) -> tuple[Clock, int]:
    """Place the tempo marks on ticks; each mark is rounded against those before it."""
    marks = [(0.0, DEFAULT_TEMPO)]
    for time, bpm in tempi.tolist():
        if not 6e7 / _SLOWEST <= bpm <= 6e7:
            raise MidiError(f"a tempo of {bpm:g} beats per minute; MIDI holds 3.58 to 60000000")
        mark = (time, round(6e7 / bpm))
        marks = [mark] if time == 0.0 else [*marks, mark]
    slowest = max(tempo for _, tempo in marks)
    resolution = min(-(-slowest // TICK), _MOST_RESOLUTION)
    placed: dict[int, int] = {}
    for time, tempo in marks:
        clock = Clock(placed.items(), resolution)
        placed[int(clock.nearest(np.array([time]))[0])] = tempo
    return Clock(placed.items(), resolution), resolution


def _wires(tracks: tuple[Track, ...]) -> list[tuple[int, int]]:
    """Give every track a port and a channel of its own."""
    drums = melodic = 0
    wires = []
    for track in tracks:
        if track.is_drum:
            wires.append((drums, DRUMS))
            drums += 1
        else:
            wires.append((melodic // len(_MELODIC), _MELODIC[melodic % len(_MELODIC)]))
            melodic += 1
    return wires


def _heading(track: Track, port: int, channel: int) -> bytes:
    name = _meta(0x03, track.name.encode("utf-8", "replace")) if track.name else b""
    address = _meta(0x21, bytes([min(port, 127)])) if port else b""
    return name + address + bytes([0, 0xC0 | channel, track.program])


def _tempo_events(clock: Clock) -> bytes:
    times = np.diff(clock.ticks, prepend=0).tolist()
    marks = [_meta(0x51, tempo.to_bytes(3, "big"))[1:] for tempo in clock.tempo.tolist()]
    return b"".join(_quantity(time) + mark for time, mark in zip(times, marks, strict=True))


def _played(notes: Array, controls: Array, clock: Clock, channel: int) -> bytes:
    """Lay out notes and pedal moves; at one tick pedals come first, then releases, then onsets."""
    onset = clock.nearest(notes["onset"])
    offset = np.maximum(clock.nearest(notes["offset"]), onset + 1)
    time = np.concatenate([clock.nearest(controls["time"]), offset, onset])
    rank = np.repeat([0, 1, 2], [len(controls), len(notes), len(notes)])
    status = np.where(rank == 0, 0xB0 | channel, 0x90 | channel)
    first = np.concatenate([controls["number"], notes["pitch"], notes["pitch"]])
    second = np.concatenate([controls["value"], np.zeros(len(notes), "u1"), notes["velocity"]])
    order = np.lexsort([rank, time])
    delta = np.diff(time[order], prepend=0)
    if delta.max() > _LONGEST_TIME:
        raise MidiError(f"a silence of {delta.max()} ticks; MIDI holds {_LONGEST_TIME}")
    return _packed(delta, status[order], first[order], second[order])


def _packed(
    delta: NDArray[np.int64], status: NDArray[np.int64], first: Array, second: Array
) -> bytes:
    """Lay out events of two data bytes; a status equal to the one before is left out."""
    table = np.empty((len(delta), 7), np.uint8)
    kept = np.ones((len(delta), 7), bool)
    for column, shift in enumerate((21, 14, 7, 0)):
        table[:, column] = delta >> shift & 0x7F | (0x80 if shift else 0)
        kept[:, column] = delta >> shift > 0
    kept[:, 3] = True
    table[:, 4], table[:, 5], table[:, 6] = status, first, second
    kept[1:, 4] = status[1:] != status[:-1]
    return table[kept].tobytes()


def _chunk(body: bytes) -> bytes:
    return b"".join([b"MTrk", (len(body) + len(_END)).to_bytes(4, "big"), body, _END])


def _meta(kind: int, content: bytes) -> bytes:
    return bytes([0, 0xFF, kind]) + _quantity(len(content)) + content


def _quantity(value: int) -> bytes:
    """Write a variable-length quantity: seven bits a byte, all but the last marked."""
    if value > _LONGEST_TIME:
        raise MidiError(f"a length of {value}; MIDI holds {_LONGEST_TIME}")
    groups = [value & 0x7F]
    while value := value >> 7:
        groups.append(value & 0x7F | 0x80)
    return bytes(reversed(groups))
