"""One function per published system, and on every line where its number comes from.

What differs from the paper is listed under `deviations`. Every preset has a `-tiny` twin that
trains on a laptop in minutes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from espressivo.codecs import CODECS
from espressivo.configs import LstmConfig, TransformerConfig
from espressivo.corpora import Augmentation
from espressivo.presets.performance_rnn import ANY_NOTE, BY_PITCH, RECURRENT, performance_rnn
from espressivo.presets.preset import Preset
from espressivo.presets.twins import with_twins
from espressivo.training.config import TrainingConfig


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
        source="Huang et al. 2018 (arXiv 1809.04281v3), section 4.2 and table 3, and tensor2tensor",
        codec=CODECS["performance-rnn"],  # section 4.2: 128 + 128 + 100 + 32
        model=TransformerConfig(
            layers=6,  # table 3
            width=256,  # table 3, "hs"
            attention=512,  # table 3, "att"; the text says half of hs, the code agrees with 512
            feed_forward=2048,  # table 3, "ff"
            heads=8,  # section 4.2
            reach=1024,  # table 3, "1024r": half the length of training
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
            "values are as wide as keys, 512, where tensor2tensor's are as wide as the model: "
            "786,432 parameters more",
            "attention weights have no dropout; residuals and the feed-forward layer have",
        ),
    )


def espressivo_lstm() -> Preset:
    """The bundled LSTM: what two processor cores can train.

    This is its first phase. The second, with `--start` from the first, has windows of 512 tokens
    and a learning rate that falls to zero; the card of the checkpoint has both commands.
    """
    like = performance_rnn()
    return replace(
        like,
        name="espressivo-lstm",
        source="this project: Performance RNN's vocabulary and layers, made for two cores",
        model=LstmConfig(layers=3, width=320),
        training=replace(
            like.training,
            steps=2500,
            batch=8,
            length=128,
            learning_rate=3e-3,
            warmup=50,
            betas=(0.9, 0.99),
            clip_norm=1.0,
            ema=0.995,
            evaluate_every=250,
            save_every=250,
            evaluation_windows=32,
            evaluation_length=512,
        ),
        deviations=(ANY_NOTE, BY_PITCH, "no paper has these sizes or this training"),
    )


def espressivo_transformer() -> Preset:
    """The bundled transformer: what two processor cores can train.

    This is its first phase. The second, with `--start` from the first, has windows of 1024 tokens
    and learning rates that fall to zero; the card of the checkpoint has both commands.
    """
    return Preset(
        name="espressivo-transformer",
        source="this project: Music Transformer's attention, made for two cores; Muon is of "
        "Jordan et al. 2024",
        codec=CODECS["performance-rnn"],
        model=TransformerConfig(
            layers=4,
            width=192,
            attention=192,
            feed_forward=768,
            heads=3,
            reach=512,
            context=1024,
            sinusoids="none",
            dropout=0.0,
        ),
        training=TrainingConfig(
            steps=1250,
            batch=4,
            length=512,
            optimizer="muon",
            learning_rate=2e-3,
            matrix_learning_rate=0.02,
            schedule="constant",
            warmup=100,
            ema=0.995,
            evaluate_every=250,
            save_every=250,
            evaluation_windows=32,
            evaluation_length=512,
        ),
        deviations=(BY_PITCH, "no paper has these sizes or this training"),
    )


PRESETS: dict[str, Callable[[], Preset]] = {
    **with_twins(RECURRENT | {"music-transformer": music_transformer}),
    "espressivo-lstm": espressivo_lstm,
    "espressivo-transformer": espressivo_transformer,
}
