"""docs/reference.md, written from the code: run `pytest tests/test_docs.py --update-golden`."""

from __future__ import annotations

import argparse

import espressivo
from espressivo.cli.parser import parser
from espressivo.presets import PRESETS, preset

HEAD = """# Reference

Written from the code; `pytest tests/test_docs.py --update-golden` writes it anew.
"""


def reference() -> str:
    """Give the whole page."""
    parts = [HEAD, "## Commands", *commands(), "## Codecs", codecs(), "## Presets", presets()]
    return "\n\n".join(part.strip() for part in [*parts, "## Python", names()]) + "\n"


def commands() -> list[str]:
    """Tell every verb with its options."""
    (verbs,) = (a for a in parser()._actions if isinstance(a, argparse._SubParsersAction))
    return [f"### espressivo {name}\n\n{command(verb)}" for name, verb in verbs.choices.items()]


def command(verb: argparse.ArgumentParser) -> str:
    """Tell one verb."""
    options = [
        f"- `{option(action)}`: {action.help or ' | '.join(action.choices)}"
        for action in verb._actions
        if not isinstance(action, argparse._HelpAction)
    ]
    example = verb.epilog.removeprefix("example: ")
    return "\n".join([verb.description, "", f"    {example}", "", *options])


def option(action: argparse.Action) -> str:
    """Write an option or argument as it is typed."""
    value = action.metavar or ("|".join(action.choices) if action.choices else action.dest.upper())
    if not action.option_strings:
        return str(value)
    return ", ".join(action.option_strings) + ("" if action.nargs == 0 else f" {value}")


def codecs() -> str:
    """Tell every vocabulary: how many ids of which kind."""
    rows = ["| codec | ids | of these |", "|---|---:|---|"]
    for name, codec in espressivo.CODECS.items():
        kinds = codec.vocabulary.kinds
        parts = ", ".join(f"{kind} {len(codec.vocabulary.ids(kind))}" for kind in kinds)
        rows.append(f"| `{name}` | {len(codec.vocabulary)} | {parts} |")
    return "\n".join(rows)


def presets() -> str:
    """Tell every preset by its source; `-tiny` twins only by their names."""
    rows = ["| preset | source |", "|---|---|"]
    for name in PRESETS:
        if not name.endswith("-tiny"):
            twin = f", `{name}-tiny`" if f"{name}-tiny" in PRESETS else ""
            rows.append(f"| `{name}`{twin} | {preset(name).source} |")
    more = "`espressivo presets NAME` tells all numbers, and where one departs from its source."
    return "\n".join([*rows, "", more])


def names() -> str:
    """Tell every public name by the first line of its docstring."""
    rows = ["| name | what it is |", "|---|---|"]
    for name in espressivo.__all__:
        value = getattr(espressivo, name)
        known = {"CODECS": "The published vocabularies by name.", "PRESETS": "Presets by name."}
        words = known.get(name) or (value.__doc__ or "").strip().splitlines()[0]
        rows.append(f"| `espressivo.{name}` | {words} |")
    return "\n".join(rows)
