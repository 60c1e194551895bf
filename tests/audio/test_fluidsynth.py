import shutil

import numpy as np
import pytest

from espressivo.audio.fluidsynth import standard_midi
from espressivo.errors import AudioError
from espressivo.performance import Performance
from tests.audio.hearing import RATE, heard, level, note, sustain

needs_fluidsynth = pytest.mark.skipif(
    shutil.which("fluidsynth") is None, reason="FluidSynth is not installed"
)


def test_without_the_program_the_error_says_what_to_install(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(AudioError, match="apt install fluidsynth"):
        heard(note(), engine="fluidsynth")


def test_the_midi_it_is_given_is_exact_to_a_tenth_of_a_millisecond():
    midi = standard_midi(Performance([(0.5, 1.0, 60, 99, 0)], sustain((0.25, 70))))
    assert midi[:4] == b"MThd"
    assert midi[12:14] == (5000).to_bytes(2, "big")  # per quarter of half a second
    body = midi[22:]
    assert body.startswith(bytes([0x93, 0x44, 0xB0, 64, 70]))  # 2500 ticks in two bytes
    assert bytes([0x93, 0x44, 0x90, 60, 99, 0xA7, 0x08, 0x80, 60, 0]) in body
    assert body.endswith(b"\xff\x2f\x00")


def test_a_failing_program_is_quoted(monkeypatch, tmp_path):
    program = tmp_path / "fluidsynth"
    program.write_text("#!/bin/sh\necho no soundfont for you >&2\nexit 3\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    with pytest.raises(AudioError, match=r"exit code 3: no soundfont for you"):
        heard(note(), engine="fluidsynth")


@pytest.mark.slow
@needs_fluidsynth
def test_both_engines_agree_on_loudness_and_timing():
    strokes = {0.5: 25, 3.5: 70, 6.5: 120}
    performance = Performance([(onset, onset + 1, 60, v, 0) for onset, v in strokes.items()])
    levels, onsets = [], []
    for engine in ("sampler", "fluidsynth"):
        sound = heard(performance, engine=engine)
        ladder = np.array([level(sound, onset, 0.5) for onset in strokes])
        levels.append(ladder - ladder[-1])
        last = np.abs(sound[:, int(6.4 * RATE) :]).max(axis=0)
        onsets.append(np.argmax(last > 0.05 * last.max()) / RATE)
    np.testing.assert_allclose(*levels, atol=2.0)
    assert onsets[0] == pytest.approx(onsets[1], abs=0.005)
