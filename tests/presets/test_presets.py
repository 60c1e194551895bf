"""Every preset builds, has the parameters its paper had, and says where it comes from."""

import json
import math
from dataclasses import replace

import numpy as np
import pytest

from espressivo.codecs import CODECS, EVENT_CODECS
from espressivo.configs import NoteTransformerConfig
from espressivo.errors import ConfigError
from espressivo.presets import PRESETS, override, preset


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_says_what_it_is(name):
    found = preset(name)
    assert found.name == name
    assert found.source
    assert found.deviations
    assert found.codec in (*CODECS.values(), *EVENT_CODECS.values())
    assert json.loads(json.dumps(found.resolved()))["preset"] == name
    assert found.card["source"] == found.source


@pytest.mark.parametrize("name", [name for name in PRESETS if not name.endswith("-tiny")])
def test_every_paper_has_a_tiny_twin_with_its_vocabulary(name):
    if not name.startswith("espressivo"):
        twin = preset(f"{name}-tiny")
        assert twin.codec == preset(name).codec
        assert twin.training.augmentation == preset(name).training.augmentation
        assert set(preset(name).deviations) < set(twin.deviations)
        assert getattr(twin.model, "context", math.inf) >= twin.training.length


def test_numbers_of_performance_rnn():
    training = preset("performance-rnn").training
    assert (training.batch, training.length, training.clip_norm) == (64, 512, 3.0)
    assert (training.learning_rate, training.schedule) == (1e-3, "constant")
    assert training.augmentation.transpose == 3
    assert training.augmentation.stretch == (0.95, 0.975, 1.0, 1.025, 1.05)


def test_numbers_of_music_transformer():
    training = preset("music-transformer").training
    assert training.batch * training.length == 8192
    assert training.learning_rate == pytest.approx(7.0e-4, rel=2e-3)
    assert (training.betas, training.eps, training.clip_norm) == ((0.9, 0.98), 1e-9, 0.0)


@pytest.mark.parametrize(
    ("name", "millions", "ours"),
    [
        ("performance-rnn", 6.24, 3 * 4 * 512),  # a second bias in every cell
        ("performance-rnn-modulo", 6.24 - 4 * 512 * (388 - 16) / 1e6, 3 * 4 * 512),
        ("oore2018", 6.31, 3 * 4 * 512),
        ("lstm-1024", 22.97, 3 * 4 * 1024),
        ("music-transformer", 12.0, 388),  # a bias of the logits
        ("music-transformer-baseline", 8.9, 388),
        ("music-transformer-local", 7.6, 388),  # 8 layers, but half the feed-forward width
        ("music-transformer-relative-local", 12.0, 388),
    ],
)
def test_parameters_are_those_of_the_paper_and_the_deviations(name, millions, ours):
    models, torch = pytest.importorskip("espressivo.models"), pytest.importorskip("torch")
    found = preset(name)
    with torch.device("meta"):
        model = models.build(found.model, len(found.codec.vocabulary))
    count = sum(p.numel() for p in model.parameters()) - ours
    assert count / 1e6 == pytest.approx(millions, abs=0.05)
    assert any(f"{ours:,} parameters more" in deviation for deviation in found.deviations)


SMALL = [
    name
    for name, make in PRESETS.items()
    if name.endswith("-tiny") or (name.startswith("espressivo") and make().training.steps < 5000)
]


@pytest.mark.parametrize("name", SMALL)
def test_every_small_preset_takes_a_step(name, tmp_path):
    train = pytest.importorskip("espressivo.training.train")
    from tests.training.made import write_corpus  # noqa: PLC0415  # needs nothing else

    found = preset(name)
    pedal = found.codec in EVENT_CODECS.values()
    corpus = write_corpus(tmp_path / "corpus", ["train", "validation"], pedal=pedal)
    config = replace(found.training, batch=2, length=18, steps=1, evaluation_length=18)
    trainer = train.Trainer(
        tmp_path / "run", corpus, found.codec, found.model, config, card=found.card
    )
    (step,) = trainer.steps()
    choices = getattr(found.model, "slots", (len(found.codec.vocabulary),))
    guessed = np.mean(np.log(choices))
    if isinstance(found.model, NoteTransformerConfig):  # every field of an event counts
        guessed = np.log(found.model.classes).sum()
    assert step.loss == pytest.approx(guessed, rel=0.05)
    assert step.best


def test_an_unknown_preset_is_told_the_nearest():
    with pytest.raises(ConfigError, match="did you mean music-transformer"):
        preset("music-transformr")
    with pytest.raises(ConfigError, match="known are oore2018"):
        preset("zzz")


# -- overrides -----------------------------------------------------------------------------------


def test_settings_are_read_by_the_type_of_their_field():
    found = override(
        preset("music-transformer"),
        [
            "model.layers=4",
            "model.dropout=0.2",
            "model.sinusoids=none",
            "training.steps=1_000",
            "training.learning_rate=1e-4",
            "training.optimizer=muon",
            "training.betas=(0.8, 0.9)",
            "training.augmentation.stretch=0.9,1,1.1",
            "codec.max_shift=50",
            "sampling.top_k=none",
            "sampling.top_k=5",
        ],
    )
    assert (found.model.layers, found.model.dropout, found.model.sinusoids) == (4, 0.2, "none")
    assert (found.training.steps, found.training.learning_rate) == (1000, 1e-4)
    assert (found.training.optimizer, found.training.betas) == ("muon", (0.8, 0.9))
    assert found.training.augmentation.stretch == (0.9, 1.0, 1.1)
    assert found.training.augmentation.transpose == 3
    assert found.codec.max_shift == 50
    assert found.sampling.top_k == 5
    assert preset("music-transformer").model.layers == 6


def test_settings_that_only_agree_together_are_put_in_together():
    found = override(
        preset("music-transformer"), ["model.heads=5", "model.attention=100", "model.values=none"]
    )
    assert (found.model.heads, found.model.attention) == (5, 100)


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ("model.layer=4", r"no setting 'model\.layer'; did you mean model\.layers"),
        ("training.stepps=4", r"did you mean training\.steps"),
        ("layers=4", r"did you mean model\.layers"),
        ("model.heads=4", "no setting 'model.heads'"),
        ("model.zzzzz=4", r"known are model\.layers, model\.width, model\.dropout"),
        ("name=x", "known are codec"),
        ("model.layers", "write one like model.layers=4"),
        ("model.layers=four", r"model\.layers=four must be a whole number"),
        ("model.layers=2.5", "must be a whole number"),
        ("model.layers=0", "layers=0 must be at least 1"),
        ("model.dropout=x", "must be a number"),
        ("training.compile=yes", "must be true or false"),
        ("training.schedule=sine", "must be one of constant, noam, linear, cosine"),
        ("training.betas=0.9", "must be 2 values with commas"),
        ("training.augmentation.stretch=a", "each a number"),
        ("codec.velocity_bins=900", "velocity_bins=900 must lie in 0..127"),
        ("sampling.top_k=many", "none or a whole number|a whole number or none"),
    ],
)
def test_a_setting_that_cannot_be_is_refused(setting, words):
    with pytest.raises(ConfigError, match=words):
        override(preset("performance-rnn"), [setting])
