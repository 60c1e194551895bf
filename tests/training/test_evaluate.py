"""A checkpoint judged on a split or a folder, from a run or from a release."""

import json
from dataclasses import replace

import numpy as np
import pytest

from espressivo import checkpoint
from espressivo.configs import LstmConfig, TransformerConfig
from espressivo.errors import CheckpointError, ConfigError, CorpusError
from espressivo.midi import write_midi
from tests.training.made import CODEC, LSTM, SMALL

train = pytest.importorskip("espressivo.training.train")
judging = pytest.importorskip("espressivo.training.evaluate")


@pytest.fixture(scope="module")
def run(corpus, tmp_path_factory):
    path = tmp_path_factory.mktemp("runs") / "run"
    list(train.Trainer(path, corpus, CODEC, LSTM, replace(SMALL, ema=0.5)).steps())
    return path


def test_a_run_is_judged_by_its_best_and_a_release_alike(run, corpus, tmp_path):
    mine = judging.evaluate(run, corpus=corpus.path, split="test")
    wide = checkpoint.release(run, tmp_path / "wide", dtype="float32")
    half = checkpoint.release(run, tmp_path / "half")
    assert judging.evaluate(wide, corpus=corpus.path).total == mine.total
    rounded = judging.evaluate(half, corpus=corpus.path).total
    assert rounded.per_token == pytest.approx(mine.total.per_token, abs=2e-3)
    assert [piece.name for piece in mine.pieces] == ["piece-8", "piece-9"]
    assert mine.length == 2048
    assert json.loads(json.dumps(mine.as_json()))["pieces"][0]["name"] == "piece-8"


def test_pieces_add_up_to_the_total_however_windows_are_cut(run, corpus):
    for length in (5, 64, 2048):
        verdict = judging.evaluate(run, corpus=corpus.path, split="train", length=length)
        assert len(verdict.pieces) == 5
        for number, piece in zip(corpus.split("train"), sorted(verdict.pieces), strict=True):
            tokens = CODEC.encode(corpus.performance(number))
            assert piece.name == f"piece-{number}"
            assert piece.likelihood.tokens == len(tokens)
            assert piece.likelihood.windows == -(-len(tokens) // length)


def test_a_folder_of_midi_is_judged_and_broken_files_are_named(run, corpus, tmp_path):
    folder = tmp_path / "midi"
    (folder / "within").mkdir(parents=True)
    names = ["one.mid", "within/two.MIDI"]
    for name, number in zip(names, corpus.split("test"), strict=True):
        write_midi(corpus.performance(number), folder / name)
    (folder / "broken.mid").write_bytes(b"MThd")
    verdict = judging.evaluate(run, midi=folder)
    stored = judging.evaluate(run, corpus=corpus.path, split="test")
    assert verdict.total.tokens == stored.total.tokens
    assert verdict.total.per_token == pytest.approx(stored.total.per_token, rel=1e-3)
    assert [piece.name for piece in verdict.pieces] == names
    assert [name for name, _ in verdict.skipped] == ["broken.mid"]


def test_a_model_with_controls_is_told_what_is_measured_or_nothing(corpus, tmp_path):
    told = replace(LSTM, controls=("notes-per-second",), optional=True)
    path = tmp_path / "run"
    run = train.Trainer(path, corpus, CODEC, told, replace(SMALL, steps=60, learning_rate=0.05))
    list(run.steps())
    asked = {"corpus": corpus.path, "split": "test"}
    measured, unset = (judging.evaluate(path, **asked, unset=unset) for unset in (False, True))
    assert (measured.told, unset.told) == (("notes-per-second",), ())
    assert measured.as_json()["told"] == ["notes-per-second"]
    assert abs(measured.total.nats - unset.total.nats) > 1e-3
    assert measured.total.tokens == unset.total.tokens


def test_limit_takes_pieces_evenly(run, corpus):
    verdict = judging.evaluate(run, corpus=corpus.path, split="train", limit=2)
    assert [piece.name for piece in verdict.pieces] == ["piece-0", "piece-2"]


def test_windows_are_no_longer_than_what_a_model_was_trained_on():
    assert judging.window_length(TransformerConfig(context=1024)) == 1024
    assert judging.window_length(TransformerConfig(context=4096)) == 2048
    assert judging.window_length(LstmConfig()) == 2048


def test_the_interval_holds_the_total_and_narrows_with_more_pieces():
    rng = np.random.default_rng(0)

    def verdict(count):
        pieces = [
            judging.Judged(str(i), judging.Likelihood(float(nats), 100, 25, 10.0, 1))
            for i, nats in enumerate(rng.normal(200, 20, count))
        ]
        return judging.Evaluation("c", "d", "p", 2048, tuple(pieces))

    few, many = verdict(10), verdict(400)
    widths = []
    for one in (few, many):
        low, high = one.interval()
        assert low < one.total.per_token < high
        assert one.interval() == (low, high)
        widths.append(high - low)
    assert widths[1] == pytest.approx(2 * 1.96 * 0.2 / 20, rel=0.15)
    assert widths[0] > widths[1]
    assert few.interval("per_note")[0] == pytest.approx(4 * few.interval()[0])
    assert verdict(1).interval() is None


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({}, ConfigError, "either corpus or midi"),
        ({"midi": "nowhere"}, CorpusError, "nowhere is no folder"),
        ({"corpus": "nowhere"}, CorpusError, "nowhere is no"),
        ({"corpus": "CORPUS", "split": "dev"}, CorpusError, "split='dev'"),
        ({"corpus": "CORPUS", "length": 0}, ConfigError, "length=0"),
        ({"corpus": "CORPUS", "limit": 0}, ConfigError, "limit=0"),
    ],
)
def test_what_cannot_be_judged_is_said(options, error, words, run, corpus):
    options = {k: corpus.path if v == "CORPUS" else v for k, v in options.items()}
    with pytest.raises(error, match=words):
        judging.evaluate(run, **options)


def test_no_checkpoint_is_said(tmp_path, corpus):
    with pytest.raises(CheckpointError, match="holds no checkpoint"):
        judging.evaluate(tmp_path, corpus=corpus.path)
    with pytest.raises(CheckpointError, match="is no folder"):
        judging.evaluate(tmp_path / "nothing", corpus=corpus.path)


def test_weights_that_do_not_fit_are_named(run, tmp_path):
    found = checkpoint.load(checkpoint.find(run))
    weights = dict(found.weights)
    name, array = weights.popitem()
    for wrong, words in (
        (weights, f"no tensor '{name}'"),
        ({**weights, name: array[..., :1]}, f"{name} has shape"),
        ({**weights, name: array, "extra": array}, "'extra'"),
    ):
        with pytest.raises(CheckpointError, match=words):
            judging.model_of(replace(found, weights=wrong))
