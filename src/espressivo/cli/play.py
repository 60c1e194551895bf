"""Verbs that make music: generate, continue, accompany, replay."""

from __future__ import annotations

import secrets
import shlex
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from espressivo.cli import paths, printing
from espressivo.cli.parser import PIPE, Options
from espressivo.errors import EspressivoError

if TYPE_CHECKING:
    from espressivo.generation import Performer, Playing, Prompt
    from espressivo.performance import Performance
    from espressivo.recording import Files, Recording

INTERRUPTED = 130
DIFFERENT = 1


def generate(options: Options) -> int:
    """Play something new."""
    from espressivo.generation import unconditional

    _check(options)
    performer = _performer(options)
    return _play(options, performer, unconditional(performer.codec, options.seconds))


def go_on(options: Options) -> int:
    """Play what comes after a primer."""
    from espressivo.generation import continuation

    _check(options)
    primer = paths.performance(options.primer, options.salvage)
    performer = _performer(options)
    prompt = continuation(performer.codec, primer, options.primer_seconds, options.seconds)
    return _play(options, performer, prompt)


def accompany(options: Options) -> int:
    """Play around a melody."""
    from espressivo import bundle
    from espressivo.generation import accompaniment
    from espressivo.recording import load

    _check(options)
    melody = _melody(options)
    performer = load(options.model or bundle.accompanist())
    return _play(options, performer, accompaniment(performer.codec, melody))


def _melody(options: Options) -> Performance:
    """Read a melody, and say so if it is drawn out of more."""
    from espressivo.generation import MELODIES, line_of

    if str(options.melody) in MELODIES:
        return MELODIES[str(options.melody)]()
    given = paths.performance(options.melody, options.salvage)
    line = line_of(given)
    if len(line) < len(given):
        printing.note(f"{options.melody}: a melody of {len(line)} out of {len(given)} notes")
    return given


def replay(options: Options) -> int:
    """Play a file's take again and compare."""
    from espressivo.recording import record
    from espressivo.recording import replay as again

    _check(options)
    done = again(options.file, options.model)
    recordings = record([done.take], _files(options))
    facts = {"identical": done.identical, "tokens": done.provenance.tokens}
    _report(options, recordings, facts)
    if not done.identical:
        printing.note("espressivo: other tokens than the first time; was it another processor?")
    return 0 if done.identical else DIFFERENT


def _play(options: Options, performer: Performer, prompt: Prompt) -> int:
    """Let a performer play, keep what it plays, and say how to hear it again."""
    from espressivo.presets import override
    from espressivo.recording import Settings, interrupted, record

    prompt = prompt.told(_controls(options))
    sampling = override(Settings(), [*_beam(options), *options.settings]).sampling
    seed = secrets.randbelow(2**32) if options.seed is None else options.seed
    playing = performer.perform(prompt, sampling, seed, options.takes)
    broken_off = _listen(playing, prompt.mark + prompt.seconds)
    if broken_off and not any(keyboard.tokens for keyboard in playing.keyboards):
        raise KeyboardInterrupt
    recordings = record(interrupted(playing), _files(options))
    facts = {"model": performer.model, "seed": seed, "again": _again(options, performer, seed)}
    _report(options, recordings, facts)
    if broken_off:
        printing.note("interrupted; what had been played by then is saved")
    return INTERRUPTED if broken_off else 0


def _beam(options: Options) -> list[str]:
    """Give what is asked of beam search as settings."""
    given = {
        name: getattr(options, name, None) for name in ("beam", "branch", "steps_per_iteration")
    }
    return [f"sampling.{name}={value}" for name, value in given.items() if value is not None]


def _performer(options: Options) -> Performer:
    from espressivo.recording import load

    return load(options.model)


def _controls(options: Options) -> dict[str, Any]:
    """Read the controls that were typed."""
    from espressivo.controls import CONTROLS, parse

    typed = {name: getattr(options, name.replace("-", "_"), None) for name in CONTROLS}
    return {name: parse(name, text) for name, text in typed.items() if text is not None}


def _check(options: Options) -> None:
    """Refuse what cannot be written before anything is played."""
    from espressivo.audio import FORMATS

    paths.ending(options.audio, FORMATS)
    paths.ending(options.plot, paths.PICTURES)
    takes = getattr(options, "takes", 1)
    if options.output == PIPE and takes > 1:
        raise EspressivoError(f"--takes {takes} cannot share standard output; name a file with -o")
    for files in _files(options).numbered(max(takes, 1)):
        paths.free(options.force, files.midi, files.audio, files.plot)


def _files(options: Options) -> Files:
    from espressivo.recording import Files

    midi = None if options.output == PIPE else options.output
    return Files(midi, options.audio, options.plot)


def _listen(playing: Playing, end: float) -> bool:
    """Play on until the end, or until someone asks to stop: tell which."""
    from espressivo.training.interruption import interruptible

    line = printing.Line()
    with interruptible() as asked:
        for _, event in playing:
            line.show(f"playing {int(event.time)} s of {end:.0f} s")
            if asked():
                break
    line.end()
    return not all(keyboard.done for keyboard in playing.keyboards)


def _again(options: Options, performer: Performer, seed: int) -> str:
    """Write the command that plays the same again."""
    words = ["espressivo", *options.arguments]
    if options.seed is None:
        words += ["--seed", str(seed)]
    if options.model is None:
        words += ["--model", performer.model]
    return shlex.join(words)


def _report(options: Options, recordings: Sequence[Recording], facts: dict[str, Any]) -> None:
    """Say what was written; with MIDI on standard output, nothing but MIDI goes there."""
    if options.output == PIPE:
        from espressivo.midi import midi_bytes

        take = recordings[0].take
        sys.stdout.buffer.write(midi_bytes(take.performance, text=take.provenance.text()))
        printing.note("\n".join(printing.lines(facts)))
        return
    takes = [_told(recording) for recording in recordings]
    if options.json:
        printing.result({"takes": takes, **facts}, as_json=True)
        return
    for recording, told in zip(recordings, takes, strict=True):
        if options.show or sys.stdout.isatty():
            _show(recording)
        printing.result(told, as_json=False)
    printing.result(facts, as_json=False)


def _told(recording: Recording) -> dict[str, Any]:
    performance = recording.take.performance
    files = {name: str(path) for name, path in vars(recording.files).items() if path}
    return {**files, "seconds": round(performance.duration, 3), "notes": len(performance)}


def _show(recording: Recording) -> None:
    from espressivo import roll

    print(roll.terminal(recording.take.performance, paths.columns(), sys.stdout.isatty()))
