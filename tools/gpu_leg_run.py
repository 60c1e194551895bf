"""The order of a leg: every part in a process of its own, none of which can stop the others."""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from gpu_leg_report import Report

HOME = Path(__file__).resolve().parents[1]
WEIGHTS = {
    "device": 40, "tests": 60, "errors": 45, "attention": 60, "training": 80,
    "steps": 70, "losses": 45, "music-transformer": 45, "performance-rnn": 35,
}  # fmt: skip
"""The parts that measure, in order, and what share of the time each may take at most."""
LEG = "note-transformer"
NEEDS_CORPORA = {"steps", "losses", "music-transformer", "performance-rnn", LEG}
TAIL = 1500
ENOUGH = 60
"""Seconds for which it is worth while to train anew without the compiler."""
REHEARSED = 12.0
"""Seconds of a part in a rehearsal, those until torch is there included."""


def run(options: argparse.Namespace) -> int:
    """Do all parts in the time given; 0 if nothing failed."""
    began, seconds = time.monotonic(), 60 * options.minutes
    options.out.mkdir(parents=True, exist_ok=True)
    parts = [part for part in (*WEIGHTS, LEG) if wanted(part, options)]
    place = Path(tempfile.mkdtemp(prefix="gpu-leg-"))
    report = Report(options.out, options.minutes, options.rehearse)
    unpacking = subprocess.Popen(
        [sys.executable, str(HOME / "tools" / "gpu_leg.py"), "unpack", str(options.folder),
         "-o", str(place)],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True,
    )  # fmt: skip
    unpacked: bool | None = None
    try:
        for place_in_order, part in enumerate(parts):
            if unpacked is None and part in NEEDS_CORPORA:
                unpacked = _ended(unpacking, report, began)
            left = seconds - (time.monotonic() - began) - 8
            later = [one for one in parts[place_in_order:] if one != LEG]
            if part != LEG:
                kept = options.leg * seconds if LEG in parts else 0.0
                share = WEIGHTS[part] / sum(WEIGHTS[one] for one in later)
                left = max((left - kept) * share, 0.0)
            if part in NEEDS_CORPORA and not unpacked:
                report.add(part, {"status": "skipped", "error": "the corpora were not unpacked"})
                continue
            compile = part == LEG and report.compiling_pays()
            report.add(part, _part(part, left, place, options, compile))
            left = seconds - (time.monotonic() - began) - 8
            if compile and report.parts[part]["status"] == "failed" and left > ENOUGH:
                report.add(f"{part}, compiled", report.parts[part])
                report.add(part, _part(part, left, place, options, compile=False))
        return 0 if report.good else 1
    finally:
        _stop(unpacking)
        shutil.rmtree(place, ignore_errors=True)
        print(report.text, flush=True)


def wanted(part: str, options: argparse.Namespace) -> bool:
    """Say whether a part was chosen."""
    return part not in options.skip and (not options.only or part in options.only)


def _part(
    part: str, limit: float, place: Path, options: argparse.Namespace, compile: bool
) -> dict[str, Any]:
    began = time.monotonic()
    print(f"{part}: at most {limit:.0f} s", flush=True)
    found: dict[str, Any] = {"limit": round(limit, 1)}
    file = place / f"result-{part}.json"
    environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
    if part == "tests":
        command, why = _tests(options.rehearse)
        if why:
            return found | {"status": "skipped", "error": why}
        if options.rehearse:
            environment["TRITON_INTERPRET"] = "1"
    else:
        settings = {
            "file": str(file), "corpora": str(place), "batch": options.batch,
            "until": time.time() + (REHEARSED if options.rehearse else limit - 5),
            "rehearse": options.rehearse, "device": "cpu" if options.rehearse else "cuda",
            "out": str(options.out), "rate": options.rate, "why": "tools/gpu_leg.py",
            "compile": part == LEG and compile,
        }  # fmt: skip
        command = [sys.executable, str(HOME / "tools" / "gpu_leg.py"), "work", part]
        command.append(json.dumps(settings))
    code, said = _limited(command, limit, environment)
    with suppress(OSError, ValueError):
        found["result"] = json.loads(file.read_text())
    found["status"] = {0: "ok", None: "out of time"}.get(code, "failed")
    if part == "tests":
        found["result"] = {"passed": said.strip().splitlines()[-1:]}
    if code != 0:
        found["error"] = said[-TAIL:]
    elif any("error" in row for row in _rows(found.get("result", {}))):
        found["status"] = "failed in part"
    return found | {"seconds": round(time.monotonic() - began, 1)}


def _rows(found: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the rows of all tables of a result."""
    tables = [value for value in found.values() if isinstance(value, list)]
    return [row for table in tables for row in table if isinstance(row, dict)]


def _tests(rehearse: bool) -> tuple[list[str], str]:
    """Return the command of the kernels' own tests, or why there is none."""
    file = "tests/models/test_fused.py"
    if not importlib.util.find_spec("pytest"):
        return [], "pytest is not installed: the kernels' tests are not run"
    if rehearse and not importlib.util.find_spec("triton"):
        return [], "triton is not installed: the kernels are not interpreted"
    command = [sys.executable, "-m", "pytest", "-q", "--noconftest", "-o", "filterwarnings=default"]
    if rehearse:
        command += ["-k", "note or query"]
    elif importlib.util.find_spec("xdist"):
        command += ["-n", "8"]
    return [*command, "--no-header", "-p", "no:cacheprovider", "-m", "not slow", file], ""


def _limited(
    command: list[str], limit: float, environment: dict[str, str]
) -> tuple[int | None, str]:
    """Run a command in a session of its own; None if its time ended before it did."""
    with tempfile.TemporaryFile("w+") as said:
        process = subprocess.Popen(
            command, stdout=said, stderr=subprocess.STDOUT, text=True, cwd=HOME, env=environment,
            start_new_session=True,
        )  # fmt: skip
        code: int | None = None
        with suppress(subprocess.TimeoutExpired):
            code = process.wait(max(limit, 1.0))
        _stop(process)
        said.seek(0)
        return code, said.read()


def _stop(process: subprocess.Popen[str]) -> None:
    """End a process and all that it began; they are the session it leads."""
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _ended(unpacking: subprocess.Popen[str], report: Report, began: float) -> bool:
    said, _ = unpacking.communicate()
    done = {"status": "ok" if unpacking.returncode == 0 else "failed"}
    done["seconds"] = round(time.monotonic() - began, 1)  # type: ignore[assignment]
    report.add("unpack", done if unpacking.returncode == 0 else done | {"error": said[-TAIL:]})
    return unpacking.returncode == 0
