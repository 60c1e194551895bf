"""MIDI files to a corpus: every file is stored, or quarantined with a reason."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from espressivo.corpora import layouts, plan, shards
from espressivo.corpora.archives import is_archive, unpack
from espressivo.corpora.corpus import FORMAT, SPLITS, Piece
from espressivo.corpora.crew import run
from espressivo.corpora.plan import Plan
from espressivo.corpora.report import Report
from espressivo.corpora.splits import Trace, assign, duplicates, straddling
from espressivo.corpora.whole import clear_drafts, whole, write_lines
from espressivo.errors import CorpusError
from espressivo.midi import read_midi
from espressivo.performance import Performance

EXAMPLES = 5
"""Quarantined files a report names for each reason."""


class Progress(NamedTuple):
    """How far preparing has come, in files."""

    done: int
    files: int
    quarantined: int


def prepare(
    inputs: Path | str | Sequence[Path | str],
    out: Path | str,
    *,
    splits: Path | str | None = None,
    split_column: str = "split",
    name: str | None = None,
    licence: str = "unknown",
    workers: int | None = None,
    read: Callable[[Path], Performance] = read_midi,
) -> Iterator[Progress]:
    """Store the performances of folders or archives (tar, zip) as a corpus.

    MAESTRO and ASAP are known by their tables; `splits` names any other (see
    `layouts.read_table`), and without one works are split by the hash of their names. `licence`
    holds where no table states one. Work begins when the result is iterated; it may be left and
    begun again at any time, or killed, and goes on where it was. `Report.read(out)` tells
    what became of every file. `workers` processes (all cores if None) never change the result;
    0 works in this process, which a crash of the MIDI library then ends. Where
    processes are used, a script must guard its main part by `if __name__ == "__main__"`.
    Raises CorpusError if there is nothing to read, if what is in `out` was planned from other
    files or settings, or if it cannot be written.
    """
    out = Path(out)
    paths = [Path(i) for i in ([inputs] if isinstance(inputs, str | Path) else inputs)]
    settings = {
        "split_column": split_column if splits else None,
        "splits": _fingerprint(Path(splits)) if splits else None,
        "licence": licence,
    }
    archives = {path.name: path.stat().st_size for path in paths if is_archive(path)}
    new = Plan(name or out.name, 0, "", archives, settings)
    if _is_finished(out, paths, new):
        return iter([_finished_progress(out)])
    _make(out)
    roots = tuple(_root(path, out) for path in paths)
    table = layouts.read_table(Path(splits), split_column) if splits else None
    found = layouts.entries(roots, licence, table)
    new = Plan(new.name, len(found), plan.digest(found), archives, settings)
    old = plan.freeze(out, new, found)
    if (out / "corpus.json").exists():
        shutil.rmtree(out / ".unpacked", ignore_errors=True)
        return iter([_finished_progress(out)])
    return _progress(out, roots, old, read, os.cpu_count() or 1 if workers is None else workers)


def _progress(
    out: Path, roots: tuple[Path, ...], frozen: Plan, read: Callable[[Path], Performance], crew: int
) -> Iterator[Progress]:
    done = refused = 0
    for number in range(frozen.shards):
        sidecar = shards.finished(out, number, frozen.sha256)
        if sidecar:
            done += len(sidecar["outcomes"])
            refused += _refused(sidecar["outcomes"])
    yield Progress(done, frozen.files, refused)
    jobs = (
        shards.Job(out, roots, frozen.sha256, number, tuple(entries), read)
        for number, entries in plan.shards(out)
        if not shards.finished(out, number, frozen.sha256)
    )
    for outcomes in run(jobs, crew):
        done += len(outcomes)
        refused += _refused(outcomes)
        yield Progress(done, frozen.files, refused)
    _finish(out, frozen)
    yield _finished_progress(out)


def _refused(outcomes: Iterable[shards.Outcome]) -> int:
    return sum("reason" in outcome for outcome in outcomes)


def _finished_progress(out: Path) -> Progress:
    report = Report.read(out)
    return Progress(report.files, report.files, report.quarantined)


# -- before --------------------------------------------------------------------------------------


def _is_finished(out: Path, paths: Sequence[Path], new: Plan) -> bool:
    """Tell whether a corpus made of archives only is complete, without unpacking them again."""
    old = plan.load(out)
    if old is None or not (out / "corpus.json").exists():
        return False
    plan.check_settings(out, old, new)
    return len(new.archives) == len(paths) and old.archives == new.archives


def _make(out: Path) -> None:
    if (
        out.is_dir()
        and plan.load(out) is None
        and any(
            not child.name.startswith(".") and child.name != "plan.jsonl" for child in out.iterdir()
        )
    ):
        raise CorpusError(f"{out} holds something else; prepare into a new folder")
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise CorpusError(f"{out}: cannot be made: {error.strerror}") from error
    clear_drafts(out)


def _root(path: Path, out: Path) -> Path:
    """Give the folder an input is read from; archives are unpacked inside the corpus until done."""
    if not is_archive(path):
        return path.resolve()
    folder = out / ".unpacked" / path.name.split(".")[0]
    if not folder.is_dir():
        unpack(path, folder)
    while len(inside := list(folder.iterdir())) == 1 and inside[0].is_dir():
        folder = inside[0]
    return folder.resolve()


def _fingerprint(file: Path) -> str:
    try:
        return hashlib.sha256(file.read_bytes()).hexdigest()
    except OSError as error:
        raise CorpusError(f"{file}: cannot be read: {error.strerror}") from error


# -- after ---------------------------------------------------------------------------------------


def _outcomes(out: Path, frozen: Plan) -> Iterator[tuple[int, layouts.Entry, shards.Outcome]]:
    """Give shard, file and outcome of everything, in the order of the plan."""
    for number, entries in plan.shards(out):
        sidecar = shards.finished(out, number, frozen.sha256)
        if sidecar is None:
            raise CorpusError(f"{out}: shard {number} is missing; run espressivo prepare again")
        for entry, outcome in zip(entries, sidecar["outcomes"], strict=True):
            yield number, entry, outcome


def _finish(out: Path, frozen: Plan) -> None:
    """Decide splits and copies, which need all files, and write the index of the corpus."""
    paths, traces = [], []
    for _, entry, outcome in _outcomes(out, frozen):
        if "reason" not in outcome:
            paths.append(entry.path)
            known = entry.composition, outcome["content"], outcome["exact"], entry.split
            traces.append(Trace(*known))
    splits = assign(traces)
    copies = {paths[i]: paths[j] for i, j in duplicates(traces, splits).items()}
    split_of = dict(zip(paths, splits, strict=True))
    tally = _Tally()
    with whole(out / "pieces.jsonl") as pieces, whole(out / "quarantine.jsonl") as quarantine:
        for piece in _pieces(out, frozen, split_of, copies):
            tally.add(piece)
            file, row = (
                (pieces, piece._asdict()) if isinstance(piece, Piece) else (quarantine, piece)
            )
            file.write(json.dumps(row).encode() + b"\n")
    report = tally.report(
        frozen,
        _digest(out, frozen),
        straddling_works=straddling((t.composition for t in traces), splits),
        straddling_contents=straddling((t.content for t in traces), splits),
    )
    write_lines(out / "report.txt", [str(report)])
    write_lines(out / "report.json", [json.dumps(report.as_dict(), indent=1)])
    write_lines(out / "corpus.json", [json.dumps(_card(report), indent=1)])
    shutil.rmtree(out / ".unpacked", ignore_errors=True)


def _pieces(
    out: Path, frozen: Plan, split_of: dict[str, str], copies: dict[str, str]
) -> Iterator[Piece | dict[str, str]]:
    """Give every file as the piece it became, or as a row of the quarantine."""
    shard, note, control = -1, 0, 0
    for number, entry, outcome in _outcomes(out, frozen):
        if number != shard:
            shard, note, control = number, 0, 0
        if "reason" in outcome:
            yield {"path": entry.path} | outcome
            continue
        if entry.path in copies:
            detail = f"the same notes as {copies[entry.path]}"
            yield {"path": entry.path, "reason": "duplicate", "detail": detail}
        else:
            yield Piece(
                path=entry.path,
                split=split_of[entry.path],
                composition=entry.composition,
                licence=entry.licence,
                source=entry.source,
                shard=number,
                first_note=note,
                notes=outcome["notes"],
                first_control=control,
                controls=outcome["controls"],
                seconds=outcome["seconds"],
            )
        note, control = note + outcome["notes"], control + outcome["controls"]


class _Tally:
    """Counts what goes where, one file at a time."""

    def __init__(self) -> None:
        self.splits: dict[str, Counter[str]] = {split: Counter() for split in SPLITS}
        self.seconds: Counter[str] = Counter()
        self.works: dict[str, set[str]] = {split: set() for split in SPLITS}
        self.licences: Counter[str] = Counter()
        self.reasons: Counter[str] = Counter()
        self.examples: dict[str, list[str]] = {}

    def add(self, piece: Piece | dict[str, str]) -> None:
        if isinstance(piece, Piece):
            self.splits[piece.split].update(pieces=1, notes=piece.notes)
            self.seconds[piece.split] += piece.seconds  # type: ignore[assignment]  # counts reals
            self.works[piece.split].add(piece.composition)
            self.licences[piece.licence] += 1
            return
        self.reasons[piece["reason"]] += 1
        examples = self.examples.setdefault(piece["reason"], [])
        if len(examples) < EXAMPLES:
            examples.append(f"{piece['path']}: {piece['detail']}")

    def report(self, frozen: Plan, sha256: str, **straddling: list[str]) -> Report:
        stored, refused = sum(self.licences.values()), sum(self.reasons.values())
        return Report(
            name=frozen.name,
            licences=dict(self.licences.most_common()),
            files=stored + refused,
            stored=stored,
            quarantined=refused,
            reasons=dict(self.reasons.most_common()),
            splits={
                split: {
                    "pieces": counts["pieces"],
                    "works": len(self.works[split]),
                    "hours": round(self.seconds[split] / 3600, 4),
                    "notes": counts["notes"],
                }
                for split, counts in self.splits.items()
            },
            sha256=sha256,
            examples=self.examples,
            **straddling,
        )


def _digest(out: Path, frozen: Plan) -> str:
    """Give the SHA-256 over the SHA-256 of all arrays and of both indices."""
    lines = hashlib.sha256()
    for number in range(frozen.shards):
        sidecar = shards.finished(out, number, frozen.sha256)
        assert sidecar is not None
        lines.update(f"{sidecar['notes']['sha256']} {sidecar['controls']['sha256']}\n".encode())
    for name in ("pieces.jsonl", "quarantine.jsonl"):
        with (out / name).open("rb") as file:
            lines.update(hashlib.file_digest(file, "sha256").hexdigest().encode() + b"\n")
    return lines.hexdigest()


def _card(report: Report) -> dict[str, Any]:
    """Say what a corpus is: the part of its report that models trained on it carry on."""
    return {
        "format": FORMAT,
        "name": report.name,
        "licence": "; ".join(sorted(report.licences)),
        "licences": report.licences,
        "pieces": report.stored,
        "splits": report.splits,
        "sha256": report.sha256,
    }
