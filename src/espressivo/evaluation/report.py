"""Two sets of performances side by side, metric by metric."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from espressivo.evaluation.metrics import METRICS, measure
from espressivo.performance import Performance


@dataclass(frozen=True)
class Row:
    """One metric over two sets: quartiles of each, and how much they overlap.

    `overlap` is one minus the Kolmogorov-Smirnov distance of the two samples: one if the sets
    could be exchanged, zero if they do not touch.
    """

    metric: str
    candidates: tuple[float, float, float]
    reference: tuple[float, float, float]
    overlap: float


def compare(candidates: Iterable[Performance], reference: Iterable[Performance]) -> list[Row]:
    """Measure both sets; performances without notes count in neither."""
    ours, theirs = ([measure(p) for p in group if len(p)] for group in (candidates, reference))
    rows = []
    for metric in METRICS:
        a, b = (np.array([m[metric] for m in group], dtype=float) for group in (ours, theirs))
        a, b = a[np.isfinite(a)], b[np.isfinite(b)]
        rows.append(Row(metric, _quartiles(a), _quartiles(b), _overlap(a, b)))
    return rows


def _quartiles(values: np.ndarray) -> tuple[float, float, float]:
    if not len(values):
        return (float("nan"),) * 3
    low, middle, high = (float(q) for q in np.quantile(values, [0.25, 0.5, 0.75]))
    return low, middle, high


def _overlap(a: np.ndarray, b: np.ndarray) -> float:
    if not len(a) or not len(b):
        return float("nan")
    points = np.concatenate([a, b])
    below = (np.searchsorted(np.sort(x), points, side="right") / len(x) for x in (a, b))
    first, second = below
    return 1.0 - float(np.abs(first - second).max())
