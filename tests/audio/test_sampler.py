import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from espressivo.audio import piano, voices
from espressivo.audio.files import BLOCK
from espressivo.performance import Performance, Track
from tests.audio.hearing import RATE, heard, level, note, sustain


@pytest.fixture
def strings_alone(monkeypatch):
    """Leave the noises of keys and pedals out."""
    monkeypatch.setattr(voices, "KEY_NOISE_GAIN", 0.0)
    monkeypatch.setattr(voices, "PEDAL_NOISE_GAIN", 0.0)


LADDER = (10, 25, 40, 55, 70, 85, 100, 115, 127)


def test_velocity_ladder_is_that_of_the_soundfont_standard():
    """FluidSynth 2.3.1 on the same file: -39.6 -25 -18 -13 -9 -6 -4 -1.5 0 dB."""
    levels = np.array([level(heard(note(velocity=v)), 0.1, 0.5) for v in LADDER])
    standard = np.array([-39.6, -25, -18, -13, -9, -6, -4, -1.5, 0])
    assert (np.diff(levels) > 0).all()
    assert np.abs(levels - levels[-1] - standard).max() < 2.5


@pytest.mark.usefixtures("strings_alone")
def test_a_held_pedal_damps_by_degrees():
    """C3 let go after half a second, its fall over 1.2 s for pedals standing at ten heights."""
    falls = []
    for value in (0, 20, 40, 50, 63, 64, 75, 90, 110, 127):
        sound = heard(note(48, offset=0.6, controls=sustain((0.0, value), (2.5, 0))))
        falls.append(level(sound, 1.4, 0.1) - level(sound, 0.2, 0.1))
    assert max(falls[:3]) < -100
    assert -100 < falls[3] < -70
    assert -60 < falls[4] < falls[5] < -40
    assert -30 < falls[6] < -15
    assert min(falls[7:]) > -16
    assert np.ptp(falls[7:]) < 0.1


@pytest.mark.usefixtures("strings_alone")
def test_half_pedal_in_flutter_damps_in_proportion_to_time():
    down = heard(note(48, offset=0.6, controls=sustain((0.0, 127), (3.0, 0))))
    taps = [(0.6 + 0.1 * i + lag, v) for i in range(8) for lag, v in ((0.0, 127), (0.08, 0))]
    fluttered = heard(note(48, offset=0.6, controls=sustain((0.0, 127), *taps, (3.0, 0))))
    lost = level(down, 1.35, 0.05) - level(fluttered, 1.35, 0.05)
    assert lost == pytest.approx(7 * 0.02 * 60 / 0.55, rel=0.3)


@pytest.mark.usefixtures("strings_alone")
def test_re_pedalling_catches_what_still_sounds_and_no_more():
    caught = heard(note(48, offset=0.6, controls=sustain((0.8, 127), (3.0, 0))))
    free = heard(note(48, offset=0.6, controls=sustain((0.0, 127), (3.0, 0))))
    assert level(free, 1.5, 0.3) - level(caught, 1.5, 0.3) == pytest.approx(0.2 * 109, rel=0.15)


def test_a_pedal_left_down_is_let_go_in_the_end():
    sound = heard(note(36, offset=0.5, controls=sustain((0.0, 127))))
    assert level(sound, 3.5, 0.5) > -60
    assert sound.shape[1] < 8 * RATE


def test_treble_strings_ring_on_without_dampers():
    short, long = (heard(note(100, offset=offset)) for offset in (0.15, 3.0))
    assert level(short, 0.5, 0.3) == pytest.approx(level(long, 0.5, 0.3), abs=0.3)


def test_notes_begin_at_their_time():
    silence, attack = (heard(note(onset=1.0, offset=1.5))[:, : int(t * RATE)] for t in (1.0, 1.01))
    assert np.abs(silence).max() == 0
    assert np.abs(attack).max() > 0.01


def test_a_later_onset_is_the_same_sound_later_whatever_the_windows():
    controls = sustain((0.3, 60), (0.9, 127), (2.0, 0))
    early = note(52, 90, 0.1, 0.5, controls)
    frames = BLOCK - 1000
    late = early.shift(frames / RATE)
    first, second = heard(early), heard(late)
    length = min(first.shape[1], second.shape[1] - frames)
    difference = first[:, :length] - second[:, frames : frames + length]
    assert np.abs(difference).max() < 2e-3 * np.abs(first).max()


def test_releases_restrikes_and_windows_make_no_clicks():
    notes = [(0.1 + 0.35 * i, 0.1 + 0.35 * i + 0.3, 60, 90, 0) for i in range(8)]
    sound = heard(Performance(notes, sustain((1.0, 127), (1.5, 40), (2.2, 127), (2.9, 0))))
    bend = np.abs(np.diff(sound[0].astype(float), 2))
    onsets = np.array([onset for onset, *_ in notes]) * RATE
    away = np.ones(len(bend), bool)
    for onset in onsets.astype(int):
        away[onset - 10 : onset + 4000] = False
    calm = bend[away & (np.abs(sound[0, 1:-1]) > 1e-3)]
    assert 20 * np.log10(calm.max() / np.median(calm)) < 30


@pytest.mark.usefixtures("strings_alone")
def test_a_key_struck_again_quietens_its_earlier_sound():
    pedal = sustain((0.0, 127), (4.0, 0))
    single = Performance([(0.1, 0.3, 60, 110, 0)], pedal)
    soft = Performance([(1.0, 1.2, 60, 10, 0)], pedal)
    both = Performance([(0.1, 0.3, 60, 110, 0), (1.0, 1.2, 60, 10, 0)], pedal)
    assert level(heard(single), 1.8, 0.2) - level(heard(both), 1.8, 0.2) > 15
    assert level(heard(both), 1.8, 0.2) >= level(heard(soft), 1.8, 0.2) - 1


def test_soft_pedal_softens_and_darkens():
    plain, soft = heard(note()), heard(note(controls=[(0.0, 67, 127, 0)]))
    fall = level(plain, 0.1, 0.5) - level(soft, 0.1, 0.5)
    assert 1.0 < fall < 3.0

    def brightness(sound):
        power = (np.abs(np.fft.rfft(sound[:, 4410:26460])) ** 2).sum(axis=0)
        return 10 * np.log10(power[1000:].sum() / power.sum())

    assert brightness(plain) - brightness(soft) > 0.5


@pytest.mark.usefixtures("strings_alone")
def test_sostenuto_holds_a_chord_and_lets_the_rest_go():
    pedal = [(0.5, 66, 127, 0), (3.0, 66, 0, 0)]
    held = heard(note(48, offset=0.7, controls=pedal))
    free = heard(note(48, onset=0.6, offset=0.8, controls=pedal))
    assert level(held, 1.8, 0.2) > -50
    assert level(free, 1.8, 0.2) < -75


@pytest.mark.parametrize("key", [45, 57, 60, 69, 81])
def test_pitch_is_right(key):
    sound = heard(note(key, offset=3.0))[:, 8820 : 8820 + 65536].sum(axis=0)
    spectrum = np.abs(np.fft.rfft(sound * np.hanning(len(sound)), 1 << 19))
    wanted = 440 * 2 ** ((key - 69) / 12)
    bins = np.fft.rfftfreq(1 << 19, 1 / RATE)
    near = np.abs(bins / wanted - 1) < 0.03
    found = bins[near][np.argmax(spectrum[near])]
    assert abs(1200 * np.log2(found / wanted)) < 12


def test_keys_and_pedals_are_heard_moving(monkeypatch):
    with_noise = heard(note(offset=0.5))
    pedal = heard(Performance([], sustain((0.5, 127), (1.5, 0))))
    monkeypatch.setattr(voices, "KEY_NOISE_GAIN", 0.0)
    without = heard(note(offset=0.5))
    noise = (with_noise - without)[:, : 2 * RATE]
    for sound in (noise, pedal):
        assert level(sound, 0.1, 0.3) < -150
        assert -80 < level(sound, 0.5, 0.2) < -50


def test_drums_are_left_out_and_other_programs_play_the_piano():
    tracks = (Track(0), Track(40), Track(0, is_drum=True))
    violin = heard(note(track=1, tracks=tracks))
    drum = heard(note(track=2, tracks=tracks))
    np.testing.assert_array_equal(violin, heard(note()))
    assert np.abs(drum).max() == 0


@pytest.mark.usefixtures("strings_alone")
def test_each_track_has_its_own_pedals():
    tracks = (Track(), Track())
    pedal = [(0.0, 64, 127, 1), (3.0, 64, 0, 1)]
    damped = heard(note(48, offset=0.5, controls=pedal, tracks=tracks))
    held = heard(note(48, offset=0.5, controls=pedal, track=1, tracks=tracks))
    assert level(held, 1.5, 0.2) - level(damped, 1.5, 0.2) > 30


def test_no_notes_are_a_short_silence():
    sound = heard(Performance())
    assert 0 < sound.shape[1] < 3 * RATE
    assert np.abs(sound).max() == 0


def test_forgetting_samples_changes_nothing_but_time(monkeypatch):
    notes = [(0.2 * i, 0.2 * i + 0.3, 55 + i % 5, 40 + 5 * i, 0) for i in range(12)]
    performance = Performance(notes, sustain((0.0, 127), (2.0, 0)))
    kept = heard(performance)
    monkeypatch.setattr(piano, "CACHE_BYTES", 0)
    np.testing.assert_array_equal(heard(performance), kept)


@settings(max_examples=15, deadline=None)
@given(
    notes=st.lists(
        st.tuples(st.floats(0, 3), st.floats(0.001, 2), st.integers(0, 127), st.integers(1, 127)),
        max_size=6,
    ),
    controls=st.lists(
        st.tuples(st.floats(0, 5), st.sampled_from([64, 66, 67]), st.integers(0, 127), st.just(0)),
        max_size=8,
    ),
)
def test_anything_that_can_be_played_can_be_heard(notes, controls):
    performance = Performance([(t, t + d, p, v, 0) for t, d, p, v in notes], controls)
    sound = heard(performance, room=0.2, rate=8000)
    assert np.isfinite(sound).all()
    assert np.abs(sound).max() < 10
    assert sound.shape[1] < (performance.duration + 32) * 8000


def test_the_same_performance_gives_the_same_samples():
    performance = note(controls=sustain((0.2, 70), (1.5, 0)))
    np.testing.assert_array_equal(heard(performance, room=0.2), heard(performance, room=0.2))
