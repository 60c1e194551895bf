"""MIDI files to stored note arrays, and note arrays to windows of tokens."""

from espressivo.corpora.augmentation import NO_AUGMENTATION, Augmentation
from espressivo.corpora.batch import Batch, Sample
from espressivo.corpora.corpus import SPLITS, Corpus, Piece
from espressivo.corpora.prepare import Progress, prepare
from espressivo.corpora.report import Report
from espressivo.corpora.windows import TrainingWindows, Window, evaluation_windows

__all__ = [
    "NO_AUGMENTATION",
    "SPLITS",
    "Augmentation",
    "Batch",
    "Corpus",
    "Piece",
    "Progress",
    "Report",
    "Sample",
    "TrainingWindows",
    "Window",
    "evaluation_windows",
    "prepare",
]
