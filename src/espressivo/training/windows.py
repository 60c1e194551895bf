"""Which windows a model is trained and judged on: its configuration says."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator

from espressivo.codecs import Codec
from espressivo.configs import MelodyTransformerConfig, ModelConfig
from espressivo.controls import Conditioning
from espressivo.corpora import Corpus, TrainingWindows, Window, evaluation_windows
from espressivo.corpora.segments import TrainingSegments, evaluation_segments
from espressivo.performance import Performance
from espressivo.training.config import TrainingConfig

Windows = TrainingWindows | TrainingSegments


def training_windows(
    corpus: Corpus, codec: Codec, model: ModelConfig, config: TrainingConfig
) -> Windows:
    """Give what a model is trained on: windows of tokens, or segments with their melodies."""
    length, seed, augmentation = config.length, config.seed, config.augmentation
    if isinstance(model, MelodyTransformerConfig):
        return TrainingSegments(
            corpus, codec, length, seed, augmentation=augmentation, clock=model.clock
        )
    return TrainingWindows(
        corpus,
        codec,
        length,
        seed,
        augmentation=augmentation,
        conditioning=Conditioning.of(model),
    )


def windows_of(
    performances: Iterable[Performance],
    codec: Codec,
    length: int,
    model: ModelConfig | None = None,
    told: Collection[str] | None = None,
) -> Iterator[Window]:
    """Cut performances into what a model is judged on.

    Of its controls it is told those `told`, as they are measured, or all of them.
    """
    if isinstance(model, MelodyTransformerConfig):
        return evaluation_segments(performances, codec, length, model.clock)
    conditioning = Conditioning() if model is None else Conditioning.of(model)
    return evaluation_windows(performances, codec, length, conditioning, told)
