"""What the feet do to a sounding string: dampers between up and down, continuously."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from espressivo.performance import PEDAL_DOWN, SOFT, SOSTENUTO, SUSTAIN

Array = NDArray[Any]

LIFTED, RESTING = 85, 35
"""Sustain values: from `LIFTED` the dampers are clear of the strings, up to `RESTING` on them."""

UNDAMPED_KEY = 89
"""The lowest key without a damper."""

_KEYS = (21, 36, 48, 60, 72, 84)
_T60 = (1.1, 0.8, 0.55, 0.42, 0.34, 0.30)

SILENCE = np.log(1000.0)
"""What a reverberation time means: a fall by 60 dB, in nepers."""


def contact(sustain: Array) -> Array:
    """Say how firmly dampers touch, 1 resting to 0 lifted, for sustain pedal values 0..127."""
    touch = np.clip((LIFTED - np.asarray(sustain, float)) / (LIFTED - RESTING), 0.0, 1.0)
    return touch * touch * (3.0 - 2.0 * touch)


def damping(keys: Array) -> Array:
    """Give nepers per second that a resting damper takes from each key; 0 where there is none."""
    rate = SILENCE / np.interp(keys, _KEYS, _T60)
    return np.where(np.asarray(keys) >= UNDAMPED_KEY, 0.0, rate)


class Dampers(NamedTuple):
    """Seconds of full damper contact since the beginning, as a broken line over time.

    A string of damping rate r released at t0 has lost r * (until(t) - until(t0)) nepers at t.
    Half pedal, flutter and re-pedalling need nothing else.
    """

    times: Array
    contacts: Array

    def until(self, time: Array) -> Array:
        """Give the contact gathered up to each time in seconds."""
        return np.interp(time, self.times, self.contacts)

    def when(self, gathered: Array) -> Array:
        """Give the time at which so much contact is gathered; the inverse of `until`."""
        return np.interp(gathered, self.contacts, self.times)


def dampers(controls: Array, rest: float) -> Dampers:
    """Follow the sustain pedal of one track; from `rest` seconds on the foot is off it."""
    pedal = controls[(controls["number"] == SUSTAIN) & (controls["time"] < rest)]
    times = np.concatenate([[0.0], pedal["time"], [rest, rest + 1000.0]])
    touch = contact(np.concatenate([[0], pedal["value"], [0]]))
    return Dampers(times, np.concatenate([[0.0], np.cumsum(touch * np.diff(times))]))


def released(notes: Array, controls: Array) -> Array:
    """Give when each note of one track is let go by finger and sostenuto pedal, in seconds.

    The sostenuto pedal (down from value 64) holds the keys that are down when it goes down.
    """
    pedal = controls[controls["number"] == SOSTENUTO]
    down = pedal["value"] >= PEDAL_DOWN
    if not down.any():
        return np.array(notes["offset"])
    before = np.concatenate([[False], down[:-1]])
    presses, lifts = pedal["time"][down & ~before], pedal["time"][~down & before]
    lifts = np.concatenate([lifts, np.full(len(presses) - len(lifts), np.inf)])
    held = np.searchsorted(presses, notes["offset"], side="right") - 1
    caught = (held >= 0) & (presses[np.maximum(held, 0)] >= notes["onset"])
    end = np.where(caught, lifts[np.maximum(held, 0)], notes["offset"])
    return np.asarray(np.maximum(end, notes["offset"]))


def softness(times: Array, controls: Array) -> Array:
    """Give how far the soft pedal of one track is down at each time, 0..1."""
    pedal = controls[controls["number"] == SOFT]
    values = np.concatenate([[0.0], pedal["value"] / 127.0])
    return np.asarray(values[np.searchsorted(pedal["time"], times, side="right")])
