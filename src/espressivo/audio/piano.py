"""The bundled piano: its recordings at every key, tuned, split for timbre and kept at hand."""

from __future__ import annotations

import functools
from collections import OrderedDict
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from espressivo.audio.soundfont import SoundFont, Zone
from espressivo.errors import AudioError

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

BRIGHTNESS_DB = (-51.0, -40.5, -35.0, -29.5, -25.5, -22.0)
"""Share of the sound above 2 kHz in each velocity layer, mean over the keys up to C5."""

CACHE_BYTES = 256 * 2**20
INAUDIBLE = 1e-4
"""A voice ends where it will not rise above this again; full scale is 1."""

LEVEL_BLOCK = 1024
HIGH_SECONDS, FADE_SECONDS = 2.5, 0.5
TUNING = 2 ** (0.3 / 1200) - 1
"""Largest error of a resampling ratio: 0.3 cent."""


class Sample(NamedTuple):
    """One key in one layer at the output rate, two channels of int16 to be multiplied by `scale`.

    `high` is the part above the corner of a first-order shelf, for as long as it matters: adding
    some of it brightens, taking some away darkens. `levels` falls: the largest value from each
    block of 1,024 frames to the end.
    """

    whole: Array
    high: Array
    scale: float
    high_scale: float
    levels: Array

    @property
    def bytes(self) -> int:
        """Memory taken."""
        return int(self.whole.nbytes + self.high.nbytes + self.levels.nbytes)

    def audible(self, gain: float) -> int:
        """Count the frames until the rest, multiplied by `gain`, is too soft to hear."""
        blocks = np.searchsorted(-self.levels, -INAUDIBLE / max(gain, 1e-9))
        return min(int(blocks) * LEVEL_BLOCK, self.whole.shape[1])


class Piano:
    """Samples by preset, zone and key at one output rate, resampled when first needed.

    Keeps the most recently used ones, up to 256 MB.
    """

    def __init__(self, rate: int, path: Path = PIANO) -> None:
        """Open the SoundFont at `path`; raises AudioError if it cannot be read."""
        if not 8_000 <= rate <= 192_000:
            raise AudioError(f"rate={rate} is outside 8000..192000 Hz; try 44100")
        self.rate = rate
        self._font = SoundFont(path)
        self._zones = {p: self._font.zones(*p) for p in (GRAND, KEY_NOISE, PEDAL_NOISE)}
        self._kept: OrderedDict[tuple[int, ...], tuple[float, Sample]] = OrderedDict()
        self._bytes = 0

    def zone_of(self, preset: tuple[int, int], keys: Array, velocities: Array) -> Array:
        """Give the index of the zone that serves each key at each velocity."""
        table = np.zeros((128, 128), dtype=np.int64)
        for index, zone in enumerate(self._zones[preset]):
            (low, high), (soft, loud) = zone.keys, zone.velocities
            table[low : high + 1, soft : loud + 1] = index
        return table[keys, velocities]

    def shelf(self, zones: Array, velocities: Array) -> Array:
        """Give how much of the high part to add, -1..., so that timbre follows velocity smoothly.

        The brightness wanted lies on a line through the layers, each right at its middle; the
        layer chosen supplies the nearest one and a shelf the rest.
        """
        grand = self._zones[GRAND]
        layers = sorted({zone.velocities for zone in grand})
        middles = np.array([(max(low, 1) + high) / 2 for low, high in layers])
        db = np.interp(np.arange(len(layers)), np.arange(6), BRIGHTNESS_DB)
        layer = np.array([layers.index(zone.velocities) for zone in grand])[zones]
        if len(layers) == 1:
            return np.zeros(len(layer))
        left = np.clip(np.searchsorted(middles, velocities) - 1, 0, len(layers) - 2)
        slope = (db[left + 1] - db[left]) / (middles[left + 1] - middles[left])
        wanted = db[left] + slope * (velocities - middles[left])
        return np.asarray(10 ** ((wanted - db[layer]) / 20) - 1)

    def sample(self, preset: tuple[int, int], index: int, key: int, seconds: float) -> Sample:
        """Give at least the first `seconds` of a zone tuned to a key, or all there is."""
        name = (*preset, index, key)
        if name in self._kept:
            length, sample = self._kept[name]
            if length >= seconds:
                self._kept.move_to_end(name)
                return sample
            self._bytes -= self._kept.pop(name)[1].bytes
        zone = self._zones[preset][index]
        sample = self._tuned(zone, key if zone.follows_key else zone.root, seconds)
        complete = sample.whole.shape[1] < seconds * self.rate
        self._kept[name] = (float("inf") if complete else seconds, sample)
        self._bytes += sample.bytes
        while self._bytes > CACHE_BYTES and len(self._kept) > 1:
            self._bytes -= self._kept.popitem(last=False)[1][1].bytes
        return sample

    def _tuned(self, zone: Zone, key: int, seconds: float) -> Sample:
        step = zone.rate / self.rate * 2 ** ((key - zone.root + zone.cents / 100) / 12)
        frames = int(seconds * self.rate * step) + 64
        recorded = self._font.decode(zone, frames)
        if recorded.shape[1] == frames:
            fade = min(frames, 256)
            recorded[:, frames - fade :] *= np.linspace(1, 0, fade, dtype=np.float32)
        corner = min(max(1000.0, 3 * 440 * 2 ** ((key - 69) / 12)), 7000.0)
        whole, high = resampled(recorded, step, corner / self.rate)
        high = high[:, : int((HIGH_SECONDS + FADE_SECONDS) * self.rate)]
        late = max(0, high.shape[1] - int(HIGH_SECONDS * self.rate))
        high[:, high.shape[1] - late :] *= np.linspace(1, 0, late, dtype=np.float32)
        return _packed(whole, high)


def resampled(recorded: Array, step: float, corner: float) -> tuple[Array, Array]:
    """Read [channels, frames] `step` input frames at a time, band-limited, within 0.3 cent.

    Also gives the same after a first-order high-pass with its corner at `corner` cycles per
    output frame. One Fourier transform in, two out.
    """
    frames = recorded.shape[1]
    before, after = lengths(frames + 256, step)
    spectrum = np.fft.rfft(recorded, before)[:, : min(before, after) // 2 + 1]
    spectrum *= np.float32(after / before)
    count = min(int(frames / step) + 1, after)
    whole = np.fft.irfft(spectrum, after)[:, :count]
    ramp = np.arange(spectrum.shape[1], dtype=np.float32) * np.float32(1 / (after * corner))
    spectrum *= (1j * ramp / (1 + 1j * ramp)).astype(np.complex64)
    return whole, np.fft.irfft(spectrum, after)[:, :count]


@functools.lru_cache(maxsize=4096)
def lengths(frames: int, step: float) -> tuple[int, int]:
    """Choose transform lengths, the first at least `frames`, whose ratio is `step`.

    Only lengths without a prime factor above 11 are fast; of the pairs within 0.3 cent the
    shortest is taken, and the truest one if there is none.
    """
    numbers = _smooth_numbers()
    first = np.searchsorted(numbers, frames)
    before = numbers[first : np.searchsorted(numbers, frames * 1.3 + 64)]
    near = np.searchsorted(numbers, before / step)
    near = np.clip(np.stack([near - 1, near]), 0, len(numbers) - 1)
    after = numbers[near]
    error = np.abs(before / after / step - 1)
    cost = np.where(error <= TUNING, before + after, np.inf)
    best = np.argmin(cost if np.isfinite(cost).any() else error)
    return int(before[best % len(before)]), int(after.flat[best])


@functools.lru_cache(maxsize=1)
def _smooth_numbers() -> Array:
    """List the even numbers below 16 million without a prime factor above 11."""
    numbers = np.array([2], dtype=np.int64)
    for prime in (2, 3, 5, 7, 11):
        powers = prime ** np.arange(0, 24 / np.log2(prime))
        numbers = np.outer(numbers, powers.astype(np.int64)).ravel()
        numbers = numbers[numbers < 2**24]
    return np.sort(numbers)


def _packed(whole: Array, high: Array) -> Sample:
    """Round to int16, and note how loud it still gets from each block on."""
    pad = -whole.shape[1] % LEVEL_BLOCK
    peaks = np.pad(np.abs(whole).max(axis=0), (0, pad)).reshape(-1, LEVEL_BLOCK).max(axis=1)
    levels = np.maximum.accumulate(peaks[::-1])[::-1]
    audible = int((levels > INAUDIBLE).sum()) * LEVEL_BLOCK
    whole, high, levels = whole[:, :audible], high[:, :audible], levels[: audible // LEVEL_BLOCK]
    scales = [float(np.abs(part).max(initial=1e-6)) / 32767 for part in (whole, high)]
    packed = [
        np.rint(part * np.float32(1 / scale)).astype(np.int16)
        for part, scale in zip((whole, high), scales, strict=True)
    ]
    return Sample(packed[0], packed[1], scales[0], scales[1], levels)
