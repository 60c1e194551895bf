"""The laws of architecture.md, for every entry of CODECS, without exceptions."""

from itertools import chain

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from espressivo.codecs import CODECS, decode
from espressivo.performance import Performance
from tests.strategies import every_codec, performances

pytestmark = pytest.mark.filterwarnings("error")
SEEDS = st.integers(0, 2**32)
laws = settings(max_examples=50, deadline=None)


@given(codec=every_codec(), performance=performances())
@laws
def test_decoding_gives_what_quantize_promised(codec, performance):
    assert decode(codec, codec.encode(performance)) == codec.quantize(performance)


@given(codec=every_codec(), performance=performances())
@laws
def test_quantizing_twice_changes_nothing_more(codec, performance):
    once = codec.quantize(performance)
    assert codec.quantize(once) == once
    assert np.array_equal(codec.encode(once), codec.encode(performance))


FEW = {
    "note_on": (60, 62, 64),
    "note_off": (60, 62, 64),
    "shift": (1, 100),
    "pedal": (0, 1),
    "shift_major": (0,),
    "shift_minor": (0, 1, 2),
    "velocity": (1, 9),
    "duration_major": (0,),
    "duration_minor": (0, 1, 4),
}


def colliding(codec, rng, length):
    """Few keys, short shifts and a restless pedal, so that ids collide; notes whole if they are."""
    pools = {
        kind: [codec.vocabulary.id(kind, value) for value in FEW[kind]]
        for kind in codec.vocabulary.kinds
        if kind in FEW
    }
    if codec.stride == 1:
        return rng.choice([*chain.from_iterable(pools.values())], length)
    turns = list(pools.values())
    return [rng.choice(turns[i % codec.stride]) for i in range(length)]


@given(codec=every_codec(), seed=SEEDS, length=st.integers(0, 120), busy=st.booleans())
@laws
def test_any_ids_are_a_performance_that_encoding_keeps(codec, seed, length, busy):
    rng = np.random.default_rng(seed)
    ids = rng.integers(0, len(codec.vocabulary), length)
    if busy:
        ids = colliding(codec, rng, length)
    performance = decode(codec, ids)
    assert isinstance(performance, Performance)
    assert codec.quantize(performance) == performance
    assert decode(codec, codec.encode(performance)) == performance


@pytest.mark.parametrize("name", CODECS)
def test_every_id_describes_itself_uniquely(name):
    vocabulary = CODECS[name].vocabulary
    meanings = [vocabulary.describe(token) for token in range(len(vocabulary))]
    assert len(set(meanings)) == len(vocabulary)
    assert [vocabulary.id(*meaning) for meaning in meanings] == list(range(len(vocabulary)))


@given(codec=every_codec(), seed=SEEDS, length=st.integers(1, 150), dense=st.booleans())
@laws
def test_ids_drawn_from_the_grammar_are_what_encoding_writes(codec, seed, length, dense):
    decoder, ids, rng = codec.decoder(), [], np.random.default_rng(seed)
    shifts = list(codec.vocabulary.ids("shift"))

    def unfinished() -> bool:
        if "note_off" not in codec.vocabulary:
            return len(ids) % codec.stride > 0
        return bool(decoder.sounding) or getattr(decoder, "pedal", False)

    while len(ids) < length or unfinished():
        allowed = decoder.allowed()
        assert allowed.any()
        chances = allowed.astype(float)
        if dense:
            chances[shifts] *= 0.02
        if len(ids) >= length:
            chances = _ending(codec, allowed)
        ids.append(int(rng.choice(len(allowed), p=chances / chances.sum())))
        decoder.push(ids[-1])
    while ids and codec.vocabulary.describe(ids[-1])[0] in ("shift", "velocity"):
        ids.pop()
    performance = decode(codec, ids)
    if len(codec.vocabulary.ids("pedal")):  # a press with nothing after it is not heard
        assert decode(codec, codec.encode(performance)) == performance
    else:
        assert codec.encode(performance).tolist() == ids


def _ending(codec, allowed: np.ndarray) -> np.ndarray:
    """Weigh what brings a piece to its end: releases, the pedal, else short shifts."""
    for kind in ("note_off", "pedal", "shift", *codec.vocabulary.kinds):
        span = codec.vocabulary.ids(kind)
        if len(span) and allowed[span.start : span.stop].any():
            chances = np.zeros(len(allowed))
            chances[span.start : span.stop] = allowed[span.start : span.stop]
            return chances
    raise AssertionError("nothing is allowed")


@given(codec=every_codec(), performance=performances())
@laws
def test_the_grammar_allows_whatever_encoding_writes(codec, performance):
    decoder = codec.decoder()
    for token in codec.encode(performance).tolist():
        allowed = decoder.allowed()
        assert allowed[token], codec.vocabulary.describe(token)
        assert not allowed[list(codec.vocabulary.ids("pad"))].any()
        assert not allowed[list(codec.vocabulary.ids("eos"))].any()
        decoder.push(token)
    if "note_off" not in codec.vocabulary:  # notes said whole ring on
        decoder.close()
    assert not decoder.sounding


@given(codec=every_codec(), seed=SEEDS, longest=st.sampled_from([None, 0.05, 1.0]))
@laws
def test_events_come_in_order_and_no_note_hangs(codec, seed, longest):
    rng = np.random.default_rng(seed)
    decoder = codec.decoder(longest)
    events = []
    for token in rng.integers(0, len(codec.vocabulary), 80).tolist():
        events += decoder.push(token)
        assert not events or events[-1].time <= decoder.time
    events += decoder.close()
    times = [event.time for event in events]
    assert times == sorted(times)
    down = set()
    for event in events:
        if event.kind == "on":
            assert event.number not in down
            down.add(event.number)
        elif event.kind == "off":
            down.remove(event.number)  # an orphan raises
    assert not down
    pedal = [event.value for event in events if event.kind == "control"]
    assert pedal == [127, 0] * (len(pedal) // 2)
    lengths = np.diff(Performance.from_events(events).notes[["onset", "offset"]].tolist())
    assert longest is None or (lengths <= longest + 0.5 / codec.steps_per_second).all()
