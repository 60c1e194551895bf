import math

import numpy as np
import pytest

from espressivo.evaluation import METRICS, compare, measure
from espressivo.performance import SUSTAIN, Performance


@pytest.fixture
def scale() -> Performance:
    """Eight notes, two a second, under a pedal that is down for half of the four seconds."""
    pitches = (60, 62, 64, 65, 67, 69, 71, 72)
    notes = [(0.5 * i, 0.5 * i + 0.5, p, 60 + i, 0) for i, p in enumerate(pitches)]
    return Performance(notes, [(1.0, SUSTAIN, 100, 0), (3.0, SUSTAIN, 10, 0)])


def test_a_scale_measures_as_played(scale):
    numbers = measure(scale)
    assert numbers["notes per second"] == pytest.approx(2.0)
    assert numbers["velocity, mean"] == pytest.approx(63.5)
    assert numbers["inter-onset time, median (s)"] == pytest.approx(0.5)
    assert numbers["onsets in chords (share)"] == 0.0
    assert numbers["pedal down (share of time)"] == pytest.approx(0.5)
    assert numbers["pedal presses per minute"] == pytest.approx(15.0)
    assert numbers["pitch-class entropy (bits)"] == pytest.approx(
        -(6 / 8 * math.log2(1 / 8) + 2 / 8 * math.log2(2 / 8))
    )


def test_a_chord_is_one_onset():
    chord = Performance([(0.01 * i, 1.0, 60 + 3 * i, 64, 0) for i in range(4)])
    assert measure(chord)["onsets in chords (share)"] == 1.0
    assert math.isnan(measure(chord)["inter-onset time, median (s)"])


def test_no_metric_depends_on_where_a_performance_begins(scale):
    for name, value in measure(scale.shift(7.0)).items():
        assert value == pytest.approx(measure(scale)[name]), name


def test_silence_has_no_numbers():
    assert set(measure(Performance())) == set(METRICS)
    assert all(math.isnan(value) for value in measure(Performance()).values())


def test_a_set_overlaps_itself_and_not_its_transposition(scale):
    same = compare([scale, scale.stretch(1.1)], [scale, scale.stretch(1.1)])
    assert all(row.overlap == 1.0 for row in same if not math.isnan(row.overlap))
    moved = {r.metric: r for r in compare([scale.transpose(24)], [scale])}
    assert moved["lowest pitch (2 %)"].overlap == 0.0
    assert moved["notes per second"].overlap == 1.0
    assert np.subtract(moved["highest pitch (98 %)"].candidates[1], 24) == pytest.approx(
        moved["highest pitch (98 %)"].reference[1]
    )
