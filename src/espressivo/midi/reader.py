"""Files to performances: tracks in ticks become players in seconds."""

from __future__ import annotations

import warnings
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import chain
from operator import itemgetter
from typing import NamedTuple

import numpy as np

from espressivo.errors import MidiError
from espressivo.midi import events, fast
from espressivo.midi.chunks import (
    Chunk,
    Header,
    Limits,
    Source,
    chunks,
    header,
    load,
    name_of,
    surviving_chunks,
)
from espressivo.midi.ticks import DRUMS, Clock, Moves, TickTrack, Voice
from espressivo.performance import CONTROL, NOTE, TEMPO, Array, Performance, Track

_MOST_TRACKS = 256


class Salvage(NamedTuple):
    """What could be read of a damaged file, and what could not.

    `lost_bytes` and `lost_events` were passed over, `cut_notes` have lost their end and sound
    until their track breaks off. `reason` says why the file cannot be read whole; it is empty,
    and the counts are zero, if it can.
    """

    performance: Performance
    lost_bytes: int
    lost_events: int
    cut_notes: int
    reason: str


class _Player(NamedTuple):
    """One voice of one track with the pedals that act on it; `track` counts those of the file."""

    track: int
    channel: int
    program: int
    voice: Voice | None
    moves: Moves | None


def read_midi(source: Source, *, salvage: bool = False, limits: Limits = Limits()) -> Performance:
    """Read what was played: notes, pedals with every value, programs, drums, tempo marks.

    Each channel and program of each track of the file becomes a track of the performance. A
    track without pedal moves of its own takes those of its channel. Independent sequences
    (type 2) follow one another. `beats` stays empty: the bars of most files are the default
    of the program that recorded them. Raises MidiError naming the file and what is wrong;
    with `salvage` a damaged file gives what is left of it and a warning says what was lost.
    """
    if not salvage:
        with _naming(source):
            return _read(load(source, limits), limits)
    rescued = salvage_midi(source, limits=limits)
    if rescued.reason:
        warnings.warn(
            f"{name_of(source)}: {rescued.reason}; lost {rescued.lost_bytes} bytes and "
            f"{rescued.lost_events} events, {rescued.cut_notes} notes cut",
            stacklevel=2,
        )
    return rescued.performance


def salvage_midi(source: Source, *, limits: Limits = Limits()) -> Salvage:
    """Read what is left of a damaged file and count what was lost.

    Needs a sound header, because without it ticks have no length; raises MidiError otherwise.
    """
    with _naming(source):
        return _salvage(load(source, limits), limits)


def read_texts(source: Source, *, limits: Limits = Limits()) -> list[str]:
    """Give the text events of a file in order, such as the one `write_midi` put there."""
    with _naming(source):
        raw = load(source, limits)
        head, at = header(raw)
        found = []
        for chunk in chunks(raw, at, head.tracks):
            with _located(chunk):
                found += [
                    events.decoded(rest)
                    for _, status, kind, rest in events.walk(chunk.body)
                    if status == events.META and kind == events.TEXT
                ]
        return found


@contextmanager
def _naming(source: Source) -> Iterator[None]:
    """Begin every message with the file it is about."""
    try:
        yield
    except MidiError as error:
        raise MidiError(f"{name_of(source)}: {error}") from error.__cause__


@contextmanager
def _located(chunk: Chunk) -> Iterator[None]:
    """Turn damage inside a track into the byte of the file where it is."""
    try:
        yield
    except events.DamageError as damage:
        raise MidiError(f"byte {chunk.start + damage.at}: {damage.reason}") from damage


def _read(raw: bytes, limits: Limits) -> Performance:
    head, at = header(raw)
    tracks = []
    for chunk in chunks(raw, at, head.tracks):
        with _located(chunk):
            quick = fast.read_track(chunk.body, limits.notes)
            tracks.append(quick or events.read_track(chunk.body, limits.notes))
    return _performance(head, tracks, limits)


def _salvage(raw: bytes, limits: Limits) -> Salvage:
    try:
        return Salvage(_read(raw, limits), 0, 0, 0, "")
    except MidiError as error:
        reason = str(error)
    losses = events.Losses(bytes=max(raw.find(b"MThd"), 0))
    raw = raw[losses.bytes :]
    head, at = header(raw)
    survivors = surviving_chunks(raw, at)
    tracks = [events.read_track(chunk.body, limits.notes, losses) for chunk in survivors]
    if not tracks:
        raise MidiError(f"nothing to salvage: {reason}")
    played = _performance(head, tracks, limits)
    return Salvage(played, losses.bytes, losses.events, losses.notes, reason)


def _performance(head: Header, tracks: list[TickTrack], limits: Limits) -> Performance:
    players = _players(head, tracks)
    _check_counts(players, limits)
    clocks = _clocks(head, tracks)
    notes = np.empty(sum(len(p.voice.onset) for p in players if p.voice), NOTE)
    controls = np.empty(sum(len(p.moves.time) for p in players if p.moves), CONTROL)
    note = control = 0
    for index, player in enumerate(players):
        clock, begin = clocks[player.track]
        if player.voice:
            rows = notes[note : note + len(player.voice.onset)]
            rows["onset"] = clock.seconds(player.voice.onset) + begin
            rows["offset"] = clock.seconds(player.voice.offset) + begin
            rows["pitch"], rows["velocity"] = player.voice.pitch, player.voice.velocity
            rows["track"] = index
            note += len(rows)
        if player.moves:
            rows = controls[control : control + len(player.moves.time)]
            rows["time"] = clock.seconds(player.moves.time) + begin
            rows["number"], rows["value"] = player.moves.number, player.moves.value
            rows["track"] = index
            control += len(rows)
    tempi = _tempi(head, clocks)
    _check_times(limits, notes["offset"], controls["time"], tempi["time"])
    who = [Track(p.program, p.channel == DRUMS, tracks[p.track].name) for p in players]
    try:
        return Performance(notes, controls, tempi=tempi, tracks=who)
    except ValueError as error:
        raise MidiError(f"what it plays is impossible: {error}") from error


def _players(head: Header, tracks: list[TickTrack]) -> list[_Player]:
    """List who plays, in the order of the file, each with the pedals that act on it."""
    shared: dict[tuple[int, int, int], list[tuple[int, Moves]]] = defaultdict(list)

    def wire(index: int, channel: int) -> tuple[int, int, int]:
        return index if head.format == 2 else 0, tracks[index].port, channel

    for index, track in enumerate(tracks):
        for channel, own in track.pedals.items():
            shared[wire(index, channel)].append((index, own))
    claimed = set()
    for index, track in enumerate(tracks):
        for channel in {voice.channel for voice in track.voices}:
            sources = [(index, None)] if channel in track.pedals else shared[wire(index, channel)]
            claimed |= {(source, channel) for source, _ in sources}
    players = []
    for index, track in enumerate(tracks):
        for voice in track.voices:
            others = [moves for _, moves in shared[wire(index, voice.channel)]]
            moves = track.pedals.get(voice.channel) or _together(others)
            players.append(_Player(index, voice.channel, voice.program, voice, moves))
        for channel, unheard in track.pedals.items():
            if (index, channel) not in claimed:
                players.append(_Player(index, channel, track.programs[channel], None, unheard))
    return players


def _together(moves: list[Moves]) -> Moves | None:
    """Merge pedal moves of several tracks by time."""
    if len(moves) < 2:
        return moves[0] if moves else None
    columns = [np.concatenate(column) for column in zip(*moves, strict=True)]
    order = np.argsort(columns[0], kind="stable")
    return Moves(*(column[order] for column in columns))


def _clocks(head: Header, tracks: list[TickTrack]) -> list[tuple[Clock, float]]:
    """Give each track its clock, and the second at which its tick 0 lies."""
    if head.format != 2:
        marks = sorted(chain.from_iterable(track.tempi for track in tracks), key=itemgetter(0))
        return [(Clock(marks, head.resolution, head.frames), 0.0)] * max(len(tracks), 1)
    clocks, begin = [], 0.0
    for track in tracks:
        clock = Clock(track.tempi, head.resolution, head.frames)
        clocks.append((clock, begin))
        begin += float(clock.seconds(np.array([track.end]))[0])
    return clocks


def _tempi(head: Header, clocks: list[tuple[Clock, float]]) -> Array:
    """Give the tempo marks, the one that holds from the start included even if implied."""
    distinct = clocks if head.format == 2 else clocks[:1]
    rows = [np.empty(0, TEMPO)]
    for clock, begin in distinct if head.frames is None else []:
        marks = np.empty(len(clock.ticks), TEMPO)
        marks["time"] = clock.seconds(clock.ticks) + begin
        marks["bpm"] = 6e7 / clock.tempo
        rows.append(marks)
    return np.concatenate(rows)


def _check_counts(players: list[_Player], limits: Limits) -> None:
    counts = {
        "notes": (sum(len(p.voice.onset) for p in players if p.voice), limits.notes),
        "pedal moves": (sum(len(p.moves.time) for p in players if p.moves), limits.notes),
        "tracks": (len(players), min(limits.tracks, _MOST_TRACKS)),
    }
    for what, (count, most) in counts.items():
        if count > most:
            raise MidiError(f"{count} {what}, the limit is {most}")


def _check_times(limits: Limits, *times: Array) -> None:
    last = max((float(time.max()) for time in times if len(time)), default=0.0)
    if not last <= limits.seconds:
        raise MidiError(f"lasts {last:.6g} seconds, the limit is {limits.seconds:.6g}")
