"""Controls measured at once against the definition, one event after the other."""

import numpy as np
import pytest
from hypothesis import given, settings

from espressivo.codecs import CODECS, decode
from espressivo.configs.controls import CONTROL_WIDTHS
from espressivo.controls import CONTROLS, moments, reference
from espressivo.performance import SUSTAIN, Performance
from tests.strategies import performances

RNN = CODECS["performance-rnn"]
DENSITY, HISTOGRAM = CONTROLS["notes-per-second"], CONTROLS["pitch-class-histogram"]


def test_a_configuration_knows_how_wide_every_control_is():
    assert {name: control.width for name, control in CONTROLS.items()} == CONTROL_WIDTHS


@settings(max_examples=60)
@given(performances(tracks=1, drums=False))
def test_measures_are_what_the_definition_says_for_every_event(performance):
    tokens = RNN.encode(performance)
    said, times = decode(RNN, tokens.tolist()), moments(RNN, tokens)
    slow = (tokens.tolist(), RNN.vocabulary, RNN.steps_per_second)
    density = DENSITY.measure(said, times)
    assert density[:, 0].tolist() == pytest.approx(reference.notes_per_second(*slow), abs=1e-12)
    shares = HISTOGRAM.measure(said, times)
    expected = np.array(reference.pitch_class_histogram(*slow)).reshape(-1, 12)
    np.testing.assert_allclose(shares, expected, rtol=0, atol=1e-9)


@settings(max_examples=60)
@given(performances(tracks=1, drums=False))
def test_the_range_shown_is_exact_at_its_edges(performance):
    tokens = RNN.encode(performance)
    shown = DENSITY.show(DENSITY.measure(decode(RNN, tokens), moments(RNN, tokens)))
    slow = reference.notes_per_second(tokens.tolist(), RNN.vocabulary, RNN.steps_per_second)
    ranges = [sum(value >= edge for edge in (1, 2, 4, 8, 16, 32, 64)) for value in slow]
    assert shown.argmax(1).tolist() == ranges
    assert (shown.sum(1) == 1).all()


def row(onset, offset, pitch):
    return (onset, offset, pitch, 80, 0)


def test_density_counts_the_next_three_seconds_and_no_empty_tail():
    played = Performance([row(t / 2, t / 2 + 0.4, 60 + t) for t in range(10)])  # until 4.9 s
    values = DENSITY.measure(played, np.array([0.0, 0.25, 3.9, 4.7, 4.9, 60.0]))[:, 0]
    assert values.tolist() == pytest.approx([2.0, 2.0, 2 / 1.0, 0.0, 0.0, 0.0])


def test_a_histogram_weighs_seconds_of_sound_under_the_pedal():
    notes = [row(0.0, 1.0, 60), row(0.0, 4.0, 67), row(6.0, 6.5, 64)]
    dry = HISTOGRAM.measure(Performance(notes), np.array([0.0, 5.0]))
    seconds = np.full(12, 0.01) + np.eye(12)[0] + 4 * np.eye(12)[7]
    np.testing.assert_allclose(dry[0], seconds / seconds.sum())
    assert dry[1].argmax() == 4
    held = Performance(notes, [(0.5, SUSTAIN, 127, 0), (3.0, SUSTAIN, 0, 0)])
    wet = HISTOGRAM.measure(held, np.array([0.0]))[0]
    assert wet[0] / wet[7] == pytest.approx(3.01 / 4.01)


def test_silence_is_twelve_equal_shares():
    shares = HISTOGRAM.measure(Performance(), np.array([0.0, 3.0]))
    np.testing.assert_allclose(shares, np.full((2, 12), 1 / 12))
    np.testing.assert_allclose(HISTOGRAM.default, shares[0])
    assert DENSITY.measure(Performance(), np.array([0.0])).tolist() == [[0.0]]


def test_density_is_shown_as_one_of_eight_ranges():
    shown = DENSITY.show(np.array([[0.0], [0.99], [1.0], [3.9], [4.0], [15.0], [64.0], [1e9]]))
    assert shown.argmax(1).tolist() == [0, 0, 1, 2, 3, 4, 7, 7]
    assert shown.dtype == np.float32
    assert DENSITY.show(DENSITY.default[None]).argmax() == 4


def test_moments_are_those_at_which_tokens_happen():
    tokens = RNN.encode(Performance([row(0.5, 2.0, 60), row(0.5, 1.0, 64)]))
    decoder, times = RNN.decoder(), []
    for token in tokens.tolist():
        times.append(decoder.time)
        decoder.push(token)
    np.testing.assert_allclose(moments(RNN, tokens), times, atol=1e-12)
