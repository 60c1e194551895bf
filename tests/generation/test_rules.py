"""Whatever the weights and the temperature: laws of every take."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from espressivo.codecs import CODECS, MidiLike
from espressivo.generation import Performer, Sampling, unconditional
from espressivo.performance import SUSTAIN, Performance
from tests.generation.players import EVERY, Stubborn, table_player, wanting

CODEC_OR_VARIANT = st.sampled_from([*EVERY, MidiLike(ties="played"), MidiLike(max_shift=7)])
TEMPERATURES = st.one_of(st.just(0.0), st.floats(0.01, 100))


@st.composite
def samplings(draw):
    """Any way of drawing, sensible or not."""
    maybe = st.one_of(st.none(), TEMPERATURES)
    return Sampling(
        temperature=draw(TEMPERATURES),
        pitch_temperature=draw(maybe),
        time_temperature=draw(maybe),
        velocity_temperature=draw(maybe),
        pedal_temperature=draw(maybe),
        top_k=draw(st.one_of(st.none(), st.integers(1, 50))),
        top_p=draw(st.one_of(st.none(), st.floats(0.01, 1))),
        min_p=draw(st.one_of(st.none(), st.floats(0.01, 1))),
        longest_note=draw(st.one_of(st.none(), st.floats(0.005, 12))),
        longest_silence=draw(st.one_of(st.none(), st.floats(0.005, 5))),
        densest_second=draw(st.one_of(st.none(), st.integers(1, 100))),
        lowest_key=draw(st.integers(0, 60)),
        highest_key=draw(st.integers(60, 127)),
        break_loops=draw(st.booleans()),
    )


def step_of(codec):
    return 1 / codec.steps_per_second


def check_stream(codec, events, seconds):
    """No orphan, nothing left hanging, in order of time, exactly as long as asked for."""
    down, pedal, time = {}, 0, 0.0
    for event in events:
        assert event.time >= time
        time = event.time
        if event.kind == "on":
            assert event.number not in down
            assert 1 <= event.value <= 127
            down[event.number] = event.time
        elif event.kind == "off":
            assert event.time > down.pop(event.number)
        else:
            assert event.number == SUSTAIN
            assert event.value != pedal
            pedal = event.value
    assert not down
    assert pedal == 0
    assert abs(time - seconds) <= step_of(codec) / 2 + 1e-9
    performance = Performance.from_events(events)
    assert performance.duration == time
    assert performance.notes["offset"].max() == time
    return performance


def longest_gap(performance):
    """The longest time in seconds without a key down, after the first onset."""
    notes = performance.notes
    sounded = np.maximum.accumulate(notes["offset"])
    return float(np.maximum(notes["onset"][1:] - sounded[:-1], 0).max(initial=0.0))


@settings(max_examples=40)
@given(
    codec=CODEC_OR_VARIANT,
    scale=st.sampled_from([0.0, 1.0, 3.0, 30.0, 1e30]),
    sampling=samplings(),
    seconds=st.one_of(st.floats(0.011, 0.5), st.floats(0.5, 2.0)),
    seed=st.integers(0, 2**63),
)
def test_no_note_hangs_no_release_is_an_orphan_and_the_pedal_is_up(
    codec, scale, sampling, seconds, seed
):
    performer = table_player(codec, scale, seed % 7)
    stream = list(performer.play(unconditional(codec, seconds), sampling, seed))
    performance = check_stream(codec, stream, seconds)
    step = step_of(codec)
    notes = performance.notes
    if sampling.longest_note is not None:
        longest = max(sampling.longest_note, step) + step
        assert (notes["offset"] - notes["onset"]).max() <= longest
    assert performance.start <= 0.5 + 1e-9
    if sampling.longest_silence is not None:
        assert longest_gap(performance) <= max(sampling.longest_silence, step) + step


@settings(max_examples=20)
@given(
    codec=st.sampled_from([*EVERY, MidiLike(max_shift=7)]),
    scale=st.sampled_from([1.0, 3.0, 10.0]),
    temperature=st.floats(0.5, 2),
    seed=st.integers(0, 1000),
)
def test_the_tokens_are_those_of_the_performance(codec, scale, temperature, seed):
    performer = table_player(codec, scale, seed)
    prompt = unconditional(codec, 8.0)
    take = performer.takes(prompt, Sampling(temperature=temperature), seed, 1)[0]
    again = codec.encode(take.performance)
    assert again[: len(take.tokens)].tolist() == take.tokens.tolist()
    rest = {codec.vocabulary.describe(token)[0] for token in again[len(take.tokens) :].tolist()}
    assert rest <= {"note_off", "pedal"}


WISHES = {
    "time never to pass": {
        "note_on": range(128),
        "velocity": range(33),
        "pedal": range(2),
        "shift_major": range(1),
        "shift_minor": range(1),
    },
    "nothing but time": {"shift": range(1, 126), "shift_major": range(6, 13)},
    "the smallest shifts": {
        "shift": range(1, 2),
        "shift_major": range(1),
        "shift_minor": range(1, 2),
    },
    "long notes": {"duration_major": range(24, 25), "shift_major": range(1)},
    "one key for ever": {"note_on": range(60, 61)},
    "velocities only": {"velocity": range(33)},
    "the pedal only": {"pedal": range(2)},
    "releases only": {"note_off": range(128)},
    "padding": {"pad": range(1), "eos": range(1)},
}


@pytest.mark.parametrize("codec", EVERY, ids=CODECS)
@pytest.mark.parametrize("wish", WISHES)
def test_a_model_that_wants_only_one_thing_still_ends(codec, wish):
    performer = Performer(Stubborn(wanting(codec, **WISHES[wish])), codec)
    for sampling in (Sampling(), Sampling(temperature=0, break_loops=False, densest_second=20)):
        playing = performer.perform(unconditional(codec, 3.0), sampling, 1)
        performance = check_stream(codec, [event for _, event in playing], 3.0)
        onsets = performance.notes["onset"]
        within = np.searchsorted(onsets, onsets + 1 - 1e-6) - np.arange(len(onsets))
        assert within.max() <= sampling.densest_second
        most = 3 * sampling.densest_second + 250
        assert len(playing.take(0).tokens) <= max(3, codec.stride) * most


@pytest.mark.parametrize("codec", EVERY, ids=CODECS)
def test_the_close_lets_the_last_chord_ring(codec):
    performer = table_player(codec, 2.0)
    for take in performer.takes(unconditional(codec, 10.0), Sampling(), 5, 4):
        notes = take.performance.notes
        assert notes["onset"].max() <= 8.5
        sounding = notes[notes["offset"] > 8.5 + 1.0]  # no shift is longer
        latest = sounding["onset"].max()
        last = sounding[sounding["onset"] > latest - 0.05]
        assert len(last)
        assert (last["offset"] == 10.0).all()


def test_onsets_become_rarer_before_the_close():
    codec = CODECS["performance-rnn"]
    takes = table_player(codec, 2.0).takes(unconditional(codec, 10.0), Sampling(), 0, 30)
    onsets = np.concatenate([take.performance.notes["onset"] for take in takes])
    usual = ((onsets >= 1) & (onsets < 6)).sum() / 5
    first, second = (((onsets >= a) & (onsets < a + 1.25)).sum() / 1.25 for a in (6.0, 7.25))
    assert first < usual
    assert second < 0.6 * usual
    assert not (onsets > 8.5).any()


def resting(codec):
    """A model that lets as much time pass as it may, and releases what it had to strike."""
    wish = wanting(codec, note_off=range(128), strength=200)
    wish[codec.vocabulary.ids("shift")] = np.arange(codec.max_shift)
    return Performer(Stubborn(wish), codec)


def test_a_last_chord_is_asked_for_where_nothing_sounds():
    codec = CODECS["performance-rnn"]
    prompt, sampling = unconditional(codec, 30.0), Sampling(temperature=0, longest_silence=None)
    notes = resting(codec).takes(prompt, sampling, 0, 1)[0].performance.notes
    assert notes["onset"][-1] == 28.5
    assert notes["offset"][-1] == 30.0
    assert notes["onset"][:-1].max() <= 0.5


@pytest.mark.parametrize("silence", [0.2, 1.0, 3.0])
def test_silence_lasts_no_longer_than_allowed(silence):
    codec = CODECS["performance-rnn"]
    prompt, sampling = unconditional(codec, 20.0), Sampling(temperature=0, longest_silence=silence)
    take = resting(codec).takes(prompt, sampling, 0, 1)[0]
    assert longest_gap(take.performance) == pytest.approx(silence, abs=1e-9)


@pytest.mark.parametrize("name", CODECS)
def test_a_piano_has_88_keys(name):
    codec = CODECS[name]
    take = table_player(codec).takes(unconditional(codec, 5), Sampling(), 0, 1)[0]
    assert take.performance.notes["pitch"].min() >= 21
    assert take.performance.notes["pitch"].max() <= 108
    few = Sampling(lowest_key=60, highest_key=64)
    take = table_player(codec).takes(unconditional(codec, 5), few, 0, 1)[0]
    assert set(take.performance.notes["pitch"].tolist()) <= {60, 61, 62, 63, 64}
