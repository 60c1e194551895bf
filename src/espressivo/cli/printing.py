"""Results on standard output: as words, or as JSON."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from typing import Any


def result(facts: Mapping[str, Any], as_json: bool) -> None:
    """Print facts as JSON, or one "name: value" a line with what belongs to it indented."""
    print(json.dumps(facts, indent=1) if as_json else "\n".join(lines(facts)))


def lines(facts: Mapping[str, Any], indent: str = "") -> list[str]:
    """Write facts as lines; empty ones are left out."""
    found = []
    for name, value in facts.items():
        words = name.replace("_", " ")
        if isinstance(value, Mapping) and value:
            found += [f"{indent}{words}:", *lines(value, indent + "  ")]
        elif isinstance(value, Sequence) and not isinstance(value, str):
            found += [f"{indent}{words}: {_told(entry)}" for entry in value]
        elif value not in (None, "", {}):
            found.append(f"{indent}{words}: {value}")
    return found


def _told(entry: Any) -> str:
    if isinstance(entry, Mapping):
        return ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in entry.items())
    return str(entry)


def note(words: str) -> None:
    """Say something that is not a result."""
    print(words, file=sys.stderr)
