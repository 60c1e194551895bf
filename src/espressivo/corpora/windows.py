"""Windows of tokens, drawn from notes: augmented and encoded on the fly.

A training window is a pure function of (seed, index), so the whole state of the data is one
integer, resuming is exact, and every codec trains from the same corpus. Within an epoch every
stretch of the corpus is visited once; where exactly it is cut, and how it is transposed,
stretched and played, is drawn afresh each time.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from espressivo.codecs import Codec
from espressivo.controls import Conditioning, moments
from espressivo.corpora.augmentation import Augmentation
from espressivo.corpora.batch import Batch, Controls, Sample
from espressivo.corpora.corpus import Corpus
from espressivo.corpora.excerpts import excerpt
from espressivo.errors import ConfigError, CorpusError
from espressivo.performance import Performance

AHEAD = 12
"""Notes expected in every second that controls look ahead."""


@dataclass(frozen=True)
class TrainingWindows:
    """Windows of `length` + 1 tokens from one split of a corpus.

    A window without augmentation is a stretch of the piece's own tokens, wherever no note
    struck more than `excerpts.LEAD` notes before it still sounds in it. At the start of a piece the
    codec's start token comes first. A piece that ends earlier is followed by -1. What a model is
    told by `conditioning` is measured from the whole piece, also beyond the window's end.
    """

    corpus: Corpus
    codec: Codec
    length: int
    seed: int
    split: str = "train"
    augmentation: Augmentation = field(default_factory=Augmentation)
    conditioning: Conditioning = field(default_factory=Conditioning)

    def __post_init__(self) -> None:
        """Refuse windows without a token to predict."""
        if self.length < 1:
            raise ConfigError(f"length={self.length} must be at least 1; try 512")

    def __len__(self) -> int:
        """Give the number of windows in an epoch, by what a note costs in tokens."""
        return int(self._slots[-1])

    def sample(self, index: int) -> Sample:
        """Give window `index`; those of one epoch cover the corpus once."""
        piece, first, rng = self._place(index)
        return self._sample(self._stretch(piece, first, rng), rng)

    def batch(self, first: int, size: int) -> Batch:
        """Give the windows `first` to `first + size`."""
        return Batch.of([self.sample(first + i) for i in range(size)])

    def _place(self, index: int) -> tuple[int, int, np.random.Generator]:
        """Give the piece a window comes from, its first note, and what draws the rest."""
        epoch, place = divmod(index, len(self))
        slot = int(permutation(self.seed, epoch, len(self))[place])
        rng = np.random.default_rng([self.seed, index])
        number = int(np.searchsorted(self._slots, slot, side="right"))
        within = slot - (int(self._slots[number - 1]) if number else 0)
        piece = self._pieces[number]
        last = self.corpus.pieces[piece].notes - self._notes // 2
        first = int((within + rng.random() - 0.5) * self._notes)
        return piece, max(min(first, last), 0), rng

    @property
    def _notes(self) -> int:
        return max(self.length // self.codec.tokens_per_note, 1)

    @cached_property
    def _pieces(self) -> list[int]:
        return self.corpus.split(self.split)

    @cached_property
    def _slots(self) -> NDArray[np.int64]:
        """For each piece, how many windows it and the pieces before it have in an epoch."""
        notes = np.array([self.corpus.pieces[i].notes for i in self._pieces])
        ends = np.cumsum(-(-notes // self._notes))
        if not ends[-1]:
            raise CorpusError(f"{self.corpus.path}: split {self.split!r} has no notes")
        return ends

    def _stretch(self, piece: int, first: int, rng: np.random.Generator) -> _Stretch:
        """Vary and encode as much of a piece as a window needs, and its controls to look ahead."""
        notes, controls = self.corpus.notes(piece), self.corpus.controls(piece)
        change = self.augmentation.draw(rng)
        count = self._notes * 5 // 4 + 8 + int(AHEAD * self.conditioning.horizon)
        while True:
            cut = excerpt(notes, controls, first, count)
            performance = change(cut.notes, cut.controls)
            tokens = self.codec.encode(performance)
            if not cut.ends:
                tokens = tokens[: self.codec.settled(tokens)]
            stretch = _Stretch(performance, tokens, self._begin(tokens, cut.lead, first))
            if cut.ends or self._suffices(stretch):
                return stretch
            count *= 2

    def _begin(self, tokens: NDArray[np.int64], lead: int, first: int) -> int:
        """Give where the first note is, after all that only leads up to it; -1 for the start."""
        if not first:
            return -1
        onsets = self.codec.onsets(tokens)
        return int(onsets[min(lead, len(onsets) - 1)]) if len(onsets) else len(tokens)

    def _suffices(self, stretch: _Stretch) -> bool:
        """Tell whether a stretch holds a window and the seconds after it that controls look at."""
        end = stretch.begin + self.length
        if not self.conditioning:
            return len(stretch.tokens) > end
        times = moments(self.codec, stretch.tokens)
        return len(times) > end and bool(times[-1] - times[end] >= self.conditioning.horizon)

    def _sample(self, stretch: _Stretch, rng: np.random.Generator) -> Sample:
        """Cut the window out, beginning with the start token if it is before the first."""
        begin, end = stretch.begin, stretch.begin + self.length + 1
        tokens = np.full(self.length + 1, -1, dtype=np.int64)
        window = stretch.tokens[max(begin, 0) : end]
        if begin < 0:
            tokens[0] = self.codec.start
        tokens[max(-begin, 0) :][: len(window)] = window
        if not self.conditioning:
            return Sample(tokens)
        times = moments(self.codec, stretch.tokens)[begin + 1 : end]
        said, told = self.codec.quantize(stretch.performance), self.conditioning.drawn(rng)
        rows = self.conditioning.measured(said, times, told)
        return Sample(tokens, np.pad(rows, ((0, self.length - len(rows)), (0, 0))))


class _Stretch(NamedTuple):
    """Part of a piece as it is varied, its tokens, and where the window begins in them."""

    performance: Performance
    tokens: NDArray[np.int64]
    begin: int


class Window(NamedTuple):
    """A stretch of a piece for evaluation: `inputs` begin with the codec's start token.

    `controls` [t, c] are what holds for every target; `source` [s] is what an encoder reads.
    Inputs and targets are ids [t] or, of event codecs, rows [t, fields]; `coarse` ones are judged
    at the information of 390 events (`codecs.coarse`).
    """

    inputs: NDArray[np.int64]
    targets: NDArray[np.int64]
    piece: int
    controls: Controls | None = None
    source: NDArray[np.int64] | None = None
    coarse: bool = False

    @property
    def sample(self) -> Sample:
        """The same as one row of a batch."""
        tokens = np.concatenate([self.inputs[:1], self.targets])
        return Sample(tokens, self.controls, self.source)


def evaluation_windows(
    performances: Iterable[Performance],
    codec: Codec,
    length: int,
    conditioning: Conditioning = Conditioning(),
    told: Collection[str] | None = None,
) -> Iterator[Window]:
    """Cut every piece into consecutive windows of `length` tokens and the tail.

    This is the protocol of tensor2tensor's `split_in_eval`: nothing is carried over from one
    window to the next, nothing is augmented, and leading silence is dropped. Where the codec's
    tokens belong together, so many of them as fit into `length` are a window. What a model is
    told by `conditioning` is measured; of the controls only those `told`, or all of them.
    """
    if length < 1:
        raise ConfigError(f"length={length} must be at least 1; try 2048")
    length = max(length // codec.stride, 1) * codec.stride
    for number, performance in enumerate(performances):
        piece = performance.trimmed()
        tokens, rows = codec.encode(piece), None
        if conditioning:
            rows = conditioning.measured(codec.quantize(piece), moments(codec, tokens), told)
        for cut in range(0, len(tokens), length):
            targets = tokens[cut : cut + length]
            inputs = np.concatenate([[codec.start], targets[:-1]])
            controls = None if rows is None else rows[cut : cut + length]
            yield Window(inputs, targets, number, controls)


@lru_cache(maxsize=4)
def permutation(seed: int, epoch: int, size: int) -> NDArray[np.int64]:
    """Give the order in which an epoch visits so many places."""
    return np.random.default_rng([seed, epoch, size]).permutation(size)
