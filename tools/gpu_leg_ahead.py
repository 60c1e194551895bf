"""Training windows made ahead by other processes, the same ones in the same order."""

from __future__ import annotations

import multiprocessing
from collections import deque
from multiprocessing.pool import AsyncResult
from typing import Any

import numpy as np

from espressivo.corpora.batch import Sample

BLOCK = 16
"""Windows a process makes at a time."""

_windows: Any = None


class Ahead:
    """Windows to be asked for one after another; what is told beside them passes as float16.

    A model reads it in bfloat16, which is coarser.
    """

    def __init__(self, windows: Any, processes: int) -> None:
        """Start the processes; they import no torch."""
        context = multiprocessing.get_context("spawn")
        self._pool = context.Pool(processes, _begin, (windows,))
        self._most = 3 * processes
        self._coming: deque[tuple[int, AsyncResult[Any]]] = deque()
        self._block, self._samples = -1, []

    def sample(self, index: int) -> Sample:
        """Return window `index`."""
        block, within = divmod(index, BLOCK)
        if block != self._block:
            self._block, self._samples = block, self._made(block)
        return self._samples[within]

    def close(self) -> None:
        """End the processes."""
        self._pool.terminate()
        self._pool.join()

    def _made(self, block: int) -> list[Sample]:
        while self._coming and self._coming[0][0] != block:
            self._coming.popleft()
        after = self._coming[-1][0] + 1 if self._coming else block
        for number in range(after, block + self._most):
            self._coming.append((number, self._pool.apply_async(_make, (number,))))
        return [
            Sample(tokens.astype(np.int64), None if told is None else told.astype(np.float32))
            for tokens, told in self._coming.popleft()[1].get(timeout=120)
        ]


def _begin(windows: Any) -> None:
    global _windows
    _windows = windows


def _make(block: int) -> list[tuple[Any, Any]]:
    samples = [_windows.sample(index) for index in range(block * BLOCK, (block + 1) * BLOCK)]
    return [
        (sample.tokens.astype(np.int16),
         None if sample.controls is None else sample.controls.astype(np.float16))
        for sample in samples
    ]  # fmt: skip
