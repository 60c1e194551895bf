"""What can be said of music to come: a value at every moment, measured or asked for."""

from __future__ import annotations

from typing import Any, ClassVar, Protocol

import numpy as np
from numpy.typing import NDArray

from espressivo.errors import ConfigError
from espressivo.performance import Performance

Values = NDArray[np.float64]
Rows = NDArray[np.float32]

EDGE = 1e-6
"""Seconds: what lies this close to the edge of a window lies on it, however times were summed."""


class Control(Protocol):
    """A value over time that a model may be told, and that may always be left unset."""

    @property
    def name(self) -> str:
        """What it is called in configurations and on the command line."""
        ...

    @property
    def width(self) -> int:
        """How many numbers a model is shown."""
        ...

    @property
    def horizon(self) -> float:
        """How many seconds ahead it looks."""
        ...

    @property
    def default(self) -> Values:
        """The value, [k], where none is given to a model that always had one."""
        ...

    def measure(self, performance: Performance, times: Values) -> Values:
        """Give the values [t, k] of a performance from each of some times on."""
        ...

    def show(self, values: Values) -> Rows:
        """Turn values [t, k] into what a model is shown, [t, width]."""
        ...

    def check(self, values: Values) -> Values:
        """Give values somebody asks for as [t, k]; ConfigError if they cannot be."""
        ...


class NotesPerSecond:
    """How many notes are struck per second in the next three seconds (Performance RNN).

    The time after the last event of a performance is not counted. A model is shown which of eight
    ranges the value lies in.
    """

    name: ClassVar[str] = "notes-per-second"
    width: ClassVar[int] = 8
    horizon: ClassVar[float] = 3.0
    edges: ClassVar[tuple[float, ...]] = (1, 2, 4, 8, 16, 32, 64)
    default: ClassVar[Values] = np.array([15.0])

    def measure(self, performance: Performance, times: Values) -> Values:
        """Count onsets from each time on, [t, 1]."""
        onsets = performance.notes["onset"]
        first, last = (np.searchsorted(onsets, times + ahead - EDGE) for ahead in (0, self.horizon))
        # Rounded, so that a tail of some steps divides as exactly as the steps would.
        window = np.round(np.minimum(performance.duration - times, self.horizon), 6)
        counts: Values = np.where(window > 0, (last - first) / np.maximum(window, EDGE), 0.0)
        return counts[:, None]

    def show(self, values: Values) -> Rows:
        """Give the range as one of eight."""
        ranges = np.searchsorted(self.edges, values[:, 0], side="right")
        return np.eye(self.width, dtype=np.float32)[ranges]

    def check(self, values: Values) -> Values:
        """Refuse what no pianist could be asked for."""
        rows = np.asarray(values, dtype=float).reshape(-1, 1)
        if not len(rows) or not np.isfinite(rows).all() or rows.min() < 0:
            raise ConfigError(
                f"{self.name}={_told(values)} must be numbers from 0 on; try 4, or 2,8,2"
            )
        return rows


class PitchClassHistogram:
    """For how long C, C sharp, ... B sound in the next five seconds, as shares (Performance RNN).

    Time under the sustain pedal counts. Every class is given 0.01 seconds more, so that nothing
    is impossible and silence is twelve equal shares.
    """

    name: ClassVar[str] = "pitch-class-histogram"
    width: ClassVar[int] = 12
    horizon: ClassVar[float] = 5.0
    prior: ClassVar[float] = 0.01
    default: ClassVar[Values] = np.full(12, 1 / 12)

    def measure(self, performance: Performance, times: Values) -> Values:
        """Give the shares from each time on, [t, 12]."""
        sounded = Sounding(performance)
        seconds = sounded.until(times + self.horizon) - sounded.until(times) + self.prior
        shares: Values = seconds / seconds.sum(1, keepdims=True)
        return shares

    def show(self, values: Values) -> Rows:
        """Give shares of whatever the weights add up to."""
        shares: Rows = (values / values.sum(1, keepdims=True)).astype(np.float32)
        return shares

    def check(self, values: Values) -> Values:
        """Take any weights; refuse what are no twelve."""
        rows = np.atleast_2d(np.asarray(values, dtype=float))
        if rows.shape[1] != self.width or not len(rows):
            raise ConfigError(
                f"{self.name}={_told(values)} must have 12 numbers, for C, C sharp, ... B"
            )
        if not np.isfinite(rows).all() or rows.min() < 0 or not rows.sum(1).all():
            raise ConfigError(
                f"{self.name}={_told(values)} must be numbers from 0 on, some of them above 0"
            )
        return rows


class Sounding:
    """For how long each pitch class has sounded, all its notes together, up to any time."""

    def __init__(self, performance: Performance) -> None:
        """Sum up a whole performance once."""
        notes, until = performance.notes, performance.sounding_until()
        count = len(notes)
        times = np.concatenate([[0.0], notes["onset"], until])
        change = np.zeros((2 * count + 1, 12))  # of how many keys of a class sound
        change[np.arange(count) + 1, notes["pitch"] % 12] = 1
        change[np.arange(count) + 1 + count, notes["pitch"] % 12] = -1
        order = np.argsort(times, kind="stable")
        self._times, self._keys = times[order], change[order].cumsum(0)
        between = np.diff(self._times)[:, None] * self._keys[:-1]
        self._seconds = np.concatenate([np.zeros((1, 12)), between.cumsum(0)])

    def until(self, times: Values) -> Values:
        """Give the seconds [t, 12] of each class up to some times, none below zero."""
        at = np.searchsorted(self._times, times, side="right") - 1
        sounded: Values = self._seconds[at] + self._keys[at] * (times - self._times[at])[:, None]
        return sounded


def _told(values: Any) -> str:
    return ",".join(f"{value:g}" for value in np.ravel(values)) or "nothing"
