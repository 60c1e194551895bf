"""Noticing that the music repeats itself exactly, and making it stop.

Music repeats, but people never repeat themselves to the hundredth of a second. The rule: the last
tokens are a loop of period p (1 to 64 tokens) when each of the last max(3 p, 48) tokens equals
the one p places before it, that is, when a pattern has been heard four times and repetition has
lasted 48 tokens. With every token that continues a loop the heat rises by 1/16; with every other
token it falls by a tenth. The next token is drawn at (1 + heat) times the temperature, at least
1, and without truncation. Heat has no upper limit, so any loop ends; as it cools slowly, the
music is let out of the loop's neighbourhood. The rule draws no random numbers.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

LONGEST_PERIOD = 64
REPEATS = 3
SHORTEST = 48
RISE, FALL, COLD = 1 / 16, 0.9, 0.01


class Loops:
    """How hot every take is because it repeats itself."""

    def __init__(self, takes: int) -> None:
        """Begin with nothing heard."""
        self.heat = np.zeros(takes)
        self._run = np.zeros((takes, LONGEST_PERIOD), dtype=np.int64)
        periods = np.arange(LONGEST_PERIOD, 0, -1)
        self._enough = np.maximum(REPEATS * periods, SHORTEST)

    def select(self, rows: NDArray[np.int64]) -> NDArray[np.float64]:
        """Go on from some takes, in that order, and give their heat."""
        self.heat, self._run = self.heat[rows], self._run[rows]
        return self.heat

    def hear(self, recent: NDArray[np.int64], tokens: NDArray[np.int64]) -> NDArray[np.float64]:
        """Take the next token of every take and give the heat of the draw after it.

        `recent` [takes, 64] are the tokens before it, the latest last; -1 where there are none.
        """
        self._run += 1
        self._run *= recent == tokens[:, None]
        repeating = self._run >= self._enough
        if np.count_nonzero(repeating) or np.count_nonzero(self.heat):
            looping = repeating.any(axis=1)
            cooled = self.heat * FALL
            cooled[cooled < COLD] = 0
            self.heat = np.where(looping, self.heat + RISE, cooled)
        return self.heat
