"""Does a model play what it is asked to play?

    python benchmarks/control.py CHECKPOINT [--takes 4] [--seconds 30] [--seed 0] [--json FILE]

Asks for densities, for pitch classes and for some that change on the way, several takes of each,
and measures what was played as the controls themselves are measured, averaged over the stretch a
value held for. Beside it stands what the model plays when nothing is asked. The distance of two
histograms is the share that would have to move from one pitch class to another (half of L1) and
the Jensen-Shannon divergence in bits. Prints tables in Markdown; `--json` keeps the numbers.
"""

from __future__ import annotations

import argparse
import json
import platform
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

import espressivo
from espressivo import recording
from espressivo.controls import CONTROLS, Values, parse
from espressivo.generation import Performer, unconditional
from espressivo.performance import Performance

REQUESTS = {
    "notes-per-second": ("1.5", "3", "6", "12", "2,8,2", "12,3"),
    "pitch-class-histogram": ("C major", "E minor", "F# major", "Bb minor", "C major; F# major"),
}
STEP = 0.25
"""Seconds between measurements."""


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="What was asked beside what was played.")
    parser.add_argument("checkpoint")
    parser.add_argument("--takes", type=int, default=4)
    parser.add_argument("--seconds", type=float, default=30.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path)
    return parser.parse_args()


def played(name: str, takes: list[Performance], begin: float, end: float) -> Values:
    """Measure a control over a stretch of every take, [takes, k].

    What a control looks ahead at must lie in the stretch too, or as much as there is room for.
    """
    control = CONTROLS[name]
    last = max(end - control.horizon, begin + STEP)
    times = np.arange(begin, last, STEP)
    return np.array([control.measure(take, times).mean(0) for take in takes])


def distances(asked: Values, found: Values) -> dict[str, float]:
    """Give the mean distances of histograms [takes, 12] to one that was asked for."""
    p, q = asked / asked.sum(), found / found.sum(1, keepdims=True)
    middle = (p + q) / 2
    bits = (entropy(middle) - (entropy(p[None]) + entropy(q)) / 2).mean()
    return {"moved": float(np.abs(p - q).sum(1).mean() / 2), "bits": float(bits)}


def entropy(shares: Values) -> Values:
    logs = np.log2(shares, out=np.zeros_like(shares), where=shares > 0)
    found: Values = -(shares * logs).sum(1)
    return found


def ask(performer: Performer, name: str, text: str, free: list[Performance], options: Any) -> Any:
    """Play one request; give a row for every value in it."""
    values = parse(name, text)
    prompt = unconditional(performer.codec, options.seconds).told({name: values})
    takes = performer.takes(prompt, recording.CAREFUL, options.seed, options.takes)
    ours = [take.performance for take in takes]
    rows = []
    for number, value in enumerate(values):
        begin, end = (options.seconds * n / len(values) for n in (number, number + 1))
        both = [played(name, some, begin, end) for some in (ours, free)]
        row = {"control": name, "asked": text, "part": number + 1, "parts": len(values)}
        if name == "notes-per-second":
            row |= {"value": float(value[0]), "played": both[0][:, 0].tolist()}
            row |= {"unasked": both[1][:, 0].tolist()}
        else:
            row |= {"played": distances(value, both[0]), "unasked": distances(value, both[1])}
        rows.append(row)
    return rows


def density_line(row: dict[str, Any]) -> str:
    mine, free = np.array(row["played"]), np.array(row["unasked"])
    return (
        f"| {row['asked']} | {row['part']} of {row['parts']} | {row['value']:g} "
        f"| {mine.mean():.2f} ({mine.min():.2f} to {mine.max():.2f}) | {free.mean():.2f} |"
    )


def pitch_line(row: dict[str, Any]) -> str:
    mine, free = row["played"], row["unasked"]
    return (
        f"| {row['asked']} | {row['part']} of {row['parts']} | {mine['moved']:.3f} "
        f"| {free['moved']:.3f} | {mine['bits']:.3f} | {free['bits']:.3f} |"
    )


TABLES = {
    "notes-per-second": (
        density_line,
        "| asked, notes per second | part | value | played, mean (takes) | when not asked |",
    ),
    "pitch-class-histogram": (
        pitch_line,
        "| asked, pitch classes | part | share to move | when not asked | bits | when not asked |",
    ),
}


def main() -> None:
    options = arguments()
    performer = recording.load(options.checkpoint)
    prompt = unconditional(performer.codec, options.seconds)
    takes = performer.takes(prompt, recording.CAREFUL, options.seed, options.takes)
    free = [take.performance for take in takes]
    print(
        f"{options.takes} takes of {options.seconds:g} s of each by {performer.model} "
        f"({performer.digest[:12]}), seed {options.seed}, as `espressivo generate` plays"
    )
    rows = []
    for name in performer.conditioning.names:
        line, head = TABLES[name]
        print(f"\n{head}\n|{'---|' * (head.count('|') - 1)}", flush=True)
        for text in REQUESTS[name]:
            found = ask(performer, name, text, free, options)
            print("\n".join(map(line, found)), flush=True)
            rows += found
    if options.json:
        result = {
            "model": performer.model,
            "digest": performer.digest,
            "takes": options.takes,
            "seconds": options.seconds,
            "seed": options.seed,
            "sampling": asdict(recording.CAREFUL),
            "rows": rows,
            "espressivo": espressivo.__version__,
            "machine": platform.processor() or platform.machine(),
        }
        options.json.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
