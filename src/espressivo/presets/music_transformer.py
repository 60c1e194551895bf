"""Music Transformer: the four rows of its table on performances, at the paper's sizes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from espressivo.codecs import CODECS
from espressivo.configs import TransformerConfig
from espressivo.corpora import Augmentation
from espressivo.presets.performance_rnn import BY_PITCH
from espressivo.presets.preset import Preset
from espressivo.training.config import TrainingConfig

SOURCE = "Huang et al. 2018 (arXiv 1809.04281v3), section 4.2 and table 3"


def noam_peak(width: int, warmup: int) -> float:
    """Give the highest learning rate of the schedule of Vaswani et al. 2017 with factor 1.

    Huang et al. 2018 print a "0.1 learning rate". It is no step size: tensor2tensor's schedule of
    the time was 5000 * width^-0.5 * min(step * warmup^-1.5, step^-0.5) * 0.002 * 0.1, in which
    the constants multiply to one.
    """
    return float(width**-0.5 * warmup**-0.5)


def music_transformer() -> Preset:
    """Huang et al. 2018: 388 events, 6 layers with relative global attention."""
    return Preset(
        name="music-transformer",
        source=f"{SOURCE}, Transformer with relative global attention; tensor2tensor",
        codec=CODECS["performance-rnn"],  # section 4.2: 128 + 128 + 100 + 32
        model=TransformerConfig(
            layers=6,  # table 3
            width=256,  # table 3, "hs"
            attention=512,  # table 3, "att"; the text says half of hs, the code agrees with 512
            values=256,  # attention_value_channels=0 of tensor2tensor: as wide as hs
            feed_forward=2048,  # table 3, "ff"
            heads=8,  # section 4.2
            position="relative",  # sections 3.3 and 3.4
            reach=1024,  # table 3, "1024r": half the length of training
            beyond="zero",  # dot_product_relative_v2 pads its table with zeros
            context=2048,  # table 3, L
            sinusoids="added",  # tensor2tensor, pos="timing"
            dropout=0.1,  # section 4.2
        ),
        training=TrainingConfig(
            steps=1_000_000,  # score2perf's README
            batch=4,  # 8192 tokens, of batch_size=9000 in tensor2tensor
            length=2048,  # table 3, L
            optimizer="adamw",
            learning_rate=noam_peak(width=256, warmup=8000),  # 7.0e-4
            schedule="noam",
            warmup=8000,  # learning_rate_warmup_steps
            betas=(0.9, 0.98),  # optimizer_adam_beta1 and 2, transformer_base_v2
            eps=1e-9,  # optimizer_adam_epsilon
            weight_decay=0.0,
            clip_norm=0.0,  # clip_grad_norm
            evaluate_every=1000,
            save_every=1000,
            evaluation_windows=64,
            patience=30,  # the paper stops early; when, it does not say
            augmentation=Augmentation(
                transpose=3,  # section 4.2
                stretch=(0.95, 0.975, 1.0, 1.025, 1.05),  # section 4.2
            ),
        ),
        deviations=(
            "windows begin at any note, where the original crops at any token",
            BY_PITCH,
            "a step has 8,192 tokens, whole windows, where the original has about 9,000",
            "augmentation is drawn afresh for every window, not made 35-fold beforehand",
            "attention weights have no dropout; residuals and the feed-forward layer have",
            "logits have a bias, 388 parameters more, and their weights start smaller than "
            "tensor2tensor's, so that the first loss is that of guessing",
            "normalisations add 1e-5 to the variance, tensor2tensor's 1e-6",
        ),
    )


def music_transformer_baseline() -> Preset:
    """Huang et al. 2018, the baseline: sinusoids alone tell the order."""
    return _row("baseline", "Transformer (baseline)", position="none")


def music_transformer_local() -> Preset:
    """Huang et al. 2018, local attention: 8 layers hear their block and the one before."""
    return _row(
        "local",
        "Transformer with local attention",
        layers=8,  # table 3
        feed_forward=1024,  # table 3, "ff"
        patterns=("blocks:512",),  # table 3, "bs"
        position="none",
    )


def music_transformer_relative_local() -> Preset:
    """Huang et al. 2018, relative local attention: 6 layers, a vector for every distance."""
    return _row(
        "relative-local",
        "Transformer with relative local attention",
        layers=6,  # table 3
        feed_forward=1024,  # table 3, "ff"
        patterns=("blocks:512",),  # table 3, "bs"
        reach=2048,  # table 3, "2048r"; two blocks are no more than 1,023 apart
    )


def _row(suffix: str, row: str, **model: Any) -> Preset:
    """Give another row of table 3: the same but for its model."""
    like = music_transformer()
    deviations = like.deviations
    if "patterns" in model:
        deviations += (
            "blocks stay 512 wide in short sequences, where tensor2tensor makes one block of them",
        )
    return replace(
        like,
        name=f"{like.name}-{suffix}",
        source=f"{SOURCE}, {row}; tensor2tensor",
        model=replace(like.model, **model),
        deviations=deviations,
    )


TRANSFORMERS: dict[str, Callable[[], Preset]] = {
    "music-transformer": music_transformer,
    "music-transformer-baseline": music_transformer_baseline,
    "music-transformer-local": music_transformer_local,
    "music-transformer-relative-local": music_transformer_relative_local,
}
