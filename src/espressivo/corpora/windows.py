"""Windows of tokens, drawn from notes: augmented and encoded on the fly.

A training window is a pure function of (seed, index), so the whole state of the data is one
integer, resuming is exact, and every codec trains from the same corpus. Within an epoch every
stretch of the corpus is visited once; where exactly it is cut, and how it is transposed,
stretched and played, is drawn afresh each time.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from espressivo.codecs import Codec
from espressivo.corpora.corpus import Corpus
from espressivo.errors import ConfigError, CorpusError
from espressivo.performance import Performance

LEAD = 64
"""Notes encoded before a window, so that their releases fall into it as they would in a piece."""


@dataclass(frozen=True, kw_only=True)
class Augmentation:
    """How far a window may be moved from what was played.

    Transposition in semitones and factors of stretching follow Performance RNN and Music
    Transformer (3 semitones, 5 %); `velocity` moves every velocity of a window by the same amount,
    up to that many MIDI units either way.
    """

    transpose: int = 3
    stretch: tuple[float, ...] = (0.95, 0.975, 1.0, 1.025, 1.05)
    velocity: int = 0

    def __post_init__(self) -> None:
        """Refuse what cannot be drawn."""
        if not self.stretch or min(self.stretch) <= 0:
            raise ConfigError(f"stretch={self.stretch} must be factors above zero; try (1.0,)")
        if self.transpose < 0 or self.velocity < 0:
            raise ConfigError(
                f"transpose={self.transpose} and velocity={self.velocity} must not be negative"
            )

    def draw(self, performance: Performance, rng: np.random.Generator) -> Performance:
        """Vary a performance."""
        semitones = int(rng.integers(-self.transpose, self.transpose + 1))
        factor = float(rng.choice(self.stretch))
        louder = int(rng.integers(-self.velocity, self.velocity + 1))
        if factor != 1.0:
            performance = performance.stretch(factor)
        if semitones:
            performance = performance.transpose(semitones)
        if louder:
            notes = performance.notes.copy()
            notes["velocity"] = np.clip(notes["velocity"].astype(int) + louder, 1, 127)
            performance = performance.replace(notes=notes)
        return performance


NO_AUGMENTATION = Augmentation(transpose=0, stretch=(1.0,))


@dataclass(frozen=True)
class TrainingWindows:
    """Windows of `length` + 1 tokens from one split of a corpus."""

    corpus: Corpus
    codec: Codec
    length: int
    seed: int
    split: str = "train"
    augmentation: Augmentation = field(default_factory=Augmentation)

    def __len__(self) -> int:
        """Give the number of windows in an epoch, at four tokens a note."""
        return int(self._slots()[-1])

    def sample(self, index: int) -> NDArray[np.int64]:
        """Give window `index`; those of one epoch cover the corpus once."""
        epoch, place = divmod(index, len(self))
        slot = int(_permutation(self.seed, epoch, len(self))[place])
        rng = np.random.default_rng([self.seed, index])
        ends = self._slots()
        number = int(np.searchsorted(ends, slot, side="right"))
        within = slot - (int(ends[number - 1]) if number else 0)
        first = int((within + rng.random() - 0.5) * self._notes_per_window)
        return self._cut(self.corpus.split(self.split)[number], max(first, 0), rng)

    def batch(self, step: int, size: int) -> NDArray[np.int64]:
        """Give the windows of training step `step`, [size, length + 1]."""
        return np.stack([self.sample(step * size + i) for i in range(size)])

    @property
    def _notes_per_window(self) -> int:
        return max(self.length // 4, 1)

    def _slots(self) -> NDArray[np.int64]:
        return _slot_ends(self.corpus, self.split, self._notes_per_window)

    def _cut(self, piece: int, first: int, rng: np.random.Generator) -> NDArray[np.int64]:
        notes = self.corpus.notes(piece)
        first = min(first, max(len(notes) - self._notes_per_window // 2, 0))
        lead = max(first - LEAD, 0)
        chosen = notes[lead : first + self.length + 1]
        begin, end = float(chosen["onset"][0]), float(chosen["offset"].max())
        controls = self.corpus.controls(piece)
        # From the start of the pedal's history, but no further than the last release.
        controls = controls[: np.searchsorted(controls["time"], end, side="right")]
        excerpt = Performance(chosen, controls).slice(begin, end + 1.0)
        tokens = self.codec.encode(self.augmentation.draw(excerpt, rng))
        if lead < first:
            struck = self.codec.vocabulary.ids("note_on")
            onsets = np.flatnonzero((tokens >= struck.start) & (tokens < struck.stop))
            tokens = tokens[onsets[min(first - lead, len(onsets) - 1)] :]
        else:
            tokens = np.concatenate([[self.codec.start], tokens])
        return self._padded(tokens)

    def _padded(self, tokens: NDArray[np.int64]) -> NDArray[np.int64]:
        """Cut to size; a piece that ends earlier is followed by -1, which counts for nothing."""
        missing = self.length + 1 - len(tokens)
        if missing <= 0:
            return tokens[: self.length + 1]
        return np.concatenate([tokens, np.full(missing, -1, dtype=np.int64)])


class Window(NamedTuple):
    """A stretch of a piece for evaluation: `inputs` begin with the codec's start token."""

    inputs: NDArray[np.int64]
    targets: NDArray[np.int64]
    piece: int


def evaluation_windows(
    performances: Iterator[Performance], codec: Codec, length: int
) -> Iterator[Window]:
    """Cut every piece into consecutive windows of `length` tokens and the tail.

    This is the protocol of tensor2tensor's `split_in_eval`: nothing is carried over from one
    window to the next, nothing is augmented, and leading silence is dropped.
    """
    for number, performance in enumerate(performances):
        tokens = codec.encode(performance.trimmed())
        for cut in range(0, len(tokens), length):
            targets = tokens[cut : cut + length]
            yield Window(np.concatenate([[codec.start], targets[:-1]]), targets, number)


@lru_cache(maxsize=64)
def _slot_ends(corpus: Corpus, split: str, notes_per_window: int) -> NDArray[np.int64]:
    counts = [-(-corpus.pieces[i].notes // notes_per_window) for i in corpus.split(split)]
    ends = np.cumsum(counts)
    if not ends[-1]:
        raise CorpusError(f"{corpus.path}: split {split!r} has no notes")
    return ends


@lru_cache(maxsize=2)
def _permutation(seed: int, epoch: int, size: int) -> NDArray[np.int64]:
    return np.random.default_rng([seed, epoch, size]).permutation(size)
