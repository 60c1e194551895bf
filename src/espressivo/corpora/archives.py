"""Archives as folders: only MIDI files and tables are taken out, never more than they may hold."""

from __future__ import annotations

import shutil
import tarfile
import zipfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import IO

from espressivo.corpora.layouts import SUFFIXES
from espressivo.errors import CorpusError
from espressivo.midi import Limits

_WANTED = (*SUFFIXES, ".csv", ".json")
_MOST = {".csv": 1 << 28, ".json": 1 << 28}


def is_archive(path: Path) -> bool:
    """Tell whether a path is a tar or zip archive."""
    return path.is_file() and (tarfile.is_tarfile(path) or zipfile.is_zipfile(path))


def unpack(archive: Path, folder: Path) -> None:
    """Unpack MIDI files and tables into a new folder, which appears whole or not at all.

    A member is cut one byte beyond the largest MIDI file that would be read, so nothing hidden in
    an archive fills the disk; links and paths that lead outside are passed over.
    """
    draft = folder.with_name(f".{folder.name}.unpacking")
    shutil.rmtree(draft, ignore_errors=True)
    try:
        draft.mkdir(parents=True)
        for name, content in _members(archive):
            target = draft / name
            target.parent.mkdir(parents=True, exist_ok=True)
            most = _MOST.get(target.suffix.lower(), Limits().bytes) + 1
            with content, target.open("wb") as file:
                while most > 0 and (part := content.read(min(most, 1 << 20))):
                    file.write(part)
                    most -= len(part)
        draft.rename(folder)
    except (OSError, tarfile.TarError, zipfile.BadZipFile, EOFError) as error:
        shutil.rmtree(draft, ignore_errors=True)
        raise CorpusError(f"{archive}: cannot be unpacked: {error}") from error


def _members(archive: Path) -> Iterator[tuple[str, IO[bytes]]]:
    if zipfile.is_zipfile(archive):
        with zipfile.ZipFile(archive) as zipped:
            for member in zipped.infolist():
                if not member.is_dir() and _wanted(member.filename):
                    yield member.filename, zipped.open(member)
        return
    with tarfile.open(archive) as tarred:
        for entry in tarred:
            content = tarred.extractfile(entry) if entry.isreg() and _wanted(entry.name) else None
            if content:
                yield entry.name, content


def _wanted(name: str) -> bool:
    path = PurePosixPath(name)
    inside = not path.is_absolute() and ".." not in path.parts
    return inside and name.lower().endswith(_WANTED)
