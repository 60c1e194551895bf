"""From a performance to a finished file: an engine, a room, one level, and a format."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import IO, Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from espressivo.audio import files
from espressivo.audio.files import BLOCK, Tags
from espressivo.audio.fluidsynth import fluidsynth
from espressivo.audio.piano import CREDIT
from espressivo.audio.room import placed
from espressivo.audio.sampler import sampled
from espressivo.errors import AudioError
from espressivo.performance import Performance

Array = NDArray[Any]

Engine = Literal["sampler", "fluidsynth"]
ENGINES: dict[str, Callable[[Performance, int], Iterator[Array]]] = {
    "sampler": sampled,
    "fluidsynth": fluidsynth,
}
"""What turns a performance into dry blocks [2, 65536] at a rate."""

RATE, RATES = 44_100, (8_000, 192_000)
ROOM = 0.18
WIDTH = 0.8
PEAK = 10 ** (-1 / 20)
"""The largest sample of a finished file: -1 dBFS."""

SILENT = 1e-5
"""A file ends with the last sample above this, before it is brought to its level."""

LONGEST_SECONDS = 6 * 3600.0
_SPOOL_BYTES = 64 * 2**20


class Rendering(NamedTuple):
    """What was written, in how many seconds of sound, at which gain to reach -1 dBFS."""

    path: Path
    seconds: float
    rate: int
    gain_db: float


def render(
    performance: Performance,
    path: str | Path,
    *,
    engine: Engine = "sampler",
    room: float = ROOM,
    width: float = WIDTH,
    rate: int = RATE,
    tags: Tags = Tags(),
) -> Rendering:
    """Write what was played as .wav, .flac, .ogg or .mp3, its loudest sample at -1 dBFS.

    Second zero of the file is second zero of the performance. An existing file is replaced, whole
    or not at all. Needs 0.4 MB of disk per second beside `path` while it works. Raises AudioError
    if the suffix is unknown, the engine is missing, or the file cannot be written.
    """
    path = Path(path)
    files.check(path, rate)
    blocks = samples(performance, engine=engine, room=room, width=width, rate=rate)
    try:
        with tempfile.SpooledTemporaryFile(_SPOOL_BYTES, dir=str(path.parent)) as spool:
            take = _spool(blocks, spool)
            files.write(path, _unspool(take), rate, _credited(tags, engine))
    except OSError as error:
        raise AudioError(f"cannot write {path}: {error.strerror or error}") from error
    return Rendering(path, take.frames / rate, rate, 20 * float(np.log10(take.gain)))


def encoded(
    performance: Performance,
    format: str = "mp3",
    *,
    engine: Engine = "sampler",
    room: float = ROOM,
    width: float = WIDTH,
    rate: int = RATE,
    tags: Tags = Tags(),
) -> bytes:
    """Give the file `render` would write, in memory: for a player in a page."""
    files.check_format(format, rate)
    blocks = samples(performance, engine=engine, room=room, width=width, rate=rate)
    with tempfile.SpooledTemporaryFile(_SPOOL_BYTES) as spool:
        return files.encode(_unspool(_spool(blocks, spool)), rate, _credited(tags, engine), format)


def samples(
    performance: Performance,
    *,
    engine: Engine = "sampler",
    room: float = ROOM,
    width: float = WIDTH,
    rate: int = RATE,
) -> Iterator[Array]:
    """Stream float32 blocks [65536, 2] as they are mixed, at their natural level.

    A fortissimo goes beyond 1.0: whoever plays these brings them to a level. `room` is the level
    of the room (0: dry), `width` that of the stereo image (0: mono, 1: as recorded). A
    performance without notes is a short silence.
    """
    if engine not in ENGINES:
        raise AudioError(f"unknown engine {engine!r}; use one of {', '.join(ENGINES)}")
    if not (0 <= room <= 4 and 0 <= width <= 2):
        raise AudioError(f"room={room} must be in 0..4 and width={width} in 0..2")
    if not RATES[0] <= rate <= RATES[1]:
        raise AudioError(f"rate={rate} Hz is outside {RATES[0]}..{RATES[1]}; try 44100")
    if performance.duration > LONGEST_SECONDS:
        hours = performance.duration / 3600
        raise AudioError(f"the performance lasts {hours:.1f} h; at most 6 h can be rendered")
    return _interleaved(placed(ENGINES[engine](performance, rate), rate, room, width))


def _interleaved(blocks: Iterable[Array]) -> Iterator[Array]:
    silent = True
    for block in blocks:
        silent = False
        yield np.ascontiguousarray(block.T)
    if silent:
        yield np.zeros((BLOCK, 2), np.float32)


def _credited(tags: Tags, engine: Engine) -> Tags:
    """Put the credit of the piano where there is room; mp3 keeps no copyright, only a comment."""
    if engine != "sampler":
        return tags
    return tags._replace(copyright=tags.copyright or CREDIT, comment=tags.comment or CREDIT)


class _Take(NamedTuple):
    """A whole piece set down, its length up to the last sound, and the gain it will get."""

    spool: IO[bytes]
    frames: int
    gain: float


def _spool(blocks: Iterable[Array], spool: IO[bytes]) -> _Take:
    """Keep everything until the loudest sample is known."""
    frames, heard, peak = 0, 0, 0.0
    for block in blocks:
        level = np.abs(block).max(axis=1)
        peak = max(peak, float(level.max(initial=0)))
        loud = np.flatnonzero(level > SILENT)
        heard = frames + int(loud[-1]) + 1 if len(loud) else heard
        frames += len(block)
        spool.write(block.tobytes())
    return _Take(spool, heard or frames, PEAK / peak if peak > 0 else 1.0)


def _unspool(take: _Take) -> Iterator[Array]:
    take.spool.seek(0)
    for start in range(0, take.frames, BLOCK):
        content = take.spool.read(min(BLOCK, take.frames - start) * 8)
        yield np.frombuffer(content, np.float32).reshape(-1, 2) * np.float32(take.gain)
