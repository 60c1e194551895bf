"""The same weights, one step at a time, for playing: plain numpy, no framework."""

from espressivo.configs import LstmConfig, ModelConfig
from espressivo.engines.engine import Engine, State, Weights
from espressivo.engines.lstm import LstmEngine
from espressivo.engines.transformer import TransformerEngine


def build(config: ModelConfig, weights: Weights) -> Engine:
    """Make an engine of trained weights; 16-bit ones become float32 in memory."""
    if isinstance(config, LstmConfig):
        return LstmEngine(config, weights)
    return TransformerEngine(config, weights)


__all__ = ["Engine", "LstmEngine", "State", "TransformerEngine", "Weights", "build"]
