"""How well a model predicts performances: nats per token, per note and per second."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

import numpy as np
import torch
from torch.nn import functional as F

from espressivo.codecs import Codec
from espressivo.corpora import Window
from espressivo.errors import CorpusError
from espressivo.models import Model


@dataclass(frozen=True)
class Likelihood:
    """Summed nats and what they were spent on; ratios are over all windows, not their mean."""

    nats: float
    tokens: int
    notes: int
    seconds: float
    windows: int

    @property
    def per_token(self) -> float:
        """Nats per token; comparable within one vocabulary only."""
        return self.nats / self.tokens

    @property
    def per_note(self) -> float:
        """Nats per note struck; comparable between vocabularies."""
        return self.nats / max(self.notes, 1)

    @property
    def per_second(self) -> float:
        """Nats per second of music; comparable between vocabularies."""
        return self.nats / max(self.seconds, 1e-9)


@torch.no_grad()
def likelihood(
    model: Model, codec: Codec, windows: Iterable[Window], batch: int = 4
) -> Likelihood:
    """Evaluate on fixed windows (see `corpora.evaluation_windows`), without dropout."""
    vocabulary = codec.vocabulary
    on, shift = vocabulary.ids("note_on"), vocabulary.ids("shift")
    one_second = codec.decoder()
    one_second.push(codec.start)
    per_step = one_second.time / len(shift)
    nats, tokens, notes, steps, count = 0.0, 0, 0, 0, 0
    was_training = model.training
    model.eval()
    for group in _batches(windows, batch):
        nats += float(_nats(model, group).sum())
        for window in group:
            targets = window.targets
            tokens += len(targets)
            notes += int(((targets >= on.start) & (targets < on.stop)).sum())
            shifts = targets[(targets >= shift.start) & (targets < shift.stop)]
            steps += int((shifts - shift.start + 1).sum())
            count += 1
    model.train(was_training)
    if not tokens:
        raise CorpusError("nothing to evaluate: the performances hold no notes")
    return Likelihood(nats, tokens, notes, steps * per_step, count)


def _nats(model: Model, group: Sequence[Window]) -> torch.Tensor:
    device = next(model.parameters()).device
    longest = max(len(window.targets) for window in group)
    inputs = np.zeros((len(group), longest), dtype=np.int64)
    targets = np.full((len(group), longest), -1, dtype=np.int64)
    for row, window in enumerate(group):
        inputs[row, : len(window.inputs)] = window.inputs
        targets[row, : len(window.targets)] = window.targets
    logits, _ = model(torch.from_numpy(inputs).to(device))
    return loss_of(logits, torch.from_numpy(targets).to(device), "none").double()


def loss_of(logits: torch.Tensor, targets: torch.Tensor, reduction: str = "mean") -> torch.Tensor:
    """Give the cross-entropy in nats; targets below zero count for nothing."""
    return F.cross_entropy(
        logits.float().flatten(0, -2), targets.flatten(), ignore_index=-1, reduction=reduction
    )


def _batches(windows: Iterable[Window], size: int) -> Iterator[list[Window]]:
    """Group windows of similar length, so that little is padded."""
    stream = iter(windows)
    while pool := list(islice(stream, size * 16)):
        pool.sort(key=lambda window: len(window.targets))
        yield from (pool[i : i + size] for i in range(0, len(pool), size))
