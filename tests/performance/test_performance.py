import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from espressivo.performance import (
    NOTE,
    SOFT,
    SUSTAIN,
    Event,
    Performance,
    Track,
)
from tests.strategies import performances

DUO = (Track(0, False, "piano"), Track(118, True, "drums"))


def heard(performance: Performance, *fields: str) -> list[tuple]:
    return performance.notes[list(fields)].tolist()


# -- what a performance is -------------------------------------------------------------------


def test_notes_are_sorted_by_onset_pitch_track_and_offset():
    rows = [
        (1, 3, 60, 1, 1),
        (1, 2, 60, 2, 1),
        (1, 2, 60, 3, 0),
        (1, 2, 59, 4, 1),
        (0, 9, 99, 5, 0),
    ]
    assert Performance(rows, tracks=DUO).notes["velocity"].tolist() == [5, 4, 3, 2, 1]


@given(performance=performances(), seed=st.integers(0, 99))
@settings(max_examples=25)
def test_the_order_of_rows_does_not_matter(performance, seed):
    shuffled = np.random.default_rng(seed).permutation(len(performance))
    again = performance.replace(notes=performance.notes[shuffled])
    where = ["onset", "offset", "pitch", "track"]
    assert heard(again, *where) == heard(performance, *where)


def test_controls_of_one_moment_keep_their_order():
    rows = [(2.0, 64, 1, 0), (1.0, 64, 9, 0), (1.0, 64, 3, 0), (1.0, 67, 5, 0)]
    assert Performance(controls=rows).controls["value"].tolist() == [9, 3, 5, 1]


@pytest.mark.parametrize(
    ("notes", "message"),
    [
        ([(-0.1, 1, 60, 64, 0)], r"note at a bad time: \(-0.1"),
        ([(0, np.inf, 60, 64, 0)], r"note at a bad time: .*inf"),
        ([(np.nan, 1, 60, 64, 0)], r"note at a bad time: \(nan"),
        ([(0, 1, 60, 64, 0), (1, 1, 61, 64, 0)], r"does not end after its onset: .*61"),
        ([(0, 1, 128, 64, 0)], r"pitch above 127: .*128"),
        ([(0, 1, 300, 64, 0)], r"pitch=300 is outside 0\.\.255"),
        ([(0, 1, -1, 64, 0)], r"pitch=-1 is outside 0\.\.255"),
        ([(0, 1, 60, 0, 0)], r"velocity not in 1\.\.127"),
        ([(0, 1, 60, 128, 0)], r"velocity not in 1\.\.127: .*128"),
        ([(0, 1, 60, 64, 1)], r"note of a track not among 1"),
        ([(0, 1, 60, 64)], "zip"),
    ],
)
def test_impossible_notes_are_named(notes, message):
    with pytest.raises(ValueError, match=message):
        Performance(notes)


@pytest.mark.parametrize(
    ("controls", "message"),
    [
        ([(-1, 64, 1, 0)], "control at a bad time"),
        ([(0, 64, 128, 0)], "control value above 127"),
        ([(0, 128, 1, 0)], "control number above 127"),
        ([(0, 64, 1, 3)], "control of a track not among 1"),
    ],
)
def test_impossible_controls_are_named(controls, message):
    with pytest.raises(ValueError, match=message):
        Performance(controls=controls)


def test_impossible_tracks_beats_and_tempi_are_named():
    with pytest.raises(ValueError, match="program 128"):
        Performance(tracks=[Track(128)])
    with pytest.raises(ValueError, match="257 tracks"):
        Performance(tracks=[Track()] * 257)
    with pytest.raises(ValueError, match="beat at a bad time"):
        Performance(beats=[(-1, 0, 0, 4)])
    with pytest.raises(ValueError, match="tempo at a bad time"):
        Performance(tempi=[(np.nan, 120)])


def test_nothing_can_be_changed_from_outside():
    rows = np.array([(0, 1, 60, 64, 0)], dtype=NOTE)
    performance = Performance(rows)
    rows["pitch"] = 99
    assert performance.notes["pitch"].tolist() == [60]
    for part in (performance, performance.sustained(), performance.slice(0, 1)):
        with pytest.raises(ValueError, match="read-only"):
            part.notes["pitch"] = 1
    with pytest.raises(AttributeError):
        performance.notes = rows


def test_equality_is_everything_that_was_played():
    one = Performance([(0, 1, 60, 64, 0)], [(0, 64, 1, 0)], tempi=[(0, 120)])
    assert one == Performance([(0, 1, 60, 64, 0)], [(0, 64, 1, 0)], tempi=[(0, 120)])
    assert one != one.replace(tempi=[(0, 121)])
    assert one != one.replace(tracks=[Track(1)])
    assert one != one.replace(controls=[(0, 64, 2, 0)])
    assert one != "one"
    with pytest.raises(TypeError):
        hash(one)


def test_length_duration_start_and_what_it_says_of_itself():
    one = Performance([(1, 2, 60, 64, 0), (1.5, 1.8, 61, 64, 0)], [(2.5, 64, 0, 0)])
    assert (len(one), one.start, one.duration) == (2, 1.0, 2.5)
    assert repr(one) == "Performance(2.50 s, 2 notes, 1 controls)"
    assert repr(Performance(tracks=DUO)) == "Performance(0.00 s, 0 notes, 0 controls, 2 tracks)"
    assert (Performance().start, Performance().duration) == (0.0, 0.0)


# -- what can be done with one ---------------------------------------------------------------


def test_select_keeps_tracks_drums_or_pitches():
    both = Performance(
        [(0, 1, 60, 64, 0), (0, 1, 40, 64, 1), (0, 1, 72, 64, 0)],
        [(0, 64, 1, 0), (0, 64, 2, 1)],
        tracks=DUO,
    )
    assert heard(both.select(tracks=[1]), "pitch") == [(40,)]
    assert both.select(tracks=[1]).controls["value"].tolist() == [2]
    assert both.select(drums=False).notes["pitch"].tolist() == [60, 72]
    assert both.select(drums=True).notes["pitch"].tolist() == [40]
    assert both.select(pitches=range(60, 72)).notes["pitch"].tolist() == [60]
    assert both.select(pitches=range(40, 61)).controls["value"].tolist() == [1, 2]
    assert len(both.select(tracks=[0], drums=True)) == 0
    assert both.select(tracks=[0]).tracks == DUO
    assert both.select() == both


def test_slice_cuts_and_moves_to_zero():
    long = Performance(
        [(0, 5, 50, 64, 0), (1, 2, 60, 64, 0), (2, 9, 61, 64, 0), (4, 5, 62, 64, 0)],
        [(0.5, SUSTAIN, 80, 0), (3, SUSTAIN, 0, 0), (4, SUSTAIN, 1, 0)],
        beats=[(0, 0, 0, 4), (1, 0, 1, 4), (4, 1, 0, 4)],
        tempi=[(0, 100), (2, 90), (4, 80)],
    )
    cut = long.slice(1, 4)
    assert heard(cut, "onset", "offset", "pitch") == [(0, 1, 60), (1, 3, 61)]
    assert cut.controls[["time", "value"]].tolist() == [(0, 80), (2, 0)]
    assert cut.beats[["time", "position"]].tolist() == [(0, 1)]
    assert cut.tempi.tolist() == [(0, 100), (1, 90)]
    assert long.slice(2, 3).tempi.tolist() == [(0, 90)]
    assert len(long.slice(3, 3)) == 0


def test_slice_opens_each_pedal_where_it_stood():
    moves = [
        (0, SUSTAIN, 80, 0),
        (1, SUSTAIN, 90, 0),
        (0, SOFT, 30, 0),
        (2, SOFT, 0, 0),
        (0.5, SUSTAIN, 20, 1),
    ]
    cut = Performance(controls=moves, tracks=DUO).slice(3, 4)
    assert cut.controls.tolist() == [(0, SUSTAIN, 20, 1), (0, SUSTAIN, 90, 0)]
    exactly = Performance(controls=moves, tracks=DUO).slice(1, 4)
    assert exactly.controls[["time", "number", "value", "track"]].tolist() == [
        (0, SUSTAIN, 80, 0),
        (0, SOFT, 30, 0),
        (0, SUSTAIN, 20, 1),
        (0, SUSTAIN, 90, 0),
        (1, SOFT, 0, 0),
    ]


@given(performance=performances(), start=st.floats(0, 4), length=st.floats(0, 4))
@settings(max_examples=25)
def test_a_slice_is_a_valid_performance_within_its_bounds(performance, start, length):
    cut = performance.slice(start, start + length)
    assert Performance(cut.notes, cut.controls, tracks=cut.tracks) == cut
    assert cut.duration <= length + 1e-9
    inside = (performance.notes["onset"] >= start) & (performance.notes["onset"] < start + length)
    assert len(cut) == inside.sum()


def test_shift_moves_everything():
    one = Performance([(1, 2, 60, 64, 0)], [(1, 64, 1, 0)], [(1, 0, 0, 4)], [(1, 100)])
    moved = one.shift(-0.5)
    assert heard(moved, "onset", "offset") == [(0.5, 1.5)]
    assert moved.controls["time"][0] == moved.beats["time"][0] == moved.tempi["time"][0] == 0.5
    with pytest.raises(ValueError, match=r"note at a bad time: \(-0.5"):
        one.shift(-1.5)


def test_a_note_too_short_for_its_new_place_is_dropped():
    blink = Performance([(0, 1e-12, 60, 64, 0), (0, 1, 61, 64, 0)])
    assert blink.shift(1e6).notes["pitch"].tolist() == [61]


def test_stretch_plays_slower_and_says_so():
    one = Performance([(1, 2, 60, 64, 0)], [(1, 64, 1, 0)], [(1, 0, 0, 4)], [(1, 100)])
    slow = one.stretch(2)
    assert heard(slow, "onset", "offset") == [(2, 4)]
    assert (slow.controls["time"][0], slow.beats["time"][0]) == (2, 2)
    assert slow.tempi.tolist() == [(2, 50)]


@pytest.mark.parametrize("factor", [0, -1, float("nan"), float("inf")])
def test_stretch_needs_a_factor_above_zero(factor):
    with pytest.raises(ValueError, match=f"stretch factor {factor} must be above zero"):
        Performance([(1, 2, 60, 64, 0)]).stretch(factor)


def test_transpose_moves_keys_but_not_drums():
    both = Performance([(0, 1, 126, 64, 0), (0, 1, 60, 64, 0), (0, 1, 40, 64, 1)], tracks=DUO)
    assert heard(both.transpose(2), "pitch", "track") == [(40, 1), (62, 0)]
    assert heard(both.transpose(-61), "pitch", "track") == [(40, 1), (65, 0)]
    assert both.transpose(0) == both


def test_merge_sounds_together_each_on_its_own_tracks():
    one = Performance([(0, 1, 60, 64, 0)], [(0, 64, 1, 0)], tempi=[(0, 100)])
    two = Performance([(0, 1, 50, 64, 1)], [(0, 64, 2, 1)], tempi=[(0, 50)], tracks=DUO)
    both = Performance.merge([one, two])
    assert heard(both, "pitch", "track") == [(50, 2), (60, 0)]
    assert both.controls[["value", "track"]].tolist() == [(1, 0), (2, 2)]
    assert both.tracks == (Track(), *DUO)
    assert both.tempi.tolist() == [(0, 100)]
    assert Performance.merge([]) == Performance()
    with pytest.raises(ValueError, match="300 tracks"):
        Performance.merge([one] * 300)


def test_trimmed_begins_with_its_first_note():
    late = Performance([(3, 4, 60, 64, 0)], [(1, 64, 80, 0), (5, 64, 0, 0)])
    trimmed = late.trimmed()
    assert heard(trimmed, "onset", "offset") == [(0, 1)]
    assert trimmed.controls[["time", "value"]].tolist() == [(0, 80), (2, 0)]
    assert trimmed.trimmed() is trimmed
    assert Performance().trimmed() == Performance()


# -- events ----------------------------------------------------------------------------------


def test_events_tell_controls_then_releases_then_onsets():
    played = Performance([(0, 1, 60, 64, 0), (1, 2, 60, 65, 0)], [(1, 64, 127, 0)])
    assert played.events() == [
        Event(0, "on", 60, 64),
        Event(1, "control", 64, 127),
        Event(1, "off", 60),
        Event(1, "on", 60, 65),
        Event(2, "off", 60),
    ]


@given(performance=performances())
@settings(max_examples=25)
def test_events_lead_back_to_what_a_keyboard_can_play(performance):
    """One note of a key at a time; what overlaps is cut where the key is struck again."""
    once = Performance.from_events(performance.events(), performance.tracks)
    assert Performance.from_events(once.events(), once.tracks) == once
    assert np.array_equal(once.controls, performance.controls)


def test_from_events_forgives():
    stream = [
        Event(0, "off", 60),
        Event(0, "on", 60, 64),
        Event(1, "on", 60, 70),
        Event(1, "on", 61, 1),
        Event(1, "off", 61),
        Event(2, "on", 62, 80),
        Event(3, "control", 64, 0),
    ]
    notes = Performance.from_events(stream).notes
    assert notes.tolist() == [(0, 1, 60, 64, 0), (1, 3, 60, 70, 0), (2, 3, 62, 80, 0)]
    assert Performance.from_events([]) == Performance()


def test_from_events_keeps_tracks_apart():
    stream = [
        Event(0, "on", 60, 64),
        Event(0, "on", 60, 65, 1),
        Event(1, "off", 60, 0, 1),
        Event(2, "off", 60),
    ]
    both = Performance.from_events(stream, DUO)
    assert heard(both, "offset", "track") == [(2, 0), (1, 1)]
