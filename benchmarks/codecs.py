"""How fast do files become tokens, and what of the music comes back? Ours beside MidiTok's.

    python benchmarks/codecs.py FOLDER [--files 150] [--json FILE]

Both read the same files, parsing included, in one process on one thread; times are CPU seconds,
the median of three passes, each over all files. What comes back is what decoding gives: errors of
onsets in milliseconds (mean, worst, and mean over the last hundred notes of each piece, where
drift shows), errors of velocity, and the share of notes without a counterpart of their key within
a quarter of a second.

MidiTok (`pip install miditok`) counts time in positions of a beat. Where a file is one tempo of
120 to the minute, as MAESTRO's are, 50 positions per beat are the 100 steps per second of the
Performance RNN, and shifts of up to 2 beats its 100 shifts; only such files are compared (the
others are counted). It keeps or drops the sustain pedal but cannot fold it into the notes, so
"fold" does more work than anything it offers: `performance-rnn` stands beside its MIDILike
without pedals, `oore2018-pedal` beside the one with.
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import sys
import time
import warnings
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np

from espressivo.codecs import CODECS, decode
from espressivo.errors import MidiError
from espressivo.midi import read_midi
from espressivo.performance import Performance

try:
    import miditok
except ImportError:
    miditok = None

PASSES = 3
WITHIN = 0.25  # seconds in which a counterpart must be found
Notes = tuple[np.ndarray, np.ndarray, np.ndarray]  # onset in seconds, pitch, velocity


class Ours:
    def __init__(self, name: str) -> None:
        self.name, self.codec = f"espressivo {name}", CODECS[name]
        self.settings = {"codec": repr(self.codec), "events": len(self.codec.vocabulary)}

    def encode(self, path: Path) -> list[Any]:
        return [self.codec.encode(read_midi(path))]

    def encode_parsed(self, performance: Performance) -> list[Any]:
        return [self.codec.encode(performance)]

    def decode(self, tokens: list[Any]) -> Notes:
        notes = decode(self.codec, tokens[0].tolist()).notes
        return notes["onset"], notes["pitch"].astype(int), notes["velocity"].astype(int)


class MidiTok:
    encode_parsed = None

    def __init__(self, name: str, pedals: bool) -> None:
        chosen = {
            "pitch_range": (0, 127),
            "beat_res": {(0, 2): 50},
            "num_velocities": 32,
            "use_sustain_pedals": pedals,
            "use_time_signatures": False,
        }
        self.name = f"miditok MIDILike {name}"
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            self.tokenizer = miditok.MIDILike(miditok.TokenizerConfig(**chosen))
        self.settings = {"config": repr(chosen), "events": len(self.tokenizer)}

    def encode(self, path: Path) -> list[Any]:
        return self.tokenizer.encode(path)

    def decode(self, tokens: list[Any]) -> Notes:
        tracks = [t.notes.numpy() for t in self.tokenizer.decode(tokens).to("second").tracks]
        return tuple(
            np.concatenate([np.asarray(track[field]) for track in tracks])
            if tracks
            else np.zeros(0)
            for field in ("time", "pitch", "velocity")
        )


def count(tokens: list[Any]) -> int:
    return sum(len(track) for track in tokens)


def cpu_seconds(work: Callable[[], object]) -> float:
    before = time.process_time()
    work()
    return time.process_time() - before


def speed(
    system: Ours | MidiTok, files: list[Path], parsed: list[Performance], tokens: list[Any]
) -> dict[str, Any]:
    seconds = [cpu_seconds(lambda: [system.encode(p) for p in files]) for _ in range(PASSES)]
    median, total = statistics.median(seconds), sum(map(count, tokens))
    result = {
        "cpu_seconds": [round(s, 3) for s in seconds],
        "files_per_second": len(files) / median,
        "tokens_per_second": total / median,
        "notes_per_second": sum(map(len, parsed)) / median,
    }
    if system.encode_parsed is not None:
        alone = cpu_seconds(lambda: [system.encode_parsed(p) for p in parsed])
        result["encode_tokens_per_second"] = total / alone
        back = tokens[:: max(len(tokens) // 10, 1)]
        result["decode_tokens_per_second"] = sum(map(count, back)) / cpu_seconds(
            lambda: [system.decode(t) for t in back]
        )
    return result


def counterparts(played: Notes, heard: Notes) -> tuple[np.ndarray, np.ndarray]:
    """Pair notes of one key in order of time, each at most once."""
    pairs = []
    for key in np.unique(played[1]):
        ours, theirs = (np.flatnonzero(notes[1] == key) for notes in (played, heard))
        ours = ours[np.argsort(played[0][ours], kind="stable")]
        theirs = theirs[np.argsort(heard[0][theirs], kind="stable")]
        i = j = 0
        while i < len(ours) and j < len(theirs):
            late = heard[0][theirs[j]] - played[0][ours[i]]
            if abs(late) <= WITHIN:
                pairs.append((ours[i], theirs[j]))
            i, j = i + (late >= -WITHIN), j + (late <= WITHIN)
    found = np.array(sorted(pairs), dtype=int).reshape(-1, 2)
    return found[:, 0], found[:, 1]


def fidelity(
    system: Ours | MidiTok, parsed: list[Performance], tokens: list[Any]
) -> dict[str, float]:
    onset, ending, velocity, notes = [], [], [], 0
    for said, performance in zip(tokens, parsed, strict=True):
        rows = performance.notes
        played = rows["onset"], rows["pitch"].astype(int), rows["velocity"].astype(int)
        heard = system.decode(said)
        ours, theirs = counterparts(played, heard)
        error = 1000 * np.abs(played[0][ours] - heard[0][theirs])
        onset.append(error)
        ending.append(error[-100:])
        velocity.append(np.abs(played[2][ours] - heard[2][theirs]))
        notes += len(rows)
    errors = np.concatenate(onset)
    return {
        "onset_ms_mean": float(errors.mean()),
        "onset_ms_worst": float(errors.max()),
        "onset_ms_at_the_end": float(np.concatenate(ending).mean()),
        "velocity_mean": float(np.concatenate(velocity).mean()),
        "notes_lost_percent": 100 * (1 - len(errors) / notes),
    }


def measure(system: Ours | MidiTok, files: list[Path], parsed: list[Performance]) -> dict[str, Any]:
    tokens = [system.encode(path) for path in files]
    return {
        "name": system.name,
        **speed(system, files, parsed, tokens),
        **fidelity(system, parsed, tokens),
        **system.settings,
    }


def steady(performance: Performance) -> bool:
    return bool(len(performance)) and bool(np.allclose(performance.tempi["bpm"], 120.0))


def gather(folder: Path, limit: int) -> tuple[list[Path], list[Performance], int]:
    """Spread over the folder: up to `limit` files of one steady tempo, and how many were not."""
    paths = sorted(p for p in folder.rglob("*") if p.suffix.lower() in (".mid", ".midi"))
    paths = paths[:: max(len(paths) // limit, 1)][:limit]
    files, parsed, skipped = [], [], 0
    for path in paths:
        try:
            performance = read_midi(path)
        except MidiError:
            continue
        if steady(performance):
            files.append(path)
            parsed.append(performance)
        else:
            skipped += 1
    return files, parsed, skipped


def table(results: list[dict[str, Any]]) -> str:
    columns = {
        "files/s": ("files_per_second", ".1f"),
        "Mtok/s": ("tokens_per_second", ".3f"),
        "x": ("times_miditok", ".1f"),
        "onset ms": ("onset_ms_mean", ".2f"),
        "worst": ("onset_ms_worst", ".1f"),
        "at end": ("onset_ms_at_the_end", ".2f"),
        "velocity": ("velocity_mean", ".2f"),
        "lost %": ("notes_lost_percent", ".3f"),
    }
    lines = [f"{'':34}" + "".join(f"{name:>10}" for name in columns)]
    for result in results:
        shown = {**result, "tokens_per_second": result["tokens_per_second"] / 1e6}
        cells = (format(shown[k], how) if k in shown else "" for k, how in columns.values())
        lines.append(f"{result['name']:34}" + "".join(f"{cell:>10}" for cell in cells))
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--files", type=int, default=150)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    files, parsed, skipped = gather(options.folder, options.files)
    if not files:
        sys.exit(f"no MIDI files of one steady tempo of 120 below {options.folder}")
    pairs: list[tuple[Ours, MidiTok | None]] = [
        (Ours("performance-rnn"), MidiTok("no pedal", False) if miditok else None),
        (Ours("oore2018-pedal"), MidiTok("pedal", True) if miditok else None),
    ]
    results = []
    for pair in pairs:
        measured = [measure(system, files, parsed) for system in pair if system is not None]
        if len(measured) == 2:
            ours, theirs = (m["files_per_second"] for m in measured)
            measured[0]["times_miditok"] = ours / theirs
        results += measured
    parsing = statistics.median(
        cpu_seconds(lambda: [read_midi(p) for p in files]) for _ in range(PASSES)
    )
    report = {
        "files": len(files),
        "files_of_other_tempi": skipped,
        "notes": sum(map(len, parsed)),
        "hours": sum(p.duration for p in parsed) / 3600,
        "parsing_cpu_seconds": parsing,
        "results": results,
        "machine": platform.processor() or platform.machine(),
        "versions": {"python": platform.python_version()}
        | {name: metadata.version(name) for name in ("numpy", "symusic")}
        | ({"miditok": metadata.version("miditok")} if miditok else {}),
    }
    print(
        f"{len(files)} files, {report['notes']:,} notes, {report['hours']:.1f} h; "
        f"parsing alone {len(files) / parsing:.1f} files/s"
    )
    print(table(results))
    for result in results:
        if "encode_tokens_per_second" in result:
            print(
                f"{result['name']}: encoding alone "
                f"{result['encode_tokens_per_second'] / 1e6:.1f} M tokens/s, decoding "
                f"{result['decode_tokens_per_second'] / 1e6:.2f} M tokens/s"
            )
    if not miditok:
        print("MidiTok is not installed: `pip install miditok` to compare")
    if options.json:
        options.json.write_text(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    main()
