"""Who is trained on, and who is kept back: splits per work, the same on every machine."""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from espressivo.corpora.corpus import SPLITS

KEPT_BACK = {"test": 0.1, "validation": 0.1}
"""Shares of the works nobody assigned."""


class Trace(NamedTuple):
    """What tells that two pieces belong together: the work, and two fingerprints of the notes.

    `content` is equal where the same keys are struck in the same order, at whatever tempo;
    `exact` where also the times, to a millisecond, and the velocities are. `split` is what a
    table said, or empty.
    """

    composition: str
    content: str
    exact: str
    split: str


def assign(traces: Sequence[Trace]) -> list[str]:
    """Give every piece a split: the one a table gave it, else that of its work, else by hash.

    Pieces of one work, or of the same content, lie together unless a table says otherwise. A
    work's place depends on its name alone, so a growing corpus keeps its splits; only where a
    split would stay empty, one work of the fullest is moved there.
    """
    group = _groups(traces)
    given: dict[int, str] = {}
    for number, trace in zip(group, traces, strict=True):
        if trace.split and SPLITS.index(trace.split) >= SPLITS.index(given.get(number, "train")):
            given[number] = trace.split
    names: dict[int, str] = {}
    for number, trace in zip(group, traces, strict=True):
        if number not in given:
            names[number] = min(names.get(number, trace.composition), trace.composition)
    chosen = given | _by_hash(names, set(given.values()))
    return [t.split or chosen[number] for number, t in zip(group, traces, strict=True)]


def duplicates(traces: Sequence[Trace], splits: Sequence[str]) -> dict[int, int]:
    """Give for every exact copy the piece it is a copy of: the one kept back most, then first."""
    kept: dict[str, int] = {}
    order = sorted(range(len(traces)), key=lambda i: (-SPLITS.index(splits[i]), i))
    copies = {}
    for index in order:
        original = kept.setdefault(traces[index].exact, index)
        if original != index:
            copies[index] = original
    return copies


def straddling(keys: Iterable[str], splits: Iterable[str]) -> list[str]:
    """List the keys found in more than one split."""
    seen: dict[str, set[str]] = defaultdict(set)
    for key, split in zip(keys, splits, strict=True):
        seen[key].add(split)
    return sorted(key for key, found in seen.items() if len(found) > 1)


def _groups(traces: Sequence[Trace]) -> list[int]:
    """Number the groups of pieces that share a work or their content."""
    parent = list(range(len(traces)))

    def root(i: int) -> int:
        while parent[i] != i:
            parent[i] = i = parent[parent[i]]
        return i

    first: dict[tuple[str, str], int] = {}
    for index, trace in enumerate(traces):
        for key in (("work", trace.composition), ("content", trace.content)):
            one, other = sorted((root(first.setdefault(key, index)), root(index)))
            parent[other] = one
    return [root(i) for i in range(len(traces))]


def _by_hash(names: dict[int, str], present: set[str]) -> dict[int, str]:
    """Place groups by the hash of their names, then fill splits that would be empty."""
    height = {number: _fraction(name) for number, name in names.items()}
    chosen = {number: _placed(height[number]) for number in names}
    wanted = SPLITS[: len(names) + len(present)]
    for split in wanted:
        filled = Counter(chosen.values())
        spare = [s for s in filled if s not in wanted or s in present or filled[s] > 1]
        donors = spare or [s for s in filled if split == "train"]
        if split in present or filled[split] or not donors:
            continue
        # From a split that too few works cannot fill anyway, else from the fullest.
        donor = max(donors, key=lambda s: (s not in wanted, filled[s], s))
        mine = [number for number in chosen if chosen[number] == donor]
        chosen[min(mine, key=lambda number: (height[number], names[number]))] = split
    return chosen


def _fraction(name: str) -> float:
    digest = hashlib.sha256(name.encode("utf-8", "surrogateescape")).digest()
    return int.from_bytes(digest[:8], "big") / 2**64


def _placed(height: float) -> str:
    for split, share in KEPT_BACK.items():
        if height < share:
            return split
        height -= share
    return "train"
