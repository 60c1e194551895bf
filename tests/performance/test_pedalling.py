from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from espressivo.codecs import CODECS, decode
from espressivo.midi import read_midi
from espressivo.performance import SUSTAIN, Performance, Track

CODEC = CODECS["performance-rnn"]
SAMPLES = Path(__file__).parents[1] / "samples"


def test_a_chord_that_ends_together_needs_no_pedal():
    chord = Performance([(0.0, 1.0, pitch, 60, 0) for pitch in (60, 64, 67)])
    assert chord.pedalled() == chord


def test_an_arpeggio_that_ends_together_is_held_by_the_pedal():
    arpeggio = Performance([(0.5 * i, 3.0, 60 + 4 * i, 60, 0) for i in range(4)])
    played = arpeggio.pedalled()
    assert played.controls["value"].tolist() == [127, 0]
    assert played.controls["time"][1] == 3.0
    assert 0 < played.controls["time"][0] < 0.5
    assert (played.notes["offset"] < 3.0).all()
    assert played.sustained() == arpeggio


def test_a_release_by_hand_is_not_swallowed_by_the_pedal():
    notes = [(0.0, 3.0, 48, 60, 0), (0.2, 1.5, 60, 60, 0), (1.0, 3.0, 64, 60, 0)]
    played = Performance(notes).pedalled()
    assert played.controls["time"][0] > 1.5
    assert played.sustained() == Performance(notes)


def test_drums_stay_as_they_are():
    notes = [(0.5 * i, 3.0, 60 + 4 * i, 60, 0) for i in range(4)]
    drums = Performance(notes, tracks=[Track(is_drum=True)])
    assert drums.pedalled() == drums


def test_a_pedal_already_there_goes_on_after_its_last_move():
    early = [(0.0, 0.5, 40, 60, 0), (0.2, 6.0, 43, 60, 0)]
    late = [(4 + 0.5 * i, 8.0, 60 + 4 * i, 60, 0) for i in range(4)]
    played = Performance(early + late, [(0.1, SUSTAIN, 127, 0), (3.0, SUSTAIN, 0, 0)])
    found = played.pedalled()
    assert found.controls["value"].tolist() == [127, 0, 127, 0]
    assert found.controls["time"][2] > 6.0  # not before the early note is let go
    assert found.sustained() == played.sustained()
    held = Performance(early + late, [(0.1, SUSTAIN, 127, 0)])
    assert held.pedalled() == held


@given(st.lists(st.integers(0, len(CODEC.vocabulary) - 1), max_size=200))
def test_nothing_sounds_different(tokens):
    performance = decode(CODEC, tokens)
    assert performance.pedalled().sustained() == performance


@pytest.mark.parametrize("name", ["giantmidi_joplin", "giantmidi_field"])
def test_the_pedal_found_is_near_the_pedal_played(name):
    played = read_midi(SAMPLES / f"{name}.mid")
    found = CODEC.quantize(played).pedalled()
    assert found.sustained() == CODEC.quantize(played)
    assert down_share(found) == pytest.approx(down_share(played), abs=0.15)


def down_share(performance: Performance) -> float:
    moves = performance.controls[performance.controls["number"] == SUSTAIN]
    lasting = np.diff(np.append(moves["time"], performance.duration))
    return float(lasting[moves["value"] >= 64].sum() / performance.duration)
