"""Windows of tokens, drawn from notes: augmented and encoded on the fly.

A training window is a pure function of (seed, index), so the whole state of the data is one
integer, resuming is exact, and every codec trains from the same corpus. Within an epoch every
stretch of the corpus is visited once; where exactly it is cut, and how it is transposed,
stretched and played, is drawn afresh each time.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from espressivo.codecs import Codec
from espressivo.corpora.augmentation import Augmentation
from espressivo.corpora.batch import Batch, Controls, Sample
from espressivo.corpora.corpus import Corpus
from espressivo.corpora.excerpts import excerpt
from espressivo.errors import ConfigError, CorpusError
from espressivo.performance import Performance


@dataclass(frozen=True)
class TrainingWindows:
    """Windows of `length` + 1 tokens from one split of a corpus.

    A window without augmentation is a stretch of the piece's own tokens, wherever no note
    struck more than `excerpts.LEAD` notes before it still sounds in it. At the start of a piece the
    codec's start token comes first. A piece that ends earlier is followed by -1.
    """

    corpus: Corpus
    codec: Codec
    length: int
    seed: int
    split: str = "train"
    augmentation: Augmentation = field(default_factory=Augmentation)

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
        return Sample(self._cut(piece, first, rng))

    def batch(self, first: int, size: int) -> Batch:
        """Give the windows `first` to `first + size`."""
        return Batch.of([self.sample(first + i) for i in range(size)])

    def _place(self, index: int) -> tuple[int, int, np.random.Generator]:
        """Give the piece a window comes from, its first note, and what draws the rest."""
        epoch, place = divmod(index, len(self))
        slot = int(_permutation(self.seed, epoch, len(self))[place])
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

    def _cut(self, piece: int, first: int, rng: np.random.Generator) -> NDArray[np.int64]:
        notes, controls = self.corpus.notes(piece), self.corpus.controls(piece)
        change = self.augmentation.draw(rng)
        wanted = self.length + 1
        count = self._notes * 5 // 4 + 8
        while True:
            cut = excerpt(notes, controls, first, count)
            tokens = self.codec.encode(change(cut.notes, cut.controls))
            sure = tokens if cut.ends else tokens[: self.codec.settled(tokens)]
            window = self._from(sure, cut.lead, first)
            if cut.ends or len(window) >= wanted:
                break
            count *= 2
        if len(window) < wanted:
            filler = np.full(wanted - len(window), -1, dtype=np.int64)
            window = np.concatenate([window, filler])
        return window[:wanted]

    def _from(self, tokens: NDArray[np.int64], lead: int, first: int) -> NDArray[np.int64]:
        """Drop what only leads up to the first note, or begin with the start token."""
        if not first:
            return np.concatenate([[self.codec.start], tokens])
        onsets = self.codec.onsets(tokens)
        return tokens[onsets[min(lead, len(onsets) - 1)] :] if len(onsets) else tokens[:0]


class Window(NamedTuple):
    """A stretch of a piece for evaluation: `inputs` begin with the codec's start token.

    `controls` [t, c] are what holds for every target; `source` [s] is what an encoder reads.
    """

    inputs: NDArray[np.int64]
    targets: NDArray[np.int64]
    piece: int
    controls: Controls | None = None
    source: NDArray[np.int64] | None = None

    @property
    def sample(self) -> Sample:
        """The same as one row of a batch."""
        return Sample(np.append(self.inputs[:1], self.targets), self.controls, self.source)


def evaluation_windows(
    performances: Iterable[Performance], codec: Codec, length: int
) -> Iterator[Window]:
    """Cut every piece into consecutive windows of `length` tokens and the tail.

    This is the protocol of tensor2tensor's `split_in_eval`: nothing is carried over from one
    window to the next, nothing is augmented, and leading silence is dropped. Where the codec's
    tokens belong together, so many of them as fit into `length` are a window.
    """
    if length < 1:
        raise ConfigError(f"length={length} must be at least 1; try 2048")
    length = max(length // codec.stride, 1) * codec.stride
    for number, performance in enumerate(performances):
        tokens = codec.encode(performance.trimmed())
        for cut in range(0, len(tokens), length):
            targets = tokens[cut : cut + length]
            yield Window(np.concatenate([[codec.start], targets[:-1]]), targets, number)


@lru_cache(maxsize=4)
def _permutation(seed: int, epoch: int, size: int) -> NDArray[np.int64]:
    return np.random.default_rng([seed, epoch, size]).permutation(size)
