"""Voices to samples, window by window, so that memory does not grow with the music."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from espressivo.audio.dampers import SILENCE
from espressivo.audio.files import BLOCK
from espressivo.audio.piano import SCALE, Piano, Sample
from espressivo.audio.voices import RESTRIKE_T60, Plan, plan
from espressivo.performance import Performance

Array = NDArray[Any]

STRIDE = 128
"""Frames between the corners of an envelope; it is straight in between."""


def sampled(performance: Performance, rate: int) -> Iterator[Array]:
    """Play on the bundled piano: dry float32 blocks [2, 65536] until the last voice is silent."""
    piano = Piano(rate)
    yield from _Mixer(plan(performance, piano), piano).blocks()


class _Mixer:
    """Adds the voices that sound in each window; buffers are made once."""

    def __init__(self, plan: Plan, piano: Piano) -> None:
        self._voices, self._dampers = plan
        self._piano = piano
        self._first = np.rint(self._voices["onset"] * piano.rate).astype(np.int64)
        self._frames = np.ceil(self._voices["seconds"] * piano.rate).astype(np.int64)
        self._voice = np.empty((2, BLOCK), np.float32)
        self._scratch = np.empty((2, BLOCK), np.float32)
        rising = np.arange(STRIDE, dtype=np.float32) / STRIDE
        self._line = np.stack([1 - rising, rising])

    def blocks(self) -> Iterator[Array]:
        """Give window after window."""
        sounding: list[int] = []
        following, start = 0, 0
        while sounding or following < len(self._voices):
            mix = np.zeros((2, BLOCK), np.float32)
            upto = int(np.searchsorted(self._first, start + BLOCK))
            sounding += range(following, upto)
            following = upto
            sounding = [voice for voice in sounding if self._add(voice, mix, start)]
            yield mix
            start += BLOCK

    def _add(self, index: int, mix: Array, start: int) -> bool:
        """Mix what voice `index` sounds in the window from frame `start`; is there more?"""
        voice = self._voices[index]
        sample = self._piano.sample(int(voice["zone"]), int(voice["key"]))
        first = int(self._first[index])
        gain = float(max(voice["left"], voice["right"]))
        end = first + min(int(self._frames[index]), sample.audible(gain))
        begin, stop = max(first, start), min(end, start + BLOCK)
        if stop > begin:
            part = self._cut(sample, begin - first, stop - first, voice)
            self._shape(part, voice, begin, stop)
            mix[:, begin - start : stop - start] += part
        return end > start + BLOCK

    def _cut(self, sample: Sample, begin: int, stop: int, voice: Any) -> Array:
        """Take frames begin..stop of a sample at the voice's loudness and brightness."""
        part = self._voice[:, : stop - begin]
        gains = np.array([[voice["left"]], [voice["right"]]], np.float32)
        np.multiply(sample.whole[:, begin:stop], gains * np.float32(SCALE), out=part)
        high = sample.high[:, begin:stop]
        if high.shape[1] and abs(voice["shelf"]) > 0.01:
            scratch = self._scratch[:, : high.shape[1]]
            np.multiply(high, gains * np.float32(voice["shelf"] * SCALE), out=scratch)
            part[:, : high.shape[1]] += scratch
        return part

    def _shape(self, part: Array, voice: Any, begin: int, stop: int) -> None:
        """Let dampers and a new hammer quieten the frames begin..stop of the piece."""
        rate = self._piano.rate
        changes = min(float(voice["release"]), float(voice["restrike"]))
        quiet = max(begin, int(min(changes * rate, stop)) // STRIDE * STRIDE)
        if quiet >= stop or (voice["damping"] == 0 and stop <= voice["restrike"] * rate):
            return
        corner = quiet // STRIDE * STRIDE
        times = np.arange(corner, stop + STRIDE, STRIDE) / rate
        loss = np.maximum(times - voice["restrike"], 0) * (SILENCE / RESTRIKE_T60)
        if voice["damping"] > 0:
            damper = self._dampers[int(voice["track"])]
            contact = damper.until(times) - damper.until(voice["release"])
            loss += voice["damping"] * np.maximum(contact, 0)
        gain = np.exp(-loss).astype(np.float32)
        lines = np.stack([gain[:-1], gain[1:]], axis=1) @ self._line
        part[:, quiet - begin :] *= lines.ravel()[quiet - corner : stop - corner]
