"""How velocities are bent; the other variations are tested with the windows they are drawn for."""

import numpy as np
import pytest

from espressivo.corpora import NO_AUGMENTATION, Augmentation
from espressivo.corpora.augmentation import Change
from espressivo.errors import ConfigError
from tests.corpora.making import music

EVERY = np.arange(1, 128)


def scale():
    """Notes of every velocity, one after another, and no pedal."""
    played = music(0, 127)
    notes = played.notes[:127].copy()
    notes["onset"], notes["offset"] = EVERY, EVERY + 0.5
    notes["velocity"] = EVERY
    return notes, played.controls[:0]


def test_exponents_lie_within_the_factor_and_on_both_sides():
    rng = np.random.default_rng(0)
    drawn = np.array([Augmentation(curve=1.25).draw(rng).curve for _ in range(2000)])
    assert drawn.min() >= 1 / 1.25
    assert drawn.max() <= 1.25
    assert drawn.min() < 0.81
    assert drawn.max() > 1.23
    assert np.mean(drawn > 1) == pytest.approx(0.5, abs=0.05)
    assert np.log(drawn).mean() == pytest.approx(0, abs=0.01)


def test_a_curve_of_one_changes_nothing_and_draws_as_before():
    plain, flat = Augmentation(velocity=3), Augmentation(velocity=3, curve=1.0)
    one, two = np.random.default_rng(7), np.random.default_rng(7)
    before = np.random.default_rng(7)
    for _ in range(20):
        change = plain.draw(one)
        assert change == flat.draw(two)
        assert change.curve == 1.0
        assert change[:3] == (
            before.integers(-3, 4),
            plain.stretch[before.integers(5)],
            before.integers(-3, 4),
        )
    assert one.random() == two.random() == before.random()
    played = music(1)
    assert Change()(played.notes, played.controls) == played
    assert NO_AUGMENTATION.draw(one) == Change()


def test_the_first_three_are_drawn_alike_with_and_without_a_curve():
    straight, bending = (Augmentation(velocity=5, curve=curve) for curve in (1.0, 1.5))
    for seed in range(20):
        drawn = [some.draw(np.random.default_rng(seed))[:3] for some in (straight, bending)]
        assert drawn[0] == drawn[1]


@pytest.mark.parametrize("curve", [0.5, 0.8, 1.2, 3.0])
def test_soft_notes_gain_most_below_one_and_the_loudest_stays(curve):
    changed = Change(curve=curve)(*scale())
    velocity = changed.notes["velocity"].astype(int)
    assert len(velocity) == 127
    assert velocity.min() >= 1
    assert velocity[-1] == 127
    assert (np.diff(velocity) >= 0).all()  # louder notes stay louder, or become alike
    expected = [max(round(127 * (v / 127) ** curve), 1) for v in EVERY]
    assert velocity.tolist() == expected
    gained = velocity - EVERY
    assert (gained >= 0).all() if curve < 1 else (gained <= 0).all()


def test_notes_are_made_louder_before_they_are_bent():
    both = Change(louder=20, curve=0.5)(*scale()).notes["velocity"]
    louder = Change(louder=20)(*scale())
    again = Change(curve=0.5)(louder.notes, louder.controls).notes["velocity"]
    assert both.tolist() == again.tolist()


def test_nothing_but_velocities_is_bent():
    played = music(2, 80)
    changed = Change(curve=0.7)(played.notes, played.controls)
    for name in ("onset", "offset", "pitch"):
        np.testing.assert_array_equal(changed.notes[name], played.notes[name])
    np.testing.assert_array_equal(changed.controls, played.controls)


@pytest.mark.parametrize("curve", [0.9, 0.0, -1.0, 10.0, float("nan"), float("inf")])
def test_what_is_no_factor_is_refused(curve):
    with pytest.raises(ConfigError, match=r"curve=.* must be a factor from 1 on; try 1\.2"):
        Augmentation(curve=curve)
