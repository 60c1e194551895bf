"""What can be counted in a performance: onsets, intervals, histograms, pedalling."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from espressivo.performance import PEDAL_DOWN, SUSTAIN, Performance

Numbers = NDArray[Any]


def inter_onset_intervals(performance: Performance) -> Numbers:
    """Give the seconds between successive onsets, zero within a chord struck at once."""
    return np.diff(performance.notes["onset"])


def durations(performance: Performance) -> Numbers:
    """Give the seconds every note lasts."""
    lasting: Numbers = performance.notes["offset"] - performance.notes["onset"]
    return lasting


def pitch_class_histogram(performance: Performance) -> Numbers:
    """Give the share of note onsets on C, C sharp, ... B; zeros if there are no notes."""
    counts = np.bincount(performance.notes["pitch"] % 12, minlength=12).astype(float)
    share: Numbers = counts / max(counts.sum(), 1.0)
    return share


def pedal_intervals(performance: Performance) -> Numbers:
    """Give when the sustain pedal is down, as rows [press, lift]; half-pedal is down from 64."""
    moves = performance.controls[performance.controls["number"] == SUSTAIN]
    down = (moves["value"] >= PEDAL_DOWN).astype(int)
    change = np.diff(down, prepend=0)
    presses, lifts = moves["time"][change == 1], moves["time"][change == -1]
    if len(lifts) < len(presses):
        lifts = np.append(lifts, max(performance.duration, float(presses[-1])))
    return np.stack([presses, lifts], axis=1)
