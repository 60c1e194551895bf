"""A small room around the piano: decaying noise as its response, convolved in blocks."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from espressivo.audio.files import BLOCK

Array = NDArray[Any]

SECONDS = 1.3
DELAY_SECONDS = 0.008
_BANDS_HZ = (120.0, 500.0, 2000.0, 8000.0)
_T60 = (1.3, 1.1, 0.9, 0.5)
_SEED = 20180212


def response(rate: int) -> Array:
    """Make the room's answer to a click: float32 [2, frames], 1.3 s, each side of energy 1.

    The same noise for the same rate, duller as it fades: reverberation times 1.3 s at 120 Hz,
    1.1 s at 500 Hz, 0.9 s at 2 kHz and 0.5 s at 8 kHz. Below 120 Hz the room is silent.
    """
    frames = min(int(SECONDS * rate), BLOCK)
    noise = np.fft.rfft(np.random.default_rng(_SEED).standard_normal((2, frames)))
    frequency = np.fft.rfftfreq(frames, 1 / rate)
    octave = np.log2(np.maximum(frequency, 1.0))
    centres = np.log2(_BANDS_HZ)
    time = np.arange(frames) / rate
    answer = np.zeros((2, frames))
    for band, t60 in enumerate(_T60):
        weight = np.interp(octave, centres, np.eye(len(centres))[band])
        weight *= np.clip((octave - centres[0] + 1), 0, 1)
        weight /= np.sqrt(np.maximum(frequency, 120.0) / 120.0)
        answer += np.fft.irfft(noise * weight, frames) * np.exp(-np.log(1000) / t60 * time)
    delay = int(DELAY_SECONDS * rate)
    answer = np.pad(answer, ((0, 0), (delay, 0)))[:, :frames]
    fade = frames // 10
    answer[:, -fade:] *= np.linspace(1, 0, fade)
    answer /= np.sqrt((answer**2).sum(axis=1, keepdims=True))
    return np.asarray(answer, np.float32)


def placed(blocks: Iterable[Array], rate: int, room: float, width: float) -> Iterator[Array]:
    """Set a stereo recording [2, 65536] in a room, and narrow or widen it.

    `room` is the level of the room beside the instrument (0: none), `width` that of the
    difference between left and right (0: mono, 1: as recorded). The room rings on to its end.
    """
    wide = (_widened(block, width) for block in blocks)
    return _reverberant(wide, response(rate), room) if room > 0 else wide


def _widened(block: Array, width: float) -> Array:
    middle = block.mean(axis=0)
    side = (block[0] - block[1]) * np.float32(width / 2)
    return np.stack([middle + side, middle - side])


def _reverberant(blocks: Iterable[Array], answer: Array, room: float) -> Iterator[Array]:
    """Overlap and save: each transform spans the block before and this one."""
    spectrum = np.fft.rfft(answer, 2 * BLOCK) * np.float32(room)
    heard = np.zeros(2 * BLOCK, np.float32)
    for block in blocks:
        heard[:BLOCK] = heard[BLOCK:]
        heard[BLOCK:] = block.mean(axis=0)
        yield block + _answered(heard, spectrum)
    heard[:BLOCK] = heard[BLOCK:]
    heard[BLOCK:] = 0
    yield _answered(heard, spectrum)


def _answered(heard: Array, spectrum: Array) -> Array:
    return np.asarray(np.fft.irfft(np.fft.rfft(heard) * spectrum, 2 * BLOCK)[:, BLOCK:])
