"""The verb `doctor`: what is missing here, and how to mend it."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import shutil
from typing import NamedTuple

from espressivo import __version__, bundle
from espressivo.cli import printing
from espressivo.cli.parser import Options

_TRAIN = "to train or evaluate: pip install 'espressivo[train]'"


class Finding(NamedTuple):
    """One thing looked for; `mend` says what to do if it is not there."""

    what: str
    found: bool
    detail: str
    mend: str = ""
    needed: bool = False


def doctor(options: Options) -> int:
    """Tell what is here and what is not; 1 if something that every verb needs is missing."""
    findings = look()
    whole = all(finding.found for finding in findings if finding.needed)
    if options.json:
        facts = {"whole": whole, "findings": [finding._asdict() for finding in findings]}
        printing.result(facts, as_json=True)
        return 0 if whole else 1
    for finding in findings:
        sign = "ok" if finding.found else ("MISSING" if finding.needed else "absent")
        print(f"{sign:8}{finding.what}: {finding.detail if finding.found else finding.mend}")
    return 0 if whole else 1


def look() -> list[Finding]:
    """Look for everything any verb could use."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return [
        Finding("espressivo", True, f"{__version__} on Python {platform.python_version()}"),
        Finding("processor", True, f"{platform.machine()}, {cores} cores"),
        *(_package(name, f"pip install {name}", True) for name in _REQUIRED),
        _checkpoints(),
        *(_package(name, _TRAIN, False) for name in ("torch", "jaxtyping")),
        _accelerator(),
        _fluidsynth(),
    ]


_REQUIRED = ("numpy", "pillow", "safetensors", "soundfile", "symusic")


def _package(name: str, mend: str, needed: bool) -> Finding:
    try:
        return Finding(name, True, importlib.metadata.version(name), mend, needed)
    except importlib.metadata.PackageNotFoundError:
        return Finding(name, False, "", mend, needed)


def _checkpoints() -> Finding:
    names = bundle.names()
    mend = "none is bundled; name a folder with --model"
    return Finding("checkpoints", bool(names), ", ".join(names), mend)


def _accelerator() -> Finding:
    path = shutil.which("nvidia-smi")
    mend = "no NVIDIA driver here; training will use the processor"
    return Finding("accelerator", path is not None, path or "", mend)


def _fluidsynth() -> Finding:
    path = shutil.which("fluidsynth")
    mend = "only render --engine fluidsynth needs it; install it with your system's packages"
    return Finding("fluidsynth", path is not None, path or "", mend)
