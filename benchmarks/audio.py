"""How fast, how lean and how faithful is the bundled piano?

    OPENBLAS_NUM_THREADS=1 python benchmarks/audio.py [FILE.mid ...] [--hour] [--json FILE]

Prints the speed in seconds of music per CPU second (one thread), the largest memory of the
process, loudness by velocity, and the held-pedal probe: how far C3 falls in 1.2 s when its key
goes up after 0.5 s and the sustain pedal stands at a value. With FluidSynth on the PATH its
figures stand beside ours. `--hour` renders a synthetic hour of music to see that memory does not
grow with it. Without files a dense synthetic study of two minutes is timed.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import shutil
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import soundfile

from espressivo import audio
from espressivo.midi import read_midi
from espressivo.performance import Performance

RATE = 44_100
VELOCITIES = (10, 25, 40, 55, 70, 85, 100, 115, 127)
PEDALS = (0, 20, 40, 50, 63, 64, 75, 90, 110, 127)


def study(seconds: float, notes_per_second: float = 12.0) -> Performance:
    """Random pedalled playing of fixed seed over the whole keyboard, as dense as an etude."""
    generator = np.random.default_rng(0)
    count = int(seconds * notes_per_second)
    onset = np.sort(generator.uniform(0, seconds, count))
    pitch = np.clip(generator.normal(62, 14, count), 21, 108).astype(int)
    velocity = np.clip(generator.normal(62, 18, count), 5, 127).astype(int)
    offset = onset + 0.05 + generator.exponential(0.4, count)
    moves = np.sort(generator.uniform(0, seconds, int(seconds * 3)))
    heights = np.where(np.arange(len(moves)) % 4 < 2, 110, 30)
    heights += generator.integers(-30, 17, len(moves))
    return Performance(
        list(zip(onset, offset, pitch, velocity, [0] * count, strict=True)),
        [(time, 64, int(height), 0) for time, height in zip(moves, heights, strict=True)],
    )


def speed(performance: Performance, name: str) -> dict[str, object]:
    with tempfile.TemporaryDirectory() as folder:
        before = time.process_time()
        done = audio.render(performance, Path(folder, "out.wav"))
        cpu = time.process_time() - before
    return {
        "music": name,
        "seconds": round(performance.duration, 1),
        "notes": len(performance),
        "cpu_seconds": round(cpu, 2),
        "times_real_time": round(performance.duration / cpu, 1),
        "gain_db": round(done.gain_db, 2),
        "peak_memory_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
    }


def heard(performance: Performance, engine: str) -> np.ndarray:
    return np.concatenate(list(audio.samples(performance, engine=engine, room=0, width=1)))


def level(sound: np.ndarray, start: float, seconds: float) -> float:
    part = sound[int(start * RATE) : int((start + seconds) * RATE)].astype(float)
    return float(10 * np.log10((part**2).sum() / (2 * seconds * RATE) + 1e-20))


def ladder(engine: str) -> list[float]:
    notes = [(0.1 + 4 * i, 1.1 + 4 * i, 60, v, 0) for i, v in enumerate(VELOCITIES)]
    sound = heard(Performance(notes), engine)
    levels = [level(sound, note[0], 0.5) for note in notes]
    return [round(one - levels[-1], 1) for one in levels]


def probe(engine: str) -> list[float]:
    notes, controls = [], []
    for index, value in enumerate(PEDALS):
        start = 8.0 * index
        notes.append((start + 0.1, start + 0.6, 48, 80, 0))
        controls += [(start, 64, value, 0), (start + 4.0, 64, 0, 0)]
    sound = heard(Performance(notes, controls), engine)
    return [
        round(level(sound, 8.0 * i + 1.4, 0.1) - level(sound, 8.0 * i + 0.2, 0.1), 1)
        for i in range(len(PEDALS))
    ]


def table(result: dict[str, object]) -> str:
    lines = [f"{'music':32} {'seconds':>8} {'notes':>7} {'CPU s':>7} {'x real':>7} {'MB':>6}"]
    for row in result["speed"]:
        lines.append(
            f"{row['music'][:32]:32} {row['seconds']:8} {row['notes']:7} {row['cpu_seconds']:7} "
            f"{row['times_real_time']:7} {row['peak_memory_mb']:6}"
        )
    for title, header, rows in (
        ("velocity, dB below 127", VELOCITIES, result["ladder_db"]),
        ("pedal held at, fall in dB", PEDALS, result["pedal_db"]),
    ):
        lines += ["", f"{title:26}" + "".join(f"{value:8}" for value in header)]
        for engine, values in rows.items():
            lines.append(f"{engine:26}" + "".join(f"{value:8}" for value in values))
    return "\n".join(lines)


def performances(paths: list[Path]) -> dict[str, Performance]:
    if not paths:
        return {"dense study": study(120)}
    return {path.stem: read_midi(path) for path in paths}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("files", nargs="*", type=Path)
    parser.add_argument("--hour", action="store_true")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    music = performances(options.files)
    if options.hour:
        music["an hour"] = study(3600, 8.0)
    engines = ["sampler"] + (["fluidsynth"] if shutil.which("fluidsynth") else [])
    result = {
        "speed": [speed(performance, name) for name, performance in music.items()],
        "ladder_db": {engine: ladder(engine) for engine in engines},
        "pedal_db": {engine: probe(engine) for engine in engines},
        "machine": {"cpu": platform.processor() or platform.machine(), "cores": os.cpu_count()},
        "versions": {
            "python": platform.python_version(),
            "numpy": np.__version__,
            "soundfile": soundfile.__version__,
            "libsndfile": soundfile.__libsndfile_version__,
        },
    }
    print(table(result), file=sys.stderr)
    if options.json:
        options.json.write_text(json.dumps(result, indent=2) + "\n")
    else:
        print(json.dumps(result))


if __name__ == "__main__":
    main()
