"""Nats of note events, also at the information of a coarser grid."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from espressivo.codecs import NoteEvents
from espressivo.codecs.coarse import Coarse
from espressivo.codecs.note_events import FIELDS
from espressivo.corpora import Batch, Window
from espressivo.corpora.batch import Sample, beside
from espressivo.models import Model, NoteTransformer
from espressivo.training.batches import nats_of


def event_nats(model: Model, codec: NoteEvents, group: Sequence[Window]) -> Float[Tensor, "b t"]:
    """Return the nats of every row of some windows, all of them coarse or none.

    Residuals of times, uniform within their classes, are paid for. Of coarse windows what the
    model gives to all classes of a cell counts together: see `codecs.coarse`.
    """
    batch = Batch.of(
        [Sample(window.sample.tokens[:, : len(FIELDS)], window.controls) for window in group]
    )
    if not group[0].coarse:
        residuals = beside([codec.residual_nats(window.targets) for window in group], 0.0)
        nats = nats_of(model, batch)
        paid: Tensor = nats + torch.from_numpy(residuals).to(nats)
        return paid
    assert isinstance(model, NoteTransformer)
    coarse = Coarse(codec)
    values = torch.from_numpy(beside([coarse.values(window.targets) for window in group], -1))
    device = next(model.parameters()).device
    tokens = torch.from_numpy(batch.tokens).to(device)
    controls = None if batch.controls is None else torch.from_numpy(batch.controls).to(device)
    hidden, _ = model(tokens[:, :-1], None, controls)
    total: Tensor = hidden.new_zeros(values.shape[:2], dtype=torch.float32)
    for field, logits in enumerate(model.field_logits(hidden, tokens[:, 1:])):
        classes, log_share = (table.to(device) for table in _cells(codec)[field])
        value = values[..., field].to(device)
        of_class = logits.float().log_softmax(-1)
        each = of_class.gather(-1, classes[value]) + log_share[value]
        total -= torch.where(value >= 0, each.logsumexp(-1), 0.0)
    return total


@lru_cache(maxsize=8)
def _cells(codec: NoteEvents) -> list[tuple[Tensor, Tensor]]:
    return [
        (torch.from_numpy(classes), torch.from_numpy(np.asarray(log_share)))
        for classes, log_share in Coarse(codec).cells
    ]
