"""Each rule of note-seq's `apply_sustain_control_changes`, one by one."""

import pytest
from hypothesis import given, settings

from espressivo.codecs import reference
from espressivo.performance import SOFT, SUSTAIN, Performance, Track
from tests.strategies import performances


def fold(notes, pedal, **more) -> list[tuple[float, float]]:
    """Fold by both twins; rows of the pedal are (time, value)."""
    rows = [(onset, offset, pitch, 64, 0) for onset, offset, pitch in notes]
    played = Performance(rows, [(time, SUSTAIN, value, 0) for time, value in pedal], **more)
    folded = played.sustained()
    assert folded == reference.sustained(played)
    return folded.notes[["onset", "offset"]].tolist()


def test_a_note_lasts_until_the_pedal_lifts():
    assert fold([(0, 1, 60)], [(0.5, 127), (3, 0)]) == [(0, 3)]


def test_a_pedal_pressed_after_the_release_does_not_hold():
    assert fold([(0, 1, 60)], [(1.5, 127), (3, 0)]) == [(0, 1)]


def test_a_note_released_after_the_lift_keeps_its_end():
    assert fold([(0, 4, 60)], [(0.5, 127), (3, 0)]) == [(0, 4)]


def test_a_note_held_from_one_pedal_into_the_next_lasts_until_the_second_lifts():
    assert fold([(0, 4, 60)], [(0.5, 127), (3, 0), (3.5, 127), (6, 0)]) == [(0, 6)]


@pytest.mark.parametrize(("value", "end"), [(63, 1), (64, 3), (65, 3), (127, 3)])
def test_down_begins_at_64(value, end):
    assert fold([(0, 1, 60)], [(0.5, value), (3, 0)]) == [(0, end)]


def test_moves_of_a_pressed_pedal_do_not_lift_it():
    assert fold([(0, 1, 60)], [(0, 127), (0.5, 90), (2, 64), (3, 63), (4, 0)]) == [(0, 3)]


def test_a_key_struck_again_ends_its_earlier_note():
    assert fold([(0, 1, 60), (2, 2.5, 60)], [(0.5, 127), (3, 0)]) == [(0, 2), (2, 3)]


def test_another_key_does_not():
    assert fold([(0, 1, 60), (2, 2.5, 61)], [(0.5, 127), (3, 0)]) == [(0, 3), (2, 3)]


def test_struck_again_while_still_held_under_the_pedal_ends_it_too():
    assert fold([(0, 2.5, 60), (1, 1.5, 60)], [(0.5, 127), (3, 0)]) == [(0, 1), (1, 3)]


def test_struck_again_with_the_pedal_up_lets_both_sound():
    assert fold([(0, 2.5, 60), (1, 1.5, 60)], [(2, 127), (3, 0)]) == [(0, 3), (1, 1.5)]


def test_a_third_strike_under_the_pedal_ends_both():
    notes = [(0, 5, 60), (1, 6, 60), (3, 4, 60)]
    assert fold(notes, [(2, 127), (7, 0)]) == [(0, 3), (1, 3), (3, 7)]


def test_two_notes_of_a_key_beginning_together_become_the_longer():
    notes = [(1, 2, 60), (1, 2.5, 60)]
    assert fold(notes, [(0.5, 127), (3, 0)]) == [(1, 3)]
    assert fold(notes, [(0.5, 127), (2.2, 0)]) == [(1, 2.5)]
    assert fold(notes, [(1.5, 127), (3, 0)]) == [(1, 3), (1, 3)]


def test_still_held_at_the_end_lasts_until_the_last_event():
    assert fold([(0, 1, 60), (2, 4, 61)], [(0.5, 127)]) == [(0, 4), (2, 4)]
    assert fold([(0, 1, 60)], [(0.5, 127), (6, 100)]) == [(0, 6)]


def test_other_controllers_and_drums_are_no_last_event():
    drums = Track(0, is_drum=True)
    played = Performance(
        [(0, 1, 60, 64, 0), (0, 9, 40, 64, 1)],
        [(0.5, SUSTAIN, 127, 0), (8, SOFT, 127, 0)],
        tracks=[Track(), drums],
    )
    assert played.sustained() == reference.sustained(played)
    assert played.sustained().notes["offset"].tolist() == [9, 1]


# -- at one moment: sustain on, sustain off, note on, note off -------------------------------


def test_a_press_at_the_release_holds():
    assert fold([(0, 1, 60)], [(1, 127), (3, 0)]) == [(0, 3)]


def test_a_lift_at_the_release_does_not_hold():
    assert fold([(0, 1, 60)], [(0.5, 127), (1, 0), (2, 127), (3, 0)]) == [(0, 1)]


@pytest.mark.parametrize("moves", [[(1, 127), (1, 0)], [(1, 0), (1, 127)]])
def test_of_a_press_and_a_lift_at_one_moment_the_lift_comes_last(moves):
    assert fold([(0, 0.5, 60), (2, 3, 61)], [(0, 127), *moves, (5, 0)]) == [(0, 1), (2, 3)]


def test_a_press_at_the_second_strike_comes_first():
    assert fold([(0, 2, 60), (1, 3, 60)], [(1, 127), (5, 0)]) == [(0, 1), (1, 5)]


def test_a_lift_at_the_second_strike_comes_first():
    assert fold([(0, 0.5, 60), (1, 3, 60)], [(0, 127), (1, 0)]) == [(0, 1), (1, 3)]
    assert fold([(0, 2, 60), (1, 3, 60)], [(0, 127), (1, 0)]) == [(0, 2), (1, 3)]


# -- tracks ----------------------------------------------------------------------------------


def test_each_track_has_its_own_pedal_and_drums_have_none():
    tracks = (Track(), Track(5), Track(0, is_drum=True))
    played = Performance(
        [(0, 1, 60, 64, 0), (0, 1, 60, 64, 1), (0, 1, 60, 64, 2)],
        [(0.5, SUSTAIN, 127, 0), (3, SUSTAIN, 0, 0), (0.5, SUSTAIN, 127, 2), (4, SUSTAIN, 0, 2)],
        tracks=tracks,
    )
    assert played.sustained() == reference.sustained(played)
    assert played.sustained().notes["offset"].tolist() == [3, 1, 1]


def test_only_sustain_is_dropped():
    moves = [(0, SUSTAIN, 1, 0), (0, SOFT, 2, 0), (0, 7, 3, 0)]
    assert Performance(controls=moves).sustained().controls["value"].tolist() == [2, 3]


@given(performance=performances())
@settings(max_examples=50)
def test_sustained_is_a_valid_performance_and_final(performance):
    folded = performance.sustained()
    assert Performance(folded.notes, folded.controls, tracks=folded.tracks) == folded
    assert folded.sustained() == folded
