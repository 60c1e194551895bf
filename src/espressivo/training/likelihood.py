"""How well a model predicts performances: nats per token, per note and per second."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache
from itertools import islice
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional as F

from espressivo.codecs import Codec
from espressivo.configs import ModelConfig
from espressivo.corpora import Batch, Corpus, Window
from espressivo.errors import CorpusError
from espressivo.models import Model
from espressivo.training.batches import predict
from espressivo.training.windows import windows_of

TOKENS_AT_ONCE = {"cpu": 4_096, "cuda": 65_536}
"""Tokens that go through a model together in evaluation, which bounds the memory it takes."""


@dataclass(frozen=True)
class Likelihood:
    """Summed nats and what they were spent on; ratios are over all windows, not their mean."""

    nats: float = 0.0
    tokens: int = 0
    notes: int = 0
    seconds: float = 0.0
    windows: int = 0

    def __add__(self, other: Likelihood) -> Likelihood:
        """Give the likelihood of both sets of windows together."""
        return Likelihood(
            self.nats + other.nats,
            self.tokens + other.tokens,
            self.notes + other.notes,
            self.seconds + other.seconds,
            self.windows + other.windows,
        )

    @property
    def per_token(self) -> float:
        """Nats per token; comparable within one vocabulary only."""
        return self.nats / max(self.tokens, 1)

    @property
    def per_note(self) -> float:
        """Nats per note struck; comparable between vocabularies."""
        return self.nats / max(self.notes, 1)

    @property
    def per_second(self) -> float:
        """Nats per second of music; comparable between vocabularies."""
        return self.nats / max(self.seconds, 1e-9)

    def as_json(self) -> dict[str, Any]:
        """Give sums and ratios by name."""
        ratios = {name: getattr(self, name) for name in ("per_token", "per_note", "per_second")}
        return asdict(self) | ratios


def likelihood(model: Model, codec: Codec, windows: Iterable[Window]) -> Likelihood:
    """Evaluate on fixed windows, without dropout; CorpusError if they hold no token."""
    return together(one for _, one in each_likelihood(model, codec, windows))


def together(parts: Iterable[Likelihood]) -> Likelihood:
    """Add up the likelihoods of sets of windows; CorpusError if they hold no token."""
    total = sum(parts, Likelihood())
    if not total.tokens:
        raise CorpusError("nothing to evaluate: the performances hold no notes")
    return total


def each_likelihood(
    model: Model, codec: Codec, windows: Iterable[Window]
) -> Iterator[tuple[Window, Likelihood]]:
    """Evaluate window by window; they come back in another order, similar lengths together.

    Windows are taken a few dozen at a time, so any number of them needs little memory.
    """
    notes, seconds = _worth(codec)  # type: ignore[arg-type]  # codecs are frozen dataclasses
    at_once = TOKENS_AT_ONCE.get(next(model.parameters()).device.type, 4_096)
    stream = iter(windows)
    while pool := list(islice(stream, 64)):
        pool.sort(key=lambda window: len(window.targets))
        for group in _groups(pool, at_once):
            for window, nats in zip(group, _nats(model, group), strict=True):
                targets = window.targets
                yield (
                    window,
                    Likelihood(
                        nats,
                        len(targets),
                        int(notes[targets].sum()),
                        float(seconds[targets].sum()),
                        1,
                    ),
                )


def spread_windows(
    corpus: Corpus,
    split: str,
    codec: Codec,
    length: int,
    count: int,
    model: ModelConfig | None = None,
) -> list[Window]:
    """Choose at most `count` windows of a split for a model, spread over and within its pieces.

    The notes of all pieces are laid end to end, points are taken at equal distances, and the
    window each falls into is chosen: the same ones every time, long pieces more often.
    """
    pieces = corpus.split(split)
    ends = np.cumsum([corpus.pieces[i].notes for i in pieces])
    points = (np.arange(count) + 0.5) * float(ends[-1]) / count
    places = np.searchsorted(ends, points, side="right")
    chosen = []
    for place in np.unique(places):
        piece = pieces[place]
        notes = max(corpus.pieces[piece].notes, 1)
        performance = corpus.performance(piece)
        whole = list(windows_of([performance], codec, length, model))
        within = (points[places == place] - (ends[place] - notes)) / notes
        numbers = np.unique((within * len(whole)).astype(int))
        chosen += [whole[i]._replace(piece=piece) for i in numbers if i < len(whole)]
    return chosen


def loss_of(logits: torch.Tensor, targets: torch.Tensor, reduction: str = "mean") -> torch.Tensor:
    """Give the cross-entropy in nats; targets below zero count for nothing."""
    return F.cross_entropy(
        logits.float().flatten(0, -2), targets.flatten(), ignore_index=-1, reduction=reduction
    )


@torch.no_grad()
def _nats(model: Model, group: Sequence[Window]) -> list[float]:
    """Give the nats of every window of a group, padded on the right to the longest."""
    was_training = model.training
    model.eval()
    try:
        logits, targets = predict(model, Batch.of([window.sample for window in group]))
    finally:
        model.train(was_training)
    each = loss_of(logits, targets, "none")
    sums: list[float] = each.reshape(targets.shape).double().sum(1).tolist()
    return sums


def _groups(windows: Sequence[Window], tokens: int) -> Iterator[Sequence[Window]]:
    """Cut windows, the shortest first, into groups of at most so many tokens, or of one."""
    first = 0
    for place, window in enumerate(windows):
        if place > first and (place - first + 1) * len(window.targets) > tokens:
            yield windows[first:place]
            first = place
    yield windows[first:]


@lru_cache(maxsize=16)
def _worth(codec: Codec) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Give, for every id, the notes it strikes and the seconds it lets pass."""
    size = len(codec.vocabulary)
    notes, seconds = np.zeros(size, dtype=np.int64), np.zeros(size)
    for token in range(size):
        seconds[token] = codec.steps_of(token) / codec.steps_per_second
        notes[token] = codec.vocabulary.describe(token)[0] == "note_on"
    return notes, seconds
