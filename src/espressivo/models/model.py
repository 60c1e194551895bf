"""Integers to logits, with explicit memory."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from espressivo.configs import ModelConfig


@runtime_checkable
class State(Protocol):
    """What a model remembers of the tokens it has read; opaque to callers."""

    length: int

    def fork(self, count: int) -> State:
        """Give `count` independent copies, batch entry by batch entry."""
        ...

    def select(self, rows: Int[Tensor, " n"]) -> State:
        """Give independent copies of the batch entries `rows`, in that order."""
        ...

    def detach(self) -> State:
        """Give the same memory with its gradient history cut off."""
        ...


class Model(nn.Module):
    """The definition of a network, for training; `espressivo.engines` plays the same weights.

    Law, for every model, within its context: cutting a sequence anywhere and threading the state
    gives the same logits.
    """

    config: ModelConfig
    vocabulary_size: int

    def start(self, batch: int, source: Int[Tensor, "b s"] | None = None) -> State:
        """Give the memory of having read nothing but, in an encoder, the source, -1 padded."""
        raise TypeError(f"{type(self).__name__} does not say how it starts")

    def forward(
        self,
        tokens: Int[Tensor, "b t"],
        state: State | None = None,
        controls: Float[Tensor, "b t c"] | None = None,
    ) -> tuple[Float[Tensor, "b t v"], State]:
        """Give the logits after every token, and the memory after the last.

        Row i of `controls` is what holds for the event that comes after token i.
        """
        raise TypeError(f"{type(self).__name__} does not say what it computes")

    def nats(
        self,
        tokens: Int[Tensor, "b t1 *f"],
        controls: Float[Tensor, "b t c"] | None = None,
        source: Int[Tensor, "b s"] | None = None,
    ) -> Float[Tensor, "b t"]:
        """Return the nats of every token but the first, 0 where it is -1.

        What training minimises the sum of; models over events of several fields say how.
        """
        state = None if source is None else self.start(len(tokens), source)
        logits, _ = self(tokens[:, :-1].clamp(min=0), state, controls)
        return cross_entropy(logits, tokens[:, 1:], "none").view(len(tokens), -1)


def cross_entropy(
    logits: Float[Tensor, "*b v"], targets: Int[Tensor, "*b"], reduction: str = "mean"
) -> Tensor:
    """Return the cross-entropy in nats, in float32; targets of -1 count for nothing."""
    return F.cross_entropy(
        logits.float().flatten(0, -2), targets.flatten(), ignore_index=-1, reduction=reduction
    )


def refuse_source(model: Model, source: object) -> None:
    """Refuse what only an encoder could read."""
    if source is not None:
        raise TypeError(f"{type(model).__name__} has no encoder; it starts without a source")


def refuse_controls(model: Model, controls: object) -> None:
    """Refuse what only a model trained with controls could follow."""
    if controls is not None:
        raise TypeError(f"{type(model).__name__} was made without controls; give it none")
