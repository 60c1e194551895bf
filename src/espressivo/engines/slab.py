"""Matrices laid side by side in one piece of memory, for reading once per token."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

Matrix = NDArray[np.float32]
ALIGNMENT = 16
"""Every array starts at a multiple of this many numbers: one cache line."""


def slab(arrays: Mapping[str, NDArray[np.floating]]) -> dict[str, Matrix]:
    """Copy arrays into one float32 buffer, one behind the other, and give back views of it.

    The system gives large buffers large pages, which are read faster than small ones.
    """
    sizes = [-(-array.size // ALIGNMENT) * ALIGNMENT for array in arrays.values()]
    buffer = np.zeros(sum(sizes) + ALIGNMENT, np.float32)
    at = -(buffer.ctypes.data // buffer.itemsize) % ALIGNMENT
    views: dict[str, Matrix] = {}
    for (name, array), size in zip(arrays.items(), sizes, strict=True):
        views[name] = buffer[at : at + array.size].reshape(array.shape)
        views[name][...] = array
        at += size
    return views
