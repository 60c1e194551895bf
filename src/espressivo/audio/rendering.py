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

RATE = 44_100
ROOM = 0.18
WIDTH = 0.8
PEAK = 10 ** (-1 / 20)
"""The largest sample of a finished file: -1 dBFS."""

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
    files.format_of(path)
    if not path.parent.is_dir():
        raise AudioError(f"cannot write {path}: there is no folder {path.parent}")
    try:
        with tempfile.SpooledTemporaryFile(_SPOOL_BYTES, dir=path.parent) as spool:
            blocks = samples(performance, engine=engine, room=room, width=width, rate=rate)
            frames, peak = _spool(blocks, spool)
            gain = PEAK / peak if peak > 0 else 1.0
            files.write(path, _unspool(spool, gain), rate, _credited(tags, engine))
    except OSError as error:
        raise AudioError(f"cannot write {path}: {error}") from error
    return Rendering(path, frames / rate, rate, 20 * float(np.log10(gain)))


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
    with tempfile.SpooledTemporaryFile(_SPOOL_BYTES) as spool:
        blocks = samples(performance, engine=engine, room=room, width=width, rate=rate)
        _, peak = _spool(blocks, spool)
        gain = PEAK / peak if peak > 0 else 1.0
        return files.encode(_unspool(spool, gain), rate, _credited(tags, engine), format)


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
    return tags._replace(copyright=tags.copyright or CREDIT) if engine == "sampler" else tags


def _spool(blocks: Iterable[Array], spool: IO[bytes]) -> tuple[int, float]:
    """Keep everything until the loudest sample is known; give frames and peak."""
    frames, peak = 0, 0.0
    for block in blocks:
        peak = max(peak, float(block.max()), -float(block.min()))
        frames += len(block)
        spool.write(block.tobytes())
    return frames, peak


def _unspool(spool: IO[bytes], gain: float) -> Iterator[Array]:
    spool.seek(0)
    while content := spool.read(BLOCK * 8):
        yield np.frombuffer(content, np.float32).reshape(-1, 2) * np.float32(gain)
