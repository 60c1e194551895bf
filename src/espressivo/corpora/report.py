"""What became of every file."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from espressivo.errors import CorpusError


@dataclass(frozen=True, kw_only=True)
class Report:
    """How a corpus came about: every file was stored, or quarantined for a reason.

    `splits` counts pieces, works, notes and hours of each; `reasons` counts the quarantined, of
    whom `examples` names a few and `quarantine.jsonl` all. Works and contents that a table put
    into several splits are listed in `straddling_works` and `straddling_contents`.
    """

    name: str
    licences: dict[str, int]
    files: int
    stored: int
    quarantined: int
    reasons: dict[str, int]
    splits: dict[str, dict[str, float]]
    sha256: str
    examples: dict[str, list[str]] = field(default_factory=dict)
    straddling_works: list[str] = field(default_factory=list)
    straddling_contents: list[str] = field(default_factory=list)

    @staticmethod
    def read(corpus: Path | str) -> Report:
        """Read the report of a finished corpus."""
        file = Path(corpus) / "report.json"
        try:
            return Report(**json.loads(file.read_text()))
        except (OSError, ValueError, TypeError) as error:
            raise CorpusError(
                f"{file}: no report of a finished corpus; run espressivo prepare"
            ) from error

    def as_dict(self) -> dict[str, Any]:
        """Give everything as plain values, as in report.json."""
        return asdict(self)

    def __str__(self) -> str:
        """Tell it to a person."""
        lines = [
            f"{self.name}: {self.files:,} files = {self.stored:,} stored "
            f"+ {self.quarantined:,} quarantined",
            "",
            f"{'split':<12}{'pieces':>9}{'works':>9}{'hours':>9}{'notes':>15}",
        ]
        for split, counts in self.splits.items():
            lines.append(
                f"{split:<12}{counts['pieces']:>9,}{counts['works']:>9,}"
                f"{counts['hours']:>9,.1f}{counts['notes']:>15,}"
            )
        lines += ["", "licences: " + ", ".join(f"{k} ({v:,})" for k, v in self.licences.items())]
        for reason, count in self.reasons.items():
            lines += ["", f"quarantined, {reason}: {count:,}"]
            lines += [f"  {example}" for example in self.examples.get(reason, [])]
            if count > len(self.examples.get(reason, [])):
                lines.append("  ... all of them in quarantine.jsonl")
        for what, keys in (
            ("works", self.straddling_works),
            ("contents", self.straddling_contents),
        ):
            if keys:
                lines += ["", f"{what} in more than one split: {len(keys)}"]
                lines += [f"  {key}" for key in keys[:5]]
        return "\n".join(lines)
