"""Checkpoints by name: those that ship in the package, and those on disk.

Every folder of `bundled/` is one checkpoint with its licence card; putting a folder there is all
it takes.
"""

from __future__ import annotations

from pathlib import Path

from espressivo import checkpoint
from espressivo.configs import MelodyTransformerConfig
from espressivo.errors import CheckpointError

BUNDLED = Path(__file__).parent / "bundled"
PREFERENCE = ("espressivo", "performance-rnn")
"""What plays when no model is named: the first of these that is bundled."""


def names() -> list[str]:
    """Name the bundled checkpoints, the default first."""
    found = sorted(path.parent.name for path in BUNDLED.glob("[!.]*/manifest.json"))
    preferred = [name for name in PREFERENCE if name in found]
    return preferred + [name for name in found if name not in PREFERENCE]


def default() -> str:
    """Name the bundled checkpoint that plays when none is named."""
    bundled = names()
    if not bundled:
        raise CheckpointError("no checkpoint is bundled here; name one on disk")
    return bundled[0]


def told(control: str) -> list[str]:
    """Name the bundled checkpoints that can be told a control."""
    configs = ((name, checkpoint.load(BUNDLED / name).config) for name in names())
    return [name for name, config in configs if control in getattr(config, "controls", ())]


def accompanist() -> str:
    """Name the bundled checkpoint that plays around a melody when none is named."""
    configs = ((name, checkpoint.load(BUNDLED / name).config) for name in names())
    able = [name for name, config in configs if isinstance(config, MelodyTransformerConfig)]
    if not able:
        raise CheckpointError("no checkpoint bundled here accompanies; name one with --model")
    return able[0]


def path(model: str | Path | None = None) -> Path:
    """Find a checkpoint: a bundled name, a checkpoint folder, or the best of a training run.

    A bundled name wins over a folder of that name; write ./NAME for the folder. Raises
    CheckpointError naming what is bundled.
    """
    name = default() if model is None else str(model)
    if name in names():
        return BUNDLED / name
    if not Path(name).is_dir():
        bundled = ", ".join(names()) or "none"
        raise CheckpointError(f"{name!r} is neither a folder nor bundled (bundled: {bundled})")
    return checkpoint.find(name)
