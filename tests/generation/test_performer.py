import itertools

import numpy as np
import pytest

from espressivo.codecs import CODECS
from espressivo.errors import CheckpointError, ConfigError
from espressivo.generation import Performer, Sampling, unconditional
from espressivo.performance import Performance
from tests.generation.players import EVERY, Stubborn, Table, table_player

CODEC = CODECS["performance-rnn"]
PROMPT = unconditional(CODEC, 6.0)


def same(first, second):
    return first.tokens.tolist() == second.tokens.tolist() and (
        first.performance == second.performance
    )


@pytest.mark.parametrize("codec", EVERY, ids=CODECS)
def test_the_stream_is_the_first_take(codec):
    performer, prompt = table_player(codec), unconditional(codec, 5.0)
    stream = performer.play(prompt, Sampling(), 7)
    take = performer.takes(prompt, Sampling(), 7, 1)[0]
    assert Performance.from_events(stream) == take.performance


def test_a_take_does_not_depend_on_how_many_there_are():
    performer = table_player(CODEC)
    three = performer.takes(PROMPT, Sampling(), 3, 3)
    five = performer.takes(PROMPT, Sampling(), 3, 5)
    assert all(same(a, b) for a, b in zip(three, five, strict=False))


def test_takes_and_seeds_differ():
    performer = table_player(CODEC)
    seeds = (0, 1, 2**32, 2**70)
    takes = [take for n in seeds for take in performer.takes(PROMPT, Sampling(), n, 3)]
    assert len({tuple(take.tokens.tolist()) for take in takes}) == len(takes)


def test_nothing_depends_on_global_chance():
    performer = table_player(CODEC)
    before = performer.takes(PROMPT, Sampling(), 1, 1)[0]
    state = np.random.get_state()[1].tolist()  # noqa: NPY002  # that nobody draws from it
    assert same(before, performer.takes(PROMPT, Sampling(), 1, 1)[0])
    assert np.random.get_state()[1].tolist() == state  # noqa: NPY002


def test_every_step_of_the_engine_serves_all_takes():
    engine = Table(len(CODEC.vocabulary))
    batches = []
    step = engine.step
    engine.step = lambda tokens, *rest: (batches.append(tokens.shape), step(tokens, *rest))[1]
    takes = Performer(engine, CODEC).takes(PROMPT, Sampling(), 3, 4)
    longest = max(len(take.tokens) for take in takes)
    assert batches == [(4,)] * (longest - 1)
    assert min(len(take.tokens) for take in takes) < longest


def test_takes_can_be_followed_as_they_come():
    playing = table_player(CODEC).perform(PROMPT, Sampling(), 3, 2)
    heard = list(itertools.islice(playing, 20))
    assert {take for take, _ in heard} == {0, 1}
    heard += list(playing)
    for index, take in enumerate(playing.takes()):
        assert Performance.from_events(e for i, e in heard if i == index) == take.performance


def test_music_comes_before_the_take_is_finished():
    engine = Table(len(CODEC.vocabulary))
    stream = Performer(engine, CODEC).play(unconditional(CODEC, 3600.0), Sampling(), 0)
    assert next(stream).kind == "on"
    assert len(engine.read_lengths) == 1


class Remembering(Table):
    """Wishes that follow from every token in memory."""

    def logits(self, tokens):
        weight = np.arange(1, tokens.shape[1] + 1)
        return self.table[(tokens * weight).sum(axis=1) % len(self.table)].copy()


@pytest.mark.parametrize("context", [2, 3, 64, 65])
def test_a_full_context_is_read_again_by_half(context):
    engine = Remembering(len(CODEC.vocabulary), context=context)
    performer = Performer(engine, CODEC)
    prompt = unconditional(CODEC, 12.0)
    first = performer.takes(prompt, Sampling(), 1, 2)
    lengths = engine.read_lengths
    assert lengths[0] == 1
    assert len(lengths) > 2
    assert set(lengths[1:]) == {context // 2}
    again = performer.takes(prompt, Sampling(), 1, 2)
    assert all(same(a, b) for a, b in zip(first, again, strict=True))


def test_what_is_read_again_is_the_start_and_the_latest_tokens():
    engine = Remembering(len(CODEC.vocabulary), context=40)
    reads = []
    read = engine.read
    engine.read = lambda tokens, *rest: (reads.append(tokens.copy()), read(tokens, *rest))[1]
    take = Performer(engine, CODEC).takes(unconditional(CODEC, 20.0), Sampling(), 1, 1)[0]
    assert [len(tokens) for tokens in reads[:3]] == [1, 1, 1]
    assert reads[1][0].tolist() == [CODEC.start, *take.tokens[21:40].tolist()]
    assert reads[2][0].tolist() == [CODEC.start, *take.tokens[42:61].tolist()]


def test_a_broken_model_is_named():
    performer = Performer(Stubborn(np.full(len(CODEC.vocabulary), np.nan)), CODEC)
    with pytest.raises(CheckpointError, match="not finite numbers"):
        performer.takes(PROMPT, Sampling(), 0, 1)


@pytest.mark.parametrize(
    ("seed", "count", "message"),
    [
        (-1, 1, "seed=-1 must be a whole number of at least 0"),
        (0.5, 1, "seed=0.5 must be"),
        (0, 0, "takes=0 must be a whole number of at least 1"),
        (0, True, "takes=True must be"),
    ],
)
def test_seeds_and_counts_are_checked(seed, count, message):
    with pytest.raises(ConfigError, match=message):
        table_player(CODEC).takes(PROMPT, Sampling(), seed, count)


def test_prompt_engine_and_codec_must_belong_together():
    with pytest.raises(ConfigError, match="the engine knows 7 tokens, the codec has 388"):
        Performer(Table(7), CODEC)
    with pytest.raises(ConfigError, match="build the prompt with the model's codec"):
        table_player(CODEC).takes(unconditional(CODECS["oore2018"], 5.0), Sampling(), 0, 1)
