"""Verbs about files that exist: render, plot, inspect."""

from __future__ import annotations

import sys
from typing import Any

from espressivo.cli import paths, printing
from espressivo.cli.parser import Options


def render(options: Options) -> None:
    """Play a MIDI file into an audio file."""
    from espressivo import audio

    paths.ending(options.output, audio.FORMATS)
    paths.free(options.force, options.output)
    performance = paths.performance(options.file, options.salvage)
    settings: dict[str, Any] = {
        name: value
        for name, value in (("room", options.room), ("width", options.width))
        if value is not None
    }
    title = audio.Tags(title=options.file.stem)
    done = audio.render(performance, options.output, engine=options.engine, tags=title, **settings)
    facts = {"audio": str(done.path), "seconds": round(done.seconds, 3), "rate": done.rate}
    printing.result({**facts, "gain_db": round(done.gain_db, 2)}, options.json)


def plot(options: Options) -> None:
    """Draw a piano roll into a file, or into the terminal if none is named."""
    from espressivo import roll

    paths.ending(options.output, paths.PICTURES)
    paths.free(options.force, options.output)
    performance = paths.performance(options.file, options.salvage)
    window = {"start": options.start, "end": options.end}
    if options.output is None:
        print(roll.terminal(performance, paths.columns(), sys.stdout.isatty(), **window))
        return
    title = options.file.stem if options.title is None else options.title
    roll.save(performance, options.output, title=title, theme=options.theme, **window)
    print(f"plot: {options.output}")


def inspect(options: Options) -> None:
    """Tell what a thing is."""
    from espressivo.inspection import inspect as facts

    printing.result(facts(options.target), options.json)
