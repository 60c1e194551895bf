"""What is asked for reaches the model, event by event, and follows the time of the music."""

import dataclasses
import json

import numpy as np
import pytest

from espressivo import bundle, checkpoint
from espressivo.checkpoint import Checkpoint
from espressivo.codecs import CODECS, decode
from espressivo.configs import LstmConfig
from espressivo.controls import CONTROLS, Conditioning, at, moments
from espressivo.errors import ConfigError
from espressivo.generation import (
    Performer,
    Provenance,
    Sampling,
    continuation,
    replay,
    unconditional,
)
from espressivo.generation.provenance import MARKER
from espressivo.midi import read_midi
from tests.generation.players import Table

CODEC = CODECS["performance-rnn"]
DENSITY, HISTOGRAM = "notes-per-second", "pitch-class-histogram"
BOTH = (DENSITY, HISTOGRAM)
C_MAJOR = [2, 0, 1, 0, 2, 1, 0, 2, 0, 1, 0, 1]


class Told(Table):
    """Keeps what it was told, for every token it holds."""

    def start(self, batch, source=None):
        state = super().start(batch)
        state.told = None
        return state

    def read(self, tokens, state, controls=None):
        state.told = controls.repeat(len(tokens) // len(controls), 0)
        self.latest = state
        return super().read(tokens, state)

    def step(self, tokens, state, controls=None):
        if getattr(state, "told", None) is None:  # a fork
            state.told = self.latest.told.repeat(len(tokens), 0)
        state.told = np.concatenate([state.told, controls[:, None]], axis=1)
        self.latest = state
        return super().step(tokens, state)


def player(unset="flag", context=None):
    engine = Told(len(CODEC.vocabulary), context=context)
    return Performer(engine, CODEC, conditioning=Conditioning(BOTH, unset))


def expected(prompt, tokens, conditioning):
    """What holds for every token a take played, from the definition."""
    times = moments(CODEC, np.append(prompt.tokens, tokens))[len(prompt.tokens) :]
    passed = (times - prompt.mark) / prompt.seconds
    values = {name: at(track, passed) for name, track in prompt.controls.items()}
    return conditioning.rows(values, len(tokens))


@pytest.mark.parametrize("unset", ["default", "zeros", "flag"])
@pytest.mark.parametrize("controls", [{}, {DENSITY: [2, 8, 3]}, {DENSITY: [4], HISTOGRAM: C_MAJOR}])
def test_every_event_is_told_what_holds_at_its_time(unset, controls):
    performer = player(unset)
    prompt = unconditional(CODEC, 6.0).told(controls)
    takes = performer.takes(prompt, Sampling(), 3, 2)
    for take, told in zip(takes, performer.engine.latest.told, strict=True):
        rows = expected(prompt, take.tokens, performer.conditioning)
        np.testing.assert_array_equal(told[: len(rows)], rows)
    if controls.get(DENSITY) == [2, 8, 3]:
        ranges = told[:, -20:-12].argmax(1).tolist()
        assert sorted(set(ranges), key=ranges.index) == [2, 4, 2][: len(set(ranges))]
        assert [ranges[0], ranges[len(ranges) // 2], ranges[-1]] == [2, 4, 2]


def test_what_is_read_again_is_told_what_held_for_it():
    performer = player(context=40)
    prompt = unconditional(CODEC, 12.0).told({DENSITY: [2, 30, 5, 9]})
    take = performer.takes(prompt, Sampling(), 1, 1)[0]
    assert len(take.tokens) > 100
    told = performer.engine.latest.told[0]
    assert len(told) <= 40
    rows = expected(prompt, take.tokens, performer.conditioning)
    np.testing.assert_array_equal(told, rows[-len(told) :])


def test_a_primer_is_told_as_it_is_measured(samples):
    performer = player()
    primer = read_midi(samples / "giantmidi_field.mid")
    prompt = continuation(CODEC, primer, 6.0, 4.0).told({HISTOGRAM: C_MAJOR})
    take = performer.takes(prompt, Sampling(), 1, 1)[0]
    told = performer.engine.latest.told[0]
    heard, count = decode(CODEC, prompt.tokens), len(prompt.tokens)
    times = moments(CODEC, prompt.tokens)
    shares = CONTROLS[HISTOGRAM].measure(heard, times).astype(np.float32)
    np.testing.assert_allclose(told[:count, 9:], shares, atol=1e-6)
    assert not told[:, :9].any()  # neither the flag nor a density nobody asked for
    rows = expected(prompt, take.tokens, performer.conditioning)
    np.testing.assert_array_equal(told[count:], rows[: len(told) - count])


class Willing(Table):
    """Strikes the pitch classes it is told of, and nothing else."""

    def read(self, tokens, state, controls=None):
        super().read(tokens, state)
        return self.wish(controls[:, -1])

    def step(self, tokens, state, controls=None):
        super().step(tokens, state)
        return self.wish(controls)

    def wish(self, controls):
        logits = np.zeros((len(controls), self.vocabulary_size), np.float32)
        on, off = CODEC.vocabulary.ids("note_on"), CODEC.vocabulary.ids("note_off")
        logits[:, off.start : off.stop] = 9  # so that there is always a key to strike
        logits[:, on.start : on.stop] = np.log(np.tile(controls, 11)[:, :128] + 1e-9)
        return logits


def test_music_goes_where_it_is_asked_to_go():
    engine = Willing(len(CODEC.vocabulary))
    performer = Performer(engine, CODEC, conditioning=Conditioning((HISTOGRAM,), "zeros"))
    c, f_sharp = np.eye(12)[0], np.eye(12)[6]
    prompt = unconditional(CODEC, 40.0).told({HISTOGRAM: [c, f_sharp]})
    take = performer.takes(prompt, Sampling(break_loops=False), 1, 1)[0]
    onset, pitch = take.performance.notes["onset"], take.performance.notes["pitch"] % 12
    assert len(pitch) > 40
    # All but what must be struck because every key of the class is down already.
    assert np.mean(pitch[onset < 19.9] == 0) > 0.8
    assert np.mean(pitch[onset > 20.1] == 6) > 0.8


def test_a_model_that_was_never_told_says_so(monkeypatch, tmp_path):
    monkeypatch.setattr(bundle, "BUNDLED", tmp_path)
    prompt = unconditional(CODEC, 4.0).told({DENSITY: [3]})
    plain = Performer(Table(len(CODEC.vocabulary)), CODEC, model="plain")
    with pytest.raises(ConfigError, match=r"plain cannot be told notes-per-second; .+ can: none"):
        plain.takes(prompt, Sampling(), 0, 1)
    checkpoint.save(tmp_path / "dense", Checkpoint(weights(), CONFIG, CODEC))
    with pytest.raises(ConfigError, match="bundled checkpoints that can: dense"):
        plain.takes(prompt, Sampling(), 0, 1)
    with pytest.raises(ConfigError, match="no control 'tempo'"):
        unconditional(CODEC, 4.0).told({"tempo": [3]})


CONFIG = LstmConfig(layers=1, width=12, controls=BOTH, optional=True)


def weights():
    """The weights of an untrained LSTM that is told of both."""
    random, size, width = np.random.default_rng(0), len(CODEC.vocabulary), 12
    shapes = {
        "lstm.weight_ih_l0": (4 * width, size + 21),
        "lstm.weight_hh_l0": (4 * width, width),
        "lstm.bias_ih_l0": (4 * width,),
        "lstm.bias_hh_l0": (4 * width,),
        "output.weight": (size, width),
        "output.bias": (size,),
    }
    return {k: random.normal(size=shape).astype(np.float32) for k, shape in shapes.items()}


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    path = tmp_path_factory.mktemp("model") / "lstm"
    checkpoint.save(path, Checkpoint(weights(), CONFIG, CODEC))
    return checkpoint.load(path)


def test_a_take_that_was_asked_for_is_replayed_token_for_token(model, samples):
    primer = read_midi(samples / "giantmidi_field.mid")
    controls = {DENSITY: [2.5, 8, 1 / 3], HISTOGRAM: [C_MAJOR, np.eye(12)[3] / 7]}
    for prompt in (unconditional(CODEC, 4.0), continuation(CODEC, primer, 3.0, 3.0)):
        take = Performer.of(model).takes(prompt.told(controls), Sampling(), 5, 2)[1]
        found = Provenance.find([take.provenance.text()])
        assert found == take.provenance
        assert found.controls[DENSITY] == [[2.5], [8], [1 / 3]]
        again = replay(found, model)
        assert again.tokens.tolist() == take.tokens.tolist()
        assert again.provenance == take.provenance
        otherwise = dataclasses.replace(found, controls={})
        assert replay(otherwise, model).tokens.tolist() != take.tokens.tolist()


def test_a_text_without_controls_says_nothing_of_them(model):
    take = Performer.of(model).takes(unconditional(CODEC, 2.0), Sampling(), 5, 1)[0]
    entry = json.loads(take.provenance.text().removeprefix(MARKER))
    assert "controls" not in entry
    damaged = MARKER + json.dumps(entry | {"controls": [1]})
    with pytest.raises(ConfigError, match="the provenance is damaged"):
        Provenance.find([damaged])
    unknown = MARKER + json.dumps(entry | {"controls": {"tempo": [[1]]}})
    with pytest.raises(ConfigError, match="no control 'tempo'"):
        Provenance.find([unknown])
