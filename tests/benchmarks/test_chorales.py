"""The chorale experiment as it is run, on chorales made up here."""

import importlib.util
import json
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from espressivo.midi import read_midi  # noqa: E402
from espressivo.presets.chorales import CHORALES, small  # noqa: E402

FILE = Path(__file__).parents[2] / "benchmarks" / "chorales.py"


@pytest.fixture(scope="module")
def bench():
    spec = importlib.util.spec_from_file_location("chorales_benchmark", FILE)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def tiny(row):
    row = small(row)
    sizes = replace(
        row.model.transformer,
        layers=1, width=16, attention=16, feed_forward=16, heads=2, reach=8, dropout=0.1,
    )  # fmt: skip
    training = replace(
        row.training, steps=6, batch=2, length=16, evaluate_every=3, save_every=2, warmup=1
    )
    return replace(row, model=replace(row.model, transformer=sizes), training=training)


@pytest.fixture
def data(tmp_path):
    rng = np.random.default_rng(0)
    chorales = [(rng.integers(50, 60, (8, 4))).tolist() for _ in range(4)]
    content = {"train": chorales, "valid": chorales[:2], "test": chorales[2:]}
    (tmp_path / "Jsb16thSeparated.json").write_text(json.dumps(content))
    return tmp_path


def trained(bench, data, folder, *stops):
    """Train a row to the end, stopped and begun again at every one of `stops` saved steps."""
    grids, row = bench.read_chorales(data), tiny(CHORALES["relative-pitch-time"])
    for stop in (*stops, row.training.steps):
        run = bench.Run(row, folder, 0, torch.device("cpu"))
        run.row = replace(row, training=replace(row.training, schedule="constant", steps=stop))
        bench.train(run, grids)
    return run


def test_a_run_that_was_stopped_goes_on_bit_for_bit(bench, data, tmp_path):
    whole = trained(bench, data, tmp_path / "whole")
    parts = trained(bench, data, tmp_path / "parts", 2, 4)
    assert whole.progress.step == parts.progress.step == 6
    assert whole.progress.tokens == 6 * 2 * 16
    for name, parameter in whole.model.state_dict().items():
        assert torch.equal(parameter, parts.model.state_dict()[name]), name


def test_the_best_on_validation_is_what_is_judged(bench, data, tmp_path):
    run = trained(bench, data, tmp_path / "run")
    run.best = {name: torch.zeros_like(p) for name, p in run.model.named_parameters()}
    options = type("Options", (), {"device": "cpu"})
    found = bench.result(run, bench.read_chorales(data), options)
    assert found["validation"]["nats_per_token"] == pytest.approx(np.log(47), abs=1e-6)
    assert found["validation"]["tokens"] == found["test"]["tokens"] == 2 * 8 * 4
    assert found["epochs"] == pytest.approx(6 * 2 * 16 / (4 * 8 * 4))


def test_the_rule_that_copies_by_hand(bench):
    held = np.array([[72, 60, 55, 48]] * 3)
    grids = {"train": [held, held[:1]], "validation": [held]}
    share = (4 + 1) / (4 + 47)  # one is added to the count of every token
    assert bench.copying(grids) == pytest.approx(-np.log(share) / 3)  # then it is sure


def test_rows_are_written_beside_the_published_ones(bench, data, tmp_path, monkeypatch):
    monkeypatch.setattr(bench, "BUDGETS", {"small": tiny, "paper": tiny})
    monkeypatch.setattr(bench, "RESULTS", tmp_path / "results.json")
    monkeypatch.setattr(bench, "PAGE", tmp_path / "page.md")
    (tmp_path / "page.md").write_text("above\n<!-- tables -->\nold\n<!-- end -->\nbelow\n")
    monkeypatch.setattr(
        sys, "argv",
        ["chorales.py", "--data", str(data), "--out", str(tmp_path / "runs"), "--rows",
         "baseline,labels", "--sample", str(tmp_path / "new.mid"), "--steps", "8"],
    )  # fmt: skip
    bench.main()
    results = json.loads((tmp_path / "results.json").read_text())
    assert list(results) == ["small", "copying"]
    assert list(results["small"]) == ["baseline", "labels"]
    page = (tmp_path / "page.md").read_text()
    assert page.startswith("above\n")
    assert page.endswith("below\n")
    assert "old" not in page
    ours = f"{results['small']['baseline']['validation']['nats_per_token']:.3f} ("
    (line,) = [x for x in page.splitlines() if x.startswith("| `baseline`") and "pending" not in x]
    assert "| 0.417 |" in line
    assert ours in line
    assert page.count("pending") == 4 + 6
    assert f"by frequency: {results['copying']:.3f}" in page
    assert {note["track"] for note in read_midi(tmp_path / "new.mid").notes} <= {0, 1, 2, 3}
