"""What sounds when: every note and every noise of a performance as one row of numbers."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from espressivo.audio.dampers import (
    SILENCE,
    Dampers,
    dampers,
    damping,
    released,
    softness,
)
from espressivo.audio.piano import GRAND, KEY_NOISE, PEDAL_NOISE, Piano
from espressivo.performance import SUSTAIN, Performance

Array = NDArray[Any]

VOICE = np.dtype(
    [
        ("onset", "f8"),
        ("end", "f8"),  # when nothing of it can be heard, whatever the recording's length
        ("preset", "u1", 2),
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

REST_SECONDS = 4.0
"""How long after the last event a pedal left down stays down."""

LOUDNESS_POWER = 1.7
SOFT_PEDAL_DB, SOFT_PEDAL_VELOCITY = -1.5, 0.12
RESTRIKE_T60 = 0.35
INAUDIBLE_NEPERS = 10.0
KEY_NOISE_GAIN, PEDAL_NOISE_GAIN = 10 ** (-40 / 20), 10 ** (-36 / 20)
PEDAL_ENGAGES, PEDAL_DISENGAGES = 75, 45
"""Sustain values where the lifting and the falling dampers are heard."""


class Plan(NamedTuple):
    """Voices by onset, and the dampers of each track."""

    voices: Array
    dampers: tuple[Dampers, ...]


def plan(performance: Performance, piano: Piano, noises: bool = True) -> Plan:
    """Decide everything about each voice except its samples."""
    played = performance.select(drums=False)
    rest = played.duration + REST_SECONDS
    parts, feet = [np.zeros(0, VOICE)], []
    for track in range(len(performance.tracks)):
        notes = played.notes[played.notes["track"] == track]
        controls = played.controls[played.controls["track"] == track]
        feet.append(dampers(controls, rest))
        if len(notes):
            parts.append(_notes(notes, controls, piano, rest))
        if noises:
            parts.append(_pedal_noises(controls, piano))
    voices = np.concatenate(parts)
    voices = voices[np.lexsort([voices["key"], voices["onset"]])]
    struck = voices[_is(voices, GRAND)]
    if noises:
        voices = np.concatenate([voices, _key_noises(struck, piano, rest)])
    _set_restrikes(voices)
    _set_ends(voices, feet)
    return Plan(voices[np.argsort(voices["onset"], kind="stable")], tuple(feet))


def loudness(velocity: Array) -> Array:
    """Give the gain of a velocity, 1 for 127."""
    return np.asarray(velocity / 127.0) ** LOUDNESS_POWER


def _notes(notes: Array, controls: Array, piano: Piano, rest: float) -> Array:
    soft = softness(notes["onset"], controls)
    velocity = np.maximum(notes["velocity"] * (1 - SOFT_PEDAL_VELOCITY * soft), 1.0)
    voices = np.zeros(len(notes), VOICE)
    voices["onset"], voices["track"] = notes["onset"], notes["track"]
    voices["preset"], voices["key"] = GRAND, notes["pitch"]
    keys = voices["key"].astype(int)
    voices["zone"] = piano.zone_of(GRAND, keys, np.rint(velocity).astype(int))
    gain = loudness(notes["velocity"]) * 10 ** (SOFT_PEDAL_DB * soft / 20)
    voices["left"] = voices["right"] = gain
    voices["shelf"] = piano.shelf(voices["zone"], velocity)
    voices["damping"] = damping(keys)
    voices["release"] = np.minimum(released(notes, controls), rest)
    return voices


def _key_noises(struck: Array, piano: Piano, rest: float) -> Array:
    """The key falling back, heard where it is let go before the piece is over."""
    let_go = struck[struck["release"] < rest]
    noises = _noises(let_go["release"], KEY_NOISE, let_go["key"].astype(int), piano)
    across = np.clip((let_go["key"].astype(float) - 21) / 87, 0, 1) * np.pi / 6 + np.pi / 6
    noises["left"] = KEY_NOISE_GAIN * np.cos(across)
    noises["right"] = KEY_NOISE_GAIN * np.sin(across)
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
    voices["onset"], voices["key"], voices["preset"] = times, keys, preset
    voices["zone"] = piano.zone_of(preset, keys, np.full(len(keys), 64))
    voices["release"] = np.inf
    return voices


def _set_restrikes(voices: Array) -> None:
    """Find for each note the next one on the same key, whoever plays it: it is one string."""
    voices["restrike"] = np.inf
    grand = np.flatnonzero(_is(voices, GRAND))
    order = grand[np.lexsort([voices["onset"][grand], voices["key"][grand]])]
    same = voices["key"][order][1:] == voices["key"][order][:-1]
    voices["restrike"][order[:-1]] = np.where(same, voices["onset"][order][1:], np.inf)


def _set_ends(voices: Array, feet: list[Dampers]) -> None:
    """Find when dampers or a new hammer have silenced each voice; never, for some."""
    voices["end"] = voices["restrike"] + INAUDIBLE_NEPERS * RESTRIKE_T60 / SILENCE
    for track, damper in enumerate(feet):
        damped = np.flatnonzero((voices["track"] == track) & (voices["damping"] > 0))
        contact = damper.until(voices["release"][damped])
        contact += INAUDIBLE_NEPERS / voices["damping"][damped]
        voices["end"][damped] = np.minimum(voices["end"][damped], damper.when(contact))


def _is(voices: Array, preset: tuple[int, int]) -> Array:
    return np.asarray((voices["preset"] == preset).all(axis=1))
