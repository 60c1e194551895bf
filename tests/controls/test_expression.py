"""Touch and harmony of the seconds to come, against their definitions one note at a time."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from espressivo.controls import CONTROLS, parse
from espressivo.controls.expression import MAJOR, MINOR
from espressivo.errors import ConfigError
from espressivo.performance import PEDAL_DOWN, SUSTAIN, Performance
from tests.strategies import TIMES, performances

VELOCITY, PEDAL, KEY = (CONTROLS[name] for name in ("mean-velocity", "pedal-share", "key"))
KEYS = ("C", "C#", "D", "Eb", "E", "F", "F#", "G", "Ab", "A", "Bb", "B")
laws = settings(max_examples=60)


def slow_velocity(performance, time):
    ahead = range(round(time * 1e6), round((time + 5) * 1e6))
    struck = [n["velocity"] for n in performance.notes if round(n["onset"] * 1e6) in ahead]
    return sum(map(int, struck)) / len(struck) if struck else 64.0


def slow_share(performance, time):
    down, since, seconds = False, 0.0, 0.0
    moves = [c for c in performance.controls if c["number"] == SUSTAIN]
    for moment, value in [*((c["time"], c["value"]) for c in moves), (np.inf, 0)]:
        if down:
            seconds += max(min(moment, time + 5) - max(since, time), 0.0)
        down, since = value >= PEDAL_DOWN, moment
    return seconds / 5


def slow_correlations(performance, time):
    """Of every key; None in silence."""
    seconds = [0.0] * 12
    for note, until in zip(performance.notes, performance.sounding_until(), strict=True):
        heard = min(until, time + 8) - max(note["onset"], time)
        seconds[note["pitch"] % 12] += max(heard, 0.0)
    if max(seconds) - min(seconds) < 1e-9:
        return None
    keys = [(profile, tonic) for profile in (MAJOR, MINOR) for tonic in range(12)]
    return [
        np.corrcoef(seconds, [profile[(pc - tonic) % 12] for pc in range(12)])[0, 1]
        for profile, tonic in keys
    ]


MOMENTS = st.lists(TIMES, min_size=1, max_size=4).map(np.array)


@given(performances(), MOMENTS)
@laws
def test_mean_velocity_is_that_of_the_notes_of_five_seconds(performance, times):
    grid = np.round(np.append(times, performance.notes["onset"][:4]) * 200) / 200
    on_grid = performance.replace(notes=[])
    if len(performance):
        notes = performance.notes.copy()
        notes["onset"] = np.round(notes["onset"] * 200) / 200
        notes["offset"] = notes["onset"] + 0.01
        on_grid = performance.replace(notes=notes)
    values = VELOCITY.measure(on_grid, grid)
    assert values.shape == (len(grid), 1)
    assert values[:, 0].tolist() == pytest.approx([slow_velocity(on_grid, t) for t in grid])
    assert (values >= 1).all()
    assert (values <= 127).all()


@given(performances(), MOMENTS)
@laws
def test_pedal_share_is_the_time_the_pedal_is_down(performance, times):
    values = PEDAL.measure(performance, times)
    assert values.shape == (len(times), 1)
    expected = [slow_share(performance, t) for t in times]
    assert values[:, 0].tolist() == pytest.approx(expected, abs=1e-9)
    assert (values >= 0).all()
    assert (values <= 1).all()


@given(performances(), MOMENTS)
@laws
def test_the_key_is_the_one_that_correlates_best(performance, times):
    for time, value in zip(times, KEY.measure(performance, times)[:, 0], strict=True):
        correlations = slow_correlations(performance, time)
        if correlations is None:
            continue
        assert value == int(value)
        assert correlations[int(value)] == pytest.approx(max(correlations), abs=1e-6)


def scale(tonic, steps):
    """Up and down a scale, the triad longest, like the beginning of a piece in its key."""
    notes = []
    for i, step in enumerate([*steps, steps[0] + 12]):
        length = 0.8 if step % 12 in (0, steps[2], 7) else 0.3
        notes.append((0.5 * i, 0.5 * i + length, 48 + tonic + step, 70, 0))
    return Performance(notes)


def test_scales_are_in_their_keys():
    for tonic in range(12):
        major = KEY.measure(scale(tonic, (0, 2, 4, 5, 7, 9, 11)), np.zeros(1))
        minor = KEY.measure(scale(tonic, (0, 2, 3, 5, 7, 8, 11)), np.zeros(1))
        assert (major.item(), minor.item()) == (tonic, 12 + tonic), KEYS[tonic]


@pytest.mark.parametrize(("later", "inside"), [(0, True), (999, True), (1000, False), (-1, False)])
def test_a_note_belongs_to_the_seconds_it_is_struck_in_however_times_were_summed(later, inside):
    for step in range(1, 3000, 7):
        onset = (step + later) / 200
        one = Performance([(onset, onset + 0.1, 60, 100, 0)])
        assert (VELOCITY.measure(one, np.array([step / 200])).item() == 100) == inside


def test_a_pedal_at_the_edge_of_the_window_counts_as_far_as_it_reaches():
    played = Performance([], [(1.0, SUSTAIN, 64, 0), (2.0, SUSTAIN, 63, 0), (8.0, SUSTAIN, 127, 0)])
    shares = PEDAL.measure(played, np.array([0.0, 1.0, 1.5, 2.0, 4.0, 8.0, 99.0]))[:, 0]
    assert shares.tolist() == pytest.approx([0.2, 0.2, 0.1, 0.0, 0.2, 1.0, 1.0])


def test_silence_is_of_middling_loudness_without_pedal_and_in_c_major():
    times = np.array([0.0, 3.0])
    assert VELOCITY.measure(Performance(), times).tolist() == [[64], [64]]
    assert PEDAL.measure(Performance(), times).tolist() == [[0], [0]]
    assert KEY.measure(Performance(), times).tolist() == [[0], [0]]


@pytest.mark.parametrize("control", [VELOCITY, PEDAL], ids=lambda control: control.name)
def test_a_number_is_shown_as_the_range_it_lies_in(control):
    edges = np.array(control.edges)
    assert len(edges) == control.width - 1
    assert (np.diff(edges) > 0).all()
    values = np.concatenate([[0.0], edges, edges - 1e-6, [control.most], control.default])
    shown = control.show(values[:, None])
    assert shown.dtype == np.float32
    assert (shown.sum(1) == 1).all()
    assert shown.argmax(1).tolist() == [sum(v >= e for e in edges) for v in values]
    assert shown.argmax(1)[[0, -2]].tolist() == [0, control.width - 1]


def test_a_key_is_shown_as_one_of_24():
    shown = KEY.show(np.arange(24.0)[:, None])
    np.testing.assert_array_equal(shown, np.eye(24))
    assert shown.dtype == np.float32


@pytest.mark.parametrize(
    ("control", "values", "words"),
    [
        (VELOCITY, [128], "mean-velocity=128 must be numbers from 0 to 127; try 63.5"),
        (VELOCITY, [60, -1], "mean-velocity=60,-1 must be numbers from 0 to 127"),
        (VELOCITY, [np.nan], "mean-velocity=nan must be numbers"),
        (VELOCITY, [], "mean-velocity=nothing must be numbers"),
        (PEDAL, [1.01], "pedal-share=1.01 must be numbers from 0 to 1; try 0.5"),
        (PEDAL, [np.inf], "pedal-share=inf must be numbers"),
        (KEY, [24], r"key=24 must be whole numbers from 0 \(C major\) to 23 \(B minor\)"),
        (KEY, [0.5], "key=0.5 must be whole numbers"),
        (KEY, [], "key=nothing must be whole numbers"),
    ],
)
def test_what_cannot_be_asked_for_is_said(control, values, words):
    with pytest.raises(ConfigError, match=words):
        control.check(np.array(values))


def test_numbers_asked_for_follow_each_other():
    assert VELOCITY.check(np.array([30, 90])).tolist() == [[30], [90]]
    assert parse("mean-velocity", "30,90").tolist() == [[30], [90]]
    assert parse("pedal-share", "[0, 1]").tolist() == [[0], [1]]
    assert parse("key", "9").tolist() == [[9]]


@pytest.mark.parametrize(
    ("name", "text", "example"),
    [
        ("mean-velocity", "loud", "64"),
        ("pedal-share", "half", "0.5"),
        ("key", "C major", "0"),  # weights of twelve classes are no key
    ],
)
def test_words_are_no_numbers(name, text, example):
    with pytest.raises(ConfigError, match=rf"{name}={text} must be numbers .* try {example}$"):
        parse(name, text)
