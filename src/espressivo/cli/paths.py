"""Files a command is about to read or write, checked before any long work."""

from __future__ import annotations

import shutil
import sys
import warnings
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from espressivo.cli import printing
from espressivo.cli.parser import PIPE
from espressivo.errors import EspressivoError

if TYPE_CHECKING:
    from espressivo.performance import Performance


PICTURES = ("png", "svg")


def ending(path: Path | None, known: Iterable[str]) -> None:
    """Make sure that the suffix of a file to be written is one of those known."""
    if path is not None and path.suffix.lower().removeprefix(".") not in known:
        raise EspressivoError(f"{path} must end in {', '.join('.' + name for name in known)}")


def free(force: bool, *paths: Path | None) -> None:
    """Make sure that these files can be written: none exists unless `force`, each has a folder."""
    for path in paths:
        if path is None or path == PIPE:
            continue
        if path.is_dir():
            raise EspressivoError(f"{path} is a folder; name a file in it")
        if path.exists() and not force:
            raise EspressivoError(f"{path} exists; add --force to replace it, or name another file")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise EspressivoError(
                f"{path.parent}: no such folder can be made ({error.strerror})"
            ) from error


def performance(path: Path, salvage: bool = False) -> Performance:
    """Read a MIDI file, or standard input for "-"; what was lost is said on standard error."""
    from espressivo.midi import read_midi

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        read = read_midi(sys.stdin.buffer.read() if path == PIPE else path, salvage=salvage)
    for warning in caught:
        printing.note(f"espressivo: {warning.message}")
    return read


def columns() -> int:
    """Give the width a roll may take in this terminal."""
    return max(24, min(shutil.get_terminal_size().columns - 1, 160))
