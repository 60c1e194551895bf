"""Results on standard output: as words, or as JSON."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Mapping, Sequence
from typing import Any


def result(facts: Mapping[str, Any], as_json: bool) -> None:
    """Print facts as JSON, or one "name: value" a line with what belongs to it indented."""
    print(json.dumps(facts, indent=1) if as_json else "\n".join(lines(facts)))


def lines(facts: Mapping[str, Any], indent: str = "") -> list[str]:
    """Write facts as lines under the names they have as JSON; empty ones are left out."""
    found = []
    for name, value in facts.items():
        if isinstance(value, Mapping) and value:
            found += [f"{indent}{name}:", *lines(value, indent + "  ")]
        elif isinstance(value, Sequence) and not isinstance(value, str):
            found += _listed(name, value, indent)
        elif value not in (None, "", {}):
            found.append(f"{indent}{name}: {value}")
    return found


def _listed(name: str, values: Sequence[Any], indent: str) -> list[str]:
    """Write numbers on one line, anything else on a line each."""
    if all(isinstance(value, int | float) for value in values):
        return [f"{indent}{name}: {', '.join(map(str, values))}"] if values else []
    return [f"{indent}{name}: {_told(value)}" for value in values]


def _told(entry: Any) -> str:
    if isinstance(entry, Mapping):
        return ", ".join(f"{name} {value}" for name, value in entry.items() if value != "")
    return str(entry)


def note(words: str) -> None:
    """Say something that is not a result."""
    print(words, file=sys.stderr)


class Line:
    """Progress on standard error: one line rewritten on a terminal, else one now and then."""

    every = 10.0
    """Seconds between lines where there is no terminal."""

    def __init__(self, silent: bool = False) -> None:
        """Show nothing yet, or nothing ever."""
        self._silent, self._rewriting, self._written = silent, sys.stderr.isatty(), False
        self._last = time.monotonic()

    def show(self, words: str, *, lasting: bool = False) -> None:
        """Show how far it is; a `lasting` line stays on the screen."""
        if self._silent:
            return
        if self._rewriting:
            end = "\n" if lasting else ""
            print(f"\r\x1b[K{words}", end=end, file=sys.stderr, flush=True)
            self._written = not lasting
        elif lasting or time.monotonic() - self._last >= self.every:
            self._last = time.monotonic()
            print(words, file=sys.stderr, flush=True)

    def note(self, words: str) -> None:
        """Say something between the progress."""
        self.end()
        if not self._silent:
            note(words)

    def end(self) -> None:
        """Clear the line."""
        if self._written:
            print("\r\x1b[K", end="", file=sys.stderr, flush=True)
