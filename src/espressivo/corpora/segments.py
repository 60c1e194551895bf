"""Segments of pieces with their melody, for a model that accompanies.

The recipe is that of MAGENTA's melody-conditioned Music Transformer: segments of 5 to 30 seconds,
cut at random; their melody, drawn out by a hidden Markov model, is what the encoder reads, and
the decoder writes the whole performance, melody included, with the end token after it where the
vocabulary has one.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cached_property, lru_cache

import numpy as np
from numpy.typing import NDArray

from espressivo.codecs import Codec
from espressivo.codecs.melody import MelodySteps
from espressivo.corpora.augmentation import Augmentation, Change
from espressivo.corpora.batch import Controls, Sample
from espressivo.corpora.corpus import Corpus
from espressivo.corpora.windows import Window, permutation
from espressivo.errors import ConfigError, CorpusError
from espressivo.performance import Array, Performance, infer_melody

SHORTEST, LONGEST = 5.0, 30.0
"""Seconds of a segment in training (score2perf_maestro_absmel2perf_5s_to_30s)."""

USUAL = (SHORTEST + LONGEST) / 2
"""Seconds of a segment in evaluation, and of one in training on average."""


@dataclass(frozen=True)
class TrainingSegments:
    """Segments of one split of a corpus, each a pure function of (seed, index).

    A segment begins with a note, and what sounded before is not in it. It is transposed and
    stretched as a whole before its melody is drawn out. Of one that takes more than `length`
    tokens the beginning is used. With `clock` the time that has passed at every token, in
    steps of the melody, stands beside it as its one control.
    """

    corpus: Corpus
    codec: Codec
    length: int
    seed: int
    split: str = "train"
    augmentation: Augmentation = field(default_factory=Augmentation)
    clock: bool = False

    def __post_init__(self) -> None:
        """Refuse segments without a token to predict."""
        _check(self.length)

    def __len__(self) -> int:
        """Give the number of segments in an epoch, which last as long as the corpus together."""
        return int(self._slots[-1])

    def sample(self, index: int) -> Sample:
        """Give segment `index`; in an epoch every piece is visited as often as it is long."""
        epoch, place = divmod(index, len(self))
        slot = int(permutation(self.seed, epoch, len(self))[place])
        number = int(np.searchsorted(self._slots, slot, side="right"))
        within = slot - (int(self._slots[number - 1]) if number else 0)
        rng = np.random.default_rng([self.seed, index])
        change = self.augmentation.draw(rng)
        seconds = rng.uniform(SHORTEST, LONGEST) / change.factor
        begin = (within + rng.random()) * USUAL - seconds / 2
        piece = self._pieces[number]
        begin = min(begin, self.corpus.pieces[piece].seconds - seconds)
        notes, controls = self.corpus.notes(piece), self.corpus.controls(piece)
        first = min(int(np.searchsorted(notes["onset"], begin)), len(notes) - 1)
        begin = float(notes["onset"][first])
        cut = _segment(notes, controls, begin, begin + seconds, change)
        return _told(cut, self.codec, self.length, self.clock)

    @cached_property
    def _pieces(self) -> list[int]:
        return self.corpus.split(self.split)

    @cached_property
    def _slots(self) -> NDArray[np.int64]:
        """For each piece, how many segments it and the pieces before it have in an epoch."""
        pieces = [self.corpus.pieces[i] for i in self._pieces]
        ends = np.cumsum([-(-piece.seconds // USUAL) if piece.notes else 0 for piece in pieces])
        if not ends[-1]:
            raise CorpusError(f"{self.corpus.path}: split {self.split!r} has no notes")
        return ends.astype(np.int64)


def evaluation_segments(
    performances: Iterable[Performance], codec: Codec, length: int, clock: bool = False
) -> Iterator[Window]:
    """Cut every piece into consecutive segments of `USUAL` seconds, none of it augmented.

    Of a segment that takes more than `length` tokens the beginning is judged.
    """
    _check(length)
    for number, performance in enumerate(performances):
        piano = performance.select(drums=False).trimmed()
        notes, controls = piano.notes.copy(), piano.controls.copy()
        notes["track"] = controls["track"] = 0
        for begin in np.unique(notes["onset"] // USUAL * USUAL).tolist():
            cut = _segment(notes, controls, begin, begin + USUAL, Change())
            told = _told(cut, codec, length, clock)
            yield Window(told.tokens[:-1], told.tokens[1:], number, told.controls, told.source)


def clock_of(codec: Codec, tokens: NDArray[np.int64]) -> NDArray[np.float64]:
    """Give the seconds that have passed after each of some tokens."""
    return np.cumsum(_passing(codec)[tokens])  # type: ignore[arg-type]  # codecs can be hashed


def _check(length: int) -> None:
    if length < 1:
        raise ConfigError(f"length={length} must be at least 1; try 1024")


def _segment(
    notes: Array, controls: Array, begin: float, end: float, change: Change
) -> Performance:
    """Cut from the first onset in [begin, end), pedals as they stood then."""
    first, last = np.searchsorted(notes["onset"], (begin, end)).tolist()
    until = int(np.searchsorted(controls["time"], end))
    cut = Performance(notes[first:last], controls[:until]).slice(float(notes["onset"][first]), end)
    return change(cut.notes, cut.controls)


def _told(segment: Performance, codec: Codec, length: int, clock: bool) -> Sample:
    """Write a segment from the start token, its melody, and the time at every token."""
    vocabulary = codec.vocabulary
    end = [vocabulary.id("eos", 0)] if "eos" in vocabulary else []
    tokens = np.concatenate([codec.encode(segment), np.array(end, dtype=np.int64)])[:length]
    steps = MelodySteps()
    source = steps.encode(infer_melody(segment))
    passed = np.append(0.0, clock_of(codec, tokens[:-1]))[: len(tokens), None]
    passed *= steps.steps_per_second
    controls: Controls | None = passed.astype(np.float32) if clock else None
    return Sample(np.append(codec.start, tokens), controls, source)


@lru_cache(maxsize=16)
def _passing(codec: Codec) -> NDArray[np.float64]:
    """Give, for every id, the seconds it lets pass."""
    passing = np.zeros(len(codec.vocabulary))
    for token in codec.vocabulary.ids("shift"):
        decoder = codec.decoder()
        decoder.push(token)
        passing[token] = decoder.time
    return passing
