import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from espressivo.audio.resampling import TOLERANCE, kernels, ratio, resampled


@given(st.floats(0.1, 12.0))
@example(0.5001158043608167)  # far from every ratio of small numbers
def test_ratios_are_true_to_a_fifth_of_a_cent(step):
    outputs, inputs = ratio(step)
    assert abs(inputs / outputs / step - 1) <= TOLERANCE


@pytest.mark.parametrize("step", [0.5, 0.7687, 0.97, 1.0595, 2.0])
def test_a_tone_is_read_at_the_step_with_little_error(step):
    rate, pitch = 32_000, 1000.0
    tone = np.sin(2 * np.pi * pitch * np.arange(rate) / rate).astype(np.float32)
    outputs, inputs = ratio(step)
    got = resampled(np.stack([tone, -tone]), kernels(step, 0.05)[0])
    assert got.shape[1] >= int(rate / step * (1 - TOLERANCE))
    inside = np.arange(500, int(rate / step) - 500)
    wanted = np.sin(2 * np.pi * pitch * inside * inputs / outputs / rate)
    assert np.abs(got[0, inside] - wanted).max() < 1e-3
    np.testing.assert_array_equal(got[1], -got[0])


def test_reading_faster_removes_what_would_fold_back():
    tone = np.sin(2 * np.pi * 0.35 * np.arange(20_000))[None].astype(np.float32)
    assert np.abs(resampled(tone, kernels(2.0, 0.05)[0])[:, 200:-200]).max() < 2e-3


def test_the_high_part_is_nothing_deep_down_and_everything_far_up():
    _, high = kernels(1.0, 0.03)
    time = np.arange(20_000)
    for frequency, low, top in ((0.002, 0.0, 0.02), (0.2913, 0.95, 1.0)):
        tone = np.sin(2 * np.pi * frequency * time)[None].astype(np.float32)
        assert low <= np.abs(resampled(tone, high)[:, 2000:-2000]).max() <= top


@pytest.mark.parametrize("frames", [1, 2, 111, 112, 113, 1000])
def test_short_recordings_keep_their_length(frames):
    got = resampled(np.ones((2, frames), np.float32), kernels(0.5, 0.05)[0])
    assert 2 * frames <= got.shape[1] <= 2 * frames + 400
