"""One function per published system, and on every line where its number comes from.

What differs from the paper is listed under `deviations`. Every preset has a `-tiny` twin that
trains on a laptop in minutes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from espressivo.codecs import CODECS
from espressivo.configs import LstmConfig, ModelConfig, TransformerConfig
from espressivo.corpora import Augmentation
from espressivo.presets.preset import Preset
from espressivo.training.config import TrainingConfig

ANY_NOTE = (
    "windows begin at any note of a piece; the original cuts pieces every 30 seconds and keeps "
    "the first 512 events of each cut"
)
BY_PITCH = (
    "notes struck within one step are told from the lowest to the highest, not in the order "
    "played, which spares the model up to 0.034 nats per token"
)


def performance_rnn() -> Preset:
    """Simon and Oore 2017, with dynamics: 388 events, an LSTM of 3 x 512."""
    return Preset(
        name="performance-rnn",
        source="Magenta's released configuration performance_with_dynamics (Simon and Oore 2017)",
        codec=CODECS["performance-rnn"],  # 10 ms x 100, 32 velocities: performance_lib
        model=LstmConfig(layers=3, width=512, dropout=0.0),  # rnn_layer_sizes, dropout_keep_prob
        training=TrainingConfig(
            steps=50_000,
            batch=64,  # batch_size
            length=512,  # max_num_events of the pipeline
            optimizer="adamw",  # without decay: Adam
            learning_rate=1e-3,  # learning_rate
            schedule="constant",
            warmup=0,
            betas=(0.9, 0.999),  # TensorFlow's defaults
            eps=1e-8,
            clip_norm=3.0,  # clip_norm
            evaluate_every=500,
            save_every=500,
            evaluation_windows=64,
            augmentation=Augmentation(
                transpose=3,  # performance_pipeline, where a comment says major third
                stretch=(0.95, 0.975, 1.0, 1.025, 1.05),  # performance_pipeline
            ),
        ),
        deviations=(
            ANY_NOTE,
            BY_PITCH,
            "training stops after 50,000 steps and keeps the best on validation; "
            "the original goes on until stopped",
            "cells have two biases where the original has one: 6,144 parameters more",
        ),
    )


def oore2018() -> Preset:
    """Oore et al. 2018: 413 events on a grid of 8 ms, an LSTM of 3 x 512."""
    like = performance_rnn()
    return replace(
        like,
        name="oore2018",
        source="Oore et al. 2018, This Time with Feeling (arXiv 1808.03715)",
        codec=CODECS["oore2018"],  # 8 ms x 125, 32 velocities
        training=replace(
            like.training,
            augmentation=Augmentation(transpose=4, stretch=like.training.augmentation.stretch),
        ),
        deviations=(
            *like.deviations,
            "optimiser, learning rate, batch, clipping and length are those of Performance RNN: "
            "the paper's own were not found",
            "augmentation is the milder of two regimes, as a re-implementation gives it, and draws "
            "transposition and stretching together where that one draws either",
        ),
    )


def oore2018_pedal() -> Preset:
    """The same with the pedal as two events of its own: 415 events."""
    like = oore2018()
    return replace(
        like,
        name="oore2018-pedal",
        source="re-implementations of Oore et al. 2018 that keep the pedal",
        codec=CODECS["oore2018-pedal"],
        deviations=(*like.deviations, "the pedal knows up and down only"),
    )


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


def tiny(preset: Preset) -> Preset:
    """Give the twin that trains on a laptop in minutes: the same vocabulary, a small model."""
    model: ModelConfig = LstmConfig(layers=2, width=128)
    if isinstance(preset.model, TransformerConfig):
        model = TransformerConfig(
            layers=2, width=64, attention=64, feed_forward=256, heads=4, reach=128, context=256
        )
    training = replace(
        preset.training,
        steps=600,
        batch=16,
        length=256,
        learning_rate=3e-3,
        schedule="linear",
        warmup=50,
        clip_norm=1.0,
        evaluate_every=100,
        save_every=100,
        evaluation_windows=16,
        evaluation_length=256,
        patience=0,
    )
    return replace(
        preset,
        name=f"{preset.name}-tiny",
        model=model,
        training=training,
        deviations=(*preset.deviations, "a small model, trained for minutes: not the paper's"),
    )


def performance_rnn_tiny() -> Preset:
    """Performance RNN, small."""
    return tiny(performance_rnn())


def oore2018_tiny() -> Preset:
    """Oore et al. 2018, small."""
    return tiny(oore2018())


def oore2018_pedal_tiny() -> Preset:
    """Oore et al. 2018 with pedal events, small."""
    return tiny(oore2018_pedal())


def music_transformer_tiny() -> Preset:
    """Music Transformer, small."""
    return tiny(music_transformer())


PRESETS: dict[str, Callable[[], Preset]] = {
    "oore2018": oore2018,
    "oore2018-tiny": oore2018_tiny,
    "oore2018-pedal": oore2018_pedal,
    "oore2018-pedal-tiny": oore2018_pedal_tiny,
    "performance-rnn": performance_rnn,
    "performance-rnn-tiny": performance_rnn_tiny,
    "music-transformer": music_transformer,
    "music-transformer-tiny": music_transformer_tiny,
    "espressivo-lstm": espressivo_lstm,
    "espressivo-transformer": espressivo_transformer,
}
