"""Whatever the bytes, reading gives a performance or a MidiError, and soon.

Run this file as a program to fuzz for longer, here two minutes with seed 7 and at least one file:
`python tests/midi/test_fuzz.py 120 1 7`.
"""

from __future__ import annotations

import contextlib
import os
import random
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from espressivo.errors import MidiError
from espressivo.midi import events, fast, midi_bytes, read_midi, read_texts, salvage_midi
from espressivo.performance import Performance

SAMPLES = sorted((Path(__file__).parents[1] / "samples").glob("*.mid"))
TELLING = [0x00, 0x01, 0x2F, 0x40, 0x51, 0x7F, 0x80, 0x90, 0xB0, 0xC5, 0xE0, 0xF0, 0xF4, 0xF7, 0xFF]


def seeds(seconds: float = 3.0) -> list[bytes]:
    """Short excerpts, in our layout and in that of the samples."""
    excerpts = []
    for path in SAMPLES:
        raw = path.read_bytes()
        excerpts.append(midi_bytes(read_midi(raw).slice(20, 20 + seconds), text="a note"))
        start = raw.rindex(b"MTrk")
        body = raw[start + 8 : start + 8 + 500] + b"\x00\xff\x2f\x00"
        excerpts.append(raw[: start + 4] + len(body).to_bytes(4, "big") + body)
    return excerpts


def mutated(raw: bytes, rng: random.Random) -> bytes:
    """Damage a file in one to four places, as disks, downloads and bugs do."""
    content = bytearray(raw)
    for _ in range(rng.choice([1, 1, 1, 2, 4])):
        at = rng.randrange(rng.choice([30, len(content), len(content)])) % len(content)
        span = rng.randrange(1, 12)
        kind = rng.randrange(8)
        if kind < 3:
            content[at] = rng.choice(TELLING)
        elif kind == 3:
            content[at] ^= 1 << rng.randrange(8)
        elif kind == 4:
            del content[at : at + span]
        elif kind == 5:
            content[at:at] = bytes(rng.choice(TELLING) for _ in range(span))
        elif kind == 6:
            content[at:at] = content[at : at + 10 * span]
        else:
            del content[at:]
        content = content or bytearray(b"M")
    return bytes(content)


def check(raw: bytes) -> str:
    """Read damaged bytes in every way; anything but a result or a MidiError escapes."""
    try:
        rescued = salvage_midi(raw)
        assert isinstance(rescued.performance, Performance)
    except MidiError:
        rescued = None
    with contextlib.suppress(MidiError):
        read_texts(raw)
    try:
        performance = read_midi(raw)
    except MidiError:
        return "refused" if rescued is None else "salvaged"
    assert performance.duration <= 86_400
    assert len(read_midi(midi_bytes(performance))) == len(performance)
    return "read"


def outcomes(count: int, seed: int) -> Iterator[str]:
    rng = random.Random(seed)
    whole = seeds()
    for _ in range(count):
        yield check(mutated(rng.choice(whole), rng))


def test_damaged_files_give_a_performance_or_an_error():
    tally = Counter(outcomes(1000, seed=1))
    assert min(tally[kind] for kind in ("read", "salvaged", "refused")) > 50


def test_both_readers_agree_on_damaged_tracks():
    rng = random.Random(2)
    bodies = [raw[raw.rindex(b"MTrk") + 8 :] for raw in seeds(8.0)[::2]]
    vouched = 0
    for _ in range(1500):
        body = mutated(rng.choice(bodies), rng)
        quick = fast.read_track(body, 10_000) if len(body) > 256 else None
        if quick is not None:
            vouched += 1
            exact = events.read_track(body, 10_000)
            assert quick.end == exact.end
            assert [voice[:2] for voice in quick.voices] == [voice[:2] for voice in exact.voices]
            for one, other in zip(quick.voices, exact.voices, strict=True):
                columns = zip(one[2:], other[2:], strict=True)
                assert all((a == b).all() for a, b in columns)
    assert vouched > 100


def test_no_damage_ends_the_process():
    """In a process of its own, because a crash of the parser would take the tests with it."""
    program = f"import runpy; runpy.run_path({__file__!r}, run_name='__main__')"
    command = [sys.executable, "-c", program, "0", "100", "3"]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    assert "100 files" in done.stdout


def main(seconds: float, count: int, seed: int) -> None:
    """Fuzz for some seconds, and a number of files at least; print what happened."""
    tally: Counter[str] = Counter()
    begun, slowest = time.monotonic(), 0.0
    before = begun
    for outcome in outcomes(sys.maxsize, seed):
        tally[outcome] += 1
        now = time.monotonic()
        before, slowest = now, max(slowest, now - before)
        if now - begun > seconds and tally.total() >= count:
            break
    print(f"{tally.total()} files in {now - begun:.0f} s, slowest {slowest:.3f} s: {dict(tally)}")


if __name__ == "__main__":
    main(float(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
