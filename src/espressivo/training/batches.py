"""A batch through a model."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from espressivo.corpora import Batch
from espressivo.models import Model


def predict(
    model: Model, batch: Batch, forward: Callable[..., Any] | None = None
) -> tuple[Tensor, Tensor]:
    """Give the logits for every token but the first, and those tokens, where the model is.

    `forward` is what to call in place of the model itself, such as its compiled form.
    """
    device = next(model.parameters()).device
    tokens = torch.from_numpy(batch.tokens).to(device)
    controls = None if batch.controls is None else torch.from_numpy(batch.controls).to(device)
    state = None
    if batch.source is not None:
        state = model.start(len(batch), torch.from_numpy(batch.source).to(device))
    logits, _ = (forward or model)(tokens[:, :-1].clamp(min=0), state, controls)
    return logits, tokens[:, 1:]
