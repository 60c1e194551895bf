"""Plain numbers about one performance, each a function in `METRICS`.

All of them need a note; a performance without any gives not-a-number, never an error.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from espressivo import features
from espressivo.performance import Performance

CHORD = 0.03
"""Seconds within which successive onsets are heard as one chord."""


def _length(performance: Performance) -> float:
    return max(performance.duration - performance.start, 1e-9)


def notes_per_second(performance: Performance) -> float:
    """Give how many notes are struck per second from the first onset on."""
    return len(performance) / _length(performance)


def lowest_pitch(performance: Performance) -> float:
    """Give the pitch below which 2 % of the notes lie."""
    return float(np.quantile(performance.notes["pitch"], 0.02))


def highest_pitch(performance: Performance) -> float:
    """Give the pitch above which 2 % of the notes lie."""
    return float(np.quantile(performance.notes["pitch"], 0.98))


def velocity_mean(performance: Performance) -> float:
    """Give the mean velocity, 1..127."""
    return float(performance.notes["velocity"].mean())


def velocity_spread(performance: Performance) -> float:
    """Give the standard deviation of the velocities."""
    return float(performance.notes["velocity"].std())


def inter_onset_median(performance: Performance) -> float:
    """Give the median seconds between successive onsets that are not one chord."""
    gaps = features.inter_onset_intervals(performance)
    gaps = gaps[gaps >= CHORD]
    return float(np.median(gaps)) if len(gaps) else float("nan")


def inter_onset_spread(performance: Performance) -> float:
    """Give the interquartile range of those seconds."""
    gaps = features.inter_onset_intervals(performance)
    gaps = gaps[gaps >= CHORD]
    return float(np.subtract(*np.quantile(gaps, [0.75, 0.25]))) if len(gaps) else float("nan")


def chord_share(performance: Performance) -> float:
    """Give the share of onsets within 30 ms of the one before."""
    gaps = features.inter_onset_intervals(performance)
    return float((gaps < CHORD).mean()) if len(gaps) else float("nan")


def note_length(performance: Performance) -> float:
    """Give the median seconds a note sounds, pedal included."""
    return float(np.median(features.durations(performance.sustained())))


def pedal_share(performance: Performance) -> float:
    """Give the share of the time that the sustain pedal is down."""
    return float(np.diff(features.pedal_intervals(performance), axis=1).sum()) / _length(
        performance
    )


def pedal_presses(performance: Performance) -> float:
    """Give how often per minute the sustain pedal goes down."""
    return 60 * len(features.pedal_intervals(performance)) / _length(performance)


def pitch_class_entropy(performance: Performance) -> float:
    """Give the entropy of the pitch classes in bits: 3.58 when all twelve are equally common."""
    share = features.pitch_class_histogram(performance)
    share = share[share > 0]
    return float(-(share * np.log2(share)).sum())


METRICS: dict[str, Callable[[Performance], float]] = {
    "notes per second": notes_per_second,
    "lowest pitch (2 %)": lowest_pitch,
    "highest pitch (98 %)": highest_pitch,
    "velocity, mean": velocity_mean,
    "velocity, standard deviation": velocity_spread,
    "inter-onset time, median (s)": inter_onset_median,
    "inter-onset time, interquartile range (s)": inter_onset_spread,
    "onsets in chords (share)": chord_share,
    "note length with pedal, median (s)": note_length,
    "pedal down (share of time)": pedal_share,
    "pedal presses per minute": pedal_presses,
    "pitch-class entropy (bits)": pitch_class_entropy,
}


def measure(performance: Performance) -> dict[str, float]:
    """Give every metric of a performance by name."""
    if not len(performance):
        return dict.fromkeys(METRICS, float("nan"))
    return {name: metric(performance) for name, metric in METRICS.items()}
