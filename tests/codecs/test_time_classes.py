"""Numbers of steps as classes and residuals: nothing is lost, and short ones are exact."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from espressivo.codecs.note_events_reference import time_class
from espressivo.codecs.time_classes import TimeClasses
from espressivo.errors import CodecError

SMALL = [
    TimeClasses(),
    TimeClasses(100, 10, 3),
    TimeClasses(4, 2, 2),
    TimeClasses(6, 1, 4),
    TimeClasses(1, 1, 10),
    TimeClasses(7, 3, 0),
    TimeClasses(1, 5, 0),
]
every = pytest.mark.parametrize("times", SMALL, ids=str)


@every
def test_joining_gives_every_number_back(times):
    steps = np.arange(times.most + 1)
    classes, residuals = times.split(steps)
    assert np.array_equal(times.join(classes, residuals), steps)
    assert (np.diff(classes) >= 0).all()
    assert np.array_equal(np.bincount(classes), times.width)
    assert (residuals >= 0).all()
    assert (residuals < times.width[classes]).all()


@every
def test_splitting_gives_every_class_and_residual_back(times):
    classes = np.arange(len(times)).repeat(times.width)
    residuals = np.concatenate([np.arange(width) for width in times.width.tolist()])
    steps = times.join(classes, residuals)
    assert np.array_equal(steps, np.arange(times.most + 1))
    assert [a.tolist() for a in times.split(steps)] == [classes.tolist(), residuals.tolist()]


@given(times=st.sampled_from(SMALL), data=st.data())
@settings(max_examples=100, deadline=None)
def test_the_class_is_the_one_a_loop_finds(times, data):
    steps = data.draw(st.integers(0, times.most))
    assert tuple(map(int, times.split(np.array(steps)))) == time_class(times, steps)


@every
def test_there_are_as_many_classes_as_said(times):
    assert len(times) == len(times.first) == len(times.width)
    assert times.first[0] == 0
    assert times.first[-1] + times.width[-1] - 1 == times.most


@every
def test_short_numbers_are_exact_and_octaves_double(times):
    assert times.width[: times.exact].tolist() == [1] * times.exact
    octaves = times.width[times.exact :].reshape(times.octaves, times.per_octave)
    for octave, widths in enumerate(octaves.tolist()):
        assert widths == [(times.exact << octave) // times.per_octave] * times.per_octave
        assert times.first[times.exact + octave * times.per_octave] == times.exact << octave


def test_a_class_is_a_sixteenth_of_its_numbers_wide_at_most():
    times = TimeClasses()
    assert len(times) == 272
    assert times.most == 65535
    assert (times.width[128:] * 16 <= times.first[128:]).all()


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"exact": 0}, r"exact=0 and .* must be at least 1"),
        ({"per_octave": 0}, r"per_octave=0 must be at least 1"),
        ({"octaves": -1}, r"octaves=-1 must lie in 0\.\.24"),
        ({"octaves": 25}, r"octaves=25 must lie in 0\.\.24"),
        ({"per_octave": 48}, r"per_octave=48 must divide exact=128"),
        ({"exact": 8}, r"per_octave=16 must divide exact=8"),
    ],
    ids=str,
)
def test_classes_that_cannot_be_are_refused(fields, words):
    with pytest.raises(CodecError, match=words):
        TimeClasses(**fields)
