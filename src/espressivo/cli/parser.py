"""What can be typed: every verb with its options, and which function answers."""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable, Sequence
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


def parse(arguments: Sequence[str]) -> Options:
    """Read a command; mistakes leave with exit code 2.

    `model.layers=4` may stand anywhere after a verb that takes settings, also behind options,
    where argparse by itself would lose it.
    """
    top = parser()
    options, rest = top.parse_known_args(arguments)
    settings = [word for word in rest if "=" in word and not word.startswith("-")]
    strange = [word for word in rest if not hasattr(options, "settings") or word not in settings]
    if strange:
        top.error(f"{options.verb} does not know {' '.join(strange)}")
    if settings:
        options.settings += settings
    options.arguments = list(arguments)
    return options


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
    for add in _VERBS:
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
        allow_abbrev=False,
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


def _midi_input(verb: Parser, name: str = "file", besides: str = "") -> None:
    what = f"a MIDI file; - for standard input{besides}"
    verb.add_argument(name, type=Path, metavar="FILE.mid", help=what)
    verb.add_argument(
        "--salvage", action="store_true", help="take what is left of a damaged file, and say so"
    )


def _recording(verb: Parser) -> None:
    """Add what generate, continue and replay write besides MIDI."""
    verb.add_argument("--audio", type=Path, metavar="FILE", help="also its sound: .wav, .flac, ...")
    verb.add_argument("--plot", type=Path, metavar="FILE", help="also its roll: .png, .svg")
    _force(verb)
    verb.add_argument("--show", action="store_true", help="draw the roll in the terminal")
    _json(verb)


def _taking(verb: Parser) -> None:
    """Add what all that play share."""
    verb.add_argument(
        "settings",
        nargs="*",
        metavar="SETTING",
        help="such as sampling.temperature=0.9 or sampling.top_p=0.95",
    )
    verb.add_argument("--model", metavar="NAME", help="a bundled checkpoint, a folder, or a run")
    verb.add_argument("--seed", type=int, metavar="N", help="the same seed plays the same")
    verb.add_argument(
        "--takes", type=int, default=1, metavar="N", help="play N at once, as out-1.mid, out-2.mid"
    )
    verb.add_argument(
        "-o", "--output", type=Path, required=True, metavar="FILE.mid", help="- for standard output"
    )
    _recording(verb)


def _playing(verb: Parser) -> None:
    """Add what generate and continue share."""
    _taking(verb)
    verb.add_argument("--seconds", type=float, default=60.0, help="how long (default: 60)")
    verb.add_argument(
        "--notes-per-second", metavar="LIST", help="how dense, for models told so: 4, or 2,8,2"
    )
    verb.add_argument(
        "--pitch-class-histogram",
        metavar="LIST",
        help='which pitch classes: "C major", or 12 weights from C; more than one with ; between',
    )
    verb.add_argument("--beam", type=int, metavar="N", help="keep the N likeliest candidates")
    verb.add_argument("--branch", type=int, metavar="N", help="let each go on in N ways, by chance")
    verb.add_argument(
        "--steps-per-iteration", type=int, metavar="N", help="compare them every N tokens"
    )


def _generate(verbs: Verbs) -> None:
    verb = _verb(
        verbs,
        "generate",
        "play something new",
        "play:generate",
        "espressivo generate --seconds 60 -o new.mid --audio new.wav --plot new.png",
    )
    _playing(verb)


def _continue(verbs: Verbs) -> None:
    verb = _verb(
        verbs,
        "continue",
        "play what comes next after the beginning of a performance",
        "play:go_on",
        "espressivo continue primer.mid --primer-seconds 20 -o new.mid",
    )
    _midi_input(verb, "primer")
    verb.add_argument(
        "--primer-seconds", type=float, metavar="SECONDS", help="how much to hear (default: all)"
    )
    _playing(verb)


def _accompany(verbs: Verbs) -> None:
    verb = _verb(
        verbs,
        "accompany",
        "play two hands around a melody, which is kept note for note",
        "play:accompany",
        "espressivo accompany twinkle -o new.mid",
    )
    _midi_input(verb, "melody", "; or a tune at hand: twinkle, row, mary")
    _taking(verb)


def _replay(verbs: Verbs) -> None:
    verb = _verb(
        verbs,
        "replay",
        "play again, token for token, what a file of generate or continue holds",
        "play:replay",
        "espressivo replay new.mid -o again.mid",
    )
    verb.add_argument("file", type=Path, metavar="FILE.mid", help="a file espressivo played")
    verb.add_argument("--model", metavar="NAME", help="the checkpoint, if it has moved since")
    verb.add_argument(
        "-o", "--output", type=Path, metavar="FILE.mid", help="where it goes (default: nowhere)"
    )
    _recording(verb)


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


def _prepare(verbs: Verbs) -> None:
    verb = _verb(
        verbs,
        "prepare",
        "store MIDI files as a corpus, with a report of what became of each",
        "learn:prepare",
        "espressivo prepare maestro/ -o corpora/maestro",
    )
    verb.add_argument(
        "inputs", type=Path, nargs="+", metavar="FOLDER", help="folders or archives of MIDI files"
    )
    verb.add_argument(
        "-o", "--output", type=Path, required=True, metavar="CORPUS", help="a folder to make"
    )
    verb.add_argument("--splits", type=Path, metavar="FILE.csv", help="a table of files and splits")
    verb.add_argument(
        "--split-column", default="split", metavar="NAME", help="its column (default: split)"
    )
    verb.add_argument("--name", help="what to call the corpus (default: its folder)")
    verb.add_argument(
        "--licence", default="unknown", help="of the files, where no table says (default: unknown)"
    )
    verb.add_argument("--workers", type=int, metavar="N", help="processes (default: all cores)")
    _json(verb)


def _train(verbs: Verbs) -> None:
    verb = _verb(
        verbs,
        "train",
        "train a model by a preset, or go on with a run",
        "learn:train",
        "espressivo train music-transformer corpora/maestro -o runs/one model.layers=4",
    )
    verb.add_argument("preset", metavar="PRESET", help="see espressivo presets")
    verb.add_argument("corpus", type=Path, metavar="CORPUS", help="see espressivo prepare")
    verb.add_argument(
        "settings", nargs="*", metavar="SETTING", help="such as model.layers=4 training.steps=1000"
    )
    verb.add_argument(
        "-o", "--output", type=Path, required=True, metavar="RUN", help="the folder of the run"
    )
    verb.add_argument(
        "--deadline", type=duration, default=float("inf"), help="end in time: 90s, 9m, 1h30m"
    )
    verb.add_argument(
        "--start", metavar="CHECKPOINT", help="take the first weights from a checkpoint or run"
    )
    verb.add_argument(
        "--change", action="store_true", help="go on although settings of training differ"
    )
    verb.add_argument(
        "--parallel",
        choices=("none", "ddp", "fsdp"),
        help="how processes share the work: weights copied or cut (default: ddp if several)",
    )
    verb.add_argument(
        "--ray", type=int, metavar="N", help="run N processes on Ray, and again if one dies"
    )
    _device(verb)
    _json(verb)


def _evaluate(verbs: Verbs) -> None:
    verb = _verb(
        verbs,
        "evaluate",
        "tell how well a checkpoint predicts performances: nats per token, note, second",
        "learn:evaluate",
        "espressivo evaluate runs/one --corpus corpora/maestro --split test",
    )
    verb.add_argument("checkpoint", metavar="CHECKPOINT", help="a bundled name, a folder, or a run")
    judged = verb.add_mutually_exclusive_group(required=True)
    judged.add_argument("--corpus", type=Path, help="a prepared corpus")
    judged.add_argument("--midi", type=Path, metavar="FOLDER", help="a folder of MIDI files")
    verb.add_argument(
        "--split",
        choices=("train", "validation", "test"),
        default="validation",
        help="which part of the corpus (default: validation; read test once, at the end)",
    )
    verb.add_argument("--length", type=int, metavar="TOKENS", help="of a window (default: 2048)")
    verb.add_argument("--limit", type=int, metavar="N", help="so many pieces, evenly spread")
    verb.add_argument(
        "--unset", action="store_true", help="tell a model with controls nothing (default: all)"
    )
    _device(verb)
    _json(verb)


def _presets(verbs: Verbs) -> None:
    verb = _verb(
        verbs,
        "presets",
        "list published systems, or tell one: numbers, source, deviations",
        "learn:presets",
        "espressivo presets music-transformer",
    )
    verb.add_argument("name", nargs="?", metavar="NAME", help="which one")
    _json(verb)


def _device(verb: Parser) -> None:
    verb.add_argument("--device", default="cpu", help="cpu or cuda (default: cpu)")


def duration(text: str) -> float:
    """Read 90s, 9m, 1h30m or plain seconds."""
    found = re.fullmatch(r"(?:(\d+)h)?(?:(\d+)m)?(?:(\d+(?:\.\d+)?)s?)?", text)
    if not found or not text:
        raise argparse.ArgumentTypeError(f"{text!r} is no length of time; write 90s, 9m or 1h30m")
    hours, minutes, seconds = (float(part or 0) for part in found.groups())
    return 3600 * hours + 60 * minutes + seconds


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


_VERBS = (
    _generate, _continue, _accompany, _replay, _render, _plot, _prepare, _train, _evaluate,
    _inspect, _presets, _models, _doctor,
)  # fmt: skip
