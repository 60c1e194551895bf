"""The definitions: integers to logits, in torch. Nothing here knows what a note is."""

from espressivo.configs import (
    AttentionLstmConfig,
    LstmConfig,
    MelodyTransformerConfig,
    ModelConfig,
    NoteLstmConfig,
    NoteTransformerConfig,
    TransformerConfig,
)
from espressivo.models.attention_lstm import AttentionLstm
from espressivo.models.lstm import Lstm
from espressivo.models.melody_transformer import MelodyTransformer
from espressivo.models.model import Model, State
from espressivo.models.music_transformer import MusicTransformer
from espressivo.models.note_lstm import NoteLstm
from espressivo.models.note_transformer import NoteTransformer


def build(config: ModelConfig, vocabulary_size: int) -> Model:
    """Make an untrained model."""
    match config:
        case LstmConfig():
            return Lstm(config, vocabulary_size)
        case NoteLstmConfig():
            return NoteLstm(config, vocabulary_size)
        case AttentionLstmConfig():
            return AttentionLstm(config, vocabulary_size)
        case TransformerConfig():
            return MusicTransformer(config, vocabulary_size)
        case MelodyTransformerConfig():
            return MelodyTransformer(config, vocabulary_size)
        case NoteTransformerConfig():
            return NoteTransformer(config, vocabulary_size)


__all__ = [
    "AttentionLstm",
    "Lstm",
    "MelodyTransformer",
    "Model",
    "MusicTransformer",
    "NoteLstm",
    "NoteTransformer",
    "State",
    "build",
]
