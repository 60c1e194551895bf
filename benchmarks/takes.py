"""Do generated takes have the numbers of human playing?

    python benchmarks/takes.py CORPUS [--model NAME] [--split test] [--takes 20] [--seconds 60]

Takes of a checkpoint beside excerpts of a split, as long and one from the middle of each piece.
The excerpts are measured as they were played and as the checkpoint's codec says them, for no model
can come nearer to people than its vocabulary. Prints a table in Markdown; `--json FILE` keeps the
numbers.
"""

from __future__ import annotations

import argparse
import json
import platform
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import espressivo
from espressivo import recording
from espressivo.codecs import Codec
from espressivo.corpora import Corpus
from espressivo.evaluation import Row, compare
from espressivo.generation import unconditional
from espressivo.performance import Performance


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Generated takes beside human playing.")
    parser.add_argument("corpus", type=Path)
    parser.add_argument("--model")
    parser.add_argument("--split", default="test")
    parser.add_argument("--takes", type=int, default=20)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--excerpts", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path)
    return parser.parse_args()


def excerpts(corpus: Corpus, split: str, count: int, seconds: float) -> Iterator[Performance]:
    """Cut the middle out of pieces spread evenly over a split."""
    pieces = [i for i in corpus.split(split) if corpus.pieces[i].seconds >= seconds]
    for number in range(min(count, len(pieces))):
        piece = corpus.performance(pieces[number * len(pieces) // min(count, len(pieces))])
        begin = (piece.duration - seconds) / 2
        yield piece.slice(begin, begin + seconds)


def said(codec: Codec, performance: Performance) -> Performance:
    """Give what a codec keeps of a performance, its pedal found again where that is folded."""
    kept = codec.quantize(performance)
    return kept if "pedal" in codec.vocabulary else kept.pedalled()


def cell(quartiles: tuple[float, float, float]) -> str:
    low, middle, high = (f"{value:.3g}" for value in quartiles)
    return f"{middle} ({low} to {high})"


def table(played: list[Row], heard: list[Row]) -> str:
    lines = [
        "| median (quartiles) | takes | people, through the codec | people, as played | overlap |",
        "|---|---|---|---|---|",
    ]
    lines += [
        f"| {h.metric} | {cell(h.candidates)} | {cell(h.reference)} | {cell(p.reference)} "
        f"| {h.overlap:.2f} |"
        for h, p in zip(heard, played, strict=True)
    ]
    return "\n".join(lines)


def main() -> None:
    options = arguments()
    performer = recording.load(options.model)
    prompt = unconditional(performer.codec, options.seconds)
    sampling = recording.CAREFUL
    takes = performer.takes(prompt, sampling, options.seed, options.takes)
    ours = [recording.pedalled(take) for take in takes]
    humans = list(
        excerpts(Corpus(options.corpus), options.split, options.excerpts, options.seconds)
    )
    codec = performer.codec
    played = compare(ours, humans)
    heard = compare(ours, [said(codec, human) for human in humans])
    print(
        f"{options.takes} takes of {options.seconds:g} s by {performer.model} "
        f"({performer.digest[:12]}), seed {options.seed}, as `espressivo generate` plays, "
        f"beside {len(humans)} excerpts of the {options.split} split.\n"
    )
    print(table(played, heard))
    if options.json:
        result = {
            "model": performer.model,
            "digest": performer.digest,
            "seed": options.seed,
            "sampling": asdict(sampling),
            "takes": options.takes,
            "seconds": options.seconds,
            "excerpts": len(humans),
            "split": options.split,
            "as_played": [asdict(row) for row in played],
            "as_the_codec_says": [asdict(row) for row in heard],
            "espressivo": espressivo.__version__,
            "machine": platform.processor() or platform.machine(),
        }
        options.json.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
