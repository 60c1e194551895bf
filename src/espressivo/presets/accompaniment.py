"""Accompanists: an encoder reads a melody, a decoder plays it with all around it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from espressivo.codecs import CODECS
from espressivo.configs import MelodyTransformerConfig
from espressivo.presets.music_transformer import SOURCE, music_transformer
from espressivo.presets.performance_rnn import BY_PITCH
from espressivo.presets.preset import Preset
from espressivo.training.config import TrainingConfig

MELODIES = (
    "segments are drawn afresh every time and visit a piece as often as it is long, where the "
    "original cuts every piece ten times beforehand",
    "the melody is drawn out of keys as they are held, where the original lengthens notes by "
    "the pedal first",
)


def melody_transformer() -> Preset:
    """Huang et al. 2018, conditioned on a melody: relative attention in the decoder."""
    like = music_transformer()
    return Preset(
        name="melody-transformer",
        source=f"{SOURCE}, 4.2.2; MAGENTA's score2perf_maestro_absmel2perf_5s_to_30s_aug10x",
        codec=CODECS["score2perf"],  # 88 + 88 + 100 + 32 and two reserved: score2perf
        model=MelodyTransformerConfig(
            layers=6,  # as without a melody; so are all sizes
            width=256,
            attention=512,
            feed_forward=2048,
            heads=8,
            context=2048,
            melody_steps=300,  # 30 seconds at 10 steps a second
            dropout=0.1,
            position="relative",  # section 4.2.2: in the decoder alone
            reach=1024,
            sinusoids="added",
            clock=False,
        ),
        training=like.training,
        deviations=(
            "the paper does not give the sizes of its conditioned models; these are those of its "
            "unconditional ones, for encoder and decoder alike",
            "the paper's table counts 388 events; these are the 308 of its data recipe, and two",
            *MELODIES,
            BY_PITCH,
            "values are as wide as keys, 512, where tensor2tensor's are as wide as the model",
            "a step has at most 8,192 tokens, whole segments, where the original has about 9,000",
            "attention weights have no dropout; residuals and the feed-forward layers have",
            "logits have a bias, 310 parameters more, and their weights start smaller than "
            "tensor2tensor's; what is heard of the melody starts at zero",
            "normalisations add 1e-5 to the variance, tensor2tensor's 1e-6",
        ),
    )


def melody_transformer_baseline() -> Preset:
    """Huang et al. 2018, conditioned on a melody: the baseline, sinusoids alone."""
    like = melody_transformer()
    assert isinstance(like.model, MelodyTransformerConfig)
    return replace(
        like,
        name="melody-transformer-baseline",
        source=like.source.replace(", 4.2.2", ", 4.2.2, baseline"),
        model=replace(like.model, position="none"),
    )


def espressivo_accompaniment() -> Preset:
    """The bundled accompanist: what two processor cores can train.

    Its decoder is that of `espressivo-transformer`; the bundled checkpoint began, with `--start`,
    from the bundled transformer.
    """
    return Preset(
        name="espressivo-accompaniment",
        source="this project: Music Transformer's decoder with distances told by waves and a "
        "clock, made for two cores",
        codec=CODECS["performance-rnn-pedal"],
        model=MelodyTransformerConfig(
            layers=6,
            width=192,
            attention=192,
            feed_forward=768,
            heads=3,
            context=1024,
            melody_steps=300,
            dropout=0.0,
            position="fourier",
            frequencies=16,
            reach=1024,
            sinusoids="none",
            qk_norm=True,
            clock=True,
        ),
        training=TrainingConfig(
            steps=800,
            batch=4,
            length=1024,
            optimizer="muon",
            learning_rate=1e-3,
            matrix_learning_rate=0.01,
            schedule="linear",
            warmup=20,
            betas=(0.9, 0.95),
            ema=0.99,
            precision="bfloat16",
            evaluate_every=200,
            save_every=100,
            evaluation_windows=24,
            evaluation_length=1024,
        ),
        deviations=(*MELODIES, BY_PITCH, "no paper has these sizes, this training or a clock"),
    )


ACCOMPANISTS: dict[str, Callable[[], Preset]] = {
    "melody-transformer": melody_transformer,
    "melody-transformer-baseline": melody_transformer_baseline,
}
