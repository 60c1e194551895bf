"""What a run writes down about itself, readable without torch.

run.json        what was asked for, with what, on what, when it ran and why it stopped
metrics.jsonl   one line per step
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
from datetime import UTC, datetime
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, NamedTuple

from espressivo import __version__
from espressivo.errors import ConfigError, CorpusError
from espressivo.training.config import FREE

FORMAT = 1
PACKAGES = ("numpy", "safetensors", "torch")


def read_record(run: Path) -> dict[str, Any]:
    """Give the content of run.json, empty where a run has none."""
    path = Path(run) / "run.json"
    try:
        record = json.loads(path.read_bytes())
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path} cannot be read ({error}); choose another run folder") from error
    if not isinstance(record, dict) or record.get("format") != FORMAT:
        raise ConfigError(f"{path} is no run record of format {FORMAT}; choose another run folder")
    return record


def write_record(run: Path, record: dict[str, Any]) -> None:
    """Replace run.json, so that a reader finds the old one or the new one and never half."""
    draft = Path(run) / ".run.json"
    with draft.open("w") as file:
        file.write(json.dumps(record, indent=1) + "\n")
        file.flush()
        os.fsync(file.fileno())
    draft.replace(Path(run) / "run.json")


def read_metrics(run: Path) -> list[dict[str, Any]]:
    """Give one record per step, the steps rising.

    A last line torn by a killed run is left out, and so are steps that were lost by such an end
    and taken again.
    """
    path = Path(run) / "metrics.jsonl"
    try:
        lines = path.read_bytes().split(b"\n")[:-1]
    except OSError as error:
        raise CorpusError(f"{path} cannot be read ({error.strerror})") from error
    metrics: list[dict[str, Any]] = []
    for number, line in enumerate(lines, 1):
        try:
            record = json.loads(line)
            step = int(record["step"])
        except (ValueError, KeyError, TypeError) as error:
            raise CorpusError(f"{path}:{number} is no record of a step") from error
        while metrics and metrics[-1]["step"] >= step:
            metrics.pop()
        metrics.append(record)
    return metrics


def mend_metrics(run: Path) -> None:
    """Cut off a last line torn by a killed run, so that the next one does not run into it."""
    path = Path(run) / "metrics.jsonl"
    if path.is_file():
        content = path.read_bytes()
        if not content.endswith(b"\n"):
            os.truncate(path, content.rfind(b"\n") + 1)


def sha256_of(content: dict[str, Any]) -> str:
    """Give the SHA-256 of a configuration, whatever the order of its fields."""
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


class Difference(NamedTuple):
    """A field in which two configurations differ."""

    key: str
    before: object
    now: object


def differences(before: dict[str, Any], now: dict[str, Any]) -> list[Difference]:
    """Name the fields in which two configurations differ, in the order of the later one.

    What a run may change whenever it goes on is not compared.
    """
    one, two = _flat(before), _flat(now)
    keys = [*two, *(key for key in one if key not in two)]
    return [
        Difference(key, one.get(key), two.get(key))
        for key in keys
        if key.removeprefix("training.") not in FREE and one.get(key) != two.get(key)
    ]


def _flat(content: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in content.items():
        if isinstance(value, dict):
            flat |= _flat(value, f"{prefix}{key}.")
        else:
            flat[prefix + key] = list(value) if isinstance(value, tuple) else value
    return flat


def versions() -> dict[str, str]:
    """Give the versions of Python and of the packages a result depends on."""
    found = {"espressivo": __version__, "python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "not installed"
    return found


@cache
def code_digest() -> str:
    """Give the SHA-256 of the source of this package, its version between releases."""
    root = Path(__file__).parents[1]
    digest = hashlib.sha256()
    for path in sorted(root.rglob("*.py")):
        digest.update(f"{path.relative_to(root).as_posix()}\0".encode() + path.read_bytes())
    return digest.hexdigest()


def hardware(device: str, threads: int) -> dict[str, Any]:
    """Say what a run ran on: kind of machine, processor, threads and device."""
    processor = platform.processor()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.is_file():
        named = [x for x in cpuinfo.read_text().splitlines() if x.startswith("model name")]
        processor = named[0].partition(":")[2].strip() if named else processor
    return {
        "machine": platform.machine(),
        "processor": processor,
        "cores": os.cpu_count(),
        "threads": threads,
        "device": device,
    }


def now() -> str:
    """Give the time, in UTC, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")
