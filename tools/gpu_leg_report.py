"""What a leg found: report.json for programs, report.md to read, both written after each part."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

Parts = dict[str, dict[str, Any]]


class Report:
    """The parts of a leg, in the order in which they ended."""

    def __init__(self, out: Path, minutes: float, rehearsed: bool) -> None:
        """Begin with nothing measured."""
        self.out, self.rehearsed = out, rehearsed
        self.about = {"began": datetime.now(UTC).isoformat(timespec="seconds"), "minutes": minutes}
        self.parts: Parts = {}

    @property
    def good(self) -> bool:
        """Whether no part failed or ran out of time."""
        return all(part["status"] in ("ok", "skipped") for part in self.parts.values())

    @property
    def text(self) -> str:
        """All of it to read."""
        kind = " (a rehearsal on a CPU: no figure means anything)" if self.rehearsed else ""
        lines = [f"# A leg on a GPU{kind}", "", f"Begun {self.about['began']}.", ""]
        lines += ["| what waited for a GPU | bar | measured |", "|---|---|---|"]
        lines += [f"| {what} | {bar} | {_cell(self.parts, of)} |" for what, bar, of in ROWS]
        for name, part in self.parts.items():
            lines += ["", f"## {name}: {part['status']}, {part.get('seconds', 0)} s", ""]
            lines += _told(part.get("result", {}))
            if "error" in part:
                lines += ["```", part["error"].strip(), "```"]
        return "\n".join(lines) + "\n"

    def add(self, name: str, part: dict[str, Any]) -> None:
        """Take what a part found and write everything."""
        self.parts[name] = part
        content = {**self.about, "rehearsed": self.rehearsed, "parts": self.parts}
        (self.out / "report.json").write_text(json.dumps(content, indent=1) + "\n")
        (self.out / "report.md").write_text(self.text)

    def compiling_pays(self) -> bool:
        """Whether the note model's steps were a sixth faster compiled, after a short wait."""
        with suppress(KeyError, ValueError):
            rows = self.parts["steps"]["result"]["rows"]
            one, two = sorted(
                (row for row in rows if row["model"] == "notes"), key=lambda row: row["compiled"]
            )
            fast = two["tokens_per_second"] > 1.16 * one["tokens_per_second"]
            return fast and two["first_step_seconds"] < 60
        return False


def _cell(parts: Parts, measured: Callable[[Parts], str]) -> str:
    try:
        return measured(parts)
    except Exception:  # whatever a part left unfinished; its own section says what
        return "not measured: see below"


def _of(parts: Parts, part: str) -> Any:
    return parts[part]["result"]


def _trained(name: str) -> Callable[[Parts], str]:
    def cell(parts: Parts) -> str:
        found = _of(parts, name)
        return f"{found['after']['per_token']:.3f} after {found['seconds']} s of training"

    return cell


def _mfu(parts: Parts) -> str:
    cells = []
    for row in _of(parts, "training")["results"]:
        if "mfu" in row:
            beside = f", {row['of_plain']:.2f} of plain" if "of_plain" in row else ""
            name = f"{row['size']} {row['kind']}{' compiled' * row['compiled']}"
            cells.append(f"{name} {row['mfu']:.0%}{beside}")
    return "; ".join(cells) or "not measured: see below"


def _losses(parts: Parts) -> str:
    rows = _of(parts, "losses")["rows"]
    return "; ".join(f"{r['arithmetic']} {r.get('loss', float('nan')):.4f}" for r in rows)


def _errors(parts: Parts) -> str:
    worst = _of(parts, "errors")["worst"]
    return "; ".join(f"{kind.strip('.')} {share:.1e}" for kind, share in worst.items())


def _at(parts: Parts, length: int, name: str) -> Any:
    rows = _of(parts, "attention")["results"]
    return next(r for r in rows if r["length"] == length and r["back end"] == name)


def _of_flash(parts: Parts) -> str:
    ours, flash = (_at(parts, 4096, name)["both_ms"] for name in ("fused", "sdpa flash"))
    return f"{ours / flash:.2f} times ({ours:.3f} ms)"


def _of_naive(parts: Parts) -> str:
    ours, naive = _at(parts, 4096, "fused"), _at(parts, 4096, "skewed")
    faster, less = naive["both_ms"] / ours["both_ms"], ours["peak_bytes"] / naive["peak_bytes"]
    return f"{faster:.1f} times as fast, {less:.2f} of its memory"


def _lengths(parts: Parts) -> str:
    rows = [r for r in _of(parts, "attention")["results"] if r.get("back end") == "fused"]
    rows = [r for r in rows if "both_ms" in r]
    if not rows:
        raise KeyError("fused")
    cells = [
        f"{r['length']}: {r['both_ms']:.2f} ms, "
        f"{r['peak_bytes'] / 2**10 / (r['batch'] * r['length']):.1f} KiB a token"
        for r in sorted(rows, key=lambda r: r["length"])
    ]
    return "; ".join(cells)


def _step(parts: Parts) -> str:
    cells = []
    for row in _of(parts, "attention")["steps"]:
        fits = f"{row['seconds']:.2f} s" if row.get("fits") else row.get("error", "does not fit")
        cells.append(f"reach {row.get('reach', '?')}: {fits}")
    return "; ".join(cells) or "not measured: see below"


ROWS: list[tuple[str, str, Callable[[Parts], str]]] = [
    ("`music-transformer` at 25 M, validation", "1.90", _trained("music-transformer")),
    ("`performance-rnn`, 3 x 512, validation", "1.97 published", _trained("performance-rnn")),
    ("training beside plain and naive, 25 M and 85 M", "MFU 25 % and 35 %", _mfu),
    ("bf16 and `torch.compile`: same loss", "noise", _losses),
    ("fused attention: errors against float64", "2e-6, 1e-2 in bfloat16", _errors),
    ("fused at 4096, beside SDPA flash", "at most 3 times", _of_flash),
    ("fused at 4096, beside naive skewing", "3 times as fast, a tenth", _of_naive),
    ("fused at 1k to 64k", "memory linear", _lengths),
    ("a step of the paper's model at 65,536 tokens", "16 GB", _step),
    ("gradients of fused attention, all modes", "2e-6", lambda p: _of(p, "tests")["passed"][0]),
]
"""The rows of "Pending GPU" in benchmarks/README.md."""


def _told(found: dict[str, Any]) -> list[str]:
    """Return facts as a list and lists of rows as tables."""
    lines, tables = [], []
    for key, value in found.items():
        if isinstance(value, list) and value and isinstance(value[0], dict):
            heads = list(dict.fromkeys(name for row in value for name in row))
            tables += ["", f"{key}:", "", f"| {' | '.join(heads)} |", "|---" * len(heads) + "|"]
            for row in value:
                tables.append(f"| {' | '.join(_short(row.get(head, '')) for head in heads)} |")
        else:
            lines.append(f"- {key}: {_short(value)}")
    return lines + tables


def _short(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, dict):
        return ", ".join(f"{key} {_short(one)}" for key, one in value.items())
    return str(value).replace("|", "/").replace("\n", " ")
