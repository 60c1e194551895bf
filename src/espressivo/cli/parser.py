"""What can be typed: every verb with its options, and which function answers."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from espressivo import __version__

Options = argparse.Namespace
PIPE = Path("-")


class Parser(argparse.ArgumentParser):
    """A parser whose complaints are one line."""

    def error(self, message: str) -> NoReturn:
        """Say what is wrong and where help is, and leave with exit code 2."""
        self.exit(2, f"{self.prog}: {message}; see {self.prog} --help\n")


def parser() -> Parser:
    """Build the parser of all verbs; imports nothing of what they do."""
    top = Parser(
        prog="espressivo",
        description="Learn and generate expressive musical performances.",
        epilog="Results go to standard output, progress to standard error. "
        "Exit codes: 0 done, 1 failed, 2 misused, 130 interrupted.",
    )
    top.add_argument("--version", action="version", version=f"espressivo {__version__}")
    verbs = top.add_subparsers(dest="verb", metavar="VERB", required=True)
    for add in (_render, _plot, _inspect, _models, _doctor):
        add(verbs)
    return top


if TYPE_CHECKING:
    Verbs = argparse._SubParsersAction[Parser]


def _verb(verbs: Verbs, name: str, help: str, answer: str, example: str) -> Parser:
    """Add a verb answered by the function `answer`, "module:name" in this package."""
    verb = verbs.add_parser(
        name,
        help=help,
        description=help[0].upper() + help[1:] + ".",
        epilog=f"example: {example}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    module, function = answer.split(":")

    def run(options: Options) -> int | None:
        answering: Callable[[Options], int | None]
        answering = getattr(import_module(f"espressivo.cli.{module}"), function)
        return answering(options)

    verb.set_defaults(run=run)
    return verb


def _output(verb: Parser, *, what: str, required: bool = True) -> None:
    verb.add_argument(
        "-o",
        "--output",
        type=Path,
        required=required,
        metavar="FILE",
        help=f"where the {what} goes",
    )
    _force(verb)


def _force(verb: Parser) -> None:
    verb.add_argument("--force", action="store_true", help="replace files that exist")


def _json(verb: Parser) -> None:
    verb.add_argument("--json", action="store_true", help="print the result as JSON")


def _midi_input(verb: Parser, name: str = "file") -> None:
    verb.add_argument(name, type=Path, metavar="FILE.mid", help="a MIDI file; - for standard input")
    verb.add_argument(
        "--salvage", action="store_true", help="take what is left of a damaged file, and say so"
    )


def _render(verbs: Verbs) -> None:
    verb = _verb(
        verbs,
        "render",
        "play a MIDI file into an audio file",
        "files:render",
        "espressivo render performance.mid -o performance.flac",
    )
    _midi_input(verb)
    _output(verb, what="sound (.wav, .flac, .ogg, .mp3)")
    verb.add_argument(
        "--engine", choices=("sampler", "fluidsynth"), default="sampler", help="what plays"
    )
    verb.add_argument("--room", type=float, metavar="LEVEL", help="level of the room, 0 for dry")
    verb.add_argument("--width", type=float, metavar="WIDTH", help="stereo width, 0 for mono")
    _json(verb)


def _plot(verbs: Verbs) -> None:
    verb = _verb(
        verbs,
        "plot",
        "draw the piano roll of a MIDI file",
        "files:plot",
        "espressivo plot performance.mid -o performance.png",
    )
    _midi_input(verb)
    _output(verb, what="picture (.png, .svg)", required=False)
    verb.add_argument("--start", type=float, metavar="SECONDS", help="first second to draw")
    verb.add_argument("--end", type=float, metavar="SECONDS", help="last second to draw")
    verb.add_argument("--title", metavar="WORDS", help="words above the roll")
    verb.add_argument("--theme", choices=("light", "dark"), default="light")


def _inspect(verbs: Verbs) -> None:
    verb = _verb(
        verbs,
        "inspect",
        "tell what a MIDI file, checkpoint, corpus or training run is",
        "files:inspect",
        "espressivo inspect performance.mid",
    )
    verb.add_argument("target", metavar="THING", help="a file, a folder, or a bundled checkpoint")
    _json(verb)


def _models(verbs: Verbs) -> None:
    verb = _verb(
        verbs,
        "models",
        "list the checkpoints at hand, with their licences",
        "models:models",
        "espressivo models",
    )
    _json(verb)


def _doctor(verbs: Verbs) -> None:
    verb = _verb(
        verbs,
        "doctor",
        "tell what is missing here and how to mend it",
        "doctor:doctor",
        "espressivo doctor",
    )
    _json(verb)
