import numpy as np
import pytest

from espressivo.codecs import CODECS
from espressivo.generation import Performer, Sampling, unconditional
from espressivo.generation.loops import LONGEST_PERIOD, Loops
from espressivo.midi import read_midi
from tests.generation.players import Table

CODEC = CODECS["performance-rnn"]


def heats(tokens):
    """The heat after every token of one take."""
    loops = Loops(1)
    past = np.concatenate([np.full(LONGEST_PERIOD, -1), tokens])
    return [
        float(loops.hear(past[None, i : i + LONGEST_PERIOD], np.array([token]))[0])
        for i, token in enumerate(tokens)
    ]


class Circle(Table):
    """Runs through a few tokens for ever, with a firm will."""

    def __init__(self, codec, events, will=12.0):
        super().__init__(len(codec.vocabulary), scale=1.0)
        tokens = [codec.vocabulary.id(kind, value) for kind, value in events]
        self.table[:, tokens[0]] += will / 2
        for token, after in zip(tokens, tokens[1:] + tokens[:1], strict=True):
            self.table[token, after] += will


@pytest.mark.parametrize("period", [1, 2, 7, 16, 40, 64])
def test_a_pattern_heard_four_times_heats(period):
    tokens = np.tile(np.arange(period), 260 // period + 1)
    first = next(i for i, heat in enumerate(heats(tokens)) if heat > 0)
    assert first + 1 == period + max(3 * period, 48)


def test_heat_rises_while_a_loop_lasts_and_cools_after_it():
    heat = heats(np.concatenate([np.zeros(80, dtype=int), np.arange(100)]))
    assert np.allclose(np.diff(heat[48:80]), 1 / 16)
    assert (np.diff(heat[80:110]) < 0).all()
    assert heat[-1] == 0


def test_music_that_does_not_repeat_stays_cold():
    assert not any(heats(np.random.default_rng(0).integers(0, 20, 2000)))


def test_played_music_is_no_loop(samples):
    for path in sorted(samples.glob("*.mid")):
        assert not any(heats(CODEC.encode(read_midi(path))[:4000]))


def test_every_take_has_its_own_heat():
    loops = Loops(2)
    for i in range(60):
        recent = np.full((2, LONGEST_PERIOD), 7)
        recent[1] = np.arange(LONGEST_PERIOD) + 1000 * i
        heat = loops.hear(recent, np.array([7, 5000 + i]))
    assert heat[0] > 0
    assert heat[1] == 0


@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_a_model_caught_in_a_circle_gets_out(temperature):
    events = [("note_on", 60), ("shift", 10), ("note_off", 60), ("shift", 5)]
    performer = Performer(Circle(CODEC, events), CODEC)
    share, longest = {}, {}
    for breaking in (False, True):
        sampling = Sampling(temperature=temperature, break_loops=breaking)
        take = performer.takes(unconditional(CODEC, 20.0), sampling, 0, 1)[0]
        same = (take.tokens[4:] == take.tokens[:-4]).astype(int)
        share[breaking] = same.mean()
        edges = np.flatnonzero(np.diff(np.concatenate([[0], same, [0]])))
        longest[breaking] = int((edges[1::2] - edges[::2]).max())
    if temperature == 0:
        assert share[False] > 0.9
    assert longest[True] < 48 + 64
    assert share[True] <= 0.8
