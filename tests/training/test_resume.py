"""Twelve steps are six and six, to the last bit, and a run goes on only as what it was."""

import json
from dataclasses import replace

import pytest

from espressivo.errors import CheckpointError, ConfigError
from tests.training.made import CODEC, LSTM, SMALL, TRANSFORMER, write_corpus

train = pytest.importorskip("espressivo.training.train")

FILES = ("model.safetensors", "optimizer.safetensors", "trainer.json")
TWELVE = replace(SMALL, steps=12, accumulate=2, ema=0.9, schedule="cosine", warmup=3)
CASES = {
    "lstm, adamw": (LSTM, TWELVE),
    "lstm, muon": (LSTM, replace(TWELVE, optimizer="muon", weight_decay=0.01)),
    "transformer, adamw": (TRANSFORMER, TWELVE),
    "transformer, muon": (TRANSFORMER, replace(TWELVE, optimizer="muon")),
    "short windows first": (LSTM, replace(TWELVE, short=0.6)),
}


def all_state(run, step):
    """Digests of weights, average, optimisers and position after a step."""
    manifest = run / "checkpoints" / f"step-{step:08d}" / "manifest.json"
    entries = json.loads(manifest.read_text())
    return {name: entries[name]["sha256"] for name in FILES}


def train_to(run, corpus, model, config, last):
    trainer = train.Trainer(run, corpus, CODEC, model, config)
    losses = []
    for step in trainer.steps():
        losses.append(step.loss)
        if step.step == last:
            break
    trainer.save()
    return losses


@pytest.mark.parametrize("case", CASES)
def test_resuming_changes_no_bit(case, corpus, tmp_path):
    model, config = CASES[case]
    whole = train_to(tmp_path / "whole", corpus, model, config, 12)
    first = train_to(tmp_path / "parts", corpus, model, config, 6)
    second = train_to(tmp_path / "parts", corpus, model, config, 12)
    assert first + second == whole
    assert all_state(tmp_path / "parts", 12) == all_state(tmp_path / "whole", 12)


def test_short_windows_come_first_and_four_for_one(corpus, tmp_path, monkeypatch):
    shapes, of = [], train.Batch.of
    monkeypatch.setattr(
        train.Batch, "of", lambda samples: shapes.append(of(samples).tokens.shape) or of(samples)
    )
    train_to(tmp_path, corpus, LSTM, replace(SMALL, steps=6, short=0.5, evaluation_length=20), 6)
    assert [shape for shape in shapes if shape[1] != 21] == [(16, 7)] * 3 + [(4, 25)] * 3


def test_dropout_and_windows_differ_from_step_to_step(corpus, tmp_path):
    config = replace(SMALL, learning_rate=1e-12, steps=3)
    losses = train_to(tmp_path / "run", corpus, LSTM, config, 3)
    assert len(set(losses)) == 3


def test_the_same_seed_gives_the_same_run_and_leaves_torch_alone(corpus, tmp_path):
    torch = train.torch
    torch.manual_seed(1)
    before = torch.get_rng_state()
    one = train_to(tmp_path / "one", corpus, LSTM, SMALL, 6)
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(2)
    assert train_to(tmp_path / "two", corpus, LSTM, SMALL, 6) == one
    other = train_to(tmp_path / "three", corpus, LSTM, replace(SMALL, seed=1), 6)
    assert other != one


def test_accumulating_is_the_same_as_one_large_batch(corpus, tmp_path):
    model = replace(LSTM, dropout=0.0)
    whole = train_to(tmp_path / "whole", corpus, model, SMALL, 6)
    parts = train_to(tmp_path / "parts", corpus, model, replace(SMALL, accumulate=4), 6)
    assert parts == pytest.approx(whole, abs=1e-5)


def test_another_configuration_is_refused_by_its_first_difference(corpus, tmp_path):
    train_to(tmp_path / "run", corpus, LSTM, SMALL, 3)
    with pytest.raises(ConfigError, match=r"training\.batch=4, this asks for 8"):
        train.Trainer(tmp_path / "run", corpus, CODEC, LSTM, replace(SMALL, batch=8))
    with pytest.raises(ConfigError, match=r"model\.width=16, this asks for 32"):
        train.Trainer(tmp_path / "run", corpus, CODEC, replace(LSTM, width=32), SMALL)
    other = replace(CODEC, max_shift=10)
    with pytest.raises(ConfigError, match=r"codec\.max_shift=20, this asks for 10"):
        train.Trainer(tmp_path / "run", corpus, other, LSTM, SMALL)


def test_another_corpus_is_refused(corpus, tmp_path):
    train_to(tmp_path / "run", corpus, LSTM, SMALL, 3)
    other = write_corpus(tmp_path / "corpus", ["train", "validation"])
    other.card["sha256"] = "1" * 64
    with pytest.raises(ConfigError, match=r"corpus\.sha256"):
        train.Trainer(tmp_path / "run", other, CODEC, LSTM, SMALL)


def test_length_of_the_run_may_always_change(corpus, tmp_path):
    train_to(tmp_path / "run", corpus, LSTM, SMALL, 6)
    longer = replace(SMALL, steps=8, save_every=1, evaluate_every=4, patience=5)
    assert len(train_to(tmp_path / "run", corpus, LSTM, longer, 8)) == 2


def test_other_changes_are_made_when_allowed_but_not_of_the_model(corpus, tmp_path):
    run = tmp_path / "run"
    train_to(run, corpus, LSTM, SMALL, 3)
    changed = replace(SMALL, batch=2, length=12, learning_rate=1e-3)
    trainer = train.Trainer(run, corpus, CODEC, LSTM, changed, change=True)
    assert trainer.drawn == 12  # windows go on where they were
    assert [step.learning_rate for step in trainer.steps()] == [1e-3] * 3
    again = train.Trainer(run, corpus, CODEC, LSTM, replace(changed, steps=7))
    assert again.step == 6
    muon = replace(changed, optimizer="muon")
    for model, config in ((replace(LSTM, layers=2), changed), (LSTM, muon)):
        with pytest.raises(ConfigError, match="choose another folder"):
            train.Trainer(run, corpus, CODEC, model, config, change=True)


def test_a_damaged_checkpoint_is_passed_over_and_the_last_one_is_not(corpus, tmp_path):
    run = tmp_path / "run"
    train_to(run, corpus, LSTM, SMALL, 6)
    (run / "checkpoints/step-00000006/optimizer.safetensors").write_bytes(b"")
    trainer = train.Trainer(run, corpus, CODEC, LSTM, SMALL)
    assert trainer.step == 3
    assert trainer.resumed == run / "checkpoints" / "step-00000003"
    list(trainer.steps())  # and what was damaged is written again
    assert train.Trainer(run, corpus, CODEC, LSTM, SMALL).step == 6
    (run / "checkpoints/step-00000006/optimizer.safetensors").write_bytes(b"")
    (run / "checkpoints/step-00000003/manifest.json").unlink()
    with pytest.raises(CheckpointError, match=r"step-00000006/optimizer\.safetensors is damaged"):
        train.Trainer(run, corpus, CODEC, LSTM, SMALL)


def test_a_new_phase_starts_from_the_best_of_another_run(corpus, tmp_path):
    train_to(tmp_path / "one", corpus, LSTM, SMALL, 6)
    calm = replace(LSTM, dropout=0.0)
    longer = replace(SMALL, length=48, batch=2)
    two = train.Trainer(tmp_path / "two", corpus, CODEC, calm, longer, start=tmp_path / "one")
    one = train.Trainer(tmp_path / "one", corpus, CODEC, LSTM, SMALL)
    assert (two.step, one.step) == (0, 6)
    for begun, ended in zip(two.average, one.average, strict=True):
        assert train.torch.equal(begun, ended)
    list(two.steps())
    record = json.loads((tmp_path / "two/run.json").read_text())
    assert record["parent"] == two.parent
    again = train.Trainer(tmp_path / "two", corpus, CODEC, calm, longer, start=tmp_path / "one")
    assert again.step == 6  # a run that has begun goes on from itself


def test_a_phase_cannot_start_from_another_model(corpus, tmp_path):
    train_to(tmp_path / "one", corpus, LSTM, SMALL, 3)
    for model, codec in ((replace(LSTM, width=8), CODEC), (LSTM, replace(CODEC, max_shift=9))):
        with pytest.raises(CheckpointError, match="this run"):
            train.Trainer(tmp_path / "two", corpus, codec, model, SMALL, start=tmp_path / "one")


def test_two_training_checkpoints_and_one_best_stay(corpus, tmp_path):
    run = tmp_path / "run"
    train_to(run, corpus, LSTM, replace(SMALL, steps=12), 12)
    kept = sorted(path.name for path in (run / "checkpoints").iterdir())
    assert kept == ["step-00000009", "step-00000012"]
    assert len(list(run.glob("best-*"))) == 1
    assert not [path for path in run.iterdir() if path.name.startswith(".")]
