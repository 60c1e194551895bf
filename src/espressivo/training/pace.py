"""How fast a run goes, and whether there is time for more."""

from __future__ import annotations

import math
import time
from collections import deque
from dataclasses import dataclass, field


@dataclass
class Pace:
    """Measured times of a run: updates lately, the last evaluation and the last save."""

    began: float = field(default_factory=time.monotonic)
    judging: float = math.nan
    saving: float = 1.0
    lately: deque[tuple[int, float]] = field(default_factory=lambda: deque(maxlen=50))

    @property
    def elapsed(self) -> float:
        """Seconds since the run was opened."""
        return time.monotonic() - self.began

    @property
    def update(self) -> float:
        """Seconds of an update, lately."""
        return sum(seconds for _, seconds in self.lately) / max(len(self.lately), 1)

    @property
    def rate(self) -> float:
        """Tokens trained on per second of updating, lately."""
        seconds = sum(seconds for _, seconds in self.lately)
        return sum(tokens for tokens, _ in self.lately) / max(seconds, 1e-9)

    def closing(self, tokens: int) -> float:
        """Seconds to judge on so many tokens and to save.

        Before the first evaluation it is taken to be as slow as training.
        """
        judging = tokens / max(self.rate, 1e-9) if math.isnan(self.judging) else self.judging
        return judging + self.saving

    def left(self, steps: int, evaluations: int, deadline: float) -> float:
        """Seconds until the run ends, by its last step or its deadline."""
        judging = 0.0 if math.isnan(self.judging) else self.judging
        return max(min(steps * self.update + evaluations * judging, deadline - self.elapsed), 0.0)
