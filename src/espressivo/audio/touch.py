"""What a velocity means: how loud, and how bright beyond the recording that is chosen for it."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]

LOUDNESS_POWER = 1.7

LAYER_TOPS = (23, 39, 59, 83, 107, 127)
"""The highest velocity of each layer of recordings."""

BRIGHTNESS_DB = (-51.0, -40.5, -35.0, -29.5, -25.5, -22.0)
"""Share of the sound above 2 kHz in each layer, mean over the keys up to C5."""

SOFT_PEDAL_DB, SOFT_PEDAL_VELOCITY = -1.5, 0.12


def loudness(velocity: Array, soft: Array) -> Array:
    """Give the gain of each velocity, 1 for 127, with the soft pedal down by `soft` (0..1)."""
    return np.asarray((velocity / 127.0) ** LOUDNESS_POWER * 10 ** (SOFT_PEDAL_DB * soft / 20))


def softened(velocity: Array, soft: Array) -> Array:
    """Give the velocity whose timbre is heard with the soft pedal down by `soft` (0..1)."""
    return np.asarray(np.maximum(velocity * (1 - SOFT_PEDAL_VELOCITY * soft), 1.0))


def shelf(velocity: Array) -> Array:
    """Give how much of a recording's high part to add (-1: all away), so that layers meet.

    The brightness wanted lies on a line through the layers, each right at its middle velocity;
    the recording supplies the nearest one and a shelf the rest.
    """
    tops = np.array(LAYER_TOPS)
    middles = (np.concatenate([[1], tops[:-1] + 1]) + tops) / 2
    layer = np.searchsorted(tops, np.rint(velocity))
    brightness = np.array(BRIGHTNESS_DB)
    left = np.clip(np.searchsorted(middles, velocity) - 1, 0, len(middles) - 2)
    slope = np.diff(brightness)[left] / np.diff(middles)[left]
    wanted = brightness[left] + slope * (velocity - middles[left])
    return np.asarray(10 ** ((wanted - brightness[layer]) / 20) - 1)
