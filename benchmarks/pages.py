"""The pages that `table.py` writes from its results."""

from __future__ import annotations

import json
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
from plans import BUDGETS, PLANS

HERE = Path(__file__).parent
DOCS = HERE.parent / "docs"
PAGES = {"papers": DOCS / "table.md", "recipe": DOCS / "recipe.md"}
REFERENCE = {"papers": "relative", "recipe": "espressivo"}
"""The row that the others are compared with, piece by piece."""

Results = dict[str, list[dict[str, Any]]]
"""By row, one per seed."""


def write(plan: str) -> None:
    """Put the tables of every budget between the marks of a plan's page."""
    page = PAGES[plan]
    text = page.read_text() if page.is_file() else f"# {plan}\n\n<!-- tables -->\n<!-- end -->\n"
    before, _, rest = text.partition("<!-- tables -->\n")
    _, _, after = rest.partition("<!-- end -->\n")
    tables = "".join(section(plan, name) for name in BUDGETS)
    page.write_text(f"{before}<!-- tables -->\n{tables}<!-- end -->\n{after}")


def section(plan: str, budget: str) -> str:
    """Give one budget's heading and table; rows without a result are pending."""
    file = HERE / "results" / f"{plan}-{budget}.json"
    if not file.is_file():
        return f"\n## Budget `{budget}`\n\nPending: no run of this budget has been made.\n\n"
    content = json.loads(file.read_text())
    by_row: Results = defaultdict(list)
    for result in content["results"]:
        by_row[result["row"]].append(result)
    lines = [heading(budget, content), *HEAD]
    reference = by_row.get(REFERENCE[plan], [])
    for row in PLANS[plan]:
        lines.append(line(row.name, row.published, by_row.get(row.name, []), reference))
    commands = [f"    {results[0]['command']}" for results in by_row.values()]
    return "\n".join([*lines, "", "Commands of the first seed:", "", *commands, "", ""])


def heading(budget: str, content: dict[str, Any]) -> str:
    machines = ", ".join(sorted({result["machine"] for result in content["results"]}))
    windows = {result["test"]["window_tokens"] for result in content["results"]}
    pieces = {len(result["test"]["pieces"]) for result in content["results"]}
    return (
        f"\n## Budget `{budget}`\n\n{content['tokens']:,} tokens a run; {machines}; judged on "
        f"{'/'.join(map(str, sorted(pieces)))} pieces of each split in windows of "
        f"{'/'.join(map(str, sorted(windows)))} tokens.\n"
    )


HEAD = (
    "| model | parameters | published | validation: nats per token (95 %) | per note "
    "| per second | test: nats per token | against the reference row | seeds | tokens "
    "| minutes a run (CPU) |",
    "|---|---|---|---|---|---|---|---|---|---|---|",
)


def line(
    name: str,
    published: float | None,
    results: list[dict[str, Any]],
    reference: list[dict[str, Any]],
) -> str:
    paper = "-" if published is None else f"{published:.3f}"
    if not results:
        return f"| `{name}` | | {paper} | pending | | | | | | | |"

    def mean(split: str, key: str) -> float:
        return float(np.mean([result[split][key] for result in results]))

    low, high = interval(results, "validation")
    cpu = [r["cpu_seconds"] for r in results if r["cpu_seconds"] is not None]
    wall = np.mean([result["wall_seconds"] for result in results]) / 60
    minutes = f"{wall:.1f}" + (f" ({np.mean(cpu) / 60:.1f})" if cpu else "")
    return (
        f"| `{name}` | {results[0]['parameters'] / 1e6:.2f} M | {paper} "
        f"| **{mean('validation', 'per_token'):.3f}** ({low:.3f} to {high:.3f}) "
        f"| {mean('validation', 'per_note'):.2f} | {mean('validation', 'per_second'):.1f} "
        f"| {mean('test', 'per_token'):.3f} | {against(results, reference)} | {len(results)} "
        f"| {results[0]['tokens'] / 1e6:.2f} M | {minutes} |"
    )


def interval(results: list[dict[str, Any]], split: str) -> tuple[float, float]:
    """Give the 95 % interval of nats per token over other seeds and other pieces like these."""
    rng, drawn = np.random.default_rng(0), []
    tables = [np.array(list(result[split]["pieces"].values())) for result in results]
    for _ in range(2000):
        table = tables[rng.integers(len(tables))]
        nats, tokens = table[rng.integers(len(table), size=len(table))].sum(0)
        drawn.append(nats / tokens)
    low, high = np.quantile(drawn, [0.025, 0.975])
    return float(low), float(high)


def against(results: list[dict[str, Any]], reference: list[dict[str, Any]]) -> str:
    """Give the difference to the reference row on the same pieces of both splits.

    Seeds that both have are paired, and pieces are drawn again in pairs: how hard a piece is
    counts for nothing here, so the interval is far narrower than that of either row alone.
    """
    others = {result["seed"]: result for result in reference}
    pairs = [(result, others[result["seed"]]) for result in results if result["seed"] in others]
    if not pairs or results is reference:
        return "-"
    rng, drawn = np.random.default_rng(0), []
    tables = [[np.concatenate([pieces(r, s) for s in SPLITS]) for r in pair] for pair in pairs]
    for _ in range(2000):
        one, other = tables[rng.integers(len(tables))]
        rows = rng.integers(len(one), size=len(one))
        (a, tokens), (b, _) = one[rows].sum(0), other[rows].sum(0)
        drawn.append((a - b) / tokens)
    low, high = np.quantile(drawn, [0.025, 0.975])
    return f"{np.mean(drawn):+.3f} ({low:+.3f} to {high:+.3f})"


SPLITS = ("validation", "test")


def pieces(result: dict[str, Any], split: str) -> np.ndarray:
    return np.array([value for _, value in sorted(result[split]["pieces"].items())])
