import numpy as np
import pytest

from espressivo.controls import CONTROLS, tracks
from espressivo.errors import ConfigError

DENSITY, HISTOGRAM = "notes-per-second", "pitch-class-histogram"
C_MAJOR = [2, 0, 1, 0, 2, 1, 0, 2, 0, 1, 0, 1]


def test_numbers_follow_each_other():
    assert tracks.parse(DENSITY, "4").tolist() == [[4]]
    assert tracks.parse(DENSITY, "2, 8,2.5").tolist() == [[2], [8], [2.5]]
    assert tracks.parse(DENSITY, "[2,8]").tolist() == [[2], [8]]


def test_histograms_are_weights_as_they_are_typed():
    typed = ",".join(map(str, C_MAJOR))
    once = tracks.parse(HISTOGRAM, typed)
    np.testing.assert_array_equal(once, [C_MAJOR])
    np.testing.assert_allclose(CONTROLS[HISTOGRAM].show(once)[0], np.array(C_MAJOR) / 10)
    twice = tracks.parse(HISTOGRAM, f"{typed}; A minor ;[{typed}]")
    assert twice.shape == (3, 12)
    np.testing.assert_array_equal(twice[[0, 2]], once.repeat(2, 0))


@pytest.mark.parametrize(
    ("name", "tonic", "third", "not_in_it"),
    [
        ("C major", 0, 4, 1),
        ("c minor", 0, 3, 4),
        ("F# minor", 6, 9, 7),
        ("Bb major", 10, 2, 11),
        ("e-flat major", 3, 7, 4),
        ("b minor", 11, 2, 3),
        ("Cb major", 11, 3, 0),
    ],
)
def test_keys_weigh_their_triads_most(name, tonic, third, not_in_it):
    weights = tracks.key(name)
    assert weights[[tonic, third, (tonic + 7) % 12]].tolist() == [2, 2, 2]
    assert sorted(weights)[-4] == 1
    assert weights[not_in_it] == 0


def test_there_are_24_keys_and_no_two_are_alike():
    names = [f"{note}{sign} {scale}" for note in "cdefgab" for sign in ("", "#")
             for scale in ("major", "minor")]  # fmt: skip
    assert len({tuple(tracks.key(name)) for name in names}) == 24


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        (DENSITY, "fast", "notes-per-second=fast must be numbers with commas; try 4, or 2,8,2"),
        (DENSITY, "", "must be numbers"),
        (DENSITY, "4,-1", "notes-per-second=4,-1 must be numbers from 0 on"),
        (DENSITY, "nan", "must be numbers from 0 on"),
        (HISTOGRAM, "1,2,3", "must have 12 numbers, for C, C sharp"),
        (HISTOGRAM, "0,0,0,0,0,0,0,0,0,0,0,0", "some of them above 0"),
        (HISTOGRAM, "1,0,0,0,0,0,0,0,0,0,0,-1", "must be numbers from 0 on"),
        (HISTOGRAM, "C mayor", "'C mayor' is no key; write one like C major"),
        (HISTOGRAM, "H minor", "must be numbers with commas"),
    ],
)
def test_what_cannot_be_asked_for_is_refused(name, text, words):
    with pytest.raises(ConfigError, match=words):
        tracks.parse(name, text)


def test_tracks_are_checked_by_name_and_value():
    assert tracks.checked({DENSITY: [2, 8]})[DENSITY].tolist() == [[2], [8]]
    assert tracks.checked({HISTOGRAM: C_MAJOR})[HISTOGRAM].shape == (1, 12)
    with pytest.raises(ConfigError, match="no control 'tempo'; known are notes-per-second"):
        tracks.checked({"tempo": [1]})
    with pytest.raises(ConfigError, match="must be numbers"):
        tracks.checked({DENSITY: ["fast"]})


def test_values_are_spread_evenly_over_the_time():
    values = np.array([[2.0], [8.0], [3.0]])
    passed = np.array([0, 0.2, 1 / 3, 0.5, 2 / 3 - 1e-6, 2 / 3, 0.99, 1.0, 1.7, -0.1])
    assert tracks.at(values, passed)[:, 0].tolist() == [2, 2, 8, 8, 8, 3, 3, 3, 3, 2]
