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
        """Give the logits after every token; what the model remembers is dropped at once."""
        state = None if source is None else self.model.start(len(tokens), source)
        logits: Tensor = self.model(tokens, state, controls)[0]
        return logits


def predict(
    model: Model, batch: Batch, forward: Callable[..., Any] | None = None
) -> tuple[Tensor, Tensor]:
    """Give the logits for every token but the first, and those tokens, where the model is.

    `forward` is what to call in place of `Reading(model)`, such as its compiled form.
    """
    device = next(model.parameters()).device
    tokens = torch.from_numpy(batch.tokens).to(device)
    controls = None if batch.controls is None else torch.from_numpy(batch.controls).to(device)
    source = None if batch.source is None else torch.from_numpy(batch.source).to(device)
    logits = (forward or Reading(model))(tokens[:, :-1].clamp(min=0), controls, source)
    return logits, tokens[:, 1:]
