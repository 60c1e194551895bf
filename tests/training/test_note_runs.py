"""Runs of models over note events, batches that grow, and a rate that falls at the end."""

import json
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from espressivo import checkpoint
from espressivo.codecs import NoteEvents
from espressivo.configs import NoteTransformerConfig
from espressivo.corpora.note_windows import Labels, NoteWindows
from espressivo.errors import ConfigError, CorpusError
from espressivo.training import TrainingConfig
from tests.training.made import CODEC, LSTM, SMALL, write_corpus

train = pytest.importorskip("espressivo.training.train")
torch = pytest.importorskip("torch")
labelling = pytest.importorskip("espressivo.training.windows")

NOTES = NoteEvents(steps_per_second=20, velocity_bins=8, exact=16, per_octave=4, octaves=4)
MODEL = NoteTransformerConfig(
    classes=NOTES.sizes, layers=1, width=16, heads=2, key_dim=8, feed_forward=16, head_hidden=16,
    frequencies=2, context=32, dropout=0.1, controls=("mean-velocity", "key"),
    sources=("human", "roll"),
)  # fmt: skip
LABELLED = replace(MODEL, composers=("Bach",))
CONFIG = replace(
    SMALL, ema=0.9, optimizer="muon", weight_decay=0.01, precision="bfloat16", warmup=1, short=0.3,
    grow=(2, 4), decay=2,
)  # fmt: skip
FILES = ("model.safetensors", "optimizer.safetensors", "trainer.json")


def digests(run, step):
    manifest = json.loads((run / f"checkpoints/step-{step:08d}/manifest.json").read_text())
    return {name: manifest[name]["sha256"] for name in FILES}


def train_to(trainer, last):
    losses = []
    for step in trainer.steps():
        losses.append(step.loss)
        if step.step == last:
            break
    trainer.save()
    return losses


def trainer(run, corpus, config=CONFIG, **more):
    model = LABELLED if "windows" in more else MODEL
    return train.Trainer(run, corpus, NOTES, model, config, **more)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    splits = ["train"] * 3 + ["validation"] * 2
    return write_corpus(tmp_path_factory.mktemp("corpora") / "played", splits, pedal=True)


@pytest.fixture(scope="module")
def other(tmp_path_factory):
    return write_corpus(tmp_path_factory.mktemp("corpora") / "other", ["train"] * 2, apart=5)


def both(corpus, other):
    """Windows of two corpora, told who composed the first piece."""
    labels = labelling.labels_of(LABELLED, {"piece-0": "Bach"})
    config = CONFIG
    return NoteWindows(
        (corpus, other), NOTES, config.length, config.seed, (2, 1),
        augmentation=config.augmentation, labels=labels,
    )  # fmt: skip


@pytest.mark.parametrize("corpora", [1, 2])
def test_a_run_over_note_events_resumes_to_the_last_bit(corpora, corpus, other, tmp_path):
    more = {} if corpora == 1 else {"windows": both(corpus, other)}
    whole = train_to(trainer(tmp_path / "whole", corpus, **more), 6)
    first = train_to(trainer(tmp_path / "parts", corpus, **more), 3)
    again = trainer(tmp_path / "parts", corpus, **more)
    assert again.step == 3
    second = train_to(again, 6)
    assert first + second == whole
    assert digests(tmp_path / "parts", 6) == digests(tmp_path / "whole", 6)
    assert np.isfinite(whole).all()


def test_windows_of_two_corpora_are_trained_on_and_the_first_is_judged(corpus, other, tmp_path):
    run = trainer(tmp_path / "run", corpus, windows=both(corpus, other))
    alone = trainer(tmp_path / "alone", corpus)
    assert run.windows.corpora == (corpus, other)
    assert alone.windows.corpora == (corpus,)
    assert [step.loss for step in run.steps()] != [step.loss for step in alone.steps()]
    assert 2 <= len(run.validation) <= 4
    released = checkpoint.load(checkpoint.find(tmp_path / "run"))
    assert (released.codec, released.config) == (NOTES, LABELLED)


def test_a_run_says_what_corpora_it_learns_from_and_goes_on_with_no_others(corpus, other, tmp_path):
    run, own = tmp_path / "run", both(corpus, other)
    train_to(trainer(run, corpus, windows=own), 3)
    config = json.loads((run / "run.json").read_text())["config"]
    assert config["windows"] == own.facts
    assert config["corpus"]["name"] == "made up"
    with pytest.raises(ConfigError, match=r"windows\.parts=\[2, 1\], this asks for \[1, 2\]"):
        trainer(run, corpus, windows=replace(own, parts=(1, 2)))
    with pytest.raises(ConfigError, match=r"windows\.corpora=.* this asks for None"):
        train.Trainer(run, corpus, NOTES, LABELLED, CONFIG)
    trainer(run, corpus, windows=replace(own, parts=(1, 2)), change=True)
    assert "windows" not in trainer(tmp_path / "alone", corpus).resolved


@pytest.mark.parametrize("change", [False, True])
def test_a_run_of_before_that_says_no_windows_goes_on_and_then_does(
    change, corpus, other, tmp_path
):
    run, own = tmp_path / "run", both(corpus, other)
    before = train_to(trainer(run, corpus, windows=own), 3)
    record = json.loads((run / "run.json").read_text())
    del record["config"]["windows"]
    (run / "run.json").write_text(json.dumps(record))
    again = trainer(run, corpus, windows=own, change=change)
    assert again.step == 3
    whole = train_to(trainer(tmp_path / "whole", corpus, windows=own), 6)
    assert before + train_to(again, 6) == whole
    assert json.loads((run / "run.json").read_text())["config"]["windows"] == own.facts


def test_a_model_learns_a_phrase_by_heart(tmp_path):
    corpus = write_corpus(tmp_path / "corpus", ["train", "validation"], apart=0, pedal=True)
    config = replace(
        SMALL, steps=60, learning_rate=1e-2, optimizer="muon", evaluate_every=60, save_every=60,
        ema=0.5, augmentation=replace(SMALL.augmentation, transpose=0, stretch=(1.0,)),
    )  # fmt: skip
    model = replace(MODEL, dropout=0.0, controls=(), sources=())
    steps = list(train.Trainer(tmp_path / "run", corpus, NOTES, model, config).steps())
    assert steps[0].loss == pytest.approx(np.log(NOTES.sizes).sum(), rel=0.05)
    assert steps[-1].loss < 0.45 * steps[0].loss
    assert steps[-1].evaluation.per_token < 0.45 * steps[0].loss


# -- batches that grow, and a rate that falls ----------------------------------------------------


def test_the_batch_doubles_at_the_steps_named_and_windows_go_on(corpus, tmp_path, monkeypatch):
    drawn, sample = [], NoteWindows.sample
    monkeypatch.setattr(
        NoteWindows, "sample", lambda self, index: drawn.append(index) or sample(self, index)
    )
    run = trainer(tmp_path / "run", corpus, replace(CONFIG, grow=(2, 4, 4), short=0.0))
    after = [0]
    for _ in run.steps():
        after.append(run.drawn)
    assert [b - a for a, b in pairwise(after)] == [4, 4, 8, 8, 32, 32]
    assert drawn == list(range(run.drawn))
    assert trainer(tmp_path / "run", corpus, replace(CONFIG, grow=(2, 4, 4), short=0.0)).drawn == 88


def test_short_windows_grow_too_and_from_the_first_step_if_asked(corpus, tmp_path):
    run = train.Trainer(
        tmp_path / "run", corpus, CODEC, LSTM, replace(SMALL, grow=(0, 3), short=0.5)
    )
    after = [0]
    for _ in run.steps():
        after.append(run.drawn)
    assert [b - a for a, b in pairwise(after)] == [32, 32, 32, 16, 16, 16]


def test_the_rate_falls_over_the_last_steps_and_only_there(corpus, tmp_path):
    config = replace(SMALL, warmup=2, decay=3)
    run = train.Trainer(tmp_path / "run", corpus, CODEC, LSTM, config)
    rates = [step.learning_rate / config.learning_rate for step in run.steps()]
    assert rates == pytest.approx([0.5, 1, 1, 1, 2 / 3, 1 / 3])


def test_a_run_that_never_falls_is_ended_by_a_fall(corpus, tmp_path):
    endless = replace(SMALL, steps=10**6)
    train_to(train.Trainer(tmp_path / "run", corpus, CODEC, LSTM, endless), 3)
    ending = train.Trainer(tmp_path / "run", corpus, CODEC, LSTM, replace(SMALL, steps=5, decay=2))
    rates = [step.learning_rate / SMALL.learning_rate for step in ending.steps()]
    assert rates == pytest.approx([1, 0.5])


# -- what cannot be ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"decay": -1}, r"training\.decay=-1 must be at least 0"),
        ({"decay": 5}, r"training\.decay=5 is for schedule=constant; linear has a fall of its own"),
        ({"decay": 1, "schedule": "noam"}, r"leave decay at 0, or set training\.schedule=constant"),
        ({"decay": 1, "schedule": "cosine"}, "cosine has a fall of its own"),
        ({"grow": (10, -1)}, r"training\.grow=\(10, -1\) must be steps from 0 on; try \(1000,\)"),
    ],
)
def test_what_cannot_be_trained_is_refused_by_name(changes, words):
    with pytest.raises(ConfigError, match=words):
        TrainingConfig(**changes)


def test_classes_that_are_not_those_of_the_codec_are_refused(corpus, tmp_path):
    wrong = replace(MODEL, classes=(272, 132, 64, 272))
    with pytest.raises(ConfigError, match="are 740 classes, the codec has"):
        train.Trainer(tmp_path / "run", corpus, NOTES, wrong, CONFIG)


def test_a_corpus_with_nothing_to_judge_on_is_refused_before_the_first_step(tmp_path):
    alone = write_corpus(tmp_path / "corpus", ["train", "test"], pedal=True)
    run = trainer(tmp_path / "run", alone)
    with pytest.raises(CorpusError, match=r"'validation', .* two pieces .* or a table of splits"):
        next(run.steps())
    assert run.step == 0
    assert not list((tmp_path / "run").iterdir())  # free for a corpus that has one


def test_a_finished_run_asks_for_nothing_to_judge_on(tmp_path):
    corpus = write_corpus(tmp_path / "corpus", ["train", "validation"], pedal=True)
    train_to(trainer(tmp_path / "run", corpus), 6)
    corpus.pieces.pop()
    assert not list(trainer(tmp_path / "run", corpus).steps())


def test_models_without_labels_are_told_nothing_more():
    assert not labelling.labels_of(LSTM)
    told = labelling.labels_of(LABELLED, {"a": "Bach"}).of_piece("a", "supra", ["composer"])
    assert told.tolist() == [1, 0, 0]
    assert Labels().names == ()
