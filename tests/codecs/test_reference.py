"""The vectorised encoder and sustain against their slow twins."""

import dataclasses

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from espressivo.codecs import CODECS, MidiLike, reference
from espressivo.midi import read_midi
from tests.strategies import performances

many = settings(max_examples=80, deadline=None)


@given(performance=performances())
@many
def test_sustained_equals_the_event_loop(performance):
    assert performance.sustained() == reference.sustained(performance)


MIDI_LIKE = [codec for codec in CODECS.values() if isinstance(codec, MidiLike)]


@given(
    codec=st.sampled_from(MIDI_LIKE),
    performance=performances(),
    ties=st.sampled_from(["pitch", "played"]),
)
@many
def test_encode_equals_the_event_loop(codec, performance, ties):
    codec = dataclasses.replace(codec, ties=ties)
    assert codec.encode(performance).tolist() == reference.encode(codec, performance)


@pytest.mark.parametrize("name", ["giantmidi_field", "giantmidi_joplin"])
def test_real_performances_encode_like_the_event_loop(name, samples):
    performance = read_midi(samples / f"{name}.mid")
    for codec in (MidiLike(), MidiLike(125, 125, pedal="events")):
        assert codec.encode(performance).tolist() == reference.encode(codec, performance)
