"""MIDI files to performances and back: the only place that knows ticks and the MIDI library."""

from espressivo.midi.chunks import Limits
from espressivo.midi.reader import Salvage, read_midi, read_texts, salvage_midi
from espressivo.midi.writer import midi_bytes, write_midi

__all__ = [
    "Limits",
    "Salvage",
    "midi_bytes",
    "read_midi",
    "read_texts",
    "salvage_midi",
    "write_midi",
]
