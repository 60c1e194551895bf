import numpy as np
from hypothesis import given, settings

from espressivo.codecs.melody import MelodySteps
from espressivo.performance import Performance, Track, infer_melody
from tests.strategies import performances

STEPS = MelodySteps()


def told(melody):
    return [
        value if kind == "note_on" else kind
        for kind, value in map(STEPS.vocabulary.describe, STEPS.encode(melody).tolist())
    ]


def test_the_vocabulary_is_the_published_one():
    assert len(STEPS.vocabulary) == 92
    assert STEPS.vocabulary.id("note_on", 21) == 4
    assert STEPS.vocabulary.id("note_on", 108) == 91


def test_a_step_is_a_key_a_hold_or_an_off():
    melody = Performance([(0.0, 0.3, 60, 80, 0), (0.3, 0.42, 62, 80, 0), (0.61, 0.8, 64, 1, 0)])
    assert told(melody) == [60, "hold", "hold", 62, "off", "hold", 64, "hold", "off", "eos"]


def test_the_melody_waits_if_it_begins_late_and_ends_at_once_if_there_is_none():
    assert told(Performance([(0.2, 0.3, 60, 80, 0)])) == ["hold", "hold", 60, "off", "eos"]
    assert told(Performance()) == ["eos"]


def test_of_two_notes_in_one_step_the_last_is_told():
    assert told(Performance([(0.0, 0.02, 60, 80, 0), (0.03, 0.2, 62, 80, 0)])) == [
        62,
        "hold",
        "off",
        "eos",
    ]


def test_a_short_note_lasts_a_step_and_a_long_one_until_the_next():
    melody = Performance([(0.0, 0.01, 60, 80, 0), (0.1, 0.9, 62, 80, 0), (0.2, 0.4, 64, 80, 0)])
    assert told(melody) == [60, 62, 64, "hold", "off", "eos"]


def test_drums_and_keys_no_piano_has_are_left_out():
    drums = Performance([(0, 1, 60, 80, 0)], tracks=[Track(is_drum=True)])
    assert told(Performance.merge([drums, Performance([(0, 0.1, 20, 80, 0)])])) == ["eos"]


@settings(max_examples=30)
@given(performances(drums=False))
def test_every_melody_can_be_told(performance):
    melody = infer_melody(performance)
    tokens = STEPS.encode(melody)
    kinds = [STEPS.vocabulary.describe(token)[0] for token in tokens.tolist()]
    assert kinds[-1] == "eos"
    assert "pad" not in kinds
    known = melody.notes[(melody.notes["pitch"] >= 21) & (melody.notes["pitch"] <= 108)]
    struck = np.flatnonzero(np.array(kinds) == "note_on")
    assert struck.tolist() == np.unique(np.floor(known["onset"] * 10 + 0.5)).tolist()
    off = np.flatnonzero(np.array(kinds) == "off")
    assert all((struck < at).sum() > (off < at).sum() for at in off), "only what sounds ends"
