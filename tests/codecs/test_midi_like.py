"""The classic mistakes of published encoders, each made impossible, and what a codec refuses."""

import numpy as np
import pytest

from espressivo.codecs import CODECS, MidiLike, decode
from espressivo.errors import CodecError
from espressivo.performance import SUSTAIN, Performance, Track

RNN = CODECS["performance-rnn"]
PEDAL = CODECS["oore2018-pedal"]


def spoken(codec, performance) -> list[tuple[str, int]]:
    return [codec.vocabulary.describe(token) for token in codec.encode(performance)]


# -- time ------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", CODECS)
def test_the_error_of_an_onset_is_half_a_step_at_minute_1_and_60(name):
    rng = np.random.default_rng(1)
    onset = np.cumsum(rng.uniform(0.05, 1.4, 5_500))
    notes = [(t, t + 0.015, 40 + i % 40, 70, 0) for i, t in enumerate(onset)]
    codec = CODECS[name]
    heard = decode(codec, codec.encode(Performance(notes))).notes["onset"]
    error = np.abs(heard - onset) * codec.steps_per_second
    for minute in (1, 60):
        within = (onset > 60 * (minute - 1)) & (onset < 60 * minute)
        assert 0.45 < error[within].max() <= 0.5 + 1e-6
    assert onset[-1] > 3600


def test_halves_round_up():
    assert RNN.quantize(Performance([(0.005, 0.1, 60, 64, 0)])).notes["onset"][0] == 0.01
    assert RNN.quantize(Performance([(0.0049, 0.1, 60, 64, 0)])).notes["onset"][0] == 0.0


def test_a_long_gap_is_whole_shifts_and_then_the_rest():
    words = spoken(RNN, Performance([(2.5, 3.5, 60, 64, 0)]))
    assert words == [
        ("shift", 100),
        ("shift", 100),
        ("shift", 50),
        ("velocity", 16),
        ("note_on", 60),
        ("shift", 100),
        ("note_off", 60),
    ]


def test_a_note_lasts_a_step_at_least():
    assert RNN.quantize(Performance([(1.0, 1.001, 60, 64, 0)])).notes["offset"][0] == 1.01


def test_a_time_beyond_the_grid_is_refused():
    with pytest.raises(CodecError, match=r"1e\+300 s is too late for steps of 1/100 s"):
        RNN.encode(Performance([(1e300, 2e300, 60, 64, 0)]))


# -- velocity --------------------------------------------------------------------------------


def test_velocity_bins_are_those_published():
    assert [RNN.bin_of(v) for v in (1, 4, 5, 64, 124, 125, 127)] == [1, 1, 2, 16, 31, 32, 32]
    assert [RNN.velocity_of(b) for b in (1, 2, 16, 32)] == [1, 5, 61, 125]


@pytest.mark.parametrize("bins", [1, 2, 5, 31, 32, 33, 64, 100, 127])
def test_a_bin_is_played_inside_itself(bins):
    codec = MidiLike(velocity_bins=bins)
    for velocity_bin in codec.vocabulary.kinds["velocity"]:
        assert codec.bin_of(codec.velocity_of(velocity_bin)) == velocity_bin
    assert {codec.bin_of(v) for v in range(1, 128)} == set(codec.vocabulary.kinds["velocity"])


def test_velocity_is_told_only_when_its_bin_changes():
    loud = [(i, i + 0.5, 60, velocity, 0) for i, velocity in enumerate([61, 64, 62, 65, 66, 61])]
    words = spoken(RNN, Performance(loud))
    assert [value for kind, value in words if kind == "velocity"] == [16, 17, 16]


def test_without_velocities_every_note_is_played_at_100():
    plain = CODECS["performance-rnn-plain"]
    assert plain.quantize(Performance([(0, 1, 60, 3, 0)])).notes["velocity"].tolist() == [100]


# -- order -----------------------------------------------------------------------------------


def test_releases_come_before_onsets_and_onsets_by_pitch():
    notes = [
        (0.0, 1.0, 72, 61, 0),
        (0.0, 1.0, 48, 61, 0),
        (1.002, 2, 64, 61, 0),
        (1.0, 2, 67, 61, 0),
    ]
    keys = [w for w in spoken(RNN, Performance(notes)) if w[0].startswith("note")]
    assert keys == [
        ("note_on", 48),
        ("note_on", 72),
        ("note_off", 48),
        ("note_off", 72),
        ("note_on", 64),
        ("note_on", 67),
        ("note_off", 64),
        ("note_off", 67),
    ]


def test_played_ties_keep_the_order_in_which_keys_were_struck():
    chord = Performance([(1.002, 2, 64, 61, 0), (1.0, 2, 67, 61, 0)])
    words = spoken(MidiLike(ties="played"), chord)
    assert [value for kind, value in words if kind == "note_on"] == [67, 64]


def test_releases_at_one_step_come_in_the_order_their_notes_began():
    notes = [(0.0, 1.0, 72, 61, 0), (0.5, 1.0, 48, 61, 0)]
    keys = [value for kind, value in spoken(RNN, Performance(notes)) if kind == "note_off"]
    assert keys == [72, 48]


# -- what cannot be said ---------------------------------------------------------------------


def test_a_restruck_key_ends_its_earlier_note():
    notes = RNN.quantize(Performance([(0, 3, 60, 61, 0), (1, 2, 60, 61, 0)])).notes
    assert notes[["onset", "offset"]].tolist() == [(0, 1), (1, 2)]


def test_of_equal_onsets_the_longest_stays_and_then_the_loudest():
    doubled = [(0, 1, 60, 9, 0), (0.001, 2, 60, 61, 0), (0.002, 2, 60, 81, 0)]
    notes = RNN.quantize(Performance(doubled)).notes
    assert notes[["offset", "velocity"]].tolist() == [(2.0, 81)]


def test_drums_and_keys_outside_the_range_are_lost():
    tracks = (Track(), Track(0, is_drum=True))
    played = Performance([(0, 1, 20, 64, 0), (0, 1, 21, 64, 0), (0, 1, 40, 64, 1)], tracks=tracks)
    assert CODECS["score2perf"].quantize(played).notes["pitch"].tolist() == [21]


def test_silence_is_no_ids():
    for codec in CODECS.values():
        assert codec.encode(Performance()).tolist() == []
        assert decode(codec, []) == Performance() == codec.quantize(Performance())


# -- pedal -----------------------------------------------------------------------------------


def test_sustain_is_folded_before_the_grid():
    # Struck again 4 ms before the lift, in the same step: folded first, the first note ends there.
    played = Performance(
        [(0.0, 0.1, 60, 61, 0), (0.996, 1.5, 60, 61, 0)],
        [(0.0, SUSTAIN, 127, 0), (2.0, SUSTAIN, 0, 0)],
    )
    notes = RNN.quantize(played).notes
    assert notes[["onset", "offset"]].tolist() == [(0.0, 1.0), (1.0, 2.0)]


def test_a_pedal_pressed_at_zero_is_lifted_again():
    played = Performance(
        [(0, 1, 60, 61, 0), (2, 3, 62, 61, 0)],
        [(0, SUSTAIN, 127, 0), (1.2, SUSTAIN, 0, 0), (2, SUSTAIN, 90, 0), (2.5, SUSTAIN, 3, 0)],
    )
    heard = decode(PEDAL, PEDAL.encode(played)).controls
    assert heard[["time", "value"]].tolist() == [(0, 127), (1.2, 0), (2, 127), (2.504, 0)]


def test_a_step_says_only_the_pedal_it_ends_with():
    played = Performance(
        [(0, 1, 60, 61, 0)],
        [(0.5, SUSTAIN, 127, 0), (0.501, SUSTAIN, 0, 0), (0.502, SUSTAIN, 127, 0)],
    )
    moves = [w for w in spoken(PEDAL, played) if w[0] == "pedal"]
    assert moves == [("pedal", 1), ("pedal", 0)]


def test_a_pedal_still_down_is_lifted_with_the_last_note():
    played = Performance([(0, 1, 60, 61, 0)], [(0.4, SUSTAIN, 64, 0)])
    assert PEDAL.quantize(played).controls[["time", "value"]].tolist() == [(0.4, 127), (1.0, 0)]
    too_late = Performance([(0, 1, 60, 61, 0)], [(1.0, SUSTAIN, 64, 0)])
    assert len(PEDAL.quantize(too_late).controls) == 0


# -- settings --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"steps_per_second": 0}, "steps_per_second=0"),
        ({"max_shift": 0}, "max_shift=0"),
        ({"velocity_bins": 128}, r"velocity_bins=128 must lie in 0\.\.127"),
        ({"lowest": 60, "highest": 50}, "lowest=60 and highest=50"),
        ({"pedal": "half"}, "pedal='half' must be 'fold' or 'events'"),
        ({"ties": "random"}, "ties='random' must be 'pitch' or 'played'"),
    ],
)
def test_impossible_settings_are_named(setting, message):
    with pytest.raises(CodecError, match=message):
        MidiLike(**setting)


@pytest.mark.parametrize(
    "codec", [codec for codec in CODECS.values() if isinstance(codec, MidiLike)], ids=str
)
def test_a_piece_starts_from_one_maximal_shift(codec):
    assert codec.vocabulary.describe(codec.start) == ("shift", codec.max_shift)
    assert codec.seconds(codec.max_shift) == 1.0
