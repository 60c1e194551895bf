"""Notes to integers and back. Only codecs know both what a note is and what an id means."""

from espressivo.codecs.codec import Codec, Decoder, decode
from espressivo.codecs.midi_like import MidiLike
from espressivo.codecs.note_events import NoteEvents
from espressivo.codecs.note_tuple import NoteTuple
from espressivo.codecs.vocabulary import Vocabulary

CODECS: dict[str, MidiLike | NoteTuple] = {
    "oore2018": MidiLike(steps_per_second=125, max_shift=125),
    "oore2018-pedal": MidiLike(steps_per_second=125, max_shift=125, pedal="events"),
    "performance-rnn": MidiLike(),
    "performance-rnn-pedal": MidiLike(pedal="events"),
    "performance-rnn-plain": MidiLike(velocity_bins=0),
    "score2perf": MidiLike(lowest=21, highest=108, reserved=True),
    "note-tuple": NoteTuple(),
}
"""The published vocabularies: 413, 415, 388, 356 and 308 + 2 events; 315 for notes said whole.

`performance-rnn-pedal` is ours: the 388 events and two for the pedal.
"""

EVENT_CODECS: dict[str, NoteEvents] = {"note-events": NoteEvents()}
"""Codecs whose events are rows of several fields instead of single ids."""

__all__ = [
    "CODECS",
    "EVENT_CODECS",
    "Codec",
    "Decoder",
    "MidiLike",
    "NoteEvents",
    "NoteTuple",
    "Vocabulary",
    "decode",
]
