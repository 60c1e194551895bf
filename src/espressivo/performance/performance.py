"""`Performance`: what was played, and what can be done with it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from importlib import import_module
from typing import Any

import numpy as np
from numpy.typing import NDArray

from espressivo.performance.arrays import (
    BEAT,
    CONTROL,
    NOTE,
    PEDAL_DOWN,
    SUSTAIN,
    TEMPO,
    Array,
    Event,
    Track,
    checked_controls,
    checked_notes,
    checked_tracks,
    in_time,
    on_track,
    standing,
    structured,
)
from espressivo.performance.pedalling import unfold
from espressivo.performance.sustain import fold


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
        tracks = checked_tracks(tracks)
        checked = {
            "notes": checked_notes(structured(notes, NOTE), len(tracks)),
            "controls": checked_controls(structured(controls, CONTROL), len(tracks)),
            "beats": in_time(structured(beats, BEAT), "beat"),
            "tempi": in_time(structured(tempi, TEMPO), "tempo"),
        }
        for name, array in checked.items():
            array.flags.writeable = False
            object.__setattr__(self, name, array)
        object.__setattr__(self, "tracks", tracks)

    def _keeping(self, notes: Array, controls: Array) -> Performance:
        """Copy with fewer or shorter notes and fewer controls: still sorted, so not checked."""
        copy = object.__new__(Performance)
        notes.flags.writeable = controls.flags.writeable = False
        vars(copy).update(vars(self), notes=notes, controls=controls)
        return copy

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
        if pitches is None and chosen.issuperset(range(len(self.tracks))):
            return self
        wanted = np.array([index in chosen for index in range(len(self.tracks))])
        kept = wanted[self.notes["track"]]
        if pitches is not None:
            kept &= np.isin(self.notes["pitch"], list(pitches))
        return self._keeping(self.notes[kept], self.controls[wanted[self.controls["track"]]])

    def slice(self, start: float, end: float) -> Performance:
        """Cut out what begins in [start, end), moved so that `start` becomes zero.

        Notes ring no further than `end`; a note that began earlier is left out. Each pedal opens
        at the position it had at `start`, and so does the tempo.
        """
        inside = (self.notes["onset"] >= start) & (self.notes["onset"] < end)
        notes = self.notes[inside]
        notes["offset"] = np.minimum(notes["offset"], end)
        controls, beats, tempi = (
            a[(a["time"] >= start) & (a["time"] < end)]
            for a in (self.controls, self.beats, self.tempi)
        )
        pedals, tempo = standing(self.controls, start), self.tempi[self.tempi["time"] < start][-1:]
        pedals["time"] = tempo["time"] = start
        if len(tempi) and tempi["time"][0] == start:
            tempo = tempo[:0]
        cut = self.replace(
            notes=notes,
            controls=np.concatenate([pedals, controls]),
            beats=beats,
            tempi=np.concatenate([tempo, tempi]),
        )
        return cut.shift(-start)

    def shift(self, seconds: float) -> Performance:
        """Move everything later by `seconds`; nothing may end up before zero."""
        return self._retimed(lambda time: time + seconds)

    def stretch(self, factor: float) -> Performance:
        """Play slower by `factor`: 2.0 lasts twice as long."""
        if not 0 < factor < np.inf:
            raise ValueError(f"stretch factor {factor} must be above zero; 1.0 changes nothing")
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
        if not parts:
            return Performance()
        tracks = [track for part in parts for track in part.tracks]
        checked_tracks(tracks)
        first = np.cumsum([0] + [len(part.tracks) for part in parts[:-1]])
        return Performance(
            np.concatenate([on_track(p.notes, int(t)) for p, t in zip(parts, first, strict=True)]),
            np.concatenate(
                [on_track(p.controls, int(t)) for p, t in zip(parts, first, strict=True)]
            ),
            parts[0].beats,
            parts[0].tempi,
            tracks,
        )

    def replace(self, **changes: Any) -> Performance:
        """Copy with some of `notes`, `controls`, `beats`, `tempi`, `tracks` exchanged."""
        return replace(self, **changes)

    def pedalled(self, since: float = 0.0) -> Performance:
        """Find the sustain pedal again that `sustained` folded into the notes.

        Notes of different ages that end at one instant are taken to end with a lift of the pedal;
        keys under it go up earlier. Nothing sounds different: for a performance with one note on
        a key at a time, `p.pedalled().sustained()` is `p.sustained()`. Drums are left as they
        are, and so is what begins before `since` or, in a track with a pedal of its own, before
        the last move of that.
        """
        notes, controls = [], [self.controls]
        for index, track in enumerate(self.tracks):
            mine = self.notes[self.notes["track"] == index]
            own = self.controls["track"] == index
            pedal = self.controls[own & (self.controls["number"] == SUSTAIN)]
            held = len(pedal) > 0 and pedal["value"][-1] >= PEDAL_DOWN
            if not track.is_drum and not held and len(mine):
                last_move = float(pedal["time"][-1]) if len(pedal) else 0.0
                mine, moves = unfold(mine, index, max(since, last_move))
                controls.append(moves)
            notes.append(mine)
        return self.replace(notes=np.concatenate(notes), controls=np.concatenate(controls))

    def sustained(self) -> Performance:
        """Fold the sustain pedal into the notes: they last until the pedal that held them lifts.

        The rules are those of the Performance RNN (note-seq, `apply_sustain_control_changes`);
        `codecs.reference.sustained` tells them one event at a time. From value 64 the pedal is
        down; at one moment a press comes before a lift and both before keys. A key struck again
        under the pedal ends its earlier note there, also one whose key is still held; of two
        notes of a key that begin together under the pedal the longer stays. What is held at the
        end lasts until the last event. Drums are untouched. Sustain events are dropped: they
        are in the notes now.
        """
        ending, notes = self.sounding_until(), self.notes.copy()
        notes["offset"] = ending
        controls = self.controls[self.controls["number"] != SUSTAIN]
        return self._keeping(notes[ending > notes["onset"]], controls)

    def sounding_until(self) -> NDArray[np.float64]:
        """Give when each note falls silent under the sustain pedal, by the rules of `sustained`.

        A note that is not heard at all falls silent at its onset.
        """
        chosen = np.flatnonzero(self.controls["number"] == SUSTAIN)
        ending: NDArray[np.float64] = self.notes["offset"].copy()
        if not len(chosen):
            return ending
        time, down = self.controls["time"][chosen], self.controls["value"][chosen] >= PEDAL_DOWN
        drums = np.array([track.is_drum for track in self.tracks])
        pitched = ending[~drums[self.notes["track"]]] if drums.any() else ending
        end = float(max(time[-1], pitched.max(initial=0.0)))
        if len(self.tracks) == 1:
            return ending if drums[0] else fold(self.notes, time, down, end)
        for index in np.flatnonzero(~drums):
            mine, pedal = self.notes["track"] == index, self.controls["track"][chosen] == index
            ending[mine] = fold(self.notes[mine], time[pedal], down[pedal], end)
        return ending

    @staticmethod
    def from_events(events: Iterable[Event], tracks: Iterable[Track] = (Track(),)) -> Performance:
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
            (time, 0, Event(time, "control", number, value, track))
            for time, number, value, track in self.controls.tolist()
        ]
        for onset, offset, pitch, velocity, track in self.notes.tolist():
            entries.append((offset, 1, Event(offset, "off", pitch, 0, track)))
            entries.append((onset, 2, Event(onset, "on", pitch, velocity, track)))
        return [event for _, _, event in sorted(entries, key=lambda entry: entry[:2])]

    def _retimed(self, move: Callable[[Array], Array]) -> Performance:
        """Move all times by a rising function; notes it leaves without length are dropped."""
        changes = {}
        for name in ("notes", "controls", "beats", "tempi"):
            array = getattr(self, name).copy()
            for field in ("onset", "offset", "time"):
                if field in array.dtype.names:
                    array[field] = move(array[field])
            changes[name] = array
        notes = changes["notes"]
        lasting = (notes["offset"] > notes["onset"]) | ~np.isfinite(notes["offset"])
        if not lasting.all():
            changes["notes"] = notes[lasting]
        return self.replace(**changes)
