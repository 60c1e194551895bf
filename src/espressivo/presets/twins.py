"""The small twin of every published system."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import replace

from espressivo.configs import (
    MelodyTransformerConfig,
    ModelConfig,
    NoteTransformerConfig,
    TransformerConfig,
)
from espressivo.presets.preset import Preset


def with_twins(papers: Mapping[str, Callable[[], Preset]]) -> dict[str, Callable[[], Preset]]:
    """Put a `-tiny` twin after every preset."""
    found: dict[str, Callable[[], Preset]] = {}
    for name, make in papers.items():
        found |= {name: make, f"{name}-tiny": _twin_of(make)}
    return found


def _twin_of(make: Callable[[], Preset]) -> Callable[[], Preset]:
    return lambda: tiny(make())


def tiny(preset: Preset) -> Preset:
    """Give the twin that trains on a laptop in minutes: the same vocabulary, a small model."""
    model: ModelConfig
    if isinstance(preset.model, TransformerConfig):
        model = replace(
            preset.model,
            layers=2,
            width=64,
            attention=64,
            values=None,
            feed_forward=256,
            heads=4,
            reach=128,
            context=256,
            patterns=tuple(re.sub(r"\d+", _an_eighth, one) for one in preset.model.patterns),
        )
    elif isinstance(preset.model, MelodyTransformerConfig):
        model = replace(
            preset.model,
            layers=2,
            width=64,
            attention=64,
            feed_forward=256,
            heads=4,
            reach=128,
            context=256,
        )
    elif isinstance(preset.model, NoteTransformerConfig):
        model = replace(
            preset.model,
            layers=2,
            width=64,
            heads=2,
            key_dim=16,
            feed_forward=256,
            head_hidden=128,
            frequencies=8,
            context=256,
        )
    else:
        model = replace(preset.model, layers=2, width=128)
    training = replace(
        preset.training,
        steps=600,
        batch=16,
        length=256,
        accumulate=1,
        precision="float32",
        compile=False,
        learning_rate=3e-3,
        schedule="linear",
        warmup=50,
        clip_norm=1.0,
        evaluate_every=100,
        save_every=100,
        evaluation_windows=16,
        evaluation_length=256,
        patience=0,
        grow=(),
    )
    return replace(
        preset,
        name=f"{preset.name}-tiny",
        model=model,
        training=training,
        deviations=(*preset.deviations, "a small model, trained for minutes: not the paper's"),
    )


def _an_eighth(number: re.Match[str]) -> str:
    return str(max(1, int(number.group()) // 8))
