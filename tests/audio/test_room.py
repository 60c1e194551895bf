import numpy as np
import pytest

from espressivo.audio.files import BLOCK
from espressivo.audio.room import placed, response

RATE = 44_100


def blocks(seed, count):
    generator = np.random.default_rng(seed)
    return [generator.standard_normal((2, BLOCK)).astype(np.float32) for _ in range(count)]


def test_the_response_is_the_same_every_time_and_has_energy_one():
    first, second = response(RATE), response(RATE)
    np.testing.assert_array_equal(first, second)
    np.testing.assert_allclose((first.astype(float) ** 2).sum(axis=1), 1, rtol=1e-5)
    assert abs(np.corrcoef(first)[0, 1]) < 0.1


def test_the_response_decays_and_grows_duller():
    answer = response(RATE)
    early, late = (answer[:, int(t * RATE) : int((t + 0.2) * RATE)] for t in (0.02, 0.6))
    assert 20 * np.log10(early.std() / late.std()) > 20

    def high_share(part):
        power = (np.abs(np.fft.rfft(part)) ** 2).sum(axis=0)
        return power[len(power) // 4 :].sum() / power.sum()

    assert high_share(late) < 0.5 * high_share(early)


@pytest.mark.parametrize("rate", [8_000, 44_100, 192_000])
def test_blocks_convolve_like_the_whole(rate):
    dry = blocks(1, 3)
    wet = np.concatenate(list(placed(dry, rate, room=0.5, width=1.0)), axis=1)
    whole = np.concatenate(dry, axis=1)
    answer = response(rate)
    size = 2**19
    mono = np.fft.rfft(whole.mean(axis=0).astype(float), size)
    tail = np.fft.irfft(mono * np.fft.rfft(answer.astype(float), size), size)[:, : 4 * BLOCK]
    expected = np.pad(whole, ((0, 0), (0, BLOCK))) + 0.5 * tail
    assert np.abs(wet - expected).max() < 1e-4


def test_width_zero_is_mono_and_one_is_as_recorded():
    dry = blocks(2, 1)
    mono = next(iter(placed(dry, RATE, room=0.0, width=0.0)))
    same = next(iter(placed(dry, RATE, room=0.0, width=1.0)))
    np.testing.assert_array_equal(mono[0], mono[1])
    np.testing.assert_allclose(same, dry[0], atol=1e-6)


def test_without_a_room_nothing_is_added():
    assert len(list(placed(blocks(3, 2), RATE, room=0.0, width=1.0))) == 2
    assert len(list(placed(blocks(3, 2), RATE, room=0.1, width=1.0))) == 3
