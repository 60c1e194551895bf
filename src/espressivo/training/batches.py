"""A batch through a model."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from espressivo.corpora import Batch
from espressivo.models import Model


class Reading(nn.Module):
    """A model from its start through a batch in one call, as compiled and parallel models need."""

    def __init__(self, model: Model) -> None:
        """Share the weights of a model."""
        super().__init__()
        self.model = model

    def forward(
        self, tokens: Tensor, controls: Tensor | None = None, source: Tensor | None = None
    ) -> Tensor:
        """Return the nats of every token but the first, Float[b, t]; the state is dropped."""
        return self.model.nats(tokens, controls, source)


def nats_of(model: Model, batch: Batch, forward: Callable[..., Any] | None = None) -> Tensor:
    """Return the nats of every token of a batch but the first, Float[b, t], where the model is.

    `forward` is what to call in place of `Reading(model)`, such as its compiled form.
    """
    device = next(model.parameters()).device
    tokens = torch.from_numpy(batch.tokens).to(device)
    controls = None if batch.controls is None else torch.from_numpy(batch.controls).to(device)
    source = None if batch.source is None else torch.from_numpy(batch.source).to(device)
    nats: Tensor = (forward or Reading(model))(tokens, controls, source)
    return nats
