"""Judging a checkpoint on performances it has not seen, by the protocol of fixed windows.

Every piece is encoded as it was played, without augmentation, and cut into consecutive windows
and the tail. Each window is predicted from nothing but the codec's start token and what came
before within it; nothing is carried over. Nats are averaged over tokens, not over pieces. This is
what tensor2tensor did at evaluation (`split_in_eval`), where Music Transformer's figures are from.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple, TypeVar

import numpy as np

from espressivo import checkpoint
from espressivo.checkpoint import Checkpoint
from espressivo.codecs import NoteEvents
from espressivo.codecs.coarse import Coarse
from espressivo.configs import (
    MelodyTransformerConfig,
    ModelConfig,
    NoteTransformerConfig,
    TransformerConfig,
)
from espressivo.corpora import Corpus, Window
from espressivo.errors import ConfigError, CorpusError, MidiError
from espressivo.midi import read_midi
from espressivo.performance import Performance
from espressivo.training.likelihood import Likelihood, each_likelihood
from espressivo.training.weights import model_of
from espressivo.training.windows import windows_of

WINDOW = 2048
"""Tokens of a window where nothing else is asked for (Huang et al. 2018, table 3)."""

T = TypeVar("T")
Ratio = Literal["per_token", "per_note", "per_second"]


class Judged(NamedTuple):
    """The likelihood of one piece."""

    name: str
    likelihood: Likelihood


@dataclass(frozen=True)
class Evaluation:
    """What a checkpoint scored: in total, piece by piece, and on what.

    `length` is the tokens of a window, `skipped` the files that could not be read and why,
    `told` the controls the model was told of, as measured.
    """

    checkpoint: str
    digest: str
    performances: str
    length: int
    pieces: tuple[Judged, ...]
    skipped: tuple[tuple[str, str], ...] = ()
    told: tuple[str, ...] = ()

    @property
    def total(self) -> Likelihood:
        """The likelihood of all pieces together."""
        return sum((piece.likelihood for piece in self.pieces), Likelihood())

    def interval(self, ratio: Ratio = "per_token") -> tuple[float, float] | None:
        """Give the 95 % interval of a ratio over other pieces like these; None for one piece.

        A bootstrap of 2,000 rounds over whole pieces, since the windows of a piece are alike.
        """
        if len(self.pieces) < 2:
            return None
        amount = {"per_token": "tokens", "per_note": "notes", "per_second": "seconds"}[ratio]
        nats = np.array([piece.likelihood.nats for piece in self.pieces])
        spent = np.array([getattr(piece.likelihood, amount) for piece in self.pieces], dtype=float)
        rng = np.random.default_rng(0)
        drawn = [rng.integers(len(nats), size=len(nats)) for _ in range(2000)]
        ratios = [nats[d].sum() / max(spent[d].sum(), 1e-9) for d in drawn]
        low, high = np.quantile(ratios, [0.025, 0.975])
        return float(low), float(high)

    def as_json(self) -> dict[str, Any]:
        """Give everything by name."""
        return {
            "checkpoint": self.checkpoint,
            "digest": self.digest,
            "performances": self.performances,
            "window_tokens": self.length,
            "told": list(self.told),
            **self.total.as_json(),
            "interval_per_token": self.interval(),
            "pieces": [{"name": p.name, **p.likelihood.as_json()} for p in self.pieces],
            "skipped": [{"name": name, "reason": reason} for name, reason in self.skipped],
        }


class Judge:
    """A checkpoint that judges performances; iterate `pieces()` to see it at work.

    It judges a split of a corpus or a folder of MIDI files; `limit` takes so many pieces, evenly
    spread. `length` is the tokens of a window: 2048, or the model's context where that is shorter.
    A model with controls is told what is measured from the piece, which says something of what is
    to come: only with `unset`, told nothing, is it comparable with models that have none.
    """

    def __init__(
        self,
        path: Path | str,
        *,
        corpus: Path | str | None = None,
        split: str = "test",
        midi: Path | str | None = None,
        length: int | None = None,
        limit: int | None = None,
        device: str = "cpu",
        unset: bool = False,
    ) -> None:
        """Load the checkpoint - a release, or a run, whose best is taken - and find the pieces."""
        self.path = checkpoint.find(path)
        self.checkpoint: Checkpoint = checkpoint.load(self.path)
        self.model = model_of(self.checkpoint, device)
        self.length = window_length(self.checkpoint.config) if length is None else length
        if self.length < 1:
            raise ConfigError(f"length={length} must be at least 1 token; try 2048")
        if limit is not None and limit < 1:
            raise ConfigError(f"limit={limit} must be at least 1 piece")
        if (corpus is None) == (midi is None):
            raise ConfigError("say what to judge: either corpus or midi, not both")
        known: tuple[str, ...] = getattr(self.checkpoint.config, "controls", ())
        self.told = () if unset else known
        self.skipped: list[tuple[str, str]] = []
        self._expected: dict[int, int] = {}  # windows of every piece that has been cut
        self._read: Callable[[int], Performance]
        if midi is not None:
            self.source = str(midi)
            files = _midi_files(Path(midi))
            self.names = [str(file.relative_to(midi)) for file in _evenly(files, limit)]
            self._read = lambda place: read_midi(Path(midi) / self.names[place])
        else:
            stored = Corpus(Path(str(corpus)))
            self.source = f"{corpus}, split {split}"
            numbers = _evenly(stored.split(split), limit)
            self.names = [stored.pieces[i].path for i in numbers]
            self._read = lambda place: stored.performance(numbers[place])

    def pieces(self) -> Iterator[Judged]:
        """Judge piece after piece; each comes when its last window is done, nearly in order."""
        waiting: dict[int, tuple[int, Likelihood]] = {}
        for window, one in each_likelihood(self.model, self.checkpoint.codec, self._windows()):
            seen, total = waiting.pop(window.piece, (0, Likelihood()))
            seen, total = seen + 1, total + one
            if seen < self._expected[window.piece]:
                waiting[window.piece] = seen, total
                continue
            yield Judged(self.names[window.piece], total)

    def _windows(self) -> Iterator[Window]:
        codec = self.checkpoint.codec
        for place, name in enumerate(self.names):
            try:
                performance = self._read(place)
            except MidiError as error:
                self.skipped.append((name, str(error)))
                continue
            config = self.checkpoint.config
            windows = list(windows_of([performance], codec, self.length, config, self.told))
            if isinstance(codec, NoteEvents) and Coarse(codec).exact:
                windows += windows_of(
                    [performance], codec, self.length, config, self.told, coarse=True
                )
            self._expected[place] = len(windows)
            if not windows:
                self.skipped.append((name, "it holds no notes"))
            yield from (window._replace(piece=place) for window in windows)

    def verdict(self, pieces: Iterable[Judged]) -> Evaluation:
        """Sum up what `pieces()` gave; CorpusError if nothing could be judged."""
        judged = tuple(pieces)
        if not judged:
            raise CorpusError(f"{self.source}: nothing to evaluate, no piece holds a note")
        return Evaluation(
            str(self.path),
            self.checkpoint.digest,
            self.source,
            self.length,
            judged,
            tuple(self.skipped),
            self.told,
        )


def evaluate(
    path: Path | str,
    *,
    corpus: Path | str | None = None,
    split: str = "test",
    midi: Path | str | None = None,
    length: int | None = None,
    limit: int | None = None,
    device: str = "cpu",
    unset: bool = False,
) -> Evaluation:
    """Judge a checkpoint, or the best one of a run, on a split or on a folder of MIDI files."""
    judge = Judge(
        path,
        corpus=corpus,
        split=split,
        midi=midi,
        length=length,
        limit=limit,
        device=device,
        unset=unset,
    )
    return judge.verdict(judge.pieces())


def window_length(config: ModelConfig) -> int:
    """Give the tokens of a window a model is judged on: 2048, or its context if shorter.

    Of a model over events of several fields it is always the context.
    """
    if isinstance(config, NoteTransformerConfig):
        return config.context
    if isinstance(config, TransformerConfig | MelodyTransformerConfig):
        return min(WINDOW, config.context)
    return WINDOW


def _midi_files(folder: Path) -> list[Path]:
    if not folder.is_dir():
        raise CorpusError(f"{folder} is no folder of MIDI files")
    files = sorted(p for p in folder.rglob("*") if p.suffix.lower() in (".mid", ".midi"))
    if not files:
        raise CorpusError(f"{folder} holds no .mid or .midi file")
    return files


def _evenly(items: list[T], limit: int | None) -> list[T]:
    if limit is None or limit >= len(items):
        return items
    return [items[i * len(items) // limit] for i in range(limit)]
