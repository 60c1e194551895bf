"""Recipes of our own: the best of the published ideas and of what was learnt since.

Every choice is taken out again, alone, in the ablations of `docs/recipe.md`.
"""

from __future__ import annotations

from dataclasses import replace

from espressivo.codecs import CODECS
from espressivo.configs import TransformerConfig
from espressivo.corpora import Augmentation
from espressivo.presets.preset import Preset
from espressivo.training.config import TrainingConfig


def espressivo_25m() -> Preset:
    """Our recipe with 25 million parameters in its layers, for one GPU and 400 million tokens."""
    return Preset(
        name="espressivo-25m",
        source="this project; each choice names where it comes from",
        codec=CODECS["performance-rnn"],  # comparable with the papers, token for token
        model=TransformerConfig(
            layers=8,
            width=512,
            attention=512,
            feed_forward=2048,
            heads=8,
            context=2048,
            position="fourier",  # distances as sums of waves: as relative, and learnt far sooner
            reach=1024,  # the longest wave takes four times as many tokens
            sinusoids="none",  # order is told by the distances alone
            qk_norm=True,  # Henry et al. 2020
            dropout=0.1,
        ),
        training=TrainingConfig(
            steps=12_000,
            batch=16,
            length=2048,
            short=0.25,  # a quarter of the steps on windows of a quarter of the length
            optimizer="muon",  # Jordan et al. 2024
            learning_rate=2e-3,
            matrix_learning_rate=0.02,
            schedule="linear",  # all the way to zero
            warmup=200,
            betas=(0.9, 0.95),
            eps=1e-8,
            weight_decay=0.1,  # data is repeated: strong decay pays
            clip_norm=1.0,
            ema=0.999,
            precision="bfloat16",
            compile=True,
            evaluate_every=500,
            save_every=500,
            evaluation_windows=64,
            augmentation=Augmentation(
                transpose=5, stretch=(0.9, 0.925, 0.95, 0.975, 1.0, 1.025, 1.05, 1.075, 1.1)
            ),
        ),
        deviations=("no paper has these sizes or this training",),
    )


def espressivo_85m() -> Preset:
    """The same with 85 million parameters in its layers."""
    like = espressivo_25m()
    assert isinstance(like.model, TransformerConfig)
    return replace(
        like,
        name="espressivo-85m",
        model=replace(
            like.model,
            layers=12,
            width=768,
            attention=768,
            feed_forward=3072,
            heads=12,
            dropout=0.2,
        ),
        training=replace(
            like.training, batch=32, accumulate=2, learning_rate=1e-3, matrix_learning_rate=0.015
        ),
    )
