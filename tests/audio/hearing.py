"""Ears for the tests: what a performance sounds like, as arrays and decibels."""

from __future__ import annotations

import numpy as np

from espressivo.audio import samples
from espressivo.performance import Performance

RATE = 44_100


def heard(performance, **how):
    """Give the dry sound as float32 [2, frames]."""
    blocks = samples(performance, **{"room": 0.0, "width": 1.0} | how)
    return np.concatenate(list(blocks)).T


def level(sound, start, seconds, rate=RATE):
    """Give the root mean square from `start` on in decibels."""
    part = sound[:, int(start * rate) : int((start + seconds) * rate)].astype(float)
    return 10 * np.log10((part**2).sum() / (2 * seconds * rate) + 1e-20)


def note(pitch=60, velocity=80, onset=0.1, offset=1.0, controls=(), track=0, tracks=((),)):
    """Give one note, with pedals."""
    return Performance([(onset, offset, pitch, velocity, track)], controls, tracks=tracks)


def sustain(*moves):
    """Give sustain pedal controls for (time, value) pairs."""
    return [(time, 64, value, 0) for time, value in moves]
