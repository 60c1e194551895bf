"""A model that is told of the music to come, out of one that is not."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from espressivo.checkpoint import Weights
from espressivo.configs import ModelConfig
from espressivo.models import Model

TOLD = ("lstm.weight_ih_l0", "controls.weight")
"""The tensors whose last columns read what a model is told."""


def told_alike(config: ModelConfig, other: ModelConfig) -> ModelConfig:
    """Give a plain configuration the controls of another one of its kind; others stay."""
    if type(config) is not type(other) or getattr(config, "controls", ()):
        return config
    names = [name for name in ("controls", "optional") if hasattr(config, name)]
    alike: Any = config
    widened: ModelConfig = replace(alike, **{name: getattr(other, name) for name in names})
    return widened


def widened(weights: Weights, model: Model) -> Weights:
    """Give weights the columns for what `model` is told that they lack: zeros.

    Whatever such a model is told, it begins by expecting what it did before.
    """
    found = dict(weights)
    for name, parameter in model.named_parameters():
        if name in TOLD:
            rows, columns = parameter.shape
            before = found.get(name, np.zeros((rows, 0), dtype=np.float32))
            missing = columns - before.shape[-1]
            found[name] = np.pad(before, ((0, 0), (0, max(missing, 0))))
    return found
