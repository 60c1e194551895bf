import numpy as np
import pytest

from espressivo.configs import LstmConfig, TransformerConfig
from espressivo.controls import CONTROLS, Conditioning
from espressivo.errors import ConfigError
from espressivo.performance import Performance

BOTH = ("notes-per-second", "pitch-class-histogram")
SOME = {"notes-per-second": np.array([[3.0], [20.0]])}


def told(conditioning, config):
    return conditioning.rows({}, 3), conditioning, config


@pytest.mark.parametrize(
    ("config", "unset", "width"),
    [
        (LstmConfig(controls=BOTH), "default", 20),
        (LstmConfig(controls=BOTH[1:], optional=True), "flag", 13),
        (LstmConfig(controls=BOTH, optional=True), "flag", 21),
        (TransformerConfig(controls=BOTH), "zeros", 20),
    ],
)
def test_a_model_is_shown_as_many_numbers_as_it_has_inputs(config, unset, width):
    conditioning = Conditioning.of(config)
    assert conditioning.unset == unset
    assert conditioning.rows({}, 3).shape == (3, width)
    if isinstance(config, LstmConfig):
        assert config.told == width


def test_a_model_without_controls_is_told_nothing():
    for config in (LstmConfig(), TransformerConfig()):
        assert not Conditioning.of(config)


def test_what_is_not_set_is_the_default_or_zeros_or_flagged():
    default = Conditioning(BOTH).rows(SOME, 2)
    np.testing.assert_allclose(default[:, 8:], 1 / 12)
    zeros = Conditioning(BOTH, "zeros").rows(SOME, 2)
    assert zeros[:, :8].argmax(1).tolist() == [2, 5]
    assert not zeros[:, 8:].any()
    flagged = Conditioning(BOTH, "flag")
    np.testing.assert_array_equal(flagged.rows(SOME, 2)[:, 1:], zeros)
    assert flagged.rows(SOME, 2)[:, 0].tolist() == [0, 0]
    nothing = flagged.rows({}, 2)
    assert nothing[:, 0].tolist() == [1, 1]
    assert not nothing[:, 1:].any()
    assert Conditioning(BOTH).rows({}, 1)[0, :8].argmax() == 4  # 15 notes a second


def test_a_performance_is_shown_as_it_is_measured():
    played = Performance([(t / 4, t / 4 + 0.2, 60 + t % 5, 80, 0) for t in range(40)])
    times = np.array([0.0, 0.0, 2.0, 1.0, 2.0])
    conditioning = Conditioning(BOTH, "zeros")
    whole = conditioning.measured(played, times)
    for columns, name in ((slice(0, 8), BOTH[0]), (slice(8, 20), BOTH[1])):
        control = CONTROLS[name]
        np.testing.assert_array_equal(
            whole[:, columns], control.show(control.measure(played, times))
        )
    part = conditioning.measured(played, times, [BOTH[1]])
    assert not part[:, :8].any()
    np.testing.assert_array_equal(part[:, 8:], whole[:, 8:])


def test_half_of_the_windows_are_told_each_control():
    rng = np.random.default_rng(0)
    drawn = [tuple(Conditioning(BOTH, "flag").drawn(rng)) for _ in range(4000)]
    for told in ((), BOTH[:1], BOTH[1:], BOTH):
        assert drawn.count(told) == pytest.approx(1000, abs=100)
    assert Conditioning(BOTH).drawn(rng) == list(BOTH)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"controls": ("tempo",)}, "no 'tempo'; known are notes-per-second"),
        ({"controls": ("notes-per-second",) * 2}, "names one twice"),
        ({"optional": True}, "optional=true needs controls"),
    ],
)
def test_controls_that_cannot_be_are_refused(changes, words):
    with pytest.raises(ConfigError, match=words):
        LstmConfig(**changes)
