"""The long run begins, goes on, ends well and is counted, by one command."""

import csv
import hashlib
import importlib.util
import json
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

HOME = Path(__file__).parents[2]
TOOL = HOME / "tools" / "long_run.py"
SMALL = (
    "model.layers=1",
    "model.width=32",
    "model.heads=2",
    "model.key_dim=8",
    "model.feed_forward=32",
    "model.head_hidden=32",
    "model.context=32",
    "training.batch=2",
    "training.length=32",
    "training.short=0",
    "training.warmup=2",
    "training.save_every=3",
    "training.evaluate_every=3",
    "training.evaluation_windows=2",
)


@pytest.fixture
def tool():
    spec = importlib.util.spec_from_file_location("long_run", TOOL)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def data(tmp_path):
    folder = tmp_path / "data"
    (folder / "giantmidi").mkdir(parents=True)
    files = sorted((HOME / "tests" / "samples").glob("giantmidi*.mid"))
    rows = []
    for file, split in zip(files, ("train", "validation"), strict=True):
        name = f"giantmidi/{file.name}"
        shutil.copy(file, folder / name)
        rows.append({"path": name, "split": split, "composer": "John Field"})
    with (folder / "splits.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, ["path", "split", "composer"])
        writer.writeheader()
        writer.writerows(rows)
    return folder


def command(*words):
    return subprocess.run(
        [sys.executable, str(TOOL), *map(str, words)], capture_output=True, text=True, check=False
    )


@pytest.mark.needs_torch
@pytest.mark.slow
def test_it_begins_goes_on_decays_and_is_released(tmp_path, data):
    pytest.importorskip("torch")
    folder, lost = tmp_path / "run", tmp_path / "lost"
    settings = [word for one in SMALL for word in ("--set", one)]
    begun = command(folder, "--data", data, "--recipe", "permissive", *settings, "--deadline", 15)
    try:
        assert begun.returncode == 0, begun.stderr
        first = json.loads(command(folder, "--status").stdout)
        assert first["step"] >= 1
        assert first["validation_per_note_390"] > 0
        again = command(folder, "--deadline", 10)
        assert again.returncode == 0, again.stderr
        assert f"going on from step {first['step']}" in again.stdout
        second = json.loads(command(folder, "--status").stdout)
        assert second["step"] > first["step"]
        assert second["core_hours"] >= first["core_hours"]
        ended = command(folder, "--decay", 2)
        assert ended.returncode == 0, ended.stderr
        *_, last = sorted(folder.glob("decay-*/run/checkpoints/step-*"))
        assert last.name == f"step-{second['step'] + 2:08d}"
        released = command(folder, "--release", tmp_path / "release")
        assert released.returncode == 0, released.stderr
        card = json.loads((tmp_path / "release" / "config.json").read_text())["card"]
        assert card["dtype"] == "int8"
        assert card["step"] == second["step"] + 2
        release = tmp_path / "release"
        anew = command(
            lost, "--data", data, "--recipe", "permissive", *settings, "--deadline", 10,
            "--from", release,
        )  # fmt: skip
        assert anew.returncode == 0, anew.stderr
        assert json.loads((lost / "run" / "run.json").read_text())["parent"] == digest_of(release)
        rates = [json.loads(x) for x in (lost / "run" / "metrics.jsonl").read_text().splitlines()]
        assert rates[0]["learning_rate"] < rates[1]["learning_rate"]  # a warm-up
    finally:
        for one in (folder, lost):
            subprocess.run(
                ["git", "-C", str(HOME), "worktree", "remove", "--force", str(one / "source")],
                check=False,
                capture_output=True,
            )


def digest_of(path):
    return hashlib.sha256((path / "manifest.json").read_bytes()).hexdigest()


@pytest.mark.parametrize(
    ("name", "plain"),
    [
        ("Chopin, Frédéric", "Frédéric Chopin"),
        ("Carreño, Teresa (1853-1917)", "Teresa Carreño"),
        ("Alexander Scriabin", "Aleksandr Scriabin"),
        ("Johann Sebastian Bach", "Johann Sebastian Bach"),
    ],
)
def test_composers_have_one_name(tool, name, plain):
    assert tool.composer(name) == plain


def test_data_that_lacks_something_is_named(tmp_path, data):
    assert "begin it with --data" in command(tmp_path / "run").stderr
    wrong = command(tmp_path / "run", "--data", tmp_path / "nowhere")
    assert "is no folder of data" in wrong.stderr


def test_a_folder_in_the_checkout_is_refused(data):
    refused = command(HOME / "out" / "run", "--data", data)
    assert refused.returncode == 1
    assert "lies in the checkout" in refused.stderr


def test_no_run_has_no_status(tmp_path):
    assert "holds no run" in command(tmp_path, "--status").stderr


def test_another_process_is_seen(tool):
    other = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    try:
        seen = [tool.others_running() for _ in range(200) if not time.sleep(0.01)]
    finally:
        other.kill()
        other.wait()
    assert min(seen) >= 0
    assert max(seen) >= 1
