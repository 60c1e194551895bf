"""What every engine must do; none of it needs torch."""

import tracemalloc
import warnings

import numpy as np
import pytest

from espressivo import engines
from espressivo.engines import transformer as transformers
from tests.engines.nets import (
    SMALL,
    VARIANTS,
    VOCABULARY,
    engine,
    some_tokens,
    transformer,
    weights,
)

every_engine = pytest.mark.parametrize("config", SMALL.values(), ids=SMALL)


def close(ours, expected):
    np.testing.assert_allclose(ours, expected, rtol=0, atol=1e-4)


def played(player, tokens):
    """The logits after every token, [batch, time, v], one step at a time."""
    state = player.start(len(tokens))
    return np.stack([player.step(column, state) for column in tokens.T], 1)


@every_engine
@pytest.mark.parametrize("batch", [1, 3])
def test_reading_and_stepping_agree(config, batch):
    player, tokens = engine(config), some_tokens(batch, 300)  # past the first growth of a cache
    expected = played(player, tokens)
    assert expected.std() > 0.1
    state, at = player.start(batch), 0
    for size in (1, 2, 40, 220, 1, 36):
        logits = player.read(tokens[:, at : at + size], state)
        at += size
        assert state.length == at
        close(logits, expected[:, at - 1])
    mixed = player.start(batch)
    player.read(tokens[:, :255], mixed)
    for at in range(255, 260):
        close(player.step(tokens[:, at], mixed), expected[:, at])
    close(player.read(tokens[:, 260:], mixed), expected[:, -1])


@pytest.mark.parametrize("config", (SMALL | VARIANTS).values(), ids=SMALL | VARIANTS)
def test_a_primer_read_in_small_parts_is_the_same(config, monkeypatch):
    player, tokens = engine(config), some_tokens(2, 50)
    whole = player.read(tokens, player.start(2))
    monkeypatch.setattr(transformers, "BUDGET", 1)
    monkeypatch.setattr(engines.lstm, "CHUNK", 7)
    close(player.read(tokens, player.start(2)), whole)


@every_engine
def test_rows_of_a_batch_do_not_hear_each_other(config):
    player, tokens = engine(config), some_tokens(3, 20)
    together = played(player, tokens)
    for row in range(3):
        close(played(player, tokens[row : row + 1])[0], together[row])


@every_engine
def test_forks_are_independent_takes(config):
    player, primer, ways = engine(config), some_tokens(2, 9), some_tokens(4, 6)
    state = player.start(2)
    player.read(primer, state)
    player.step(primer[:, 0], state)
    forked = state.fork(2)
    assert (forked.batch, forked.length, state.length) == (4, 10, 10)
    takes = [player.step(column, forked) for column in ways.T]
    heard = np.concatenate([primer, primer[:, :1]], 1).repeat(2, 0)
    expected = played(player, np.concatenate([heard, ways], 1))[:, 10:]
    close(np.stack(takes, 1), expected)
    again = [player.step(column, state) for column in ways[::2].T]  # the first one is untouched
    close(np.stack(again, 1), expected[::2])


@every_engine
def test_selected_sequences_go_on_in_the_order_asked_for(config):
    player, tokens = engine(config), some_tokens(3, 12)
    expected = played(player, tokens)
    state = player.start(3)
    player.read(tokens[:, :11], state)
    order = np.array([2, 0])
    close(player.step(tokens[order, 11], state.select(order)), expected[order, 11])


@every_engine
def test_logits_are_the_callers_to_keep(config):
    player, tokens = engine(config), some_tokens(1, 4)
    state = player.start(1)
    first = player.step(tokens[:, 0], state)
    kept = first.copy()
    for column in tokens[:, 1:].T:
        player.step(column, state)
    np.testing.assert_array_equal(first, kept)
    assert first.dtype == np.float32


@every_engine
def test_sixteen_bit_weights_play_in_thirty_two(config):
    halves = weights(config, np.float16)
    player = engines.build(config, halves)
    same = engines.build(config, {name: half.astype(np.float64) for name, half in halves.items()})
    tokens = some_tokens(1, 5)
    close(played(player, tokens), played(same, tokens))


@every_engine
@pytest.mark.parametrize(
    ("tokens", "message"),
    [
        ([[1]], r"shape \[1, 1\]; this state needs \[2\]"),
        ([1, 2, 3], r"shape \[3\]; this state needs \[2\]"),
        ([1, VOCABULARY], f"token {VOCABULARY} is outside the vocabulary 0 to {VOCABULARY - 1}"),
        ([-1, 0], "token -1 is outside"),
    ],
)
def test_wrong_tokens_are_refused(config, tokens, message):
    player = engine(config)
    state = player.start(2)
    with pytest.raises(ValueError, match=message):
        player.step(np.array(tokens), state)
    assert state.length == 0


@every_engine
def test_an_empty_primer_is_refused(config):
    player = engine(config)
    with pytest.raises(ValueError, match=r"shape \[1, 0\]; this state needs \[1, at least 1\]"):
        player.read(np.empty((1, 0), int), player.start(1))


def test_an_engine_refuses_the_memory_of_another_kind():
    lstm, other = engine(SMALL["lstm"]), engine(SMALL["transformer"])
    with pytest.raises(TypeError, match="an LSTM cannot continue from TransformerState"):
        lstm.step(np.array([0]), other.start(1))
    with pytest.raises(TypeError, match="a transformer cannot continue from LstmState"):
        other.step(np.array([0]), lstm.start(1))


def test_an_lstm_has_no_limit_and_a_transformer_its_context():
    assert engine(SMALL["lstm"]).context is None
    assert engine(transformer(context=77)).context == 77


def test_a_full_state_says_so_and_stays_as_it_was():
    player, tokens = engine(transformer(context=20)), some_tokens(1, 20)
    state = player.start(1)
    player.read(tokens[:, :19], state)
    with pytest.raises(ValueError, match=r"19 tokens read and 2 to come .* context of 20.*last 10"):
        player.read(tokens[:, :2], state)
    assert state.length == 19
    last = player.step(tokens[:, 19], state)
    close(last, player.read(tokens, player.start(1)))
    with pytest.raises(ValueError, match="20 tokens read and 1 to come"):
        player.step(tokens[:, 0], state)


def test_a_cache_grows_by_doubling_up_to_the_context():
    player = engine(transformer(context=700))
    state, capacities = player.start(1), []
    for _ in range(7):
        player.read(some_tokens(1, 100), state)
        capacities.append(state.capacity)
    assert capacities == [256, 256, 512, 512, 512, 700, 700]


def test_logits_of_any_size_give_probabilities():
    config = transformer()
    loud = weights(config)
    loud["layers.0.attention.inputs.weight"] *= 100
    player, tokens = engines.build(config, loud), some_tokens(1, 30)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        logits = played(player, tokens)
    assert np.isfinite(logits).all()


def test_the_memory_of_reading_is_bounded():
    player = engine(transformer(layers=1, context=3000, reach=100))
    peaks = []
    for length in (1500, 3000):
        state = player.start(1)
        player.read(some_tokens(1, 1), state)
        state.grow(3000)
        tracemalloc.start()
        player.read(some_tokens(1, length - 1), state)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    whole = 3 * 3000 * 3000 * 4  # the logits of one layer, were they held at once
    assert max(peaks) < 0.7 * whole


def test_what_a_step_allocates_does_not_grow_with_the_length():
    player, peaks = engine(transformer(context=2000)), []
    for length in (1000, 1900):
        tokens, state = some_tokens(8, length), player.start(8)
        player.read(tokens, state)
        player.step(tokens[:, 0], state)
        tracemalloc.start()
        player.step(tokens[:, 1], state)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    logits_of_one_layer = 8 * 3 * 1900 * 4
    assert peaks[1] < peaks[0] + 4096
    assert peaks[1] < logits_of_one_layer / 2


@pytest.mark.parametrize("config", [SMALL["lstm"], SMALL["transformer"]], ids=["lstm", "other"])
def test_an_engine_that_has_no_use_for_more_than_tokens_refuses_it(config):
    player = engine(config)
    with pytest.raises(TypeError, match="has no encoder"):
        player.start(1, some_tokens(1, 4))
    with pytest.raises(TypeError, match="without controls"):
        player.read(some_tokens(1, 4), player.start(1), np.zeros((1, 4, 8)))
    with pytest.raises(TypeError, match="without controls"):
        player.step(np.array([0]), player.start(1), np.zeros((1, 8)))
