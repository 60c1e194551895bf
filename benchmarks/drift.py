"""Does playing stay itself far beyond the length a model was trained on?

    python benchmarks/drift.py CORPUS [--model NAME] [--minutes 5] [--takes 8] [--split test]

Takes of several minutes are cut into minutes, and every metric is told minute by minute: the
median over the takes, beside pieces of people that last as long. A last row tells how far the
pitch classes of each minute lie from those of the first (total variation, 0 to 1).
`--json FILE` keeps the numbers.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np
from takes import said

from espressivo import features, recording
from espressivo.corpora import Corpus
from espressivo.evaluation.metrics import METRICS, measure
from espressivo.generation import unconditional
from espressivo.performance import Performance

MINUTE = 60.0
WANDERING = "pitch classes, distance from minute 1"
BEYOND = 1.0
"""Seconds a piece must go on after its last minute, so that the minute is a whole one."""


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Takes of several minutes, minute by minute.")
    parser.add_argument("corpus", type=Path)
    parser.add_argument("--model")
    parser.add_argument("--split", default="test")
    parser.add_argument("--minutes", type=int, default=5)
    parser.add_argument("--takes", type=int, default=8)
    parser.add_argument("--pieces", type=int, default=40)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path)
    return parser.parse_args()


def people(options: argparse.Namespace) -> list[Performance]:
    """Give pieces that last long enough, spread evenly over the split."""
    corpus = Corpus(options.corpus)
    least = options.minutes * MINUTE + BEYOND
    long = [i for i in corpus.split(options.split) if corpus.pieces[i].seconds >= least]
    count = min(options.pieces, len(long))
    return [corpus.performance(long[n * len(long) // count]).trimmed() for n in range(count)]


def by_minute(performances: Sequence[Performance], minutes: int) -> dict[str, list[float]]:
    """Give the median of every metric over the performances, one number a minute."""
    told: dict[str, list[float]] = {name: [] for name in (*METRICS, WANDERING)}
    first = [features.pitch_class_histogram(p.slice(0, MINUTE)) for p in performances]
    for minute in range(minutes):
        cuts = [p.slice(minute * MINUTE, (minute + 1) * MINUTE) for p in performances]
        measured = [measure(cut) for cut in cuts]
        for name in METRICS:
            told[name].append(float(np.nanmedian([m[name] for m in measured])))
        here = [features.pitch_class_histogram(cut) for cut in cuts]
        away = [abs(a - b).sum() / 2 for a, b in zip(here, first, strict=True)]
        told[WANDERING].append(float(np.median(away)))
    return told


def table(ours: dict[str, list[float]], humans: dict[str, list[float]]) -> str:
    """Lay both out in Markdown, and the slope of ours per minute as a share of its mean."""
    minutes = len(ours[WANDERING])
    lines = [
        f"| median, minutes 1 to {minutes} | takes | change a minute | people | change a minute |",
        "|---|---|---|---|---|",
    ]
    for name in ours:
        cells = []
        for told in (ours[name], humans[name]):
            cells += [" ".join(f"{value:.3g}" for value in told), f"{slope(told):+.1%}"]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


def slope(values: Sequence[float]) -> float:
    """Give the change a minute by a straight line, as a share of the mean."""
    fit = np.polyfit(np.arange(len(values)), values, 1)[0] if len(values) > 1 else 0.0
    return float(fit / max(abs(np.mean(values)), 1e-9))


def main() -> None:
    options = arguments()
    performer = recording.load(options.model)
    seconds = options.minutes * MINUTE
    prompt = unconditional(performer.codec, seconds)
    takes = performer.takes(prompt, recording.CAREFUL, options.seed, options.takes)
    ours = by_minute([recording.pedalled(take) for take in takes], options.minutes)
    pieces = people(options)
    humans = by_minute([said(performer.codec, p) for p in pieces], options.minutes)
    tokens = [len(take.tokens) for take in takes]
    print(
        f"{options.takes} takes of {options.minutes} minutes by {performer.model} "
        f"({performer.digest[:12]}), seed {options.seed}, {int(np.mean(tokens)):,} tokens each on "
        f"average with a context of {performer.engine.context}, beside {len(pieces)} pieces of "
        f"people through the same codec.\n"
    )
    print(table(ours, humans))
    if options.json:
        result = {
            "model": performer.model,
            "digest": performer.digest,
            "seed": options.seed,
            "sampling": asdict(recording.CAREFUL),
            "tokens": tokens,
            "context": performer.engine.context,
            "takes": ours,
            "people": humans,
        }
        options.json.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
