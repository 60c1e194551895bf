"""Which MIDI files there are, and what is known of each: work, split, licence.

Known are MAESTRO (`maestro-v*.csv` or `.json`), ASAP (`metadata.csv`), and any table given; they
may lie anywhere below the folder. Of other files the name must do.
"""

from __future__ import annotations

import csv
import json
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

from espressivo.corpora.corpus import SPLITS
from espressivo.errors import CorpusError

SUFFIXES = (".mid", ".midi", ".kar")
"""Names, in whatever case, that say a file is MIDI; other files are none of ours."""

NC = "CC BY-NC-SA 4.0"
"""The licence of MAESTRO and of ASAP, as their own licence files state it."""

_TAKE = re.compile(
    r"(__.*|[\s_-]*\(\d+\)|[\s_-]+(copy|take|version)[\s_-]*\d*|[\s_.-]+v\d+)$", re.IGNORECASE
)
_MOVEMENT = re.compile(r"^(\d+)-\d.*$")


class Facts(NamedTuple):
    """What a table says of a file; `left_out` is "reason: detail" of what is not to be stored."""

    composition: str = ""
    split: str = ""
    licence: str = ""
    source: str = ""
    left_out: str = ""


class Entry(NamedTuple):
    """One MIDI file of a plan: `file` below input `root`, `path` its name in the corpus."""

    path: str
    root: int
    file: str
    size: int
    composition: str
    split: str
    licence: str
    source: str
    left_out: str


@dataclass(frozen=True)
class Table:
    """Facts by path; what lies below its folder and is not listed is left out."""

    name: str
    rows: Mapping[str, Facts]

    def facts(self, *paths: str) -> Facts:
        """Give the facts of the first of these names that is listed."""
        for path in paths:
            if path in self.rows:
                return self.rows[path]
        return Facts(left_out=f"not listed: {self.name} does not name it")


def entries(roots: Sequence[Path], licence: str, table: Table | None = None) -> list[Entry]:
    """List every MIDI file below some folders, sorted by name; CorpusError if there is none."""
    found = [
        entry
        for number, root in enumerate(roots)
        for entry in _below(number, root, f"{root.name}/" if len(roots) > 1 else "", licence, table)
    ]
    if not found:
        named = ", ".join(str(root) for root in roots)
        raise CorpusError(f"{named}: no MIDI file (.mid, .midi, .kar) in there")
    if len({entry.composition for entry in found}) < len(SPLITS):
        found = [_on_its_own(entry) for entry in found]
    found.sort(key=lambda entry: os.fsencode(entry.path))
    for one, other in pairwise(found):
        if one.path == other.path:
            raise CorpusError(f"two files are called {one.path}; give their folders other names")
    return found


def _below(
    number: int, root: Path, prefix: str, licence: str, given: Table | None
) -> Iterator[Entry]:
    tables: dict[str, Table] = {}
    for folder, names in _walk(root):
        at = Path(folder).relative_to(root).as_posix()
        here = "" if at == "." else f"{at}/"
        known = None if given else _known_table(Path(folder), names)
        if known:
            tables[here] = known
        base = max((b for b in tables if here.startswith(b)), key=len, default=None)
        for name in names:
            if not name.lower().endswith(SUFFIXES):
                continue
            file = here + name
            if given:
                facts = given.facts(prefix + file, f"{root.name}/{file}", file)
            else:
                facts = Facts() if base is None else tables[base].facts(file.removeprefix(base))
            yield Entry(
                prefix + file,
                number,
                file,
                (Path(folder) / name).stat().st_size,
                facts.composition or composition_of(prefix + file, file.count("/")),
                facts.split,
                facts.licence or licence,
                facts.source or root.name,
                facts.left_out,
            )


def _walk(root: Path) -> Iterator[tuple[str, list[str]]]:
    if not root.is_dir():
        raise CorpusError(f"{root}: no such folder")

    def fail(error: OSError) -> None:
        raise CorpusError(f"{error.filename}: cannot be read: {error.strerror}") from error

    for folder, subfolders, names in os.walk(root, onerror=fail):
        subfolders.sort()
        try:
            yield folder, sorted(n for n in names if (Path(folder) / n).is_file())
        except OSError as error:
            fail(error)


def _on_its_own(entry: Entry) -> Entry:
    """Take the name of a file for its work where whole folders would leave splits empty."""
    if entry.composition != composition_of(entry.path, entry.file.count("/")):
        return entry  # a table knows
    return entry._replace(composition=composition_of(entry.path, 0))


def composition_of(path: str, depth: int) -> str:
    """Guess the work from the name of a file `depth` folders deep.

    Two or more folders deep, as in chopin/ballade/player.mid, the folder is the work, unless there
    are fewer such works than splits. Otherwise it is the name, less what marks takes and copies:
    "(2)", "copy", "take 3", "v2", "__" and an id.
    """
    if depth >= 2:
        return path.rpartition("/")[0].lower()
    stem = path.rpartition(".")[0]
    return re.sub(r"[\s_-]+", "-", _TAKE.sub("", stem) or stem).lower()


# -- tables --------------------------------------------------------------------------------------


def _known_table(folder: Path, names: list[str]) -> Table | None:
    """Read the table of a data set we know, if its folder is this one."""
    for suffix in (".csv", ".json"):
        for name in names:
            if name.startswith("maestro-v") and name.endswith(suffix):
                return _maestro(folder / name)
    if "metadata.csv" in names:
        rows = _rows(folder / "metadata.csv")
        if rows and {"composer", "folder", "midi_score", "midi_performance"} <= rows[0].keys():
            return _asap(rows)
    return None


def _maestro(file: Path) -> Table:
    """Read MAESTRO's table, in either of its forms; its split is kept."""
    rows = _rows(file) if file.suffix == ".csv" else _json_rows(file)
    facts = {}
    for row in rows:
        try:
            work = f"{row['canonical_composer']}/{row['canonical_title']}".lower()
            split = _split(row["split"], file)
            facts[row["midi_filename"]] = Facts(work, split, NC, file.stem)
        except KeyError as error:
            raise CorpusError(f"{file}: column {error} is missing") from error
    return Table(file.name, facts)


def _asap(rows: list[dict[str, str]]) -> Table:
    """Read ASAP's table: scores are left out, movements of a sonata are one work."""
    facts = {}
    for row in rows:
        parent, _, last = row["folder"].rpartition("/")
        if last.startswith("bwv_"):
            parent = row["composer"]  # a prelude and its fugue
        work = "/".join([parent, _MOVEMENT.sub(r"\1", last)]).lower()
        facts[row["midi_performance"]] = Facts(work, "", NC, "asap")
        facts[row["midi_score"]] = Facts(work, "", NC, "asap", "not a performance: a score")
    return Table("metadata.csv", facts)


def read_table(file: Path, split_column: str = "split") -> Table:
    """Read a table of files: columns `path` and a split, of several named the first not empty.

    Optional columns: `kind` (only "performance" is kept), `composition_id`, `licence`, `source`.
    """
    rows = _rows(file)
    columns = split_column.split(",")
    for column in ["path", *columns]:
        if not rows or column not in rows[0]:
            known = ", ".join(rows[0]) if rows else "nothing"
            raise CorpusError(f"{file}: no column {column!r}; it has {known}")
    facts = {}
    for row in rows:
        split = next((row[column] for column in columns if row[column]), "")
        left_out = "" if split else f"no split: column {split_column} is empty"
        if row.get("kind", "performance") != "performance":
            left_out = f"not a performance: a {row['kind']}"
        facts[row["path"]] = Facts(
            row.get("composition_id", ""),
            _split(split, file) if split else "",
            row.get("licence", ""),
            row.get("source", ""),
            left_out,
        )
    return Table(file.name, facts)


def _split(value: str, file: Path) -> str:
    if value not in SPLITS:
        raise CorpusError(f"{file}: split={value!r} must be one of {', '.join(SPLITS)}")
    return value


def _rows(file: Path) -> list[dict[str, str]]:
    try:
        with file.open(newline="", encoding="utf-8") as lines:
            return [{k: v or "" for k, v in row.items() if k} for row in csv.DictReader(lines)]
    except (OSError, ValueError, csv.Error) as error:
        raise CorpusError(f"{file}: cannot be read as a table: {error}") from error


def _json_rows(file: Path) -> list[dict[str, Any]]:
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
        if isinstance(content, list):
            return content
        columns = {name: list(column.values()) for name, column in content.items()}
        rows = zip(*columns.values(), strict=True)
        return [dict(zip(columns, values, strict=True)) for values in rows]
    except (OSError, ValueError, AttributeError) as error:
        raise CorpusError(f"{file}: cannot be read as MAESTRO's table: {error}") from error
