"""Recordings at another pitch, and their upper part alone, as products with small matrices.

If q input frames last as long as p output frames, the weights of p outputs repeat for every
stretch of q inputs. Band-limited interpolation is then a matrix product, which is what a
processor is best at; the matrix is a narrow band, so it is taken 48 outputs at a time.
"""

from __future__ import annotations

import functools
from typing import Any, NamedTuple

import numpy as np
from numpy.lib.stride_tricks import as_strided
from numpy.typing import NDArray

Array = NDArray[Any]

TAPS = 32
TOLERANCE = 2 ** (0.2 / 1200) - 1
"""Largest error of a ratio: a fifth of a cent."""

_OUTPUTS = 48
_LEAST_INPUTS = 112
_DISTANCE = np.linspace(0, TAPS / 2, 256 * TAPS + 1)
_INTERPOLATION = np.sinc(_DISTANCE) * np.kaiser(512 * TAPS + 1, 6.0)[256 * TAPS :]


class Kernel(NamedTuple):
    """Weights that turn each `inputs` frames into `outputs`, in bands of 48 outputs.

    `bands` are (first row, weights [rows, up to 48]); row 0 lies `reach` frames before the
    stretch.
    """

    inputs: int
    outputs: int
    reach: int
    bands: tuple[tuple[int, Array], ...]


@functools.lru_cache(maxsize=256)
def kernels(step: float, corner: float) -> tuple[Kernel, Kernel]:
    """Make the weights for reading at `step` input frames per output frame, whole and high.

    The high part is what lies above `corner` (in cycles per input frame): zero-phase, half at the
    corner, falling below it with the square of the frequency.
    """
    outputs, inputs = ratio(step)
    cutoff = min(1.0, 1 / step)
    reach = int(np.ceil(TAPS / 2 / cutoff))
    position = np.arange(outputs) * (inputs / outputs)
    whole, high = [], []
    for first in range(0, outputs, _OUTPUTS):
        places = position[first : first + _OUTPUTS]
        row = int(places[0])
        rows = int(places[-1]) - row + 2 * reach + 1
        distance = np.abs((np.arange(rows) + row - reach)[:, None] - places)
        direct = np.interp(distance * cutoff, _DISTANCE, _INTERPOLATION, right=0.0) * cutoff
        low = np.exp(-2 * np.pi * corner * distance) * np.maximum(1 - (distance / reach) ** 2, 0)
        low *= direct.sum(axis=0) / low.sum(axis=0)
        whole.append((row, direct.astype(np.float32)))
        high.append((row, (direct - low).astype(np.float32)))
    shape = (inputs, outputs, reach)
    return Kernel(*shape, tuple(whole)), Kernel(*shape, tuple(high))


def ratio(step: float) -> tuple[int, int]:
    """Find the least p outputs and q >= 112 inputs with q / p within 0.2 cent of `step`."""
    first = int(np.ceil(_LEAST_INPUTS / step))
    enough = int(np.ceil(0.5 / (TOLERANCE * step)))  # here rounding alone is within tolerance
    outputs = np.arange(first, max(first, enough) + 1)
    inputs = np.rint(outputs * step)
    best = int(np.argmax(np.abs(inputs / outputs / step - 1) <= TOLERANCE))
    return int(outputs[best]), int(inputs[best])


def resampled(recorded: Array, kernel: Kernel) -> Array:
    """Read float32 [channels, frames] through a kernel; both begin at the same moment."""
    channels, frames = recorded.shape
    stretches = -(-frames // kernel.inputs)
    longest = max(row + len(weights) for row, weights in kernel.bands)
    padded = np.zeros((channels, (stretches - 1) * kernel.inputs + longest), np.float32)
    inside = padded[:, kernel.reach : kernel.reach + frames]
    inside[:] = recorded[:, : inside.shape[1]]
    played = np.empty((channels, stretches, kernel.outputs), np.float32)
    frame = padded.strides[1]
    for side, into in zip(padded, played, strict=True):
        for band, (row, weights) in enumerate(kernel.bands):
            shape = (stretches, len(weights))
            windows = as_strided(side[row:], shape, (frame * kernel.inputs, frame))
            first = band * _OUTPUTS
            np.matmul(windows, weights, out=into[:, first : first + _OUTPUTS])
    return played.reshape(channels, -1)
