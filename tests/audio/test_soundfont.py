import numpy as np
import pytest

from espressivo.audio.piano import GRAND, KEY_NOISE, PEDAL_NOISE, PIANO
from espressivo.audio.soundfont import SoundFont
from espressivo.audio.touch import LAYER_TOPS
from espressivo.errors import AudioError


@pytest.fixture(scope="module")
def font():
    return SoundFont(PIANO)


def test_every_key_and_velocity_has_exactly_one_stereo_zone(font):
    served = np.zeros((128, 128), int)
    for zone in font.zones(*GRAND):
        assert len(zone.channels) == 2
        assert zone.follows_key
        served[zone.keys[0] : zone.keys[1] + 1, zone.velocities[0] : zone.velocities[1] + 1] += 1
    assert (served == 1).all()


def test_layers_are_those_whose_brightness_was_measured(font):
    assert sorted({zone.velocities[1] for zone in font.zones(*GRAND)}) == list(LAYER_TOPS)


def test_noises_are_presets_of_their_own_at_their_own_pitch(font):
    keys, pedals = font.zones(*KEY_NOISE), font.zones(*PEDAL_NOISE)
    assert (len(keys), len(pedals)) == (15, 2)
    assert not any(zone.follows_key for zone in keys + pedals)
    assert all(len(zone.channels) == 1 for zone in keys + pedals)


def test_left_comes_before_right(font):
    zone = font.zones(*GRAND)[0]
    names = [font._tables[b"shdr"][row]["name"].decode() for row in zone.channels]
    assert [name[-1] for name in names] == ["L", "R"]


def test_decoding_some_frames_gives_the_beginning(font):
    zone = font.zones(*GRAND)[-1]
    whole, part = font.decode(zone), font.decode(zone, 1000)
    assert whole.shape[0] == 2
    assert whole.dtype == np.float32
    np.testing.assert_array_equal(part, whole[:, :1000])


def test_an_absent_preset_is_named(font):
    with pytest.raises(AudioError, match="no preset 3:5"):
        font.zones(3, 5)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"RIFF\x04\0\0\0sfbk", "lacks smpl"),
        (b"nothing of the kind, but long enough", "is not a SoundFont"),
        (b"", "cannot read"),
        (b"RIFF", "is not a SoundFont"),
        (b"RIFF\xff\xff\xff\xffsfbkLIST\xff\xff\xff\xffpdtaphdr\xff\xff\xff\xff", "lacks"),
    ],
)
def test_anything_else_is_refused(tmp_path, content, said):
    path = tmp_path / "broken.sf3"
    path.write_bytes(content)
    with pytest.raises(AudioError, match=said):
        SoundFont(path)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(AudioError, match=r"nowhere\.sf3"):
        SoundFont(tmp_path / "nowhere.sf3")
