"""Beam search with drawn branches: likelier takes, by the same rules."""

import numpy as np
import pytest

from espressivo.checkpoint import Checkpoint, load, save
from espressivo.codecs import CODECS
from espressivo.configs import LstmConfig
from espressivo.errors import ConfigError
from espressivo.generation import Performer, Sampling, replay, unconditional
from espressivo.generation.beam import forked
from espressivo.generation.keyboard import Keyboard
from espressivo.performance import Performance
from tests.conftest import CODEC, random_weights
from tests.generation.players import EVERY, Table, table_player
from tests.generation.test_rules import check_stream

BEAM = Sampling(beam=3, branch=2, steps_per_iteration=5)


def nats_per_token(engine, codec, tokens):
    """How unlikely a model finds tokens, in the mean, untouched by temperatures and rules."""
    logits = engine.table[[codec.start, *tokens[:-1].tolist()]].astype(np.float64)
    logits -= np.log(np.exp(logits).sum(axis=1, keepdims=True))
    return -logits[np.arange(len(tokens)), tokens].mean()


@pytest.mark.parametrize("codec", EVERY, ids=CODECS)
def test_a_beam_keeps_the_rules(codec):
    performer, prompt = table_player(codec), unconditional(codec, 3.0)
    stream = list(performer.play(prompt, BEAM, 1))
    check_stream(codec, stream, 3.0)
    take = performer.takes(prompt, BEAM, 1, 1)[0]
    assert Performance.from_events(stream) == take.performance
    again = codec.encode(take.performance)
    assert again[: len(take.tokens)].tolist() == take.tokens.tolist()


@pytest.mark.parametrize("steps", [1, 8])
def test_one_candidate_is_drawing_as_ever(steps):
    performer, prompt = table_player(CODEC), unconditional(CODEC, 4.0)
    plain = performer.takes(prompt, Sampling(), 3, 2)
    one = performer.takes(prompt, Sampling(beam=1, branch=1, steps_per_iteration=steps), 3, 2)
    assert [take.tokens.tolist() for take in one] == [take.tokens.tolist() for take in plain]


def test_a_beam_finds_likelier_takes_than_drawing_does():
    engine = Table(len(CODEC.vocabulary), scale=2.0)
    performer, prompt = Performer(engine, CODEC), unconditional(CODEC, 3.0)
    drawn = performer.takes(prompt, Sampling(), 0, 8)
    found = performer.takes(prompt, Sampling(beam=4, branch=3), 0, 4)
    usual = np.mean([nats_per_token(engine, CODEC, take.tokens) for take in drawn])
    likely = np.mean([nats_per_token(engine, CODEC, take.tokens) for take in found])
    assert likely < usual - 0.3


def test_a_beam_keeps_the_likeliest_branch_of_one_step():
    """With one candidate and many branches, each token is the likeliest of those drawn."""
    engine = Table(len(CODEC.vocabulary), scale=2.0)
    performer, prompt = Performer(engine, CODEC), unconditional(CODEC, 3.0)
    many = performer.takes(prompt, Sampling(beam=1, branch=40), 0, 1)[0]
    greedy = performer.takes(prompt, Sampling(temperature=0), 0, 1)[0]
    costs = [nats_per_token(engine, CODEC, take.tokens[:20]) for take in (many, greedy)]
    assert costs[0] == pytest.approx(costs[1], abs=0.5)


def test_takes_of_a_beam_differ_and_do_not_depend_on_how_many_there_are():
    performer, prompt = table_player(CODEC), unconditional(CODEC, 3.0)
    two = [take.tokens.tolist() for take in performer.takes(prompt, BEAM, 5, 2)]
    three = [take.tokens.tolist() for take in performer.takes(prompt, BEAM, 5, 3)]
    assert two == three[:2]
    assert len({tuple(tokens) for tokens in three}) == 3


def test_what_is_told_early_is_never_taken_back():
    performer, prompt = table_player(CODEC), unconditional(CODEC, 4.0)
    playing = performer.perform(prompt, BEAM, 2)
    told = [event for _, event in [next(iter(playing)) for _ in range(5)]]
    so_far = [*playing.keyboards[0].tokens]
    take = playing.take(0)
    assert take.tokens[: len(so_far)].tolist() == so_far
    assert playing.keyboards[0].events[:5] == told


def test_a_beam_is_played_again_from_its_provenance(tmp_path):
    config = LstmConfig(layers=1, width=16)
    save(tmp_path / "model", Checkpoint(random_weights(), config, CODEC))
    checkpoint = load(tmp_path / "model")
    take = Performer.of(checkpoint).takes(unconditional(CODEC, 3.0), BEAM, 9, 2)[1]
    assert take.provenance.sampling == BEAM
    again = replay(take.provenance, checkpoint)
    assert again.provenance == take.provenance
    assert again.performance == take.performance


def test_a_fork_of_a_keyboard_is_independent():
    keyboard = Keyboard(unconditional(CODEC, 4.0), Sampling())
    rng = np.random.default_rng(0)

    def play(one, count):
        for _ in range(count):
            one.push(int(rng.choice(np.flatnonzero(one.allowed()))))

    play(keyboard, 30)
    before = [*keyboard.tokens], [*keyboard.events], keyboard.time, keyboard.allowed().tolist()
    play(forked(keyboard), 30)
    assert before == (
        keyboard.tokens, keyboard.events, keyboard.time, keyboard.allowed().tolist()
    )  # fmt: skip


@pytest.mark.parametrize("setting", ["beam", "branch", "steps_per_iteration"])
def test_the_numbers_of_a_beam_are_counts(setting):
    for wrong in (0, -1, 1.5):
        with pytest.raises(ConfigError, match=f"{setting}={wrong} must be a whole number"):
            Sampling(**{setting: wrong})
