"""What was played: notes, pedals, beats. Times are seconds, everywhere.

A `Performance` is immutable. Its notes and controls are structured numpy arrays, so a thousand
notes are one line and a misspelt field is an error. Ticks exist only in `midi`, grid steps only
in a codec.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from importlib import import_module
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

NOTE = np.dtype(
    [("onset", "f8"), ("offset", "f8"), ("pitch", "u1"), ("velocity", "u1"), ("track", "u1")]
)
CONTROL = np.dtype([("time", "f8"), ("number", "u1"), ("value", "u1"), ("track", "u1")])
BEAT = np.dtype([("time", "f8"), ("bar", "i4"), ("position", "u1"), ("per_bar", "u1")])
TEMPO = np.dtype([("time", "f8"), ("bpm", "f8")])

SUSTAIN, SOSTENUTO, SOFT = 64, 66, 67
"""Controller numbers of the three pedals."""

PEDAL_DOWN = 64
"""The smallest sustain value that counts as down where only on and off exist."""

Array = NDArray[Any]


class Track(NamedTuple):
    """Who plays: a General MIDI program (0 is the grand piano), drums or not, and a name."""

    program: int = 0
    is_drum: bool = False
    name: str = ""


class Event(NamedTuple):
    """One thing that happens at one moment, as a generator streams it.

    `number` is a pitch for "on" and "off" and a controller number for "control"; `value` is a
    velocity, ignored for "off", or the controller's value.
    """

    time: float
    kind: Literal["on", "off", "control"]
    number: int
    value: int = 0
    track: int = 0


@dataclass(frozen=True, eq=False)
class Performance:
    """One playing of a piece: sorted, validated and read-only.

    `notes` are sorted by onset, pitch, track and offset; every note lasts longer than zero
    seconds. `controls` keep the order they were given in at equal times. `beats` is empty when
    the metre is unknown. `tempi` are the tempo marks of the file it came from; the times of notes
    never depend on them.
    """

    notes: Array
    controls: Array
    beats: Array
    tempi: Array
    tracks: tuple[Track, ...]

    def __init__(
        self,
        notes: Array | Iterable[tuple[float, float, int, int, int]] = (),
        controls: Array | Iterable[tuple[float, int, int, int]] = (),
        beats: Array | Iterable[tuple[float, int, int, int]] = (),
        tempi: Array | Iterable[tuple[float, float]] = (),
        tracks: Iterable[Track] = (Track(),),
    ) -> None:
        """Sort and check what was played; raises ValueError naming the first bad value."""
        tracks = tuple(Track(*track) for track in tracks) or (Track(),)
        checked = {
            "notes": _checked_notes(_structured(notes, NOTE), len(tracks)),
            "controls": _checked_controls(_structured(controls, CONTROL), len(tracks)),
            "beats": _in_time(_structured(beats, BEAT), "beat"),
            "tempi": _in_time(_structured(tempi, TEMPO), "tempo"),
        }
        for name, array in checked.items():
            array.flags.writeable = False
            object.__setattr__(self, name, array)
        object.__setattr__(self, "tracks", tracks)

    def __len__(self) -> int:
        """Give the number of notes."""
        return len(self.notes)

    def __eq__(self, other: object) -> bool:
        """Compare everything that was played, to the last bit."""
        if not isinstance(other, Performance):
            return NotImplemented
        arrays = ("notes", "controls", "beats", "tempi")
        return self.tracks == other.tracks and all(
            np.array_equal(getattr(self, name), getattr(other, name)) for name in arrays
        )

    __hash__ = None  # type: ignore[assignment]  # arrays have no cheap, stable hash

    def __repr__(self) -> str:
        """Say how much there is of what."""
        tracks = "" if len(self.tracks) == 1 else f", {len(self.tracks)} tracks"
        return (
            f"Performance({self.duration:.2f} s, {len(self.notes)} notes, "
            f"{len(self.controls)} controls{tracks})"
        )

    def _repr_html_(self) -> str:
        """Show roll and player in a notebook, which asks the object itself.

        The name is looked up when asked, so that notes go on knowing nothing of sound and sight.
        """
        return str(import_module("espressivo.notebook").html(self))

    @property
    def duration(self) -> float:
        """Seconds from zero to the last release of a key or move of a pedal."""
        last = self.notes["offset"].max() if len(self.notes) else 0.0
        return float(max(last, self.controls["time"][-1] if len(self.controls) else 0.0))

    @property
    def start(self) -> float:
        """Seconds from zero to the first onset; zero if there is none."""
        return float(self.notes["onset"][0]) if len(self.notes) else 0.0

    def select(
        self,
        tracks: Iterable[int] | None = None,
        pitches: range | None = None,
        drums: bool | None = None,
    ) -> Performance:
        """Keep the notes of some tracks or pitches; the list of tracks itself stays whole."""
        chosen = set(range(len(self.tracks)) if tracks is None else tracks)
        if drums is not None:
            chosen &= {i for i, track in enumerate(self.tracks) if track.is_drum == drums}
        kept = np.isin(self.notes["track"], list(chosen))
        if pitches is not None:
            pitch = self.notes["pitch"].astype(int)
            kept &= (pitch >= pitches.start) & (pitch < pitches.stop)
        controls = self.controls[np.isin(self.controls["track"], list(chosen))]
        return self.replace(notes=self.notes[kept], controls=controls)

    def slice(self, start: float, end: float) -> Performance:
        """Cut out what begins in [start, end), moved so that `start` becomes zero.

        Notes ring no further than `end`; a note that began earlier is left out. Each pedal opens
        at the position it had at `start`.
        """
        inside = (self.notes["onset"] >= start) & (self.notes["onset"] < end)
        notes = self.notes[inside].copy()
        notes["offset"] = np.minimum(notes["offset"], end)
        before = self.controls[self.controls["time"] < start]
        latest = {(c["track"], c["number"]): i for i, c in enumerate(before)}
        opening = before[sorted(latest.values())]
        opening = opening[opening["value"] > 0].copy()
        opening["time"] = start
        later = [
            a[(a["time"] >= start) & (a["time"] < end)]
            for a in (self.controls, self.beats, self.tempi)
        ]
        later[0] = np.concatenate([opening, later[0]])
        cut = self.replace(notes=notes, controls=later[0], beats=later[1], tempi=later[2])
        return cut.shift(-start)

    def shift(self, seconds: float) -> Performance:
        """Move everything later by `seconds`; nothing may end up before zero."""
        return self._retimed(lambda time: time + seconds)

    def stretch(self, factor: float) -> Performance:
        """Play slower by `factor`: 2.0 lasts twice as long."""
        tempi = self.tempi.copy()
        tempi["bpm"] /= factor
        return self.replace(tempi=tempi)._retimed(lambda time: time * factor)

    def transpose(self, semitones: int) -> Performance:
        """Move every pitched note; those that leave 0..127 are dropped, drums stay."""
        drums = np.array([track.is_drum for track in self.tracks])[self.notes["track"]]
        pitch = self.notes["pitch"].astype(int) + np.where(drums, 0, semitones)
        kept = (pitch >= 0) & (pitch <= 127)
        notes = self.notes[kept].copy()
        notes["pitch"] = pitch[kept]
        return self.replace(notes=notes)

    def trimmed(self) -> Performance:
        """Drop the silence before the first onset, pedals as they stood then."""
        return self.slice(self.start, self.duration + 1.0) if self.start > 0 else self

    @staticmethod
    def merge(performances: Iterable[Performance]) -> Performance:
        """Sound several performances together, each keeping its own tracks."""
        parts = list(performances)
        notes, controls, tracks = [], [], []
        for part in parts:
            for array, into in ((part.notes, notes), (part.controls, controls)):
                moved = array.copy()
                moved["track"] += len(tracks)
                into.append(moved)
            tracks += part.tracks
        if not parts:
            return Performance()
        return Performance(
            np.concatenate(notes),
            np.concatenate(controls),
            parts[0].beats,
            parts[0].tempi,
            tracks,
        )

    def replace(self, **changes: Any) -> Performance:
        """Copy with some of `notes`, `controls`, `beats`, `tempi`, `tracks` exchanged."""
        return replace(self, **changes)

    def sustained(self) -> Performance:
        """Fold the sustain pedal into the notes: they last until the pedal that held them lifts.

        A key struck again under the pedal ends its earlier note. Half-pedal counts as down from
        value 64. Drums are untouched. Sustain events are dropped: they are in the notes now.
        The rules are those of the Performance RNN (note-seq, `apply_sustain_control_changes`).
        """
        folded = [self.notes[:0]]
        for index, track in enumerate(self.tracks):
            notes = self.notes[self.notes["track"] == index]
            mine = (self.controls["track"] == index) & (self.controls["number"] == SUSTAIN)
            pedal = self.controls[mine]
            folded.append(notes if track.is_drum else _fold(notes, pedal, self.duration))
        others = self.controls[self.controls["number"] != SUSTAIN]
        return self.replace(notes=np.concatenate(folded), controls=others)

    @staticmethod
    def from_events(
        events: Iterable[Event], tracks: Iterable[Track] = (Track(),)
    ) -> Performance:
        """Gather a stream of events; the inverse of `events`.

        A key struck while it sounds ends its earlier note, an "off" without an "on" is ignored,
        notes without length are dropped, and what still sounds ends with the last event.
        """
        notes: list[tuple[float, float, int, int, int]] = []
        controls: list[tuple[float, int, int, int]] = []
        sounding: dict[tuple[int, int], tuple[float, int]] = {}
        last = 0.0

        def close(key: tuple[int, int], time: float) -> None:
            onset, velocity = sounding.pop(key)
            if time > onset:
                notes.append((onset, time, key[1], velocity, key[0]))

        for event in events:
            last = max(last, event.time)
            if event.kind == "control":
                controls.append((event.time, event.number, event.value, event.track))
                continue
            key = (event.track, event.number)
            if key in sounding:
                close(key, event.time)
            if event.kind == "on":
                sounding[key] = (event.time, event.value)
        for key in list(sounding):
            close(key, last)
        return Performance(notes, controls, tracks=tracks)

    def events(self) -> list[Event]:
        """Give everything in order of time; at equal times controls, releases, then onsets."""
        entries = [
            (float(c["time"]), 0, Event(float(c["time"]), "control", *map(int, list(c)[1:])))
            for c in self.controls
        ]
        for onset, offset, pitch, velocity, track in self.notes.tolist():
            entries.append((offset, 1, Event(offset, "off", pitch, 0, track)))
            entries.append((onset, 2, Event(onset, "on", pitch, velocity, track)))
        return [event for _, _, event in sorted(entries, key=lambda entry: entry[:2])]

    def _retimed(self, move: Any) -> Performance:
        changes = {}
        for name in ("notes", "controls", "beats", "tempi"):
            array = getattr(self, name).copy()
            for field in ("onset", "offset", "time"):
                if field in array.dtype.names:
                    array[field] = move(array[field])
            changes[name] = array
        return self.replace(**changes)


def _structured(rows: Array | Iterable[Any], dtype: np.dtype[Any]) -> Array:
    if isinstance(rows, np.ndarray) and rows.dtype == dtype:
        return rows.copy()
    rows = list(rows)
    assert dtype.names is not None
    for row in rows:
        for name, value in zip(dtype.names, row, strict=True):
            if dtype[name].kind == "u" and not 0 <= value <= 255:
                raise ValueError(f"{name}={value} is outside 0..255")
    return np.array([tuple(row) for row in rows], dtype=dtype)


def _in_time(array: Array, what: str) -> Array:
    _check(np.isfinite(array["time"]) & (array["time"] >= 0), array, f"{what} at a bad time")
    return array[np.argsort(array["time"], kind="stable")]


def _checked_controls(controls: Array, tracks: int) -> Array:
    _check(controls["value"] <= 127, controls, "control value above 127")
    _check(controls["number"] <= 127, controls, "control number above 127")
    _check(controls["track"] < tracks, controls, f"control of a track not among {tracks}")
    return _in_time(controls, "control")


def _checked_notes(notes: Array, tracks: int) -> Array:
    finite = np.isfinite(notes["onset"]) & np.isfinite(notes["offset"])
    _check(finite & (notes["onset"] >= 0), notes, "note at a bad time")
    _check(notes["offset"] > notes["onset"], notes, "note that does not end after its onset")
    _check(notes["pitch"] <= 127, notes, "pitch above 127")
    _check((notes["velocity"] >= 1) & (notes["velocity"] <= 127), notes, "velocity not in 1..127")
    _check(notes["track"] < tracks, notes, f"note of a track not among {tracks}")
    return notes[np.lexsort([notes[k] for k in ("offset", "track", "pitch", "onset")])]


def _check(good: NDArray[np.bool_], array: Array, problem: str) -> None:
    if not good.all():
        raise ValueError(f"{problem}: {array[int(np.argmin(good))]}")


def _fold(notes: Array, pedal: Array, end: float) -> Array:
    """Lengthen the notes of one track by its sustain events, both sorted by time."""
    if not len(notes) or not len(pedal):
        return notes
    down = pedal["value"] >= PEDAL_DOWN
    after = np.searchsorted(pedal["time"], notes["offset"], side="right") - 1
    held = (after >= 0) & down[np.maximum(after, 0)]
    lifts = np.append(pedal["time"][~down], max(end, float(notes["offset"].max())))
    lift = lifts[np.searchsorted(lifts[:-1], notes["offset"], side="right")]
    order = np.lexsort([notes["onset"], notes["pitch"]])
    following = np.full(len(notes), np.inf)
    same = notes["pitch"][order][1:] == notes["pitch"][order][:-1]
    following[order[:-1]] = np.where(same, notes["onset"][order][1:], np.inf)
    longer = np.minimum(lift, following)
    folded = notes.copy()
    folded["offset"] = np.where(held, np.maximum(notes["offset"], longer), notes["offset"])
    return folded
