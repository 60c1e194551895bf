"""How well a model predicts performances: nats per token, per note and per second."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from functools import lru_cache
from itertools import islice
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from espressivo.codecs import Codec, NoteEvents
from espressivo.codecs.coarse import EVENTS_390
from espressivo.codecs.note_events import KIND
from espressivo.configs import ModelConfig
from espressivo.corpora import Batch, Corpus, Window
from espressivo.errors import CorpusError
from espressivo.models import Model
from espressivo.training.batches import nats_of
from espressivo.training.event_likelihood import event_nats
from espressivo.training.windows import windows_of

AnyCodec = Codec | NoteEvents

TOKENS_AT_ONCE = {"cpu": 4_096, "cuda": 65_536}
"""Tokens that go through a model together in evaluation, which bounds the memory it takes."""


@dataclass(frozen=True)
class Likelihood:
    """Summed nats and what they were spent on; ratios are over all windows, not their mean.

    `nats_390` of `notes_390` notes are at the information of the 390 events, where that is known:
    10 ms, 32 velocities, pedal on and off.
    """

    nats: float = 0.0
    tokens: int = 0
    notes: int = 0
    seconds: float = 0.0
    windows: int = 0
    nats_390: float = 0.0
    notes_390: int = 0

    def __add__(self, other: Likelihood) -> Likelihood:
        """Give the likelihood of both sets of windows together."""
        return Likelihood(
            self.nats + other.nats,
            self.tokens + other.tokens,
            self.notes + other.notes,
            self.seconds + other.seconds,
            self.windows + other.windows,
            self.nats_390 + other.nats_390,
            self.notes_390 + other.notes_390,
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

    @property
    def per_note_390(self) -> float | None:
        """Nats per note at the information of the 390 events; comparable between all models."""
        return self.nats_390 / self.notes_390 if self.notes_390 else None

    def as_json(self) -> dict[str, Any]:
        """Give sums and ratios by name."""
        names = ("per_token", "per_note", "per_second", "per_note_390")
        ratios = {name: getattr(self, name) for name in names}
        return asdict(self) | ratios


def likelihood(model: Model, codec: AnyCodec, windows: Iterable[Window]) -> Likelihood:
    """Evaluate on fixed windows, without dropout; CorpusError if they hold no token."""
    return together(one for _, one in each_likelihood(model, codec, windows))


def together(parts: Iterable[Likelihood]) -> Likelihood:
    """Add up the likelihoods of sets of windows; CorpusError if they hold no token."""
    total = sum(parts, Likelihood())
    if not (total.tokens or total.notes_390):
        raise CorpusError("nothing to evaluate: the performances hold no notes")
    return total


def each_likelihood(
    model: Model, codec: AnyCodec, windows: Iterable[Window]
) -> Iterator[tuple[Window, Likelihood]]:
    """Evaluate window by window; they come back in another order, similar lengths together.

    Windows are taken a few dozen at a time, so any number of them needs little memory.
    """
    at_once = TOKENS_AT_ONCE.get(next(model.parameters()).device.type, 4_096)
    stream = iter(windows)
    while pool := list(islice(stream, 64)):
        pool.sort(key=lambda window: (window.coarse, len(window.targets)))
        for group in _groups(pool, at_once):
            for window, nats in zip(group, _nats(model, codec, group), strict=True):
                yield window, _spent(codec, window, nats)


def _spent(codec: AnyCodec, window: Window, nats: float) -> Likelihood:
    """Return nats with what they were spent on."""
    targets = window.targets
    if isinstance(codec, NoteEvents):
        notes = int((targets[:, KIND] < 128).sum())
        if window.coarse:
            return Likelihood(nats_390=nats, notes_390=notes)
        seconds = float(codec.shifts(targets).sum()) / codec.steps_per_second
        return Likelihood(nats, len(targets), notes, seconds, 1)
    notes_of, seconds_of = _worth(codec)  # type: ignore[arg-type]  # codecs are frozen dataclasses
    notes = int(notes_of[targets].sum())
    likelihood = Likelihood(nats, len(targets), notes, float(seconds_of[targets].sum()), 1)
    if codec != EVENTS_390:
        return likelihood
    return replace(likelihood, nats_390=nats, notes_390=notes)


def spread_windows(
    corpus: Corpus,
    split: str,
    codec: AnyCodec,
    length: int,
    count: int,
    model: ModelConfig | None = None,
    told: Collection[str] | None = None,
    coarse: bool = False,
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
        whole = list(windows_of([performance], codec, length, model, told, coarse))
        within = (points[places == place] - (ends[place] - notes)) / notes
        numbers = np.unique((within * len(whole)).astype(int))
        chosen += [whole[i]._replace(piece=piece) for i in numbers if i < len(whole)]
    return chosen


@torch.no_grad()
def _nats(model: Model, codec: AnyCodec, group: Sequence[Window]) -> list[float]:
    """Return the nats of every window of a group, padded on the right to the longest."""
    was_training = model.training
    model.eval()
    try:
        if isinstance(codec, NoteEvents):
            each = event_nats(model, codec, group)
        else:
            each = nats_of(model, Batch.of([window.sample for window in group]))
    finally:
        model.train(was_training)
    sums: list[float] = each.double().sum(1).tolist()
    return sums


def _groups(windows: Sequence[Window], tokens: int) -> Iterator[Sequence[Window]]:
    """Cut windows, the shortest first, into groups of at most so many tokens, or of one.

    Coarse windows follow the others and are never in one group with them.
    """
    first = 0
    for place, window in enumerate(windows):
        full = (place - first + 1) * len(window.targets) > tokens
        if place > first and (full or window.coarse != windows[first].coarse):
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
