import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from espressivo.codecs import CODECS
from espressivo.errors import ConfigError
from espressivo.generation import Performer, Sampling, continuation, unconditional
from espressivo.midi import read_midi
from espressivo.performance import SOFT, SUSTAIN, Performance, Track
from tests.generation.players import EVERY, Table, table_player
from tests.strategies import performances

CODEC = CODECS["performance-rnn"]
PEDAL = CODECS["oore2018-pedal"]


def continued(codec, primer, primer_seconds, seconds, sampling=Sampling(), seed=0):
    prompt = continuation(codec, primer, primer_seconds, seconds)
    return table_player(codec).takes(prompt, sampling, seed, 1)[0]


@pytest.mark.parametrize("seconds", [0, -1, float("nan"), float("inf"), 1e9, 0.001])
def test_a_length_must_be_one(seconds):
    with pytest.raises(ConfigError, match=f"seconds={seconds}"):
        unconditional(CODEC, seconds)


@pytest.mark.parametrize("codec", EVERY, ids=CODECS)
def test_the_primer_is_kept_exactly(codec, samples):
    primer = read_midi(samples / "giantmidi_field.mid").trimmed()
    take = continued(codec, primer, 8.0, 4.0)
    assert take.mark == pytest.approx(8.0)
    assert take.performance.duration == pytest.approx(12.0)
    before = primer.notes[primer.notes["onset"] < 7.99]
    kept = take.performance.notes[take.performance.notes["onset"] < 7.99]
    inside = (before["pitch"] >= codec.lowest) & (before["pitch"] <= codec.highest)
    for name in ("onset", "pitch", "velocity"):
        assert np.array_equal(kept[name], before[name][inside])
    ended = before["offset"][inside] <= 7.99
    early = kept["offset"][ended] == before["offset"][inside][ended]
    held = kept["offset"][ended] >= 8.0  # by a pedal that the codec folds into the notes
    assert (early | held).all()
    assert early.mean() > 0.9


@settings(max_examples=25)
@given(st.sampled_from(EVERY), performances(), st.floats(0.01, 4), st.floats(0.02, 3))
def test_any_primer_is_continued_or_refused(codec, primer, primer_seconds, seconds):
    try:
        take = continued(codec, primer, primer_seconds, seconds)
    except ConfigError as error:
        assert "no note of this codec" in str(error)  # noqa: PT017
        return
    performance, step = take.performance, 1 / codec.steps_per_second
    assert performance.duration == pytest.approx(take.mark + seconds, abs=step / 2 + 1e-9)
    assert take.mark <= primer_seconds + step
    prompt = continuation(codec, primer, primer_seconds, seconds)
    stream = list(table_player(codec).play(prompt, Sampling(), 0))
    assert Performance.from_events(stream) == performance
    assert stream[: len(prompt.opening)] == list(prompt.opening)
    assert all(event.time <= take.mark for event in prompt.opening)
    assert all(event.time >= take.mark for event in stream[len(prompt.opening) :])
    strikes = sum(event.kind == "on" for event in stream)
    assert sum(event.kind == "off" for event in stream) == strikes == len(performance)
    for number in (64, 66, 67):
        moves = performance.controls[performance.controls["number"] == number]
        assert not len(moves) or moves["value"][-1] == 0


def test_the_model_hears_the_primer_and_nothing_after_it(samples):
    primer = read_midi(samples / "giantmidi_joplin.mid").trimmed()
    prompt = continuation(CODEC, primer, 5.0, 3.0)
    whole = CODEC.encode(primer)
    assert np.array_equal(prompt.tokens, whole[: len(prompt.tokens)])
    decoder = CODEC.decoder()
    for token in prompt.tokens.tolist():
        decoder.push(token)
    assert decoder.time <= 5.0
    decoder.push(int(whole[len(prompt.tokens)]))
    assert decoder.time > 5.0


def test_keys_down_at_the_mark_sound_on():
    primer = Performance([(1.0, 9.0, 60, 80, 0), (1.5, 2.003, 64, 70, 0), (7.0, 8.0, 67, 70, 0)])
    take = continued(CODEC, primer, 3.0, 4.0, Sampling(longest_note=5.0))
    first = take.performance.notes[0]
    assert (first["onset"], first["pitch"], first["velocity"]) == (0.0, 60, 80)
    assert 3.0 <= first["offset"] <= 5.01
    second = take.performance.notes[1]
    assert second["offset"] == pytest.approx(1.003, abs=1e-12)
    assert not (take.performance.notes["velocity"][2:] == 70).all()


def test_nothing_happens_between_the_primers_last_event_and_the_mark():
    primer = Performance([(0.0, 0.5, 60, 80, 0), (4.0, 5.0, 64, 80, 0)])
    for seed in range(5):
        notes = continued(CODEC, primer, 1.2, 3.0, seed=seed).performance.notes
        assert (notes["onset"][1:] >= 1.2).all()


def test_pedals_the_codec_folds_lift_at_the_mark_and_their_notes_sound_on():
    primer = Performance(
        [(0.0, 0.5, 60, 80, 0), (1.0, 1.2, 64, 80, 0), (5.0, 6.0, 70, 80, 0)],
        [(0.1, SUSTAIN, 30, 0), (0.2, SUSTAIN, 100, 0), (0.3, SOFT, 90, 0), (5.5, SUSTAIN, 0, 0)],
    )
    performance = continued(CODEC, primer, 3.0, 3.0).performance
    assert performance.controls.tolist() == [
        (0.1, SUSTAIN, 30, 0),
        (0.2, SUSTAIN, 100, 0),
        (0.3, SOFT, 90, 0),
        (3.0, SUSTAIN, 0, 0),
        (3.0, SOFT, 0, 0),
    ]
    assert (performance.notes["offset"][:2] >= 3.0).all()


def test_a_pedal_the_codec_knows_stays_down_over_the_mark():
    primer = Performance(
        [(0.0, 0.5, 60, 80, 0), (1.0, 1.2, 64, 80, 0), (5.0, 6.0, 70, 80, 0)],
        [(0.2, SUSTAIN, 100, 0), (5.5, SUSTAIN, 0, 0)],
    )
    performance = continued(PEDAL, primer, 3.0, 3.0).performance
    assert performance.notes["offset"][:2].tolist() == [0.5, 1.2]
    moves = performance.controls
    assert moves[0].tolist() == (0.2, SUSTAIN, 100, 0)
    assert (moves["time"][1:] >= 3.0).all()
    assert moves["value"][-1] == 0


def test_a_primer_shorter_than_asked_is_used_whole():
    primer = Performance([(2.0, 2.5, 60, 80, 0), (3.0, 4.0, 64, 80, 0)])
    take = continued(CODEC, primer, 20.0, 3.0)
    assert take.mark == 2.0
    assert same_notes(take.performance.notes[:2], primer.shift(-2.0).notes)
    assert continued(CODEC, primer, None, 3.0).mark == 2.0


def same_notes(first, second):
    return np.array_equal(first, second)


def test_only_the_last_part_of_a_long_primer_is_read(samples):
    primer = read_midi(samples / "giantmidi_joplin.mid")
    engine = Table(len(CODEC.vocabulary), context=128)
    prompt = continuation(CODEC, primer, 40.0, 2.0)
    assert len(prompt.tokens) > 128
    Performer(engine, CODEC).takes(prompt, Sampling(), 0, 2)
    assert engine.read_lengths[0] == 64


@pytest.mark.parametrize(
    "primer",
    [
        Performance(),
        Performance([(0.0, 1.0, 36, 80, 0)], tracks=[Track(is_drum=True)]),
    ],
)
def test_a_primer_needs_notes(primer):
    with pytest.raises(ConfigError, match="the primer has no note of this codec"):
        continuation(CODEC, primer, 20.0, 10.0)


@pytest.mark.parametrize("seconds", [0, -3, float("nan"), float("inf")])
def test_the_length_of_a_primer_is_checked(seconds):
    with pytest.raises(ConfigError, match=f"primer_seconds={seconds}"):
        continuation(CODEC, Performance([(0.0, 1.0, 60, 80, 0)]), seconds, 10.0)
