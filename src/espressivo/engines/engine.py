"""What plays a model: tokens in, logits of the next token out, with explicit memory."""

from __future__ import annotations

from typing import Protocol, Self

import numpy as np
from numpy.typing import NDArray

Tokens = NDArray[np.integer]
Logits = NDArray[np.float32]
Controls = NDArray[np.floating]
Weights = dict[str, NDArray[np.floating]]


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

    @property
    def vocabulary_size(self) -> int:
        """How many different tokens there are."""
        ...

    @property
    def context(self) -> int | None:
        """The most tokens a state can hold; None for any number."""
        ...

    def start(self, batch: int, source: Tokens | None = None) -> State:
        """Give the memory of having read nothing, for `batch` sequences.

        `source` [batch, s], -1 padded, is what an encoder reads first; where there is none,
        TypeError.
        """
        ...

    def read(self, tokens: Tokens, state: State, controls: Controls | None = None) -> Logits:
        """Read tokens [batch, time] into the state; give the logits [batch, v] after the last.

        `controls` [batch, time, c] are what holds for the event after each token; None if unset.
        Memory beyond the state's own is bounded, however long the primer. Raises ValueError if
        the state would hold more than `context` tokens, and then leaves it as it was.
        """
        ...

    def step(self, tokens: Tokens, state: State, controls: Controls | None = None) -> Logits:
        """Read one token of each sequence, [batch]; give the logits [batch, v] after it.

        `controls` [batch, c] are what holds for the event after it.
        Raises ValueError if the state is full.
        """
        ...


def check_tokens(tokens: Tokens, state: State, dimensions: int, vocabulary_size: int) -> None:
    """Refuse tokens of the wrong shape or outside the vocabulary."""
    if tokens.ndim != dimensions or len(tokens) != state.batch or not tokens.size:
        wanted = f"[{state.batch}]" if dimensions == 1 else f"[{state.batch}, at least 1]"
        raise ValueError(f"tokens have shape {list(tokens.shape)}; this state needs {wanted}")
    every = tokens.ravel().tolist()  # for the few tokens of a step, faster than numpy
    low, high = min(every), max(every)
    if low < 0 or high >= vocabulary_size:
        wrong = low if low < 0 else high
        raise ValueError(f"token {wrong} is outside the vocabulary 0 to {vocabulary_size - 1}")


def refuse_source(engine: Engine, source: object) -> None:
    """Refuse what only an encoder could read."""
    if source is not None:
        raise TypeError(f"{type(engine).__name__} has no encoder; it starts without a source")


def refuse_controls(engine: Engine, controls: object) -> None:
    """Refuse what only a model trained with controls could follow."""
    if controls is not None:
        raise TypeError(f"{type(engine).__name__} plays a model without controls; give it none")


def check_controls(controls: Controls, tokens: Tokens, told: int) -> None:
    """Refuse controls that are not `told` numbers for every token."""
    if controls.shape != (*tokens.shape, told):
        raise ValueError(
            f"controls have shape {list(controls.shape)}; "
            f"these tokens and this model need {[*tokens.shape, told]}"
        )


def check_room(length: int, count: int, context: int | None) -> None:
    """Refuse to read `count` tokens more than fit behind `length`."""
    if context is not None and length + count > context:
        raise ValueError(
            f"{length} tokens read and {count} to come are more than the context of {context}; "
            f"start a new state from the last {context // 2}"
        )
