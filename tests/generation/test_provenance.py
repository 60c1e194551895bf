import dataclasses
import json

import numpy as np
import pytest

from espressivo import checkpoint
from espressivo.checkpoint import Checkpoint
from espressivo.codecs import CODECS
from espressivo.configs import LstmConfig
from espressivo.errors import CheckpointError, ConfigError
from espressivo.generation import (
    Performer,
    Provenance,
    Sampling,
    continuation,
    replay,
    unconditional,
)
from espressivo.generation.provenance import MARKER
from espressivo.midi import read_midi, read_texts, write_midi

CODEC = CODECS["performance-rnn"]


def weights(seed=0, width=12):
    """The weights of an untrained LSTM."""
    random = np.random.default_rng(seed)
    shapes = {
        "lstm.weight_ih_l0": (4 * width, len(CODEC.vocabulary)),
        "lstm.weight_hh_l0": (4 * width, width),
        "lstm.bias_ih_l0": (4 * width,),
        "lstm.bias_hh_l0": (4 * width,),
        "output.weight": (len(CODEC.vocabulary), width),
        "output.bias": (len(CODEC.vocabulary),),
    }
    return {k: random.normal(size=shape).astype(np.float32) for k, shape in shapes.items()}


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    path = tmp_path_factory.mktemp("model") / "lstm"
    checkpoint.save(path, Checkpoint(weights(), LstmConfig(layers=1, width=12), CODEC))
    return checkpoint.load(path)


@pytest.fixture(scope="module")
def takes(model):
    sampling = Sampling(temperature=0.9, top_p=0.98, time_temperature=0.8)
    return Performer.of(model, "lstm").takes(unconditional(CODEC, 4.0), sampling, 11, 3)


@pytest.fixture(scope="module")
def continued(model, samples):
    primer = read_midi(samples / "giantmidi_field.mid")
    prompt = continuation(CODEC, primer, 4.0, 3.0)
    return primer, Performer.of(model, "lstm").takes(prompt, Sampling(), 2**40, 2)[1]


@pytest.mark.parametrize("index", [0, 2])
def test_a_take_is_replayed_token_for_token(takes, model, index):
    again = replay(takes[index].provenance, model)
    assert again.tokens.tolist() == takes[index].tokens.tolist()
    assert again.performance == takes[index].performance
    assert again.provenance == takes[index].provenance


def test_a_file_tells_where_it_comes_from(takes, model, tmp_path):
    path = tmp_path / "take.mid"
    write_midi(takes[1].performance, path, text=takes[1].provenance.text())
    found = Provenance.find(read_texts(path))
    assert found == takes[1].provenance
    assert replay(found, model).tokens.tolist() == takes[1].tokens.tolist()


def test_a_continuation_needs_no_other_file(continued, model):
    primer, take = continued
    found = Provenance.find([take.provenance.text()])
    assert found == take.provenance
    alone = replay(found, model)
    assert alone.tokens.tolist() == take.tokens.tolist()
    assert len(alone.performance) == len(take.performance)
    for note in take.performance.notes:
        mine = alone.performance.notes[alone.performance.notes["pitch"] == note["pitch"]]
        assert abs(mine["onset"] - note["onset"]).min() <= 0.005 + 1e-9
    assert replay(found, model, primer).performance == take.performance


def test_a_continuation_is_replayed_exactly_from_its_own_file(continued, model, tmp_path):
    _, take = continued
    first, second = tmp_path / "first.mid", tmp_path / "second.mid"
    write_midi(take.performance, first, text=take.provenance.text())
    again = replay(Provenance.find(read_texts(first)), model, read_midi(first))
    assert again.provenance == take.provenance
    write_midi(again.performance, second, text=again.provenance.text())
    assert first.read_bytes() == second.read_bytes()


def test_another_primer_is_refused(continued, model, samples):
    other = read_midi(samples / "giantmidi_joplin.mid")
    with pytest.raises(ConfigError, match="not the one the performance began with"):
        replay(continued[1].provenance, model, other)


def test_another_model_is_refused(takes, model):
    other = dataclasses.replace(model, digest="0" * 64)
    with pytest.raises(CheckpointError, match="this checkpoint is 000000000000"):
        replay(takes[0].provenance, other)
    other = dataclasses.replace(model, codec=CODECS["oore2018"])
    with pytest.raises(CheckpointError, match="do not mean what they meant"):
        replay(takes[0].provenance, other)


def test_the_text_is_one_plain_line_that_names_everything(takes):
    text = takes[0].provenance.text()
    assert text.isascii()
    assert "\n" not in text
    entry = json.loads(text.removeprefix(MARKER))
    assert entry["model"] == "lstm"
    assert len(entry["digest"]) == 64
    assert (entry["seed"], entry["take"], entry["takes"]) == (11, 0, 3)
    assert entry["sampling"]["top_p"] == 0.98


def test_other_texts_are_no_provenance():
    assert Provenance.find([]) is None
    assert Provenance.find(["Prelude", "espressivo"]) is None


def change(text, **values):
    return MARKER + json.dumps(json.loads(text.removeprefix(MARKER)) | values)


@pytest.mark.parametrize(
    "values",
    [
        {"seed": "eleven"},
        {"seed": -1},
        {"take": 3},
        {"takes": 1.5},
        {"seconds": None},
        {"model": 7},
        {"sampling": {"warmth": 3}},
        {"sampling": None},
        {"surprise": 1},
        {"primer": {"tokens": "AAAA", "sha256": ""}},
        {"primer": {"tokens": "%%%%", "sha256": ""}},
        {"primer": 3},
    ],
)
def test_damage_is_named(takes, values):
    with pytest.raises(ConfigError, match="the provenance is damaged"):
        Provenance.find([change(takes[0].provenance.text(), **values)])


def test_settings_out_of_range_and_newer_formats_are_refused(takes):
    text = takes[0].provenance.text()
    with pytest.raises(ConfigError, match="temperature=-1"):
        Provenance.find([change(text, sampling={"temperature": -1})])
    with pytest.raises(ConfigError, match="format 2"):
        Provenance.find([change(text, format=2)])
    with pytest.raises(ConfigError, match="damaged"):
        Provenance.find([text[:-20]])


def test_a_task_that_is_unknown_is_refused(takes, model):
    strange = dataclasses.replace(takes[0].provenance, task="fugue")
    with pytest.raises(ConfigError, match="unknown task 'fugue'"):
        replay(strange, model)
