"""The frozen list of what goes into a corpus, so that every run, whenever, fills the same shards.

plan.jsonl   one Entry per line, sorted by path; 64 lines make a shard
plan.json    how many, their SHA-256, and the settings; written last
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from espressivo.corpora.layouts import Entry
from espressivo.corpora.whole import write_lines
from espressivo.errors import CorpusError

FORMAT = 1
SHARD = 64
"""Files per shard: what is lost at most, per worker, when a run is killed."""


@dataclass(frozen=True)
class Plan:
    """What `plan.json` holds; `archives` gives the size of every input that is an archive."""

    name: str
    files: int
    sha256: str
    archives: dict[str, int]
    settings: dict[str, Any]
    format: int = FORMAT

    @property
    def shards(self) -> int:
        """The number of shards."""
        return -(-self.files // SHARD)


def load(out: Path) -> Plan | None:
    """Read the plan of a corpus, or give None where there is none."""
    file = out / "plan.json"
    if not file.exists():
        return None
    try:
        plan = Plan(**json.loads(file.read_text()))
    except (OSError, ValueError, TypeError) as error:
        raise CorpusError(f"{file} is damaged; prepare into a new folder") from error
    if plan.format != FORMAT:
        raise CorpusError(f"{file}: format {plan.format} is not {FORMAT}; prepare a new folder")
    return plan


def entries(out: Path) -> Iterator[Entry]:
    """Read the planned files one after another."""
    with (out / "plan.jsonl").open() as lines:
        for line in lines:
            yield Entry(*json.loads(line))


def shards(out: Path) -> Iterator[tuple[int, list[Entry]]]:
    """Read the planned files shard by shard, with the number of each."""
    stream = entries(out)
    number = 0
    while shard := list(islice(stream, SHARD)):
        yield number, shard
        number += 1


def digest(found: Sequence[Entry]) -> str:
    """Give the SHA-256 of a list of files, wherever their folders lie."""
    lines = hashlib.sha256()
    for entry in found:
        lines.update(json.dumps(entry).encode())
    return lines.hexdigest()


def freeze(out: Path, plan: Plan, found: Sequence[Entry]) -> Plan:
    """Write the plan of a new corpus, or check that the one there is the same."""
    old = load(out)
    if old is None:
        write_lines(out / "plan.jsonl", (json.dumps(entry) for entry in found))
        write_lines(out / "plan.json", [json.dumps(asdict(plan), indent=1)])
        return plan
    check_settings(out, old, plan)
    if old.sha256 != plan.sha256:
        raise CorpusError(
            f"{out} was planned from other files: {_difference(list(entries(out)), found)}; "
            "put the files back as they were, or prepare into a new folder"
        )
    return old


def check_settings(out: Path, old: Plan, new: Plan) -> None:
    """Refuse to go on under another name or with other settings."""
    before, now = ({"name": p.name} | p.settings for p in (old, new))
    for key in sorted(before.keys() | now.keys()):
        if before.get(key) != now.get(key):
            raise CorpusError(
                f"{out} was planned with {key}={before.get(key)!r}, not {now.get(key)!r}; "
                "ask for the same, or prepare into a new folder"
            )


def _difference(before: Sequence[Entry], now: Sequence[Entry]) -> str:
    old, new = ({entry.path: entry for entry in found} for found in (before, now))
    changes = {
        "added": [path for path in new if path not in old],
        "missing": [path for path in old if path not in new],
        "changed": [path for path in new if path in old and new[path] != old[path]],
    }
    return ", ".join(
        f"{len(paths)} {what} (such as {paths[0]})" for what, paths in changes.items() if paths
    )
