"""The events of a track, byte by byte: exact for every valid file, patient with broken ones.

`fast` reads the ordinary track many times quicker and refuses where it cannot vouch for being
exact; this reader then decides what a track holds, or names the byte that is wrong.
"""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from espressivo.errors import MidiError
from espressivo.midi.ticks import PEDALS, Moves, TickTrack, Voice

Event = tuple[int, int, int, bytes]
"""Tick, status, first data byte or kind of meta event, and the rest."""

META, NOTE_OFF, NOTE_ON, CONTROL, PROGRAM = 0xFF, 0x80, 0x90, 0xB0, 0xC0
TEXT, NAME, PORT, END, TEMPO = 0x01, 0x03, 0x21, 0x2F, 0x51

_SYSTEM_LENGTHS = {0xF1: 1, 0xF2: 2, 0xF3: 1, 0xF6: 0, 0xF8: 0, 0xFA: 0, 0xFB: 0, 0xFC: 0, 0xFE: 0}
_CHECKED = (NOTE_OFF, NOTE_ON, CONTROL, PROGRAM)


class DamageError(Exception):
    """A byte that cannot be what the format says it is; `at` counts from the track's start."""

    def __init__(self, at: int, reason: str) -> None:
        """Remember where and why."""
        super().__init__(reason)
        self.at, self.reason = at, reason


@dataclass
class Losses:
    """What salvaging a file had to leave out."""

    bytes: int = 0
    events: int = 0
    notes: int = 0


def walk(track: bytes, losses: Losses | None = None) -> Iterator[Event]:
    """Give the events of a track up to its end mark or its last byte.

    Raises DamageError; with `losses` an event with an impossible value is passed over and
    counted, and what follows an unreadable one is given up and counted.
    """
    at = tick = running = 0
    while at < len(track):
        start = at
        try:
            delta, at = quantity(track, at)
            event, at, running = _event(track, at, tick + delta, running)
        except IndexError:
            cut = DamageError(len(track), f"the track ends inside an event begun at {start}")
            return _give_up(cut, len(track) - start, losses)
        except DamageError as damage:
            return _give_up(damage, len(track) - start, losses)
        tick += delta
        if problem := _problem(event):
            if losses is None:
                raise DamageError(start, problem)
            losses.events += 1
            continue
        yield event
        if event[1] == META and event[2] == END:
            return None


def _give_up(damage: DamageError, left: int, losses: Losses | None) -> None:
    if losses is None:
        raise damage
    losses.bytes += left


def heading(track: bytes) -> tuple[str, int]:
    """Give name and port of a track, as stated before anything sounds."""
    name, port = "", 0
    for tick, status, kind, rest in walk(track):
        if tick > 0 or status & 0xF0 in (NOTE_OFF, NOTE_ON):
            break
        if status == META and kind == NAME and not name:
            name = decoded(rest)
        elif status == META and kind == PORT and len(rest) == 1:
            port = rest[0]
    return name, port


def decoded(text: bytes) -> str:
    """Read text as UTF-8 or, where it is not, as Latin-1, which older programs wrote."""
    try:
        return text.decode("utf-8")
    except UnicodeDecodeError:
        return text.decode("latin-1")


def read_track(track: bytes, most: int, losses: Losses | None = None) -> TickTrack:
    """Read everything a performance needs; `most` bounds the notes and the pedal moves.

    Notes of one pitch end in the order they began. A key never released sounds until the track
    ends; a note without length lasts one tick. Raises DamageError, and MidiError beyond `most`.
    """
    voices: dict[tuple[int, int], list[list[int]]] = defaultdict(list)
    sounding: dict[tuple[int, int], deque[list[int]]] = defaultdict(deque)
    moves: dict[int, list[tuple[int, int, int]]] = defaultdict(list)
    tempi: list[tuple[int, int]] = []
    programs = [0] * 16
    end = left = 0
    for tick, status, first, rest in walk(track, losses):
        end = tick
        kind, channel = status & 0xF0, status & 0x0F
        if kind == NOTE_ON and rest[0]:
            note = [tick, -1, first, rest[0]]
            voices[channel, programs[channel]].append(note)
            sounding[channel, first].append(note)
            left += 1
        elif kind in (NOTE_ON, NOTE_OFF):
            if waiting := sounding.get((channel, first)):
                note = waiting.popleft()
                note[1] = max(tick, note[0] + 1)
        elif kind == CONTROL and first in PEDALS:
            moves[channel].append((tick, first, rest[0]))
            left += 1
        elif kind == PROGRAM:
            programs[channel] = first
        elif status == META and first == TEMPO:
            tempi.append((tick, int.from_bytes(rest, "big")))
        if left > 2 * most:
            raise MidiError(f"more than {most} notes or pedal moves, the limit")
    unreleased = [note for waiting in sounding.values() for note in waiting]
    for note in unreleased:
        note[1] = max(end, note[0] + 1)
    if losses is not None:
        losses.notes += len(unreleased)
    return TickTrack(
        *_safe_heading(track, losses),
        end,
        tempi,
        [_voice(key, voices[key]) for key in sorted(voices)],
        dict(enumerate(programs)),
        {channel: _moves(moves[channel]) for channel in sorted(moves)},
    )


def quantity(track: bytes, at: int) -> tuple[int, int]:
    """Read a variable-length quantity: seven bits a byte, at most four bytes."""
    byte = track[at]
    if byte < 0x80:
        return byte, at + 1
    value = byte & 0x7F
    for length in (2, 3, 4):
        byte = track[at + length - 1]
        value = value << 7 | byte & 0x7F
        if byte < 0x80:
            return value, at + length
    raise DamageError(at, "a number of more than four bytes")


def _safe_heading(track: bytes, losses: Losses | None) -> tuple[str, int]:
    try:
        return heading(track)
    except DamageError:
        if losses is None:
            raise
        return "", 0


def _voice(key: tuple[int, int], notes: list[list[int]]) -> Voice:
    onset, offset, pitch, velocity = np.array(notes, np.int64).T
    return Voice(*key, onset, offset, pitch, velocity)


def _moves(moves: list[tuple[int, int, int]]) -> Moves:
    return Moves(*np.array(moves, np.int64).T)


def _event(track: bytes, at: int, tick: int, running: int) -> tuple[Event, int, int]:
    """Read one event after its time: the event, where the next begins, the running status."""
    status = track[at]
    if status < 0x80:
        if not running:
            raise DamageError(at, f"data byte 0x{status:02X} where a status byte must stand")
        status = running
    else:
        at += 1
    if status < 0xF0:
        length = 1 if 0xC0 <= status < 0xE0 else 2
        rest = track[at + 1 : at + length]
        if len(rest) < length - 1:
            raise IndexError
        return (tick, status, track[at], rest), at + length, status
    kind = 0
    if status == META:
        kind, at = track[at], at + 1
    if status in (META, 0xF0, 0xF7):
        length, at = quantity(track, at)
    elif status in _SYSTEM_LENGTHS:
        length = _SYSTEM_LENGTHS[status]
    else:
        raise DamageError(at - 1, f"status byte 0x{status:02X} does not exist")
    if at + length > len(track):
        raise DamageError(at, f"an event of {length} bytes in a track with {len(track) - at} left")
    return (tick, status, kind, track[at : at + length]), at + length, running


def _problem(event: Event) -> str:
    """Say what is wrong with the values of an event that matters here, if anything is."""
    _, status, first, rest = event
    if status < 0xF0:
        if status & 0xF0 in _CHECKED and (first > 127 or (rest and rest[0] > 127)):
            value = first if first > 127 else rest[0]
            return f"a value of {value} in an event of status 0x{status:02X}; 0 to 127 is possible"
    elif status == META and first == TEMPO:
        if len(rest) != 3:
            return f"a tempo of {len(rest)} bytes; 3 would be right"
        if not any(rest):
            return "a tempo of 0 microseconds per quarter note"
    return ""
