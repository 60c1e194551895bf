"""A worker of a Ray cluster may die: training goes on from its last checkpoint, to the same end."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from espressivo.cli import main
from espressivo.training import read_record
from tests.training.together import together

WORDS = (
    "model.layers=1", "model.width=16", "training.batch=2", "training.length=16",
    "training.steps=400", "training.save_every=20", "training.evaluate_every=400",
    "training.evaluation_length=64", "training.evaluation_windows=2",
)  # fmt: skip


def command(corpus, run):
    return ["train", "performance-rnn-tiny", str(corpus.path), "-o", str(run), *WORDS]


def workers_of(driver):
    """Give the processes at work that a driver has started, through Ray's own."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            member = b"Member.work" in (folder / "cmdline").read_bytes()
            if member and parent(parent(int(folder.name))) == driver:
                found.append(int(folder.name))
        except OSError:
            pass  # it has ended meanwhile
    return sorted(found)


def parent(process):
    return int(Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[1])


def wait_for(what, driver):
    ends = time.monotonic() + 240
    while not what():
        assert driver.poll() is None, "ended too early"
        assert time.monotonic() < ends, "takes too long"
        time.sleep(0.01)


@pytest.mark.slow
def test_a_killed_worker_costs_nothing_that_was_saved(corpus, tmp_path):
    pytest.importorskip("ray")
    run = tmp_path / "run"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    environment |= {"OMP_NUM_THREADS": "1", "RAY_ADDRESS": "local"}
    words = [sys.executable, "-m", "espressivo.cli", *command(corpus, run), "--ray", "2", "--json"]
    with subprocess.Popen(words, env=environment, stdout=subprocess.PIPE, text=True) as driver:
        wait_for(lambda: any(run.glob("checkpoints/step-*")), driver)
        workers = workers_of(driver.pid)
        assert len(workers) == 2
        os.kill(workers[1], signal.SIGKILL)
        out, _ = driver.communicate(timeout=240)
    assert driver.returncode == 0
    assert json.loads(out)["step"] == 400
    *others, last = read_record(run)["sessions"]
    assert len(others) == 1
    assert (last["exit"], last["last_step"]) == ("finished", 400)
    assert last["first_step"] > 20

    assert together(main, 2, command(corpus, tmp_path / "whole")) == [0, 0]
    assert state(run) == state(tmp_path / "whole")


def state(run):
    """Give the digests of all that a run ended with."""
    manifest = json.loads((run / "checkpoints/step-00000400/manifest.json").read_text())
    names = ("model.safetensors", "optimizer.safetensors", "trainer.json")
    return {name: manifest[name]["sha256"] for name in names}
