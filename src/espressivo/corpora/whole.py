"""Files that appear whole or not at all, whenever the power fails."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from espressivo.errors import CorpusError


@contextmanager
def whole(path: Path) -> Iterator[IO[bytes]]:
    """Write a file beside its place, then flush and rename it; CorpusError if there is no room."""
    draft = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
    try:
        with draft.open("xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
        _flush(path.parent)
    except OSError as error:
        raise CorpusError(
            f"{path}: cannot be written: {error.strerror or error}; choose a folder with room"
        ) from error
    finally:
        draft.unlink(missing_ok=True)


def write_lines(path: Path, lines: Iterable[str]) -> None:
    """Write lines of text, one after another, without holding them all.

    Names of files that are no text are spelt with backslashes.
    """
    with whole(path) as file:
        for line in lines:
            file.write(line.encode("utf-8", "backslashreplace") + b"\n")


def clear_drafts(folder: Path) -> None:
    """Remove what killed processes left half-written."""
    for draft in folder.glob(".*.tmp"):
        draft.unlink(missing_ok=True)


def _flush(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
