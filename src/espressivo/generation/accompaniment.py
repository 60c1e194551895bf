"""What to play around a melody."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from espressivo.codecs import Codec, decode
from espressivo.errors import ConfigError
from espressivo.generation.keyboard import RING
from espressivo.generation.tasks import Melody, Prompt, originals
from espressivo.performance import Array, Event, Performance, Track, infer_melody, is_melody

TRACKS = (Track(name="melody"), Track(name="accompaniment"))


def accompaniment(codec: Codec, melody: Performance) -> Prompt:
    """Ask for what two hands play around a melody, from its first note to the end of its last.

    The result has two tracks: the notes of the melody (see `line_of`) exactly as they are in
    `melody` and at the same times, and what the model plays. It hears the melody as the codec
    says it; keys that the codec does not have are kept, but not heard.

    Raises ConfigError for a melody without notes, or without any that the codec can say.
    """
    line = line_of(melody)
    if not len(line):
        raise ConfigError("the melody has no notes; give a MIDI file with at least one piano note")
    return led(codec, codec.encode(line.trimmed()), line.start, line)


def line_of(performance: Performance) -> Performance:
    """Give the melody of a performance, without pedals.

    It is the track called "melody", where there is one; the whole, where notes come one at a
    time; or else what `infer_melody` draws out.
    """
    tracks = enumerate(performance.tracks)
    named = [index for index, track in tracks if track.name.strip().lower() == "melody"]
    line = performance.select(tracks=named[:1]) if named else performance
    notes = (line if named or is_melody(line) else infer_melody(line)).select(drums=False).notes
    notes = notes.copy()
    notes["track"] = 0
    return Performance(notes)


def led(
    codec: Codec, tokens: NDArray[np.int64], begins: float, melody: Performance | None = None
) -> Prompt:
    """Ask for the same, for a melody already encoded that begins `begins` seconds into the result.

    The result keeps the notes of `melody`, or without one those of the tokens. ConfigError if the
    tokens hold no note or are not those of the melody.
    """
    heard = decode(codec, tokens)
    if not len(heard):
        raise ConfigError(
            "the melody has no note that this model can hear; its codec has the keys "
            f"{codec.vocabulary.kinds['note_on']}"
        )
    line = heard if melody is None else melody.trimmed()
    onsets = [event for event in heard.events() if event.kind == "on"]
    played = originals(codec, onsets, line)
    return Prompt(
        "accompaniment",
        codec,
        heard.duration + RING,
        np.zeros(0, dtype=np.int64),
        opening=tuple(_unheard(line, played)),
        melody=Melody(tokens, tuple(played.tolist())),
        begins=begins,
        tracks=TRACKS,
    )


def _unheard(line: Performance, played: Array) -> list[Event]:
    """Give the events of the notes that the model does not hear."""
    rest = ~np.isin(line.notes[["onset", "offset", "pitch", "velocity"]], played)
    return Performance(line.notes[rest]).events()
