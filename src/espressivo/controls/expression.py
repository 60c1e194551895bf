"""Controls of touch and harmony, each the value of some seconds to come."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from espressivo.controls.control import EDGE, Rows, Sounding, Values
from espressivo.errors import ConfigError
from espressivo.performance import PEDAL_DOWN, SUSTAIN, Performance

MAJOR = (6.35, 2.23, 3.48, 2.33, 4.38, 4.09, 2.52, 5.19, 2.39, 3.66, 2.29, 2.88)
MINOR = (6.33, 2.68, 3.52, 5.38, 2.60, 3.53, 2.54, 4.75, 3.98, 2.69, 3.34, 3.17)
"""The probe-tone profiles of Krumhansl and Kessler 1982, from the tonic up."""


class _OneNumber:
    """A control of one number [t, 1], shown as which range between `edges` it lies in."""

    name: ClassVar[str]
    width: ClassVar[int]
    edges: ClassVar[tuple[float, ...]]
    most: ClassVar[float]

    def show(self, values: Values) -> Rows:
        """Return the range as one of `width`, Float[t, width]."""
        ranges = np.searchsorted(self.edges, values[:, 0], side="right")
        shown: Rows = np.eye(self.width, dtype=np.float32)[ranges]
        return shown

    def check(self, values: Values) -> Values:
        """Return the values [t, 1]; ConfigError for numbers outside 0..`most`."""
        rows = np.asarray(values, dtype=float).reshape(-1, 1)
        if not len(rows) or not np.isfinite(rows).all() or rows.min() < 0 or rows.max() > self.most:
            asked = ",".join(f"{value:g}" for value in rows[:, 0]) or "nothing"
            raise ConfigError(
                f"{self.name}={asked} must be numbers from 0 to {self.most:g}; "
                f"try {self.most / 2:g}"
            )
        return rows


class MeanVelocity(_OneNumber):
    """The mean MIDI velocity of the notes struck in the next five seconds; 64 if there are none."""

    name: ClassVar[str] = "mean-velocity"
    width: ClassVar[int] = 10
    horizon: ClassVar[float] = 5.0
    edges: ClassVar[tuple[float, ...]] = (24, 36, 44, 52, 60, 68, 76, 84, 96)
    most: ClassVar[float] = 127.0
    default: ClassVar[Values] = np.array([64.0])

    def measure(self, performance: Performance, times: Values) -> Values:
        """Return the means from each time on, [t, 1]."""
        notes = performance.notes
        ahead = (0.0, self.horizon)
        first, last = (np.searchsorted(notes["onset"], times + x - EDGE) for x in ahead)
        total = np.append(0, np.cumsum(notes["velocity"], dtype=np.int64))
        mean = (total[last] - total[first]) / np.maximum(last - first, 1)
        values: Values = np.where(last > first, mean, self.default)[:, None]
        return values


class PedalShare(_OneNumber):
    """The share of the next five seconds in which the sustain pedal is down, 0 to 1."""

    name: ClassVar[str] = "pedal-share"
    width: ClassVar[int] = 6
    horizon: ClassVar[float] = 5.0
    edges: ClassVar[tuple[float, ...]] = (0.05, 0.3, 0.55, 0.8, 0.95)
    most: ClassVar[float] = 1.0
    default: ClassVar[Values] = np.array([0.5])

    def measure(self, performance: Performance, times: Values) -> Values:
        """Return the shares from each time on, [t, 1]."""
        moves = performance.controls[performance.controls["number"] == SUSTAIN]
        at = np.append(0.0, moves["time"])
        down = np.append(False, moves["value"] >= PEDAL_DOWN)
        passed = np.append(0.0, np.cumsum(np.diff(at) * down[:-1]))

        def until(moment: Values) -> Values:
            place = np.searchsorted(at, moment, side="right") - 1
            seconds: Values = passed[place] + down[place] * (moment - at[place])
            return seconds

        shares: Values = (until(times + self.horizon) - until(times)) / self.horizon
        return shares.clip(0.0, 1.0)[:, None]


class Key:
    """The key of the next eight seconds: 0 to 11 are C major up to B major, 12 to 23 the minors.

    The key whose profile (Krumhansl and Kessler 1982) correlates best with how long each pitch
    class sounds.
    """

    name: ClassVar[str] = "key"
    width: ClassVar[int] = 24
    horizon: ClassVar[float] = 8.0
    default: ClassVar[Values] = np.array([0.0])

    def measure(self, performance: Performance, times: Values) -> Values:
        """Return the number of the key from each time on, [t, 1]."""
        sounding = Sounding(performance)
        seconds = sounding.until(times + self.horizon) - sounding.until(times)
        best: Values = (seconds @ _PROFILES.T).argmax(1).astype(float)
        return best[:, None]

    def show(self, values: Values) -> Rows:
        """Return the key as one of 24, Float[t, 24]."""
        keys: Rows = np.eye(self.width, dtype=np.float32)[values[:, 0].astype(int)]
        return keys

    def check(self, values: Values) -> Values:
        """Return the values [t, 1]; ConfigError for what is no whole number in 0..23."""
        rows = np.asarray(values, dtype=float).reshape(-1, 1)
        if not len(rows) or not np.isin(rows, np.arange(self.width)).all():
            asked = ",".join(f"{value:g}" for value in rows[:, 0]) or "nothing"
            raise ConfigError(
                f"{self.name}={asked} must be whole numbers from 0 (C major) to 23 (B minor)"
            )
        return rows


def _profiles() -> Values:
    """Return the profiles of the 24 keys, Float[24, 12], centred and of unit length."""
    rows = np.array([np.roll(profile, tonic) for profile in (MAJOR, MINOR) for tonic in range(12)])
    rows -= rows.mean(1, keepdims=True)
    unit: Values = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    return unit


_PROFILES = _profiles()
