"""Notes said whole: what the laws of every codec do not say."""

import numpy as np
import pytest

from espressivo.codecs import CODECS, MidiLike, NoteTuple, decode
from espressivo.errors import CodecError
from espressivo.midi import read_midi
from espressivo.performance import SUSTAIN, Event, Performance

CODEC = NoteTuple()


def spoken(performance, codec=CODEC):
    return [codec.vocabulary.describe(token) for token in codec.encode(performance).tolist()]


def note(shift, pitch, velocity_bin, duration):
    """The six ids of a note, spelt by hand."""
    slots = (shift // 77, shift % 77, pitch, velocity_bin)
    kinds = ("shift_major", "shift_minor", "note_on", "velocity")
    digits = {"duration_major": (duration - 1) // 40, "duration_minor": (duration - 1) % 40}
    words = [*zip(kinds, slots, strict=True), *digits.items()]
    return [CODEC.vocabulary.id(*word) for word in words]


def test_the_six_choices_are_magentas():
    sizes = [len(values) for values in CODEC.vocabulary.kinds.values()]
    assert sizes == [13, 77, 128, 32, 25, 40]
    assert len(CODEC.vocabulary) == 315


def test_a_note_is_six_tokens_in_the_published_order():
    played = Performance([(0.0, 0.01, 60, 1, 0), (2.0, 6.01, 64, 127, 0)])
    assert spoken(played) == [
        ("shift_major", 0),
        ("shift_minor", 0),
        ("note_on", 60),
        ("velocity", 1),
        ("duration_major", 0),
        ("duration_minor", 0),
        ("shift_major", 2),
        ("shift_minor", 46),  # 2 * 77 + 46 steps
        ("note_on", 64),
        ("velocity", 32),
        ("duration_major", 10),
        ("duration_minor", 0),  # 10 * 40 + 0 + 1 steps
    ]


def test_chords_are_told_from_below():
    played = Performance([(0.0, 1.0, 67, 64, 0), (0.001, 1.0, 60, 64, 0)])
    assert [value for kind, value in spoken(played) if kind == "note_on"] == [60, 67]


def test_it_says_what_the_midi_like_codec_says_where_nothing_is_too_long(samples):
    played = read_midi(samples / "giantmidi_joplin.mid").trimmed()
    notes, like = CODEC.quantize(played).notes, MidiLike().quantize(played).notes
    assert len(notes) == len(like) > 2000
    for name in ("pitch", "velocity"):
        assert np.array_equal(notes[name], like[name])
    waits = np.diff(like["onset"])
    assert waits.max() < 10
    np.testing.assert_allclose(notes["onset"], like["onset"], rtol=0, atol=1e-9)
    lengths = [n["offset"] - n["onset"] for n in (notes, like)]
    np.testing.assert_allclose(lengths[0], np.minimum(lengths[1], 10.0), rtol=0, atol=1e-9)


def test_long_waits_and_long_notes_are_cut_to_ten_seconds():
    played = Performance(
        [(12.0, 40.0, 60, 64, 0), (30.0, 31.0, 60, 64, 0), (31.0, 32.0, 62, 64, 0)]
    )
    notes = CODEC.quantize(played).notes
    assert notes["onset"].tolist() == [10.0, 20.0, 21.0]
    assert notes["offset"].tolist() == [20.0, 21.0, 22.0]


def test_the_pedal_is_in_the_durations():
    pedal = [(0.5, SUSTAIN, 100, 0), (3.0, SUSTAIN, 0, 0)]
    notes = CODEC.quantize(Performance([(0.0, 1.0, 60, 64, 0)], pedal)).notes
    assert notes["offset"].tolist() == [3.0]
    assert not len(CODEC.quantize(Performance([(0.0, 1.0, 60, 64, 0)], pedal)).controls)


def test_events_come_when_time_passes_them():
    decoder = CODEC.decoder()
    tokens = [*note(0, 60, 16, 50), *note(0, 64, 16, 100), *note(80, 67, 16, 10)]
    events = [event for token in tokens for event in decoder.push(token)]
    assert events == [
        Event(0.0, "on", 60, 61),
        Event(0.0, "on", 64, 61),
        Event(0.5, "off", 60),
        Event(0.8, "on", 67, 61),
    ]
    assert decoder.sounding == {64: 0.0, 67: 0.8}
    assert decoder.time == 0.8
    assert decoder.close() == [Event(0.9, "off", 67), Event(1.0, "off", 64)]
    assert decoder.sounding == {}


def test_a_token_out_of_turn_breaks_a_note_off():
    whole = note(30, 60, 16, 50)
    broken = [*whole[:3], *note(10, 64, 16, 50)]
    assert decode(CODEC, broken).notes["pitch"].tolist() == [64]
    assert len(decode(CODEC, whole[1:])) == 0
    assert len(decode(CODEC, [CODEC.start, *whole, CODEC.start])) == 1


def allowed_after(*tokens, **options):
    decoder = CODEC.decoder(**options)
    for token in tokens:
        decoder.push(token)
    return {CODEC.vocabulary.describe(token) for token in np.flatnonzero(decoder.allowed())}


def test_one_slot_is_open_at_a_time():
    tokens = note(100, 60, 16, 50)
    for count, kind in enumerate(CODEC.vocabulary.kinds):
        assert {word for word, _ in allowed_after(*tokens[:count])} == {kind}


def test_keys_that_sound_are_not_struck_and_chords_rise():
    first = note(0, 60, 16, 50)
    shift = [CODEC.vocabulary.id("shift_major", 0), CODEC.vocabulary.id("shift_minor", 0)]
    at_once = {value for _, value in allowed_after(*first, *shift)}
    assert at_once == set(range(61, 128))
    shift[1] = CODEC.vocabulary.id("shift_minor", 49)
    assert {value for _, value in allowed_after(*first, *shift)} == set(range(128)) - {60}
    shift[1] = CODEC.vocabulary.id("shift_minor", 50)
    assert {value for _, value in allowed_after(*first, *shift)} == set(range(128))


def test_time_must_pass_where_no_key_is_left():
    first = note(0, 60, 16, 80)
    only = {"keys": range(60, 61)}
    assert allowed_after(*first, **only) == {("shift_major", value) for value in range(1, 13)}
    major = CODEC.vocabulary.id("shift_major", 1)
    minors = {("shift_minor", value) for value in range(3, 77)}
    assert allowed_after(*first, major, **only) == minors


def test_notes_no_longer_than_wanted_are_offered():
    first = note(0, 60, 16, 80)[:4]
    assert allowed_after(*first, longest=1.0) == {("duration_major", value) for value in range(3)}
    major = CODEC.vocabulary.id("duration_major", 2)
    minors = {("duration_minor", value) for value in range(20)}
    assert allowed_after(*first, major, longest=1.0) == minors


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"max_duration": 0}, "max_duration=0 must lie in 1..max_shift=1000"),
        ({"max_shift": 500}, "max_duration=1000 must lie in 1..max_shift=500"),
        ({"velocity_bins": 0}, "velocity_bins=0 must lie in 1..127"),
        ({"lowest": 90, "highest": 80}, "lowest=90"),
        ({"steps_per_second": 0}, "steps_per_second=0"),
    ],
)
def test_impossible_settings_are_named(setting, message):
    with pytest.raises(CodecError, match=message):
        NoteTuple(**setting)


def test_a_decoder_needs_keys_and_lengths():
    with pytest.raises(CodecError, match="longest=0 seconds"):
        CODEC.decoder(longest=0)
    with pytest.raises(CodecError, match=r"must have one of 60\.\.70"):
        NoteTuple(lowest=60, highest=70).decoder(keys=range(50))


def test_windows_hold_whole_notes():
    assert CODECS["performance-rnn"].stride == 1
    assert CODEC.stride == CODEC.tokens_per_note == 6
    tokens = np.array([*note(0, 60, 16, 200), *note(100, 64, 16, 20), *note(50, 65, 16, 10)])
    assert CODEC.onsets(tokens).tolist() == [0, 6, 12]
    assert CODEC.settled(tokens) == 0  # the first note lasts longer than this excerpt
    assert CODEC.settled(np.array([*tokens, *note(100, 70, 16, 5)])) == 18
