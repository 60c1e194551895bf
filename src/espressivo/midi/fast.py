"""The ordinary track, read by symusic at a few hundred times the speed of Python.

symusic drops keys that are never released and pedals of channels without notes, does not say
which channel a part had, and refuses time bases in SMPTE frames. So it is handed one track at a
time, in a small file of its own: marks before and after the music make it list every channel,
report where the track ends, and show what still sounded there. Where a track could be misread
even so, `read_track` gives None and `events` reads it instead.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Sequence

import numpy as np
from symusic.core import ScoreTick, TrackTick

from espressivo.midi import events
from espressivo.midi.ticks import IS_PEDAL, Ints, Moves, TickTrack, Voice

_SMALL, _LARGE = 256, 1 << 20
_SIGNATURE = re.compile(rb"\xff(?:\x59\x02[^\xff]|\x51\x03[^\xff]{1,3})\Z", re.DOTALL)
_END = b"\xff\x2f\x00"
_SENTINEL = "espressivo:end"
_FRAME_HEADER = b"MThd" + struct.pack(">IHHH", 6, 0, 1, 480) + b"MTrk"
_SPACER = b"\x01\xff\x01\x00"
_AFTER = b"\xff\x06" + bytes([len(_SENTINEL)]) + _SENTINEL.encode() + b"\x01\xff\x01\x00"
_PADDING = bytes(16)


def _mark(channel: int) -> bytes:
    return bytes([0, 0x90 | channel, 0, 1, 0, 0x80 | channel, 0, 0])


def _releases(channel: int) -> bytes:
    return bytes([0, 0x80 | channel, 0, 0]) + b"".join(bytes([0, p, 0]) for p in range(1, 128))


_OPENING = [_mark(channel) for channel in range(16)]
_CLOSING = [_releases(channel) + _mark(channel) for channel in range(16)]


def read_track(track: bytes, most: int) -> TickTrack | None:
    """Read a track, or give None where only the slow reader can vouch for the result.

    `most` bounds notes and pedal moves as in `events.read_track`, whose errors this raises too.
    """
    if len(track) < _SMALL:
        return events.read_track(track, most)
    channels = _possible_channels(track)
    if channels is None:
        return None
    try:
        name, port = events.heading(track)
        score = ScoreTick.from_midi(_framed(track, channels))
    except (events.DamageError, RuntimeError, ValueError, OSError, MemoryError):
        return None
    ends = [mark.time for mark in score.markers if mark.text == _SENTINEL]
    tempi = score.tempos.numpy()
    if len(ends) != 1 or (len(tempi["time"]) and not _trustworthy(track, tempi)):
        return None
    marks = zip((tempi["time"] - 1).tolist(), tempi["mspq"].tolist(), strict=True)
    music = _music(score, channels, ends[0])
    return music and TickTrack(name, port, ends[0] - 1, list(marks), *music)


def _music(
    score: ScoreTick, channels: list[int], end: int
) -> tuple[list[Voice], dict[int, int], dict[int, Moves]] | None:
    """Take the marks off again; everything is one tick late because of the first of them.

    The parts come in order of channel and program; the first part of each channel opens with
    the mark at tick 0.
    """
    voices: list[Voice] = []
    programs: dict[int, int] = {}
    pedals: dict[int, Moves] = {}
    upcoming = iter(channels)
    channel = -1
    for part in score.tracks:
        if _is_empty(part, end):
            programs[channel := next(upcoming, -1)] = part.program
            continue
        if not len(part.notes):
            continue
        notes = part.notes.numpy()
        onset = notes["time"].astype(np.int64)
        begin, stop = int(onset[0] == 0), len(onset) - int(onset[-1] > end)
        if begin:
            channel = next(upcoming, -1)
        if stop < len(onset):
            programs[channel] = part.program
        if stop > begin:
            kept = slice(begin, stop)
            onset = onset[kept] - 1
            offset = onset + notes["duration"][kept]
            if (onset[1:] < onset[:-1]).any() or channel < 0:  # the ticks have overflowed
                return None
            if offset.max() >= end:  # released by the marks alone
                return None
            offset = np.maximum(offset, onset + 1)
            columns = notes["pitch"][kept], notes["velocity"][kept]
            voices.append(Voice(channel, part.program, onset, offset, *columns))
        controls = part.controls.numpy()
        pedal = np.flatnonzero(IS_PEDAL[controls["number"]])
        if len(pedal):
            if channel in pedals:
                return None
            time = controls["time"][pedal].astype(np.int64) - 1
            pedals[channel] = Moves(time, controls["number"][pedal], controls["value"][pedal])
    return voices, programs, pedals


def _is_empty(part: TrackTick, end: int) -> bool:
    """Say whether a channel holds its two marks and nothing else."""
    if len(part.notes) != 2 or len(part.controls):
        return False
    return part.notes[0].time == 0 and part.notes[1].time > end


def _framed(track: bytes, channels: Sequence[int]) -> bytes:
    """Set one track between its marks, in a file of its own."""
    body = b"".join(
        [
            *(_OPENING[channel] for channel in channels),
            _SPACER,
            track[: -len(_END)],
            _AFTER,
            *(_CLOSING[channel] for channel in channels),
            b"\x00" + _END,
        ]
    )
    return b"".join([_FRAME_HEADER, len(body).to_bytes(4, "big"), body, _PADDING])


def _possible_channels(track: bytes) -> list[int] | None:
    """List channels that may occur, more rather than fewer; None if symusic could go wrong.

    A status byte follows the last byte of a time, which is below 128; so do a few other bytes.
    """
    if len(track) > _LARGE or not track.endswith(_END):
        return None
    raw = np.frombuffer(track, np.uint8)
    high = raw >= 128
    if (high[2:] & high[1:-1] & high[:-2]).any():  # times of four bytes, which could overflow
        return None
    suspect = (raw >= 0xF0) & (raw != 0xFF)
    suspect[1:] &= ~high[:-1]
    if suspect.any() and not _plain_sysex(track, np.flatnonzero(suspect).tolist()):
        return None
    channels = [c for c in range(16) if 0x90 | c in track or 0xB0 | c in track]
    if any(track.count(0xC0 | c) > 1 for c in channels):  # pedals between two programs are lost
        return None
    return channels


def _plain_sysex(track: bytes, suspects: list[int]) -> bool:
    """Say whether these bytes from 0xF0 on are harmless.

    They are inside a tempo or a key signature, or begin and end a system exclusive that is
    whole and has a full status byte after it.
    """
    real = [at for at in suspects if not _SIGNATURE.search(track, max(at - 5, 0), at + 1)]
    closings = {at for at in real if track[at] == 0xF7}
    openings = [at for at in real if track[at] == 0xF0]
    try:
        for opening in openings:
            length, at = events.quantity(track, opening + 1)
            closings.discard(at + length - 1)
            if _status_after(track, at + length) < 0x80:
                return False
    except (IndexError, events.DamageError):
        return False
    return not closings and all(track[at] in (0xF0, 0xF7) for at in real)


def _status_after(track: bytes, at: int) -> int:
    """Give the status byte, or the data byte instead of one, of the next event not meta."""
    while True:
        _, at = events.quantity(track, at)
        if track[at] != events.META or track[at + 1] == events.END:
            return track[at]
        length, at = events.quantity(track, at + 2)
        at += length


def _trustworthy(track: bytes, tempi: dict[str, Ints]) -> bool:
    """Say whether tempo marks are whole, possible, and in an order no sorting has changed."""
    whole = track.count(b"\xff\x51") == track.count(b"\xff\x51\x03")
    return bool(whole and (tempi["mspq"] > 0).all() and (np.diff(tempi["time"]) > 0).all())
