"""From files to one shard: a pure function of its part of the plan, whoever calls it how often.

notes-00000.npy, controls-00000.npy   arrays of all pieces, one after another
shard-00000.json                      the outcome of every file, and SHA-256; written last
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np

from espressivo.corpora.layouts import Entry
from espressivo.corpora.whole import whole, write_lines
from espressivo.errors import MidiError
from espressivo.performance import CONTROL, NOTE, Array, Performance

FEWEST_NOTES = 10
SHORTEST = 1.0
"""Seconds from the first onset to the last release."""

Outcome = dict[str, Any]
"""Of a stored file its counts and fingerprints; of another `reason` and `detail`."""


@dataclass(frozen=True)
class Job:
    """One shard to fill. `crashed` are the places of files that killed whoever read them."""

    out: Path
    roots: tuple[Path, ...]
    plan: str
    number: int
    entries: tuple[Entry, ...]
    read: Callable[[Path], Performance]
    crashed: frozenset[int] = frozenset()


def fill(job: Job) -> list[Outcome]:
    """Read the files of a shard and store it; give what became of each file."""
    outcomes, notes, controls = [], [], []
    marker = marker_of(job.out, job.number)
    with marker.open("w") as reading:
        for place, entry in enumerate(job.entries):
            _mark(reading, place)
            outcome, performance = _read(job, place, entry)
            outcomes.append(outcome)
            if performance is not None:
                notes.append(performance.notes)
                controls.append(performance.controls)
        _mark(reading, len(job.entries))
    sidecar = {
        "plan": job.plan,
        "notes": _store(job.out / f"notes-{job.number:05d}.npy", notes, NOTE),
        "controls": _store(job.out / f"controls-{job.number:05d}.npy", controls, CONTROL),
        "outcomes": outcomes,
    }
    write_lines(sidecar_of(job.out, job.number), [json.dumps(sidecar)])
    marker.unlink(missing_ok=True)
    return outcomes


def finished(out: Path, number: int, plan: str) -> dict[str, Any] | None:
    """Give the sidecar of a shard that is complete, else None."""
    try:
        sidecar = json.loads(sidecar_of(out, number).read_text())
        sizes = [
            (out / f"{what}-{number:05d}.npy").stat().st_size == sidecar[what]["bytes"]
            for what in ("notes", "controls")
        ]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return dict(sidecar) if sidecar["plan"] == plan and all(sizes) else None


def sidecar_of(out: Path, number: int) -> Path:
    """Name the file that says a shard is complete."""
    return out / f"shard-{number:05d}.json"


def marker_of(out: Path, number: int) -> Path:
    """Name the file that tells which file of a shard is being read."""
    return out / f".reading-{number:05d}"


def marked(out: Path, number: int) -> int | None:
    """Give the place of the file a worker was reading, or None if it was reading none."""
    with suppress(OSError, ValueError):
        return int(marker_of(out, number).read_text())
    return None


def _mark(reading: IO[str], place: int) -> None:
    """Say which file is read now; the place after the last one means that all are read."""
    reading.seek(0)
    reading.write(f"{place:>8}")
    reading.flush()


def one_piano(performance: Performance) -> Performance:
    """Put all that is not drums on one track, beginning with its first onset.

    One pair of feet too: the pedals of all tracks are merged. What they said before the first
    onset is kept as the position they open in.
    """
    played = performance.select(drums=False).trimmed()
    notes, controls = played.notes.copy(), played.controls.copy()
    several = len({*notes["track"].tolist(), *controls["track"].tolist()}) > 1
    notes["track"] = controls["track"] = 0
    if several:
        controls = controls[_distinct(controls)]
    return Performance(notes, controls)


def _distinct(controls: Array) -> list[int]:
    """Pick the first of equal pedal moves; tracks of one channel share them."""
    first: dict[tuple[Any, ...], int] = {}
    for index, move in enumerate(controls.tolist()):
        first.setdefault(move, index)
    return list(first.values())


def _read(job: Job, place: int, entry: Entry) -> tuple[Outcome, Performance | None]:
    if entry.left_out:
        reason, _, detail = entry.left_out.partition(": ")
        return _quarantined(reason, detail), None
    if place in job.crashed:
        return _quarantined("crash", "reading it killed its process twice"), None
    file = job.roots[entry.root] / entry.file
    try:
        size = file.stat().st_size
        if size != entry.size:
            return _quarantined("changed", f"{entry.size} bytes when planned, {size} now"), None
        performance = one_piano(job.read(file))
    except MidiError as error:
        # Without the path: a corpus is the same wherever its files lay.
        reason = str(error).removeprefix(f"{file}: ").removeprefix(f"{str(file)!r}: ")
        return _quarantined("unreadable", reason), None
    except OSError as error:
        return _quarantined("unreadable", error.strerror or str(error)), None
    except Exception as error:
        return _quarantined("internal error", f"{type(error).__name__}: {error}"), None
    reason, detail = _unfit(performance)
    if reason:
        return _quarantined(reason, detail), None
    return _facts(performance), performance


def _unfit(performance: Performance) -> tuple[str, str]:
    notes = performance.notes
    if not len(notes):
        return "no notes", "it holds no note but drums"
    if len(notes) < FEWEST_NOTES:
        return "few notes", f"{len(notes)} notes; at least {FEWEST_NOTES} are needed"
    seconds = float(notes["offset"].max())
    if seconds < SHORTEST:
        return "too short", f"{seconds:.3f} seconds; at least {SHORTEST:g} are needed"
    return "", ""


def _quarantined(reason: str, detail: str) -> Outcome:
    return {"reason": reason, "detail": detail}


def _facts(performance: Performance) -> Outcome:
    notes = performance.notes
    keys = notes["pitch"].tobytes()
    times = np.rint(notes["onset"] * 1000).astype("<i8")
    content = hashlib.sha256(keys)
    exact = hashlib.sha256(keys + notes["velocity"].tobytes() + times.tobytes())
    return {
        "notes": len(notes),
        "controls": len(performance.controls),
        "seconds": float(notes["offset"].max()),
        "content": content.hexdigest()[:24],
        "exact": exact.hexdigest()[:24],
    }


def _store(path: Path, parts: Sequence[Array], dtype: np.dtype[Any]) -> dict[str, Any]:
    """Write one array of a shard; give its size and SHA-256."""
    array = np.concatenate([np.empty(0, dtype), *parts])
    with whole(path) as file:
        np.lib.format.write_array(file, array, allow_pickle=False)
        size = file.tell()
    with path.open("rb") as file:
        return {"bytes": size, "sha256": hashlib.file_digest(file, "sha256").hexdigest()}


def skip(job: Job, crashed: Collection[int]) -> Job:
    """Give the same job without reading some of its files."""
    return Job(job.out, job.roots, job.plan, job.number, job.entries, job.read, frozenset(crashed))
