"""One function per published system, and on every line where its number comes from.

What differs from the paper is listed under `deviations`. Every preset has a `-tiny` twin that
trains on a laptop in minutes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from espressivo.codecs import CODECS
from espressivo.configs import LstmConfig, TransformerConfig
from espressivo.presets.accompaniment import ACCOMPANISTS, espressivo_accompaniment
from espressivo.presets.music_transformer import TRANSFORMERS
from espressivo.presets.performance_rnn import ANY_NOTE, BY_PITCH, RECURRENT, performance_rnn
from espressivo.presets.preset import Preset
from espressivo.presets.recipes import espressivo_25m, espressivo_85m
from espressivo.presets.twins import with_twins
from espressivo.training.config import TrainingConfig


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
    **with_twins(RECURRENT | TRANSFORMERS | ACCOMPANISTS),
    "espressivo-lstm": espressivo_lstm,
    "espressivo-transformer": espressivo_transformer,
    "espressivo-accompaniment": espressivo_accompaniment,
    **with_twins({"espressivo-25m": espressivo_25m, "espressivo-85m": espressivo_85m}),
}
