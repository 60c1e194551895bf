"""What plays a model: tokens in, logits of the next token out, with explicit memory."""

from __future__ import annotations

from typing import Protocol, Self

import numpy as np
from numpy.typing import NDArray

Tokens = NDArray[np.integer]
Logits = NDArray[np.float32]
Weights = dict[str, NDArray[np.floating]]

ALIGNMENT = 16
"""Every matrix of a `Slab` starts at a multiple of this many numbers: one cache line."""


class State(Protocol):
    """What an engine remembers of the tokens it has read; one thread at a time may use it."""

    @property
    def batch(self) -> int:
        """How many sequences it follows."""
        ...

    @property
    def length(self) -> int:
        """How many tokens of each sequence it has read."""
        ...

    def fork(self, count: int) -> Self:
        """Give `count` independent copies of every sequence, next to each other."""
        ...

    def select(self, rows: NDArray[np.integer]) -> Self:
        """Give independent copies of the sequences `rows`, in that order."""
        ...


class Engine(Protocol):
    """A network with its weights, ready to play.

    Law: it gives the same logits as the model its weights were trained in, to 1e-4 in float32,
    through prefill, single steps and forks. Every array of logits is the caller's to keep.
    """

    vocabulary_size: int
    context: int | None
    """The most tokens a state can hold; None for any number."""

    def start(self, batch: int) -> State:
        """Give the memory of having read nothing, for `batch` sequences."""
        ...

    def read(self, tokens: Tokens, state: State) -> Logits:
        """Read tokens [batch, time] into the state; give the logits [batch, v] after the last.

        Memory beyond the state's own is bounded, however long the primer.
        """
        ...

    def step(self, tokens: Tokens, state: State) -> Logits:
        """Read one token of each sequence, [batch]; give the logits [batch, v] after it."""
        ...


def check_tokens(tokens: Tokens, state: State, dimensions: int, vocabulary_size: int) -> None:
    """Refuse tokens of the wrong shape or outside the vocabulary."""
    if tokens.ndim != dimensions or tokens.shape[0] != state.batch or not tokens.size:
        wanted = f"[{state.batch}]" if dimensions == 1 else f"[{state.batch}, at least 1]"
        raise ValueError(f"tokens have shape {list(tokens.shape)}; this state needs {wanted}")
    low, high = int(tokens.min()), int(tokens.max())
    if low < 0 or high >= vocabulary_size:
        wrong = low if low < 0 else high
        raise ValueError(f"token {wrong} is outside the vocabulary 0 to {vocabulary_size - 1}")


class Slab:
    """Many float32 matrices in one piece of memory, as large pages read faster than small ones."""

    def __init__(self, arrays: dict[str, NDArray[np.floating]]) -> None:
        """Copy the arrays, one behind the other."""
        sizes = [-(-array.size // ALIGNMENT) * ALIGNMENT for array in arrays.values()]
        buffer = np.zeros(sum(sizes) + ALIGNMENT, np.float32)
        at = -(buffer.ctypes.data // buffer.itemsize) % ALIGNMENT
        self.bytes = 4 * sum(array.size for array in arrays.values())
        self._views: dict[str, Logits] = {}
        for (name, array), size in zip(arrays.items(), sizes, strict=True):
            self._views[name] = buffer[at : at + array.size].reshape(array.shape)
            self._views[name][...] = array
            at += size

    def __getitem__(self, name: str) -> Logits:
        """Give the stored matrix."""
        return self._views[name]
