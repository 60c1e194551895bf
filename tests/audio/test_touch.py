import numpy as np
import pytest

from espressivo.audio.piano import GRAND, SCALE, Piano
from espressivo.audio.touch import LAYER_TOPS, loudness, shelf, softened


def test_loudness_grows_with_velocity_and_full_is_one():
    gain = loudness(np.arange(1, 128), np.zeros(127))
    assert (np.diff(gain) > 0).all()
    assert gain[-1] == 1.0


def test_the_soft_pedal_takes_loudness_and_brightness():
    assert loudness(np.array([64]), np.ones(1)) < loudness(np.array([64]), np.zeros(1))
    assert softened(np.array([100.0]), np.ones(1)) == pytest.approx(88.0)
    assert softened(np.array([1.0]), np.ones(1)) == 1.0


def test_the_shelf_leaves_the_middle_of_each_layer_alone():
    bottoms = np.array([1, *(top + 1 for top in LAYER_TOPS[:-1])])
    np.testing.assert_allclose(shelf((bottoms + np.array(LAYER_TOPS)) / 2), 0, atol=1e-9)


@pytest.mark.parametrize("key", [36, 48, 60, 72])
def test_the_timbre_has_no_steps_where_layers_change(key):
    """The share above 2 kHz; without the shelf the worst steps are 7 to 10 dB."""
    piano = Piano(44_100)
    velocities = np.array([v for top in LAYER_TOPS[:-1] for v in (top, top + 1)])
    keys = np.full(len(velocities), key)
    zones = piano.zones(GRAND, keys, velocities)
    piano.expect(zones, keys, np.full(len(keys), 0.6), np.ones(len(keys)))
    bright = []
    for zone, amount in zip(zones.tolist(), shelf(velocities), strict=True):
        sample = piano.sample(zone, key)
        sound = (sample.whole[:, :22050] + amount * sample.high[:, :22050]) * SCALE
        power = (np.abs(np.fft.rfft(sound)) ** 2).sum(axis=0)
        bright.append(10 * np.log10(power[1000:].sum() / power.sum()))
    assert np.abs(np.diff(bright)[::2]).max() < 4.5
