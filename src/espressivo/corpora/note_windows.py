"""Windows of note events, drawn from one corpus or several in fixed shares.

As for windows of tokens, a training window is a pure function of (seed, index).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from espressivo.codecs import NoteEvents
from espressivo.codecs.coarse import Coarse
from espressivo.codecs.note_events import FIELDS, KIND, SHIFT
from espressivo.controls import Conditioning
from espressivo.corpora.augmentation import Augmentation, Change
from espressivo.corpora.batch import Batch, Controls, Sample
from espressivo.corpora.corpus import Corpus
from espressivo.corpora.windows import Window, permutation
from espressivo.errors import ConfigError, CorpusError
from espressivo.performance import SUSTAIN, Performance

SOURCES = {"maestro": "human", "asap": "human", "giantmidi": "transcribed", "supra": "roll"}
"""What kind of recording the pieces of a known corpus are."""

ROWS_PER_NOTE = 1.15
OVERLAP = 64
"""Notes read beyond a window, of which one may strike a key again that a note of it holds."""

UNSET = 0.5
"""The share of windows in which nothing is set."""
COARSE = 0.2
"""The share of windows on the grid of 390 events, which likelihoods are compared on."""

Rows = NDArray[np.int64]


@dataclass(frozen=True)
class Labels:
    """What a model is conditioned on beside each event: controls, and labels of whole pieces.

    `composer_of` names the composers of pieces by their path in the corpus.
    """

    conditioning: Conditioning = field(default_factory=Conditioning)
    composers: tuple[str, ...] = ()
    sources: tuple[str, ...] = ()
    composer_of: Mapping[str, str] = field(default_factory=dict)

    def __bool__(self) -> bool:
        """Return whether there is anything to be conditioned on."""
        return bool(self.conditioning or self.composers or self.sources)

    def of_piece(self, path: str, source: str, wanted: Collection[str]) -> Controls:
        """Return what is constant for a piece, Float[c]: one hot where known and wanted."""
        labels = {
            "composer": (self.composers, self.composer_of.get(path)),
            "source": (self.sources, SOURCES.get(source)),
        }
        return np.array(
            [
                name in wanted and label == known
                for name, (labels_, label) in labels.items()
                for known in labels_
            ],
            dtype=np.float32,
        )

    def drawn(self, rng: np.random.Generator) -> list[str]:
        """Choose what is set in one window of training: nothing in half of them, else a half."""
        if rng.random() < UNSET:
            return []
        return [name for name in self.names if rng.random() < 0.5]

    @property
    def names(self) -> tuple[str, ...]:
        """Everything that may be set."""
        given = (("composer", self.composers), ("source", self.sources))
        return self.conditioning.names + tuple(name for name, labels in given if labels)

    def beside(
        self,
        performance: Performance,
        times: NDArray[np.float64],
        constant: Controls,
        wanted: Collection[str],
    ) -> Controls:
        """Return what stands beside events at some times, Float[t, c]."""
        rows = [np.tile(constant, (len(times), 1))]
        if self.conditioning:
            rows.insert(0, self.conditioning.measured(performance, times, wanted))
        return np.concatenate(rows, axis=1)


@dataclass(frozen=True)
class NoteWindows:
    """Windows of `length` + 1 events from one split of some corpora.

    Of every sum(`parts`) windows each corpus gives as many as its part says; within a corpus every
    place is visited once before any is visited again. A window begins with the codec's start row
    where its piece does, else with the level the pedal had then; a piece that ends in it is
    followed by its end row and then by -1.
    """

    corpora: tuple[Corpus, ...]
    codec: NoteEvents
    length: int
    seed: int
    parts: tuple[int, ...] = (1,)
    split: str = "train"
    augmentation: Augmentation = field(default_factory=Augmentation)
    labels: Labels = field(default_factory=Labels)

    def __post_init__(self) -> None:
        """Raise ConfigError for windows that cannot be."""
        if self.length < 1:
            raise ConfigError(f"length={self.length} must be at least 1; try 512")
        if len(self.parts) != len(self.corpora) or min(self.parts, default=0) < 1:
            raise ConfigError(
                f"parts={self.parts} must be a whole number from 1 on for each of "
                f"{len(self.corpora)} corpora"
            )
        known = set(self.labels.composer_of.values())
        for name in self.labels.composers:
            if name not in known:
                close = get_close_matches(name, known, n=1)
                raise ConfigError(
                    f"composers: no piece by {name!r} is known; "
                    + (f"did you mean {close[0]!r}?" if close else "leave it out")
                )

    def __len__(self) -> int:
        """Return the number of windows after which the first corpus is visited again."""
        return len(self._places[0]) * sum(self.parts) // self.parts[0]

    @property
    def facts(self) -> dict[str, Any]:
        """Which corpora the windows are of: names, licences, digests and parts."""
        cards = [corpus.card for corpus in self.corpora]
        return {
            "corpora": [card.get("name") for card in cards],
            "licences": [card.get("licence") for card in cards],
            "sha256": [card.get("sha256") for card in cards],
            "parts": list(self.parts),
        }

    def sample(self, index: int) -> Sample:
        """Return window `index`."""
        cycle, place = divmod(index, len(self._order))
        number, rank = self._order[place]
        corpus, places = self.corpora[number], self._places[number]
        epoch, within = divmod(cycle * self.parts[number] + rank, len(places))
        piece, first = places.at(int(permutation(self.seed, epoch, len(places))[within]))
        rng = np.random.default_rng([self.seed, index])
        jitter = int((rng.random() - 0.5) * places.notes)
        first = max(min(first + jitter, corpus.pieces[piece].notes - places.notes // 2), 0)
        return self._sample(corpus, piece, first, rng)

    def batch(self, first: int, size: int) -> Batch:
        """Return the windows `first` to `first + size`."""
        return Batch.of([self.sample(first + i) for i in range(size)])

    def _sample(self, corpus: Corpus, piece: int, first: int, rng: np.random.Generator) -> Sample:
        about = corpus.pieces[piece]
        change, coarse = self.augmentation.draw(rng), rng.random() < COARSE
        wanted = self.labels.drawn(rng)
        ahead = 12 * self.labels.conditioning.horizon if wanted else 0
        count = self.length + OVERLAP + int(ahead)
        performance, ends = _excerpt(corpus, piece, first, count, change)
        grid = Coarse(self.codec)
        rows = grid.rows(performance) if coarse else self.codec.encode(performance)
        if ends:
            rows = np.concatenate([rows, self.codec.ended(rows)[None]])
        rows = _begun(self.codec, rows, first == 0)
        tokens = np.full((self.length + 1, len(FIELDS)), -1, dtype=np.int64)
        window = rows[: self.length + 1]
        tokens[: len(window)] = window[:, : len(FIELDS)]
        if not self.labels:
            return Sample(tokens)
        steps = np.cumsum(self.codec.shifts(rows))[1 : self.length + 1]
        times = steps / self.codec.steps_per_second
        constant = self.labels.of_piece(about.path, about.source, wanted)
        beside = self.labels.beside(performance, times, constant, wanted)
        return Sample(tokens, np.pad(beside, ((0, self.length - len(beside)), (0, 0))))

    @cached_property
    def _places(self) -> list[_Places]:
        _require_pedal(self.corpora, self.split)
        return [_Places(corpus, self.split, self.length) for corpus in self.corpora]

    @cached_property
    def _order(self) -> list[tuple[int, int]]:
        """The corpus of each window of a cycle and its rank among that corpus's, spread evenly."""
        turns = [
            ((rank + 0.5) / part, number, rank)
            for number, part in enumerate(self.parts)
            for rank in range(part)
        ]
        return [(number, rank) for _, number, rank in sorted(turns)]


class _Places:
    """The places of a split where windows may begin, about a window apart."""

    def __init__(self, corpus: Corpus, split: str, length: int) -> None:
        self.notes = max(int(length / ROWS_PER_NOTE), 1)
        self._pieces = corpus.split(split)
        notes = np.array([corpus.pieces[i].notes for i in self._pieces])
        self._ends = np.cumsum(-(-notes // self.notes))
        if not self._ends[-1]:
            raise CorpusError(f"{corpus.path}: split {split!r} has no notes")

    def __len__(self) -> int:
        return int(self._ends[-1])

    def at(self, place: int) -> tuple[int, int]:
        """Return piece and first note of a place."""
        number = int(np.searchsorted(self._ends, place, side="right"))
        within = place - (int(self._ends[number - 1]) if number else 0)
        return self._pieces[number], within * self.notes


def _require_pedal(corpora: Sequence[Corpus], split: str) -> None:
    """Raise CorpusError where nobody ever moves the sustain pedal."""
    for corpus in corpora:
        for piece in corpus.split(split):
            if (corpus.controls(piece)["number"] == SUSTAIN).any():
                return
    raise CorpusError(
        f"{corpora[0].path}: no piece of split {split!r} moves the sustain pedal, which note "
        "events need; prepare files that have it, or train a preset that folds it into the notes, "
        "such as performance-rnn"
    )


def _excerpt(
    corpus: Corpus, piece: int, first: int, count: int, change: Change
) -> tuple[Performance, bool]:
    """Return notes from `first` on with the pedal moves around them, and whether the piece ends.

    Time zero is the onset before the first note, or the first note where the piece begins.
    """
    notes, controls = corpus.notes(piece), corpus.controls(piece)
    last = min(first + count, len(notes))
    chosen = notes[first:last].copy()
    origin = float(notes["onset"][first - 1]) if first else float(chosen["onset"][0])
    ends = last == len(notes)
    until = np.inf if ends else float(chosen["onset"][-1])
    time = controls["time"]
    now, end = np.searchsorted(time, [origin, until], side="right")
    before = controls[max(now - 256, 0) : now]
    standing = before[before["number"] == SUSTAIN][-1:].copy()
    standing["time"] = origin
    moves = np.concatenate([standing, controls[now:end]])
    moves["time"] -= origin
    for edge in ("onset", "offset"):
        chosen[edge] -= origin
    return change(chosen, moves), ends


def _begun(codec: NoteEvents, rows: Rows, begins: bool) -> Rows:
    """Put before rows what a model reads first: the start row, or where the pedal is."""
    if begins:
        return np.concatenate([codec.start[None], rows])
    start = np.array([[0, codec.sustain(0), -1, -1, 0, -1]])
    if len(rows) and rows[0, SHIFT] == 0 and 128 <= rows[0, KIND] < codec.begin:
        start, rows = rows[:1], rows[1:]
    return np.concatenate([start, rows])


def composers(corpora: Sequence[Corpus], table: Mapping[str, str], least: int) -> tuple[str, ...]:
    """Return the composers with at least so many training pieces, in order of their number."""
    counted: dict[str, int] = {}
    for corpus in corpora:
        for number in corpus.split("train"):
            name = table.get(corpus.pieces[number].path)
            if name:
                counted[name] = counted.get(name, 0) + 1
    chosen = [name for name, count in counted.items() if count >= least]
    return tuple(sorted(chosen, key=lambda name: (-counted[name], name)))


def note_windows(
    performances: Iterable[Performance],
    codec: NoteEvents,
    length: int,
    *,
    coarse: bool = False,
    labels: Labels = Labels(),
    wanted: Collection[str] = (),
) -> Iterator[Window]:
    """Cut every piece into consecutive windows of `length` events and the tail.

    Nothing is carried over from one window to the next but the level of the pedal, as the row
    before its first; leading silence is dropped. `coarse` puts performances on the grid of 390
    events first. Of `labels` those `wanted` are set, as measured; labels of pieces never are.
    """
    if length < 1:
        raise ConfigError(f"length={length} must be at least 1; try 512")
    for number, performance in enumerate(performances):
        piece = performance.trimmed()
        rows = Coarse(codec).rows(piece) if coarse else codec.encode(piece)
        beside = None
        if labels:
            times = np.cumsum(codec.shifts(rows)) / codec.steps_per_second
            constant = labels.of_piece("", "", ())
            beside = labels.beside(codec.quantize(piece), times, constant, wanted)
        start = codec.start
        for cut in range(0, len(rows), length):
            targets = rows[cut : cut + length]
            inputs = np.concatenate([start[None], targets[:-1]])
            controls = None if beside is None else beside[cut : cut + length]
            yield Window(inputs, targets, number, controls, coarse=coarse)
            start = _pedal_row(codec, start, targets)


def _pedal_row(codec: NoteEvents, before: Rows, rows: Rows) -> Rows:
    """Return a row that says where the sustain pedal is after some rows, Int[6]."""
    levels = range(codec.sustain(0), codec.sustain(codec.pedal_levels - 1) + 1)
    moved = rows[np.isin(rows[:, KIND], levels), KIND]
    earlier = before[KIND] if before[KIND] in levels else codec.sustain(0)
    return np.array([0, moved[-1] if len(moved) else earlier, -1, -1, 0, -1])
