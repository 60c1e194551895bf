"""The same weights, one step at a time, for playing: plain numpy, no framework."""

from espressivo.configs import (
    AttentionLstmConfig,
    LstmConfig,
    MelodyTransformerConfig,
    ModelConfig,
    NoteLstmConfig,
)
from espressivo.engines.attention_lstm import AttentionLstmEngine
from espressivo.engines.engine import Engine, State, Weights
from espressivo.engines.lstm import LstmEngine
from espressivo.engines.melody_transformer import MelodyTransformerEngine
from espressivo.engines.note_lstm import NoteLstmEngine
from espressivo.engines.transformer import TransformerEngine


def build(config: ModelConfig, weights: Weights) -> Engine:
    """Make an engine of trained weights; 16-bit ones become float32 in memory."""
    match config:
        case LstmConfig():
            return LstmEngine(config, weights)
        case NoteLstmConfig():
            return NoteLstmEngine(config, weights)
        case AttentionLstmConfig():
            return AttentionLstmEngine(config, weights)
        case MelodyTransformerConfig():
            return MelodyTransformerEngine(config, weights)
    return TransformerEngine(config, weights)


__all__ = [
    "AttentionLstmEngine",
    "Engine",
    "LstmEngine",
    "MelodyTransformerEngine",
    "NoteLstmEngine",
    "State",
    "TransformerEngine",
    "Weights",
    "build",
]
