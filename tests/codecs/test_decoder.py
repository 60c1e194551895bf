import numpy as np
import pytest

from espressivo.codecs import CODECS, MidiLike, decode
from espressivo.errors import CodecError
from espressivo.performance import SUSTAIN, Event

RNN = CODECS["performance-rnn"]
PEDAL = CODECS["oore2018-pedal"]


def ids(codec, *words: tuple[str, int]) -> list[int]:
    return [codec.vocabulary.id(kind, value) for kind, value in words]


def pushed(decoder, *words: tuple[str, int]) -> list[Event]:
    tokens = ids(decoder.codec, *words)
    return [event for token in tokens for event in decoder.push(token)]


def allowed(decoder, kind: str) -> list[int]:
    mask, vocabulary = decoder.allowed(), decoder.codec.vocabulary
    return [vocabulary.describe(i)[1] for i in vocabulary.ids(kind) if mask[i]]


def test_events_carry_time_key_and_velocity():
    decoder = RNN.decoder()
    events = pushed(
        decoder, ("shift", 50), ("velocity", 16), ("note_on", 60), ("shift", 100), ("note_off", 60)
    )
    assert events == [Event(0.5, "on", 60, 61), Event(1.5, "off", 60)]
    assert decoder.time == 1.5


def test_what_sounds_is_known_with_its_onset():
    decoder = RNN.decoder()
    pushed(decoder, ("note_on", 60), ("shift", 25), ("note_on", 55))
    assert decoder.sounding == {60: 0.0, 55: 0.25}
    pushed(decoder, ("shift", 1), ("note_off", 60))
    assert decoder.sounding == {55: 0.25}


def test_nonsense_is_ignored():
    decoder = RNN.decoder()
    assert pushed(decoder, ("note_off", 60)) == []
    pushed(decoder, ("note_on", 60))
    assert pushed(decoder, ("note_on", 60), ("note_off", 60)) == []
    assert list(decoder.sounding) == [60]


def test_padding_and_end_do_nothing():
    codec = CODECS["score2perf"]
    assert decode(codec, [0, 1, 0]) == decode(codec, [])


def test_a_key_struck_while_it_sounds_ends_first():
    decoder = RNN.decoder()
    events = pushed(decoder, ("note_on", 60), ("shift", 10), ("note_on", 60))
    assert [event.kind for event in events] == ["on", "off", "on"]


def test_close_releases_keys_and_pedal():
    decoder = PEDAL.decoder()
    pushed(decoder, ("pedal", 1), ("note_on", 64), ("note_on", 60), ("shift", 125))
    assert decoder.pedal
    assert decoder.close() == [
        Event(1.0, "off", 60),
        Event(1.0, "off", 64),
        Event(1.0, "control", SUSTAIN, 0),
    ]
    assert decoder.close() == []


def test_a_pedal_pressed_and_left_at_the_end_was_never_heard():
    assert len(decode(PEDAL, ids(PEDAL, ("shift", 5), ("pedal", 1))).controls) == 0


def test_the_pedal_moves_once_a_step():
    decoder = PEDAL.decoder()
    events = pushed(decoder, ("pedal", 1), ("pedal", 0), ("shift", 1), ("pedal", 0), ("pedal", 1))
    assert events == [Event(0, "control", SUSTAIN, 127), Event(0.008, "control", SUSTAIN, 0)]


def test_a_note_lasts_no_longer_than_it_may():
    decoder = RNN.decoder(longest=5.0)
    pushed(decoder, ("velocity", 16), ("note_on", 60), ("shift", 100), ("note_on", 64))
    long = [("shift", 100)] * 3 + [("shift", 90), ("shift", 60)]
    assert pushed(decoder, *long) == [Event(5.0, "off", 60)]
    assert list(decoder.sounding) == [64]
    assert 60 in allowed(decoder, "note_on")
    assert allowed(decoder, "note_off") == [64]


@pytest.mark.parametrize("longest", [0, -1.0, float("nan")])
def test_a_limit_must_be_above_zero(longest):
    with pytest.raises(CodecError, match=f"longest={longest}"):
        RNN.decoder(longest)


# -- the grammar -----------------------------------------------------------------------------


def test_a_piece_begins_with_silence_or_a_velocity():
    decoder = RNN.decoder()
    assert allowed(decoder, "note_on") == allowed(decoder, "note_off") == []
    assert len(allowed(decoder, "shift")) == 100
    assert len(allowed(decoder, "velocity")) == 32


def test_a_velocity_is_followed_by_a_note():
    decoder = RNN.decoder()
    pushed(decoder, ("velocity", 16))
    assert len(allowed(decoder, "note_on")) == decoder.allowed().sum() == 128
    pushed(decoder, ("note_on", 60))
    assert 16 not in allowed(decoder, "velocity")


def test_keys_rise_within_a_step_and_none_is_struck_twice():
    decoder = RNN.decoder()
    pushed(decoder, ("velocity", 16), ("note_on", 60))
    assert allowed(decoder, "note_on") == list(range(61, 128))
    pushed(decoder, ("shift", 3))
    assert allowed(decoder, "note_on") == [key for key in range(128) if key != 60]


def test_only_what_sounds_and_began_earlier_is_released():
    decoder = RNN.decoder()
    pushed(decoder, ("velocity", 16), ("note_on", 60), ("note_on", 64))
    assert allowed(decoder, "note_off") == []
    pushed(decoder, ("shift", 3))
    assert allowed(decoder, "note_off") == [60, 64]
    pushed(decoder, ("note_off", 64))
    assert allowed(decoder, "note_off") == []


def test_a_short_shift_is_followed_by_an_event():
    decoder = RNN.decoder()
    pushed(decoder, ("shift", 100))
    assert len(allowed(decoder, "shift")) == 100
    pushed(decoder, ("shift", 99))
    assert allowed(decoder, "shift") == []


def test_the_highest_key_leaves_no_velocity_to_announce():
    decoder = RNN.decoder()
    pushed(decoder, ("velocity", 16), ("note_on", 127))
    assert allowed(decoder, "velocity") == []
    assert allowed(decoder, "shift")


def test_the_pedal_may_only_change_and_comes_first():
    decoder = PEDAL.decoder()
    assert allowed(decoder, "pedal") == [1]
    pushed(decoder, ("pedal", 1))
    assert allowed(decoder, "pedal") == []
    pushed(decoder, ("velocity", 16), ("note_on", 60), ("shift", 5))
    assert allowed(decoder, "pedal") == [0]
    pushed(decoder, ("note_off", 60))
    assert allowed(decoder, "pedal") == []


def test_played_ties_allow_any_order():
    decoder = MidiLike(ties="played").decoder()
    pushed(decoder, ("velocity", 16), ("note_on", 60))
    assert 59 in allowed(decoder, "note_on")
    assert 60 not in allowed(decoder, "note_on")


def test_a_mask_is_the_callers_own():
    decoder = RNN.decoder()
    decoder.allowed()[:] = False
    assert np.any(decoder.allowed())
