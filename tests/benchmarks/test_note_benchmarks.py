"""What the note-level model was chosen by: the variants learn, and the line fits what it should."""

import json
import sys
from dataclasses import replace
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")


@pytest.fixture(scope="module")
def benchmarks():
    folder = str(Path(__file__).parents[2] / "benchmarks")
    sys.path.insert(0, folder)  # as where a benchmark is run
    yield import_module
    sys.path.remove(folder)


def test_every_variant_learns(benchmarks):
    ablations = benchmarks("note_ablations")
    small = replace(ablations.MODEL, layers=2, width=32, feed_forward=32, head_hidden=32, key_dim=8)
    rng = np.random.default_rng(0)
    events = np.stack([rng.integers(0, n, (2, 9)) for n in small.classes], -1)
    events[0, 3, 2:] = -1  # a pedal has neither velocity nor duration
    tokens = torch.from_numpy(events)
    for name, variant in benchmarks("note_variants").VARIANTS.items():
        torch.manual_seed(0)
        model = variant(small, sum(small.classes))
        optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
        losses = []
        for _ in range(6):
            optimizer.zero_grad()
            loss = model.nats(tokens).mean()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        assert losses[-1] < losses[0] - 0.5, name


def test_every_row_names_what_there_is(benchmarks):
    ablations, variants = benchmarks("note_ablations"), benchmarks("note_variants")
    for row in ablations.ROWS.values():
        codec = ablations.NoteEvents(**{**ablations.CODEC, **row.get("codec", {})})
        replace(ablations.MODEL, classes=codec.sizes, **row.get("model", {}))
        replace(ablations.TRAINING, **row.get("training", {}))
        assert row.get("variant", "gru") in variants.VARIANTS


def test_a_line_is_found_again(benchmarks, tmp_path):
    scaling = benchmarks("scaling")
    true = scaling.Line(7.0, 3.0, 0.3, 2000.0, 0.5, 0.0)
    found, costs = [], {3.0: 1e-4, 8.0: 3e-4, 17.0: 6e-4}
    for size, cost in costs.items():
        log = tmp_path / f"{size}.jsonl"
        lines = [
            {
                "events": events,
                "cpu_seconds": 5e5 * cost,
                "validation_per_note_390": true(size, events),
            }
            for events in range(500_000, 5_000_001, 500_000)
        ]
        log.write_text("".join(json.dumps(line) + "\n" for line in lines))
        points, measured = scaling.points(size, log)
        assert measured == pytest.approx(cost)
        assert points[-1].cpu_seconds == pytest.approx(5e6 * cost)
        found += points
    line = scaling.fitted(found)
    assert line.error < 1e-3
    assert line(17.0, 1e8) == pytest.approx(true(17.0, 1e8), abs=0.02)


def test_the_arithmetic_of_a_step_is_that_of_its_matrices(benchmarks):
    notes = benchmarks("train_notes")
    model = torch.nn.Linear(10, 20)
    config = replace(notes.NOTES, layers=1, heads=2, key_dim=8, width=16, frequencies=4)
    assert notes.operations(config, model, 100) == 6 * 200 + 3 * (2 * (8 + 8) + 16) * 100
