"""MIDI files to stored note arrays, and note arrays to windows of tokens."""

from espressivo.corpora.corpus import SPLITS, Corpus, Piece
from espressivo.corpora.windows import (
    NO_AUGMENTATION,
    Augmentation,
    TrainingWindows,
    Window,
    evaluation_windows,
)

__all__ = [
    "NO_AUGMENTATION",
    "SPLITS",
    "Augmentation",
    "Corpus",
    "Piece",
    "TrainingWindows",
    "Window",
    "evaluation_windows",
]
