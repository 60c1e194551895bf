"""Which windows a model is trained and judged on: its configuration says."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping

from espressivo.codecs import Codec, NoteEvents
from espressivo.configs import MelodyTransformerConfig, ModelConfig, NoteTransformerConfig
from espressivo.controls import Conditioning
from espressivo.corpora import Corpus, TrainingWindows, Window, evaluation_windows
from espressivo.corpora.note_windows import Labels, NoteWindows, note_windows
from espressivo.corpora.segments import TrainingSegments, evaluation_segments
from espressivo.performance import Performance
from espressivo.training.config import TrainingConfig

Windows = TrainingWindows | TrainingSegments | NoteWindows
AnyCodec = Codec | NoteEvents


def training_windows(
    corpus: Corpus, codec: AnyCodec, model: ModelConfig, config: TrainingConfig
) -> Windows:
    """Give what a model is trained on: windows of tokens, or segments with their melodies."""
    length, seed, augmentation = config.length, config.seed, config.augmentation
    if isinstance(codec, NoteEvents):
        labels = labels_of(model)
        return NoteWindows((corpus,), codec, length, seed, augmentation=augmentation, labels=labels)
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
    codec: AnyCodec,
    length: int,
    model: ModelConfig | None = None,
    told: Collection[str] | None = None,
    coarse: bool = False,
) -> Iterator[Window]:
    """Cut performances into what a model is judged on.

    Of its controls it is told those `told`, as they are measured, or all of them. `coarse` puts
    performances on the grid of 390 events first, for codecs of events.
    """
    if isinstance(codec, NoteEvents):
        labels = Labels() if model is None else labels_of(model)
        wanted = labels.names if told is None else told
        yield from note_windows(
            performances, codec, length, coarse=coarse, labels=labels, wanted=wanted
        )
        return
    if isinstance(model, MelodyTransformerConfig):
        yield from evaluation_segments(performances, codec, length, model.clock)
        return
    conditioning = Conditioning() if model is None else Conditioning.of(model)
    yield from evaluation_windows(performances, codec, length, conditioning, told)


def labels_of(model: ModelConfig, composer_of: Mapping[str, str] | None = None) -> Labels:
    """Return what a model is conditioned on beside each event."""
    if not isinstance(model, NoteTransformerConfig):
        return Labels()
    return Labels(Conditioning.of(model), model.composers, model.sources, composer_of or {})
