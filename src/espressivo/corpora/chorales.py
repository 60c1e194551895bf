"""Bach's chorales on a grid of sixteenths, with the split of Boulanger-Lewandowski et al. 2012.

`Jsb16thSeparated.json` (czhuang/JSB-Chorales-dataset) holds "train", "valid" and "test": 229, 76
and 77 chorales. Each is a list of steps, a step the pitches of soprano, alto, tenor and bass, -1
for a rest. They are read as grids and are no `Corpus`, which holds what was played.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from espressivo.codecs.chorale import REST, VOICES, Chorale
from espressivo.corpora.windows import Window
from espressivo.errors import ConfigError, CorpusError

FILE = "Jsb16thSeparated.json"
SOURCE = "https://github.com/czhuang/JSB-Chorales-dataset"
NAMES = {"train": "train", "validation": "valid", "test": "test"}
"""What the file calls the splits."""

Grid = NDArray[np.int64]


def read_chorales(folder: Path | str) -> Mapping[str, list[Grid]]:
    """Give the grids [step, voice] of every split, in the order of the file."""
    path = Path(folder) / FILE
    try:
        stored = json.loads(path.read_bytes())
    except OSError as error:
        raise CorpusError(
            f"{path} cannot be read ({error.strerror}); it is a file of {SOURCE}"
        ) from error
    except ValueError as error:
        raise CorpusError(f"{path} is damaged: it is not JSON") from error
    if not isinstance(stored, dict) or not set(NAMES.values()) <= stored.keys():
        raise CorpusError(f"{path} must hold the lists {', '.join(NAMES.values())}")
    return {
        split: [_grid(rows, f"{path}: {name}[{n}]") for n, rows in enumerate(stored[name])]
        for split, name in NAMES.items()
    }


def _grid(rows: Any, where: str) -> Grid:
    try:
        grid = np.array(rows)
    except ValueError as error:
        raise CorpusError(f"{where} has steps of different lengths") from error
    if grid.dtype.kind != "i" or grid.ndim != 2 or grid.shape[1] != len(VOICES):
        raise CorpusError(f"{where} must be steps of {len(VOICES)} whole numbers")
    wrong = grid[(grid < REST) | (grid > 127)]
    if len(wrong):
        raise CorpusError(f"{where} has pitch {wrong[0]}; pitches are 0..127, {REST} is a rest")
    return grid.astype(np.int64)


@dataclass(frozen=True, eq=False)
class ChoraleWindows:
    """Windows of `length` + 1 tokens, of which the first is the codec's start token.

    Window `index` is a pure function of (seed, index), and within an epoch every chorale comes
    once. Of a longer chorale a stretch is drawn that begins with the soprano; a shorter one is
    followed by -1. `transpose` moves a window by up to so many semitones, as far as all of its
    chorale stays in the vocabulary; the paper mentions no augmentation of chorales.
    """

    grids: Sequence[Grid]
    codec: Chorale
    length: int
    seed: int
    transpose: int = 0

    def __post_init__(self) -> None:
        """Refuse windows that hold no step, or an empty corpus."""
        if self.length < len(VOICES) or self.length % len(VOICES):
            raise ConfigError(f"length={self.length} must be whole steps of {len(VOICES)}; try 512")
        if not self.grids:
            raise CorpusError("no chorale to draw windows from")

    def sample(self, index: int) -> NDArray[np.int64]:
        """Give window `index`."""
        epoch, place = divmod(index, len(self.grids))
        rng = np.random.default_rng([self.seed, index])
        grid = self.grids[int(_order(self.seed, epoch, len(self.grids))[place])]
        grid = self._moved(grid, rng)
        steps = self.length // len(VOICES)
        first = int(rng.integers(max(len(grid) - steps, 0) + 1))
        tokens = self.codec.encode(grid[first : first + steps])
        filler = np.full(self.length - len(tokens), -1, dtype=np.int64)
        return np.concatenate([[self.codec.start], tokens, filler])

    def batch(self, step: int, size: int) -> NDArray[np.int64]:
        """Give the windows of training step `step`, [size, length + 1]."""
        return np.stack([self.sample(step * size + i) for i in range(size)])

    def _moved(self, grid: Grid, rng: np.random.Generator) -> Grid:
        sung = grid[grid != REST]
        if not self.transpose or not len(sung):
            return grid
        down = min(self.transpose, int(sung.min()) - self.codec.lowest)
        up = min(self.transpose, self.codec.highest - int(sung.max()))
        return np.where(grid == REST, REST, grid + rng.integers(-down, up + 1))


def chorale_windows(grids: Sequence[Grid], codec: Chorale, length: int) -> list[Window]:
    """Cut every chorale into consecutive windows of `length` tokens and the tail, for evaluation.

    Nothing is carried over from one window to the next, as in `corpora.evaluation_windows`.
    """
    windows = []
    for number, grid in enumerate(grids):
        tokens = codec.encode(grid)
        for cut in range(0, len(tokens), length):
            targets = tokens[cut : cut + length]
            windows.append(Window(np.concatenate([[codec.start], targets[:-1]]), targets, number))
    return windows


@lru_cache(maxsize=4)
def _order(seed: int, epoch: int, size: int) -> NDArray[np.int64]:
    return np.random.default_rng([seed, epoch, size]).permutation(size)
