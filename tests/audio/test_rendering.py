import io
import os

import numpy as np
import pytest
import soundfile

from espressivo import audio
from espressivo.audio.piano import DATA
from espressivo.errors import AudioError
from espressivo.performance import Performance
from tests.audio.hearing import note

PEAK = 10 ** (-1 / 20)
CHORD = Performance([(0.1, 1.0, pitch, 110, 0) for pitch in (36, 48, 60, 64, 67, 72)])


@pytest.mark.parametrize(("suffix", "tolerance"), [("wav", 1e-4), ("flac", 1e-4), ("ogg", 0.05)])
def test_a_file_peaks_at_minus_one_decibel(tmp_path, suffix, tolerance):
    done = audio.render(CHORD, tmp_path / f"chord.{suffix}")
    sound, rate = soundfile.read(done.path)
    assert np.abs(sound).max() == pytest.approx(PEAK, abs=tolerance)
    assert rate == done.rate == 44_100
    assert len(sound) == round(done.seconds * rate)
    assert sorted(tmp_path.iterdir()) == [done.path]


def test_softly_played_files_are_as_loud_at_their_peak(tmp_path):
    done = audio.render(note(velocity=10), tmp_path / "soft.WAV")
    assert np.abs(soundfile.read(done.path)[0]).max() == pytest.approx(PEAK, abs=1e-4)
    assert done.gain_db > 20


@pytest.mark.parametrize("suffix", list(audio.FORMATS))
def test_every_format_carries_title_artist_and_comment(tmp_path, suffix):
    path = tmp_path / f"tagged.{suffix}"
    audio.render(note(), path, tags=audio.Tags("Étude", "espressivo", "seed 7"))
    with soundfile.SoundFile(path) as file:
        assert (file.title, file.artist, file.comment) == ("Étude", "espressivo", "seed 7")
        assert file.channels == 2


def test_the_credit_travels_with_the_sound(tmp_path):
    audio.render(note(), tmp_path / "a.flac")
    with soundfile.SoundFile(tmp_path / "a.flac") as file:
        assert file.copyright == file.comment == audio.CREDIT
    licence = (DATA / "LICENSE-salamander-compact.txt").read_text()
    assert " ".join(audio.CREDIT.split()) in " ".join(licence.split())


@pytest.mark.parametrize("format", list(audio.FORMATS))
def test_bytes_in_memory_are_a_whole_file(format):
    content = audio.encoded(note(), format)
    with soundfile.SoundFile(io.BytesIO(content)) as file:
        assert 1.0 < len(file) / file.samplerate < 4.0
        assert np.abs(file.read()).max() == pytest.approx(PEAK, abs=0.05)


def test_samples_come_in_blocks_of_65536_frames():
    blocks = list(audio.samples(note(offset=3.0)))
    assert len(blocks) > 1
    assert {(block.shape, block.dtype.name) for block in blocks} == {((65_536, 2), "float32")}


def test_a_file_ends_with_its_sound(tmp_path):
    done = audio.render(note(72, offset=0.5), tmp_path / "a.wav", room=0.0)
    sound = soundfile.read(done.path)[0]
    assert np.abs(sound[-1]).max() > 0


def test_silence_is_not_amplified(tmp_path):
    done = audio.render(Performance(), tmp_path / "nothing.wav")
    assert done.gain_db == 0
    assert 0 < done.seconds < 3
    assert np.abs(soundfile.read(done.path)[0]).max() == 0


@pytest.mark.parametrize("name", ["take.xyz", "take", "take.mid"])
def test_an_unknown_suffix_is_named_with_what_would_be_right(tmp_path, name):
    with pytest.raises(AudioError, match=r"unknown audio suffix .*\.wav, \.flac, \.ogg, \.mp3"):
        audio.render(note(), tmp_path / name)


def test_a_missing_folder_is_named(tmp_path):
    with pytest.raises(AudioError, match=r"there is no folder .*nowhere"):
        audio.render(note(), tmp_path / "nowhere" / "a.wav")


def test_a_folder_in_the_way_is_named(tmp_path):
    (tmp_path / "a.wav").mkdir()
    with pytest.raises(AudioError, match=r"a\.wav: it is a folder"):
        audio.render(note(), tmp_path / "a.wav")


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write")
def test_a_folder_without_permission_is_named(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(AudioError, match="no permission"):
        audio.render(note(), tmp_path / "a.wav")


@pytest.mark.parametrize("suffix", list(audio.FORMATS))
def test_a_full_disk_is_one_clear_error_and_leaves_the_old_file(tmp_path, suffix):
    resource = pytest.importorskip("resource")
    path = tmp_path / f"a.{suffix}"
    path.write_bytes(b"what was there before")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (8_000, hard))
    try:
        with pytest.raises(AudioError, match=rf"cannot write .*a\.{suffix}: .*disk full"):
            audio.render(note(), path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert path.read_bytes() == b"what was there before"
    assert list(tmp_path.iterdir()) == [path]


def test_an_interruption_leaves_nothing_behind(tmp_path, monkeypatch):
    def interrupted(*_):
        yield np.zeros((2, 65_536), np.float32)
        raise KeyboardInterrupt

    monkeypatch.setitem(audio.ENGINES, "sampler", interrupted)
    with pytest.raises(KeyboardInterrupt):
        audio.render(note(), tmp_path / "a.wav")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"engine": "organ"}, "unknown engine 'organ'; use one of sampler, fluidsynth"),
        ({"room": -0.1}, "room=-0.1"),
        ({"width": 3.0}, "width=3.0"),
        ({"rate": 100}, "rate=100"),
    ],
)
def test_settings_out_of_range_are_named(tmp_path, settings, said):
    with pytest.raises(AudioError, match=said):
        audio.render(note(), tmp_path / "a.wav", **settings)
    assert not list(tmp_path.iterdir())


def test_mp3_says_which_rates_it_has():
    with pytest.raises(AudioError, match=r"no rate of 44101 Hz; use one of 8000, .*48000"):
        audio.encoded(note(), "mp3", rate=44_101)


def test_days_of_silence_are_refused(tmp_path):
    endless = Performance([(0.0, 1.0, 60, 64, 0), (1e6, 1e6 + 1, 60, 64, 0)])
    with pytest.raises(AudioError, match=r"lasts 277\.8 h"):
        audio.render(endless, tmp_path / "a.wav")


def test_other_rates_sound_the_same():
    sounds = {
        rate: np.concatenate(list(audio.samples(note(69), rate=rate, room=0.0)))
        for rate in (22_050, 44_100)
    }
    levels = [10 * np.log10((s[: rate // 2] ** 2).mean()) for rate, s in sounds.items()]
    assert levels[0] == pytest.approx(levels[1], abs=0.2)
