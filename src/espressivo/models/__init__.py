"""The definitions: integers to logits, in torch. Nothing here knows what a note is."""

from espressivo.configs import LstmConfig, ModelConfig, TransformerConfig
from espressivo.models.lstm import Lstm
from espressivo.models.model import Model, State
from espressivo.models.music_transformer import MusicTransformer


def build(config: ModelConfig, vocabulary_size: int) -> Model:
    """Make an untrained model."""
    match config:
        case LstmConfig():
            return Lstm(config, vocabulary_size)
        case TransformerConfig():
            return MusicTransformer(config, vocabulary_size)


__all__ = ["Lstm", "Model", "MusicTransformer", "State", "build"]
