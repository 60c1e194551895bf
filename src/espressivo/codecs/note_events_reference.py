"""The slow twin of `NoteEvents.encode`: one note, one pedal change and one rest at a time.

This is the definition, after the rules that `NoteEvents` states; the vectorised encoder is tested
against it.
"""

from __future__ import annotations

import math
from typing import NamedTuple

from espressivo.codecs.note_events import HYSTERESIS, NoteEvents
from espressivo.codecs.time_classes import TimeClasses
from espressivo.performance import SOFT, SUSTAIN, Performance

UNUSED = -1
"""What stands in a field that a row has no use for."""


class Note(NamedTuple):
    """A note on the grid; onset and offset in steps, velocity 1..127 as it was played."""

    onset: int
    offset: int
    pitch: int
    velocity: int


def encode(codec: NoteEvents, performance: Performance) -> list[list[int]]:
    """Return the rows of a performance, six numbers each, in the order of `NoteEvents.encode`.

    Times may be anything the grid of the codec reaches; later ones are not refused here.
    """
    played = performance.select(drums=False)
    notes = one_per_key(codec, played)
    last = max((note.offset for note in notes), default=0)
    # Step, place among the events of the step, kind, and the note if it is one.
    events: list[tuple[int, int, int, Note | None]] = []
    for step, level in pedal_changes(codec, played, SUSTAIN, codec.pedal_levels, last):
        events.append((step, 0, 128 + level, None))
    if codec.soft_pedal:
        for step, down in pedal_changes(codec, played, SOFT, 2, last):
            events.append((step, 1, 128 + codec.pedal_levels + down, None))
    for note in notes:
        events.append((note.onset, 2 + note.pitch, note.pitch, note))

    rows: list[list[int]] = []
    now, sustain = 0, 128
    for step, place, kind, struck in sorted(events, key=lambda event: event[:2]):
        while step - now > codec.times.most:
            rows.append(row(codec, codec.times.most, sustain, None))
            now += codec.times.most
        rows.append(row(codec, step - now, kind, struck))
        now = step
        if place == 0:
            sustain = kind
    return rows


def row(codec: NoteEvents, shift: int, kind: int, note: Note | None) -> list[int]:
    """Return the six numbers of an event that comes `shift` steps after the one before it."""
    shift_class, shift_residual = time_class(codec.times, shift)
    if note is None:
        return [shift_class, kind, UNUSED, UNUSED, shift_residual, UNUSED]
    velocities_in_a_bin = math.ceil(127 / codec.velocity_bins)
    velocity = (note.velocity - 1) // velocities_in_a_bin
    held = min(note.offset - note.onset, codec.times.most + 1)
    duration_class, duration_residual = time_class(codec.times, held - 1)
    return [shift_class, kind, velocity, duration_class, shift_residual, duration_residual]


def time_class(times: TimeClasses, steps: int) -> tuple[int, int]:
    """Return the class of a number of steps in 0..most, and the residual within it.

    The classes are tried one after another; after every `per_octave` of them they are twice as
    wide.
    """
    if steps < times.exact:
        return steps, 0
    index, first, width = times.exact, times.exact, times.exact // times.per_octave
    while True:
        for _ in range(times.per_octave):
            if steps < first + width:
                return index, steps - first
            index, first = index + 1, first + width
        width *= 2


def one_per_key(codec: NoteEvents, performance: Performance) -> list[Note]:
    """Return the notes of a performance on the grid, with one note per key at a time.

    A note lasts a step at least. Of equal onsets of a key the longest stays, of equally long ones
    the loudest; a note ends where the next one of its key begins.
    """
    by_key: dict[int, dict[int, Note]] = {}
    for onset, offset, pitch, velocity, _ in performance.notes.tolist():
        start = on_grid(codec, onset)
        note = Note(start, max(on_grid(codec, offset), start + 1), pitch, velocity)
        rival = by_key.setdefault(pitch, {}).get(start)
        if rival is None or (note.offset, velocity) > (rival.offset, rival.velocity):
            by_key[pitch][start] = note
    notes = []
    for struck in by_key.values():
        for onset, note in struck.items():
            later = [other for other in struck if other > onset]
            notes.append(note._replace(offset=min([note.offset, *later])))
    return notes


def pedal_changes(
    codec: NoteEvents, performance: Performance, number: int, levels: int, last: int
) -> list[tuple[int, int]]:
    """Return the changes of one pedal as pairs of step and level, 0 for up.

    `number` is its controller. The levels share the values 0..127 equally; the pedal keeps its
    level until a value is past a boundary by `HYSTERESIS`. A step says the level that it ends
    with. A pedal that is still down is lifted at `last`, the step at which the music ends.
    """
    size, margin = 128 // levels, HYSTERESIS[levels]
    level = 0
    ends_in: dict[int, int] = {}  # the level at the end of each step in which the pedal moved
    for time, controller, value, _ in performance.controls.tolist():
        if controller == number:
            if value < level * size - margin or value >= (level + 1) * size + margin:
                level = value // size
            ends_in[on_grid(codec, time)] = level

    changes: list[tuple[int, int]] = []
    before = 0
    for step, level in ends_in.items():
        if level != before:
            changes.append((step, level))
        before = level
    while changes and changes[-1][1] and changes[-1][0] >= last:
        changes.pop()  # pressed when nothing is left to sound
    if changes and changes[-1][1]:
        changes.append((last, 0))
    return changes


def on_grid(codec: NoteEvents, seconds: float) -> int:
    """Return the step nearest to a time, halves rounded up."""
    return math.floor(seconds * codec.steps_per_second + 0.5)
