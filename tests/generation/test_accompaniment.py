"""Whatever a model wants, the melody is played, in its time, and everything else around it."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from espressivo.codecs import CODECS, decode
from espressivo.codecs.melody import MelodySteps
from espressivo.errors import ConfigError
from espressivo.generation import Performer, Sampling, accompaniment
from espressivo.generation.accompaniment import led, line_of
from espressivo.performance import SUSTAIN, Performance, Track
from tests.generation.players import Memory, Stubborn, Table, wanting

RNN = CODECS["performance-rnn"]
STEPS = MelodySteps()
FREE = Sampling(break_loops=False)


class Listener(Table):
    """A table of logits that is told of melodies, and remembers what it was told."""

    clock = True

    def __init__(self, codec, scale=3.0, seed=0, context=None, melody_steps=300):
        super().__init__(len(codec.vocabulary), scale, seed, context)
        self.melody_steps = melody_steps
        self.sources, self.clocks = [], []

    def start(self, batch, source=None):
        self.sources.append(source)
        return Memory(np.zeros((batch, 0), dtype=np.int64))

    def read(self, tokens, state, controls=None):
        self.clocks.append(controls[:, -1])
        return super().read(tokens, state)

    def step(self, tokens, state, controls=None):
        self.clocks.append(controls)
        return super().step(tokens, state)


class Willing(Listener):
    """Wants the same logits for ever."""

    def __init__(self, codec, logits):
        super().__init__(codec)
        self.logits = Stubborn(logits).logits


def melody(pitches=(60, 60, 67, 67, 69, 69, 67), beat=0.5, begins=0.0):
    rows = [
        (begins + i * beat + 0.003 * i, begins + (i + 0.8) * beat, pitch, 61 + 3 * i % 60, 0)
        for i, pitch in enumerate(pitches)
    ]
    return Performance(rows)


def played(melody, codec=RNN, sampling=FREE, seed=0, count=1, engine=None):
    engine = engine or Listener(codec, seed=seed)
    return Performer(engine, codec).takes(accompaniment(codec, melody), sampling, seed, count)


def rows(performance, track=0):
    chosen = performance.notes[performance.notes["track"] == track]
    return [(round(n[0], 9), round(n[1], 9), n[2], n[3]) for n in chosen.tolist()]


@settings(max_examples=15)
@given(
    st.lists(
        st.tuples(st.integers(0, 200), st.integers(1, 99), st.integers(0, 127)),
        min_size=1,
        max_size=9,
    ),
    st.sampled_from(["performance-rnn", "performance-rnn-plain", "oore2018-pedal", "score2perf"]),
    st.integers(0, 9),
)
def test_every_note_of_a_melody_is_kept_as_it_was_given(entries, name, seed):
    codec = CODECS[name]
    notes = [(a / 99, (a + b) / 99, pitch, 1 + pitch, 0) for a, b, pitch in entries if pitch < 127]
    line = line_of(Performance(notes))
    if not len(codec.encode(line)):
        return
    (take,) = played(line, codec, replace(FREE, densest_second=10), seed)
    starts = [(n[0], n[2], n[3]) for n in rows(take.performance)]
    assert starts == [(n[0], n[2], n[3]) for n in rows(line)]
    heard, said = decode(codec, take.tokens), codec.quantize(line.trimmed())
    onsets = {(n[0], n[2]): n[3] for n in heard.notes.tolist()}
    for onset, _, pitch, velocity, _ in said.notes.tolist():
        assert onsets[onset, pitch] == velocity


def test_lengths_are_kept_too_and_the_rest_stands_in_a_second_track():
    (take,) = played(melody())
    assert rows(take.performance) == rows(melody())
    assert [track.name for track in take.performance.tracks] == ["melody", "accompaniment"]
    assert len(rows(take.performance, track=1)) > 10
    assert take.performance.duration == pytest.approx(melody().duration + 1.5, abs=0.02)


def test_the_model_hears_the_melody_where_it_is_played():
    (take,) = played(melody())
    heard = {(n[0], n[2]) for n in decode(RNN, take.tokens).notes.tolist()}
    assert {(round(n[0] + 1e-9, 2), n[2]) for n in melody().notes.tolist()} <= heard


def test_a_model_that_wants_only_time_to_pass_plays_the_melody_alone():
    engine = Willing(RNN, wanting(RNN, shift=range(100, 101)))
    (take,) = played(melody(), engine=engine)
    assert rows(take.performance) == rows(melody())
    assert rows(take.performance, track=1) == []


def test_a_model_that_wants_a_key_all_the_time_does_not_get_the_melodys():
    engine = Willing(RNN, wanting(RNN, note_on=[67], note_off=[67]))
    (take,) = played(melody(), engine=engine)
    others = rows(take.performance, track=1)
    assert others
    for onset, ending, pitch, _ in rows(melody()):
        for begin, end, other, _ in others:
            if other == pitch:
                assert not onset - 0.1 <= begin < ending - 0.02
                assert not begin < onset < end - 0.02


def test_a_high_melody_stays_on_top_and_a_low_one_need_not():
    (take,) = played(melody((62, 72, 60, 76, 64)))
    for onset, ending, pitch, _ in rows(take.performance):
        for begin, _, other, _ in rows(take.performance, track=1):
            assert other < pitch or not onset + 0.01 <= begin < ending - 0.02
    (take,) = played(melody((40, 43, 45, 40, 38)))
    assert any(n[2] > 45 for n in rows(take.performance, track=1))


def test_the_times_of_the_file_are_kept_and_the_silence_before_it():
    late = melody(begins=7.25)
    (take,) = played(late)
    assert rows(take.performance) == rows(late)
    assert min(n[0] for n in rows(take.performance, track=1)) >= 7.25


def test_keys_that_the_model_cannot_say_are_kept_and_not_heard():
    codec = CODECS["score2perf"]
    high = melody((60, 120, 64, 20, 67))
    (take,) = played(high, codec)
    assert rows(take.performance) == rows(high)
    with pytest.raises(ConfigError, match="no note that this model can hear"):
        accompaniment(codec, melody((120, 121)))
    with pytest.raises(ConfigError, match="no notes"):
        accompaniment(codec, Performance())


def test_the_melody_of_a_chorale_is_drawn_out_and_that_of_a_track_taken():
    chords = Performance.merge([melody(), melody().transpose(-5), melody().transpose(-12)])
    (take,) = played(chords)
    assert rows(take.performance) == rows(line_of(chords))
    assert [n[2] for n in rows(take.performance)] == [n[2] for n in rows(melody())]
    named = Performance.merge([melody().transpose(24), melody()])
    named = named.replace(tracks=(Track(), Track(name="Melody")))
    assert rows(line_of(named)) == rows(melody())
    (again,) = played(take.performance)
    assert rows(again.performance) == rows(take.performance)


def test_a_pedal_of_the_melody_is_left_out_and_one_of_the_model_is_its_own():
    pedalled = melody().replace(
        controls=np.array([(0.1, SUSTAIN, 127, 0)], melody().controls.dtype)
    )
    codec = CODECS["oore2018-pedal"]
    engine = Willing(codec, wanting(codec, strength=9.0, shift=range(125, 126), pedal=range(2)))
    (take,) = played(pedalled, codec, engine=engine)
    assert set(take.performance.controls["track"].tolist()) == {1}
    assert take.performance.controls["value"][-1] == 0


def test_takes_are_drawn_apart_and_repeat_with_their_seed():
    one, two = played(melody(), count=2)
    assert rows(one.performance, 1) != rows(two.performance, 1)
    again, _ = played(melody(), count=2)
    assert again.performance == one.performance
    assert again.provenance == one.provenance


def test_a_take_can_be_played_again_from_its_tokens():
    (take,) = played(melody(begins=2.0))
    primer = np.array(take.provenance.primer)
    assert take.provenance.mark == 2.0
    prompt = led(RNN, primer, take.provenance.mark, line_of(take.performance))
    (again,) = Performer(Listener(RNN), RNN).takes(prompt, FREE, 0, 1)
    assert again.performance == take.performance
    coarse = led(RNN, primer, 2.0)
    (other,) = Performer(Listener(RNN), RNN).takes(coarse, FREE, 0, 1)
    assert other.tokens.tolist() == take.tokens.tolist()
    with pytest.raises(ConfigError, match="not the one"):
        led(RNN, primer, 2.0, melody().stretch(1.5))


def test_the_encoder_reads_the_melody_and_the_clock_runs():
    engine = Listener(RNN)
    (take,) = played(melody(), engine=engine)
    (source,) = engine.sources
    said = RNN.quantize(melody())
    assert source[0].tolist() == STEPS.encode(said).tolist()
    clocks = np.concatenate(engine.clocks)[:, 0]
    assert clocks[0] == 0
    assert (np.diff(clocks) >= 0).all()
    assert clocks[-1] / 10 <= take.performance.duration


def test_a_long_melody_is_read_stretch_by_stretch():
    """Twelve seconds at a time: the next stretch begins where eight of them have passed."""
    long = melody((60, 62, 64, 65, 67, 69, 71, 72) * 10)
    engine = Listener(RNN, melody_steps=120)
    takes = played(long, count=2, engine=engine)
    for take in takes:
        assert rows(take.performance) == rows(long)
    assert 7 < len(engine.sources) < 16
    first = engine.sources[0]
    assert first.shape[0] == 2
    assert max(source.shape[1] for source in engine.sources) <= 122
    assert all((source >= 0).any(axis=1).all() for source in engine.sources)
    clocks = np.stack(engine.clocks)[..., 0]
    assert clocks.max() < 150, "the last stretch ends with the melody, and rings"
    assert min(length for length in engine.read_lengths[1:]) > 5, "what was played is heard again"
    starts = [pitches_of(source[0])[0] for source in engine.sources[:-1]]
    assert len(set(starts)) > 1


def pitches_of(source):
    return [STEPS.vocabulary.describe(t)[1] for t in source.tolist() if t >= 4]


def test_a_small_context_is_renewed_like_a_stretch():
    engine = Listener(RNN, context=64)
    (take,) = played(melody((60, 64, 67, 72) * 5), engine=engine)
    assert len(take.tokens) > 150
    assert len(engine.sources) > 3
    assert max(engine.read_lengths) <= 32


def test_only_a_model_that_reads_melodies_can_accompany():
    with pytest.raises(ConfigError, match="reads no melodies"):
        played(melody(), engine=Table(len(RNN.vocabulary)))


def test_limits_of_the_sampling_do_not_touch_the_melody():
    strict = replace(
        FREE, longest_note=0.2, densest_second=1, lowest_key=100, highest_key=101, temperature=0.0
    )
    wide = melody((60, 84, 62, 90), beat=1.0)
    (take,) = played(wide, sampling=strict)
    assert rows(take.performance) == rows(wide)
