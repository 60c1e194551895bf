"""The bundled piano: its recordings at every key, tuned, split for timbre and kept at hand."""

from __future__ import annotations

from collections import OrderedDict, defaultdict
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from espressivo.audio.resampling import kernels, resampled
from espressivo.audio.soundfont import SoundFont, Zone

Array = NDArray[Any]

DATA = Path(__file__).parent / "data"
PIANO = DATA / "salamander-compact.sf3"

CREDIT = (
    'Piano sound: adapted from "Salamander Grand Piano V3" by Alexander Holm '
    "(https://archive.org/details/SalamanderGrandPianoV3), licensed under CC BY 3.0 "
    "(https://creativecommons.org/licenses/by/3.0/). Changes were made."
)
"""The line to show wherever the bundled piano is heard; its licence asks for it."""

GRAND, KEY_NOISE, PEDAL_NOISE = (0, 0), (1, 1), (1, 2)
"""Bank and program of the three presets."""

CACHE_BYTES = 384 * 2**20
INAUDIBLE = 1e-4
"""A voice ends where it will not rise above this again; full scale is 1."""

SCALE = 1.25 / 32767
"""What one unit of a 16-bit sample is worth."""

LEVEL_BLOCK = 1024
HIGH_SECONDS, FADE_SECONDS = 2.0, 0.5


class Sample(NamedTuple):
    """One key in one layer at the output rate: two channels of int16 to be multiplied by `SCALE`.

    `high` is the part above the corner of a gentle shelf, for as long as it matters: adding some
    of it brightens, taking some away darkens. `levels` falls: the largest value from each block
    of 1,024 frames to the end, 1 being full scale.
    """

    whole: Array
    high: Array
    levels: Array

    @property
    def bytes(self) -> int:
        """Memory taken."""
        return int(self.whole.nbytes + self.high.nbytes + self.levels.nbytes)

    def audible(self, gain: float) -> int:
        """Count the frames until the rest, multiplied by `gain`, is too soft to hear."""
        return min(_audible(self.levels, gain), int(self.whole.shape[1]))


class Piano:
    """Samples by zone and key at one output rate, made when first needed.

    Keeps the most recently used ones, up to 384 MB.
    """

    def __init__(self, rate: int) -> None:
        """Open the bundled SoundFont."""
        self.rate = rate
        self._font = SoundFont(PIANO)
        self._zones: list[Zone] = []
        self._tables = {preset: self._table(preset) for preset in (GRAND, KEY_NOISE, PEDAL_NOISE)}
        self._expected: dict[int, dict[int, tuple[float, float]]] = defaultdict(dict)
        self._kept: OrderedDict[tuple[int, int], Sample] = OrderedDict()
        self._bytes = 0

    def zones(self, preset: tuple[int, int], keys: Array, velocities: Array) -> Array:
        """Give the number of the zone that serves each key at each velocity (whole, 1..127)."""
        return np.asarray(self._tables[preset][keys, velocities])

    def expect(self, zones: Array, keys: Array, seconds: Array, gains: Array) -> None:
        """Note for how long and how loud samples are going to be needed: the most of each."""
        columns = (zones.tolist(), keys.tolist(), seconds.tolist(), gains.tolist())
        for zone, key, length, gain in zip(*columns, strict=True):
            longest, loudest = self._expected[zone].get(key, (0.1, 0.0))
            self._expected[zone][key] = (max(longest, length), max(loudest, gain))

    def sample(self, zone: int, key: int) -> Sample:
        """Give a zone tuned to a key, as long as expected or as long as it can be heard."""
        if (zone, key) not in self._kept:
            self._make(zone)
        self._kept.move_to_end((zone, key))
        while self._bytes > CACHE_BYTES and len(self._kept) > 1:
            self._bytes -= self._kept.popitem(last=False)[1].bytes
        return self._kept[zone, key]

    def _table(self, preset: tuple[int, int]) -> Array:
        table = np.zeros((128, 128), dtype=np.int64)
        for zone in self._font.zones(*preset):
            (low, high), (soft, loud) = zone.keys, zone.velocities
            table[low : high + 1, soft : loud + 1] = len(self._zones)
            self._zones.append(zone)
        return table

    def _make(self, number: int) -> None:
        """Decode a zone once and make what is missing for every key that is going to need it."""
        zone, expected = self._zones[number], self._expected[number]
        missing = {key: _step(zone, key, self.rate) for key in expected}
        missing = {key: s for key, s in missing.items() if (number, key) not in self._kept}
        frames = {key: int(expected[key][0] * self.rate * s) + 64 for key, s in missing.items()}
        recorded = self._font.decode(zone, max(frames.values()))
        levels = _levels(recorded)
        for key, step in missing.items():
            audible = min(frames[key], _audible(levels, expected[key][1]))
            sample = _tuned(recorded[:, :audible], zone.rate, step, self.rate, key)
            self._kept[number, key] = sample
            self._bytes += sample.bytes


def _step(zone: Zone, key: int, rate: int) -> float:
    semitones = (key - zone.root if zone.follows_key else 0) + zone.cents / 100
    return float(zone.rate / rate * 2 ** (semitones / 12))


def _tuned(recorded: Array, recorded_rate: int, step: float, rate: int, key: int) -> Sample:
    """Read a recording at another speed, and split off the part above three times the pitch."""
    corner = min(max(1000.0, 3 * 440 * 2 ** ((key - 69) / 12)), 7000.0)
    whole, high = kernels(step, corner / recorded_rate)
    upper = int(HIGH_SECONDS * rate * step)
    samples = _rounded(resampled(_faded(recorded, int(0.01 * recorded_rate)), whole))
    split = _faded(recorded[:, :upper], int(FADE_SECONDS * recorded_rate))
    levels = _levels(samples) * SCALE
    return Sample(samples, _rounded(resampled(split, high)), levels)


def _faded(samples: Array, frames: int) -> Array:
    """Copy with the last `frames` (at most a half) let down to zero."""
    frames = min(frames, samples.shape[1] // 2)
    ramp = np.ones(samples.shape[1], np.float32)
    ramp[samples.shape[1] - frames :] = np.linspace(1, 0, frames, dtype=np.float32)
    return np.asarray(samples * ramp)


def _rounded(samples: Array) -> Array:
    samples *= np.float32(1 / SCALE)
    return np.rint(samples, out=samples).astype(np.int16)


def _levels(samples: Array) -> Array:
    """Give the largest value from each block of 1,024 frames to the end."""
    starts = np.arange(0, samples.shape[1], LEVEL_BLOCK)
    highest = np.maximum.reduceat(samples, starts, axis=1).max(axis=0)
    lowest = np.minimum.reduceat(samples, starts, axis=1).min(axis=0)
    peaks = np.maximum(highest.astype(np.float32), -lowest.astype(np.float32))
    return np.maximum.accumulate(peaks[::-1])[::-1]


def _audible(levels: Array, gain: float) -> int:
    threshold = INAUDIBLE / max(gain, 1e-9)
    return int(np.searchsorted(-levels, -threshold)) * LEVEL_BLOCK
