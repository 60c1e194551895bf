"""The same weights, one step at a time, for playing: plain numpy, no framework."""

from espressivo.configs import (
    AttentionLstmConfig,
    LstmConfig,
    MelodyTransformerConfig,
    ModelConfig,
    NoteLstmConfig,
    NoteTransformerConfig,
)
from espressivo.engines.attention_lstm import AttentionLstmEngine
from espressivo.engines.engine import Engine, State, Weights
from espressivo.engines.lstm import LstmEngine
from espressivo.engines.melody_transformer import MelodyTransformerEngine
from espressivo.engines.note_lstm import NoteLstmEngine
from espressivo.engines.note_transformer import NoteTransformerEngine
from espressivo.engines.transformer import TransformerEngine
from espressivo.errors import CheckpointError


def build(config: ModelConfig, weights: Weights) -> Engine:
    """Make an engine of trained weights; 16-bit ones become float32 in memory.

    Raises CheckpointError for a model whose events have several fields: `NoteTransformerEngine`
    plays those event by event.
    """
    match config:
        case LstmConfig():
            return LstmEngine(config, weights)
        case NoteLstmConfig():
            return NoteLstmEngine(config, weights)
        case AttentionLstmConfig():
            return AttentionLstmEngine(config, weights)
        case MelodyTransformerConfig():
            return MelodyTransformerEngine(config, weights)
        case NoteTransformerConfig():
            raise CheckpointError(
                "a note-transformer cannot be played from the command line yet, only trained and "
                "evaluated; espressivo models lists those that play"
            )
    return TransformerEngine(config, weights)


__all__ = [
    "AttentionLstmEngine",
    "Engine",
    "LstmEngine",
    "MelodyTransformerEngine",
    "NoteLstmEngine",
    "NoteTransformerEngine",
    "State",
    "TransformerEngine",
    "Weights",
    "build",
]
