import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from espressivo.audio.dampers import contact, dampers, damping, released, softness
from espressivo.performance import Performance


def played(controls, notes=((0.0, 1.0, 60, 64, 0),)):
    return Performance(notes, controls)


def test_dampers_rest_below_35_and_are_clear_from_85():
    assert contact(np.array([0, 20, 35])).tolist() == [1, 1, 1]
    assert contact(np.array([85, 100, 127])).tolist() == [0, 0, 0]
    assert contact(np.array([60])) == pytest.approx(0.5)
    assert (np.diff(contact(np.arange(128))) <= 0).all()


def test_high_keys_have_no_dampers_and_low_ones_take_longer():
    rate = damping(np.arange(128))
    assert (rate[89:] == 0).all()
    assert (np.diff(rate[:89]) >= 0).all()
    assert np.log(1000) / rate[60] == pytest.approx(0.42)


@given(st.lists(st.tuples(st.floats(0, 20), st.integers(0, 127)), max_size=12))
def test_contact_gathers_as_the_pedal_says_moment_by_moment(moves):
    controls = played([(time, 64, value, 0) for time, value in sorted(moves)]).controls
    feet = dampers(controls, rest=25.0)
    times = np.linspace(0, 30, 30001)
    latest = np.searchsorted(controls["time"], times, side="right")
    values = np.concatenate([[0], controls["value"]])[latest]
    slow = np.concatenate([[0], np.cumsum(contact(np.where(times < 25, values, 0)) * 0.001)])[:-1]
    assert np.abs(feet.until(times) - slow).max() < 0.03


def test_when_is_the_inverse_of_until_while_dampers_touch():
    feet = dampers(played([(1.0, 64, 60, 0), (3.0, 64, 0, 0)]).controls, rest=9.0)
    times = np.array([0.5, 1.5, 2.5, 4.0, 12.0])
    np.testing.assert_allclose(feet.when(feet.until(times)), times)


def test_sostenuto_holds_only_keys_that_are_down_when_it_goes_down():
    notes = [(0.0, 2.0, 60, 64, 0), (0.0, 0.5, 62, 64, 0), (1.5, 2.5, 64, 64, 0)]
    performance = played([(1.0, 66, 127, 0), (5.0, 66, 0, 0)], notes)
    assert performance.notes["pitch"].tolist() == [60, 62, 64]
    assert released(performance.notes, performance.controls).tolist() == [5.0, 0.5, 2.5]


def test_sostenuto_never_lifted_holds_for_ever():
    performance = played([(0.5, 66, 127, 0)])
    assert released(performance.notes, performance.controls).tolist() == [np.inf]


def test_soft_pedal_is_read_at_the_onset():
    controls = played([(1.0, 67, 127, 0), (2.0, 67, 0, 0)]).controls
    assert softness(np.array([0.5, 1.0, 1.5, 2.5]), controls).tolist() == [0, 1, 1, 0]
