"""The rows of the chorale experiment (Huang et al. 2018, section 4.1.1 and table 2).

They stand apart from `PRESETS`: grids of voices are no performances, so `espressivo train` has no
corpus for them. `benchmarks/chorales.py` trains them.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from espressivo.configs import TransformerConfig
from espressivo.configs.chorale import ChoraleConfig
from espressivo.corpora import NO_AUGMENTATION
from espressivo.presets.music_transformer import noam_peak
from espressivo.training.config import TrainingConfig


@dataclass(frozen=True, kw_only=True)
class ChoraleRow:
    """One model, its training, and what the paper measured: nats per token on validation."""

    title: str
    published: float
    model: ChoraleConfig
    training: TrainingConfig


DEVIATIONS = (
    "learning rate, batch and warm-up are tensor2tensor's, dropout is that of the piano models: "
    "the paper gives none of them for chorales; the best model on validation is kept",
    "rests are tokens and are predicted, 0.2 % of training and 0.8 % of validation; the paper "
    "does not mention them",
    "the paper calls 1,024 the most common length; in this file it is 1,040 in training and 784 "
    "in all; longer chorales are cut, for training at any step, for judging one after another",
    "concatenated sinusoids take half of the width, and a voice's label is a learned vector added "
    "to the input: the paper gives neither width",
    "distances in sixteenths reach as far as those in tokens, 256, and are zero beyond",
)


def _training(width: int) -> TrainingConfig:
    return TrainingConfig(
        steps=20_000,
        batch=8,  # 8192 tokens, of batch_size=9000 in tensor2tensor
        length=1024,  # section 4.1: the most common length
        learning_rate=noam_peak(width, warmup=8000),
        schedule="noam",
        warmup=8000,
        betas=(0.9, 0.98),
        eps=1e-9,
        clip_norm=0.0,
        evaluate_every=250,
        save_every=250,
        patience=20,
        augmentation=NO_AUGMENTATION,
    )


def _row(
    title: str,
    published: float,
    transformer: TransformerConfig,
    *,
    voice_labels: bool = False,
    pitch_and_time: bool = False,
) -> ChoraleRow:
    model = ChoraleConfig(
        transformer=transformer, voice_labels=voice_labels, pitch_and_time=pitch_and_time
    )
    training = _training(transformer.width)
    return ChoraleRow(title=title, published=published, model=model, training=training)


BASELINE = TransformerConfig(
    layers=5,  # table 2, as all sizes
    width=256,
    attention=256,
    feed_forward=1024,
    heads=8,
    context=1024,
    dropout=0.1,  # section 4.2
    position="none",
)
RELATIVE = replace(
    BASELINE, width=512, attention=512, feed_forward=512, position="relative", reach=256
)

CHORALES: dict[str, ChoraleRow] = {
    "baseline": _row("Transformer", 0.417, BASELINE),
    "sinusoids": _row(
        "+ concatenated sinusoids", 0.398, replace(BASELINE, sinusoids="concatenated")
    ),
    "labels": _row(
        "+ concatenated sinusoids, voice labels",
        0.370,
        replace(BASELINE, sinusoids="concatenated"),
        voice_labels=True,
    ),
    "relative": _row("Relative Transformer", 0.357, RELATIVE),
    "relative-labels": _row(
        "+ concatenated sinusoids, voice labels",
        0.347,
        replace(RELATIVE, sinusoids="concatenated"),
        voice_labels=True,
    ),
    "relative-pitch-time": _row(
        "+ relative pitch and time",
        0.335,
        replace(RELATIVE, sinusoids="concatenated"),
        voice_labels=True,
        pitch_and_time=True,
    ),
}


def small(row: ChoraleRow) -> ChoraleRow:
    """Give the twin that one processor core trains in minutes; all rows get the same sizes."""
    transformer = replace(
        row.model.transformer,
        layers=3,
        width=96,
        attention=96,
        feed_forward=192,
        heads=4,
        context=512,
        reach=256,
        dropout=0.0,
    )
    training = replace(
        row.training,
        steps=1200,
        batch=1,
        length=512,
        optimizer="muon",
        learning_rate=6e-3,
        matrix_learning_rate=0.04,
        schedule="linear",
        warmup=40,
        clip_norm=1.0,
        evaluate_every=600,
        save_every=100,
        patience=0,
    )
    model = replace(row.model, transformer=transformer)
    return replace(row, model=model, training=training)
