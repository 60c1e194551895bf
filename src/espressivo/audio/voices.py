"""What sounds when: every note and every noise of a performance as one row of numbers."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from espressivo.audio.dampers import SILENCE, Dampers, dampers, damping, released, softness
from espressivo.audio.piano import GRAND, INAUDIBLE, KEY_NOISE, PEDAL_NOISE, Piano
from espressivo.audio.touch import loudness, shelf, softened
from espressivo.performance import SUSTAIN, Performance

Array = NDArray[Any]

VOICE = np.dtype(
    [
        ("onset", "f8"),
        ("seconds", "f8"),  # until dampers or hammer have silenced it; the recording may be shorter
        ("zone", "i4"),
        ("key", "u1"),
        ("track", "u1"),
        ("left", "f4"),
        ("right", "f4"),
        ("shelf", "f4"),
        ("damping", "f4"),  # nepers per second under a resting damper
        ("release", "f8"),
        ("restrike", "f8"),  # when the hammer meets the moving string again
    ]
)

LONGEST_SECONDS = 12.0
"""More than any recording of the piano lasts."""

REST_SECONDS = 4.0
"""How long after the last event a pedal left down stays down."""

RESTRIKE_T60 = 0.35
KEY_NOISE_GAIN, PEDAL_NOISE_GAIN = 10 ** (-40 / 20), 10 ** (-42 / 20)
PEDAL_ENGAGES, PEDAL_DISENGAGES = 75, 45
"""Sustain values where the lifting and the falling dampers are heard."""


class Plan(NamedTuple):
    """Voices by onset, and the dampers of each track."""

    voices: Array
    dampers: tuple[Dampers, ...]


def plan(performance: Performance, piano: Piano) -> Plan:
    """Decide everything about each voice except its samples, and tell the piano what is needed."""
    played = performance.select(drums=False)
    rest = played.duration + REST_SECONDS
    notes, noises, feet = [np.zeros(0, VOICE)], [], []
    for track in range(len(performance.tracks)):
        controls = played.controls[played.controls["track"] == track]
        struck = played.notes[played.notes["track"] == track]
        feet.append(dampers(controls, rest))
        notes.append(_notes(struck, controls, piano, rest))
        noises.append(_pedal_noises(controls, piano))
    strings = np.concatenate(notes)
    _set_restrikes(strings)
    _set_seconds(strings, feet)
    voices = np.concatenate([strings, _key_noises(strings, piano, rest), *noises])
    voices = voices[np.argsort(voices["onset"], kind="stable")]
    gains = np.maximum(voices["left"], voices["right"])
    piano.expect(voices["zone"], voices["key"], voices["seconds"], gains)
    return Plan(voices, tuple(feet))


def _notes(notes: Array, controls: Array, piano: Piano, rest: float) -> Array:
    soft = softness(notes["onset"], controls)
    velocity = softened(notes["velocity"], soft)
    voices = np.zeros(len(notes), VOICE)
    voices["onset"], voices["track"], voices["key"] = notes["onset"], notes["track"], notes["pitch"]
    voices["zone"] = piano.zones(GRAND, notes["pitch"], np.rint(velocity).astype(int))
    voices["left"] = voices["right"] = loudness(notes["velocity"], soft)
    voices["shelf"] = shelf(velocity)
    voices["damping"] = damping(notes["pitch"])
    voices["release"] = np.minimum(released(notes, controls), rest)
    return voices


def _key_noises(strings: Array, piano: Piano, rest: float) -> Array:
    """The key falling back, heard where it is let go before the piece is over.

    10 dB between two notes are 5 dB between their noises.
    """
    let_go = strings[strings["release"] < rest]
    noises = _noises(let_go["release"], KEY_NOISE, let_go["key"], piano)
    across = np.clip((let_go["key"].astype(float) - 21) / 87, 0, 1) * np.pi / 6 + np.pi / 6
    gain = KEY_NOISE_GAIN * np.sqrt(let_go["left"])
    noises["left"], noises["right"] = gain * np.cos(across), gain * np.sin(across)
    return noises


def _pedal_noises(controls: Array, piano: Piano) -> Array:
    """All dampers leaving the strings (key 60 of the preset) or falling back (61)."""
    pedal = controls[controls["number"] == SUSTAIN]
    passed = (pedal["value"] >= PEDAL_ENGAGES) | (pedal["value"] <= PEDAL_DISENGAGES)
    pedal = pedal[passed]
    down = pedal["value"] >= PEDAL_ENGAGES
    turned = down != np.concatenate([[False], down[:-1]])
    keys = np.where(down[turned], 60, 61)
    noises = _noises(pedal["time"][turned], PEDAL_NOISE, keys, piano)
    noises["left"] = noises["right"] = PEDAL_NOISE_GAIN
    return noises


def _noises(times: Array, preset: tuple[int, int], keys: Array, piano: Piano) -> Array:
    voices = np.zeros(len(times), VOICE)
    voices["onset"], voices["key"], voices["seconds"] = times, keys, LONGEST_SECONDS
    voices["zone"] = piano.zones(preset, keys, np.full(len(keys), 64))
    voices["release"] = voices["restrike"] = np.inf
    return voices


def _set_restrikes(strings: Array) -> None:
    """Find for each note the next one on the same key, whoever plays it: it is one string."""
    order = np.lexsort([strings["onset"], strings["key"]])
    onset, key = strings["onset"][order], strings["key"][order]
    strings["restrike"] = np.inf
    strings["restrike"][order[:-1]] = np.where(key[1:] == key[:-1], onset[1:], np.inf)


def _set_seconds(strings: Array, feet: list[Dampers]) -> None:
    """Find how long each string sounds until dampers or a new hammer have silenced it."""
    nepers = np.log(np.maximum(strings["left"] / INAUDIBLE, np.e))
    end = strings["restrike"] + nepers * RESTRIKE_T60 / SILENCE
    for track, damper in enumerate(feet):
        mine = np.flatnonzero((strings["track"] == track) & (strings["damping"] > 0))
        contact = damper.until(strings["release"][mine]) + nepers[mine] / strings["damping"][mine]
        end[mine] = np.minimum(end[mine], damper.when(contact))
    strings["seconds"] = np.minimum(end - strings["onset"], LONGEST_SECONDS)
