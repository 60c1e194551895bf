"""The slow twins: sustain and encoding told one note and one event at a time.

This is the definition. `Performance.sustained` and `MidiLike.encode` are tested against it.
"""

from __future__ import annotations

import math
from typing import NamedTuple

from espressivo.codecs.midi_like import PLAIN_VELOCITY, MidiLike
from espressivo.performance import PEDAL_DOWN, SUSTAIN, Performance

PEDAL_PRESS, PEDAL_LIFT, NOTE_ON, NOTE_OFF = range(4)
"""The order of events at equal times (note-seq, `apply_sustain_control_changes`)."""


class Step(NamedTuple):
    """A note on the grid."""

    onset: int
    offset: int
    pitch: int
    velocity: int
    played: int
    """Its place among the notes as they were played."""


def sustained(performance: Performance) -> Performance:
    """Fold the sustain pedal into the notes, event by event, as note-seq does."""
    notes = [list(note) for note in performance.notes.tolist()]
    drums = {i for i, track in enumerate(performance.tracks) if track.is_drum}
    events: list[tuple[float, int, int, int]] = []  # time, kind, track, index of the note
    for index, (onset, offset, _, _, track) in enumerate(notes):
        if track not in drums:
            events += [(onset, NOTE_ON, track, index), (offset, NOTE_OFF, track, index)]
    for time, number, value, track in performance.controls.tolist():
        if number == SUSTAIN:
            kind = PEDAL_PRESS if value >= PEDAL_DOWN else PEDAL_LIFT
            events.append((time, kind, track, -1))
    events.sort(key=lambda event: event[:2])

    is_down = dict.fromkeys(range(len(performance.tracks)), False)
    active: dict[int, list[int]] = {track: [] for track in is_down}
    deleted: set[int] = set()
    for time, kind, track, index in events:
        if kind == PEDAL_PRESS:
            is_down[track] = True
        elif kind == PEDAL_LIFT:
            is_down[track] = False
            held = [i for i in active[track] if notes[i][1] < time]
            for i in held:
                notes[i][1] = time
            active[track] = [i for i in active[track] if i not in held]
        elif kind == NOTE_ON:
            struck = [i for i in active[track] if is_down[track] and notes[i][2] == notes[index][2]]
            for i in struck:
                notes[i][1] = time
                if notes[i][0] == time:
                    deleted.add(i)
            active[track] = [i for i in active[track] if i not in struck] + [index]
        elif not is_down[track] and index in active[track]:
            active[track].remove(index)
    for held in active.values():
        for i in held:
            notes[i][1] = events[-1][0]
    controls = [c for c in performance.controls.tolist() if c[1] != SUSTAIN]
    kept = [tuple(note) for i, note in enumerate(notes) if i not in deleted]
    return performance.replace(notes=kept, controls=controls)


def encode(codec: MidiLike, performance: Performance) -> list[int]:
    """Turn a performance into ids, one event at a time."""
    played = performance.select(drums=False)
    notes = _one_per_key(codec, sustained(played) if codec.pedal == "fold" else played)
    notes.sort(key=lambda n: (n.onset, n.pitch) if codec.ties == "pitch" else (n.onset, n.played))
    last = max((note.offset for note in notes), default=0)
    moves = enumerate(_pedal(codec, played, last))
    events = [(step, 0, index, "pedal", down, 0) for index, (step, down) in moves]
    for index, note in enumerate(notes):
        events.append((note.offset, 1, index, "note_off", note.pitch, 0))
        events.append((note.onset, 2, index, "note_on", note.pitch, note.velocity))
    return _spell(codec, sorted(events))


def _spell(codec: MidiLike, events: list[tuple[int, int, int, str, int, int]]) -> list[int]:
    tokens: list[int] = []
    now, current_bin = 0, 0
    for step, _, _, kind, value, velocity in events:
        while now < step:
            shift = min(step - now, codec.max_shift)
            tokens.append(codec.vocabulary.id("shift", shift))
            now += shift
        if kind == "note_on" and codec.velocity_bins and codec.bin_of(velocity) != current_bin:
            current_bin = codec.bin_of(velocity)
            tokens.append(codec.vocabulary.id("velocity", current_bin))
        tokens.append(codec.vocabulary.id(kind, value))
    return tokens


def _one_per_key(codec: MidiLike, performance: Performance) -> list[Step]:
    """Put notes on the grid; a key sounds once at a time, the longest of equal onsets stays."""
    by_key: dict[int, dict[int, Step]] = {}
    for played, (onset, offset, pitch, velocity, _) in enumerate(performance.notes.tolist()):
        if not codec.lowest <= pitch <= codec.highest:
            continue
        start = _step(codec, onset)
        end = max(_step(codec, offset), start + 1)
        note = Step(start, end, pitch, velocity if codec.velocity_bins else PLAIN_VELOCITY, played)
        rival = by_key.setdefault(pitch, {}).get(start)
        if rival is None or (end, velocity) > (rival.offset, rival.velocity):
            by_key[pitch][start] = note
    notes = []
    for onsets in by_key.values():
        for onset, following in zip(sorted(onsets), [*sorted(onsets)[1:], None], strict=True):
            note = onsets[onset]
            end = note.offset if following is None else min(note.offset, following)
            notes.append(note._replace(offset=end))
    return notes


def _pedal(codec: MidiLike, performance: Performance, last: int) -> list[tuple[int, int]]:
    """Give the changes of the pedal, lifted where the music ends."""
    if codec.pedal != "events":
        return []
    ends_in: dict[int, int] = {}  # the pedal at the end of each step in which it moved
    for time, number, value, _ in performance.controls.tolist():
        if number == SUSTAIN:
            ends_in[_step(codec, time)] = int(value >= PEDAL_DOWN)
    changes: list[tuple[int, int]] = []
    for step, down in ends_in.items():
        if down != (changes[-1][1] if changes else 0):
            changes.append((step, down))
    if changes and changes[-1][1]:
        if changes[-1][0] >= last:
            return changes[:-1]
        changes.append((last, 0))
    return changes


def _step(codec: MidiLike, seconds: float) -> int:
    return math.floor(seconds * codec.steps_per_second + 0.5)
