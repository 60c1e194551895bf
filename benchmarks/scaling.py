"""What do size and hours buy? Curves of several long runs, and the line through them.

    python benchmarks/scaling.py 3.5=RUN/hours.jsonl 8.0=RUN/hours.jsonl ... --svg docs/scaling.svg

Every run is one of `tools/long_run` (millions of parameters = its log). Validation is in nats per
note at the information of the 390 events, conditioned on nothing, of the averaged weights at a
constant rate. Fitted is L = E + A N^-a + B D^-b over all points (Hoffmann et al. 2022, approach
3), N being parameters and D events seen, by least squares for E, A, B >= 0 on a grid of a and b; a
point must have seen `--least` events, for the beginning obeys no line. From it and the CPU seconds
an event costs at each size follows what some core-hours bring, and which size is best for them.
"""

from __future__ import annotations

import argparse
import json
from itertools import product
from pathlib import Path
from typing import NamedTuple

import numpy as np

BUDGETS = (0.25, 1, 5, 20, 60, 200)
COLOURS = ("#1b6ca8", "#c8553d", "#4f8a5b", "#7a5195")


class Point(NamedTuple):
    parameters: float
    cpu_seconds: float
    events: float
    nats: float


class Line(NamedTuple):
    floor: float
    a_size: float
    size: float
    a_events: float
    events: float
    error: float

    def __call__(self, parameters: float, events: float) -> float:
        return (
            self.floor + self.a_size * parameters**-self.size + self.a_events * events**-self.events
        )


def points(parameters: float, log: Path) -> tuple[list[Point], float]:
    """Return the validations of a run, and the CPU seconds an event cost it in the median."""
    spent, before, found, costs = 0.0, 0, [], []
    for line in map(json.loads, log.read_text().splitlines()):
        spent += line["cpu_seconds"]
        if line["events"] > before:
            costs.append(line["cpu_seconds"] / (line["events"] - before))
        before = line["events"]
        if "validation_per_note_390" in line:
            nats = line["validation_per_note_390"]
            found.append(Point(parameters, spent, line["events"], nats))
    return found, float(np.median(costs[len(costs) // 3 :]))


def fitted(found: list[Point]) -> Line:
    n, d, nats = (
        np.array([getattr(p, k) for p in found]) for k in ("parameters", "events", "nats")
    )
    best = None
    for size, events in product(np.arange(0.1, 0.81, 0.05), np.arange(0.1, 0.81, 0.025)):
        columns = np.stack([np.ones_like(n), n**-size, d**-events], 1)
        solved = np.linalg.lstsq(columns, nats, rcond=None)[0]
        if solved.min() < 0:
            continue
        error = float(np.sqrt(np.mean((columns @ solved - nats) ** 2)))
        if best is None or error < best.error:
            best = Line(float(solved[0]), float(solved[1]), size, float(solved[2]), events, error)
    if best is None:
        raise SystemExit("no line fits: too few points, or validation rises; give more sizes")
    return best


def svg(runs: dict[float, list[Point]], line: Line, costs: dict[float, float]) -> str:
    """Draw nats against CPU hours, points and line, on a logarithmic axis."""
    every = [p for found in runs.values() for p in found]
    left, right = np.log10(min(p.cpu_seconds for p in every) / 3600), np.log10(100)
    low = min(8.0, min(p.nats for p in every)) - 0.2
    high = max(p.nats for p in every) + 0.2
    width, height, margin = 640, 400, 50

    def at(hours: float, nats: float) -> tuple[float, float]:
        x = margin + (np.log10(hours) - left) / (right - left) * (width - 2 * margin)
        return x, margin + (high - nats) / (high - low) * (height - 2 * margin)

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" '
        'font-family="sans-serif" font-size="12"><rect width="100%" height="100%" fill="white"/>'
    ]
    for hours in (0.01, 0.1, 1, 10, 60):
        if np.log10(hours) >= left:
            x, y = at(hours, low)
            parts.append(f'<path d="M{x:.1f} {margin}V{y:.1f}" stroke="#ddd"/>')
            parts.append(
                f'<text x="{x:.1f}" y="{y + 16:.1f}" text-anchor="middle">{hours:g}</text>'
            )
    for nats in np.arange(np.ceil(low), high):
        x, y = at(10**left, nats)
        parts.append(f'<path d="M{x:.1f} {y:.1f}H{width - margin}" stroke="#ddd"/>')
        parts.append(f'<text x="{x - 6:.1f}" y="{y + 4:.1f}" text-anchor="end">{nats:g}</text>')
    for colour, (size, found) in zip(COLOURS, runs.items(), strict=False):
        hours = np.geomspace(found[0].cpu_seconds / 3600, 100, 60)
        fit = [at(h, line(size, 3600 * h / costs[size])) for h in hours]
        path = "L".join(f"{x:.1f} {y:.1f}" for x, y in fit)
        parts.append(f'<path d="M{path}" fill="none" stroke="{colour}" stroke-dasharray="4 3"/>')
        for point in found:
            x, y = at(point.cpu_seconds / 3600, point.nats)
            parts.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="2.5" fill="{colour}"/>')
        x, y = at(found[0].cpu_seconds / 3600, found[0].nats)
        parts.append(f'<text x="{x + 6:.1f}" y="{y + 4:.1f}" fill="{colour}">{size:g} M</text>')
    parts.append(
        f'<text x="{width / 2}" y="{height - 8}" text-anchor="middle">core-hours</text>'
        f'<text x="14" y="{margin - 14}">nats per note</text></svg>'
    )
    return "\n".join(parts) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("runs", nargs="+", help="MILLIONS=FILE")
    parser.add_argument("--least", type=float, default=1e6)
    parser.add_argument("--svg", type=Path)
    options = parser.parse_args()
    runs, costs = {}, {}
    for run in options.runs:
        size, _, file = run.partition("=")
        runs[float(size)], costs[float(size)] = points(float(size), Path(file))
    print("| parameters | core-minutes | events | nats per note |\n|---|---|---|---|")
    for found in runs.values():
        for p in found:
            print(
                f"| {p.parameters:g} M | {p.cpu_seconds / 60:.1f} | {p.events / 1e6:.2f} M "
                f"| {p.nats:.3f} |"
            )
    line = fitted([p for found in runs.values() for p in found if p.events >= options.least])
    print(
        f"\nL = {line.floor:.2f} + {line.a_size:.3g} N^-{line.size:.2f} "
        f"+ {line.a_events:.3g} D^-{line.events:.3f}; root mean square error {line.error:.3f}\n"
    )
    print("| core-hours | " + " | ".join(f"{size:g} M" for size in runs) + " |")
    print("|---" * (len(runs) + 1) + "|")
    for hours in BUDGETS:
        cells = [f"{line(size, 3600 * hours / costs[size]):.2f}" for size in runs]
        print(f"| {hours:g} | " + " | ".join(cells) + " |")
    if options.svg:
        options.svg.write_text(svg(runs, line, costs))


if __name__ == "__main__":
    main()
