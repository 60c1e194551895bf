"""What each paper's model varies, as frozen values that check themselves.

The size of the vocabulary is never in here: it comes from the codec when a model is built.
"""

from espressivo.configs.lstm import LstmConfig
from espressivo.configs.patterns import Pattern, pattern
from espressivo.configs.transformer import TransformerConfig

ModelConfig = LstmConfig | TransformerConfig

CONFIGS: dict[str, type[LstmConfig] | type[TransformerConfig]] = {
    "lstm": LstmConfig,
    "music-transformer": TransformerConfig,
}

__all__ = ["CONFIGS", "LstmConfig", "ModelConfig", "Pattern", "TransformerConfig", "pattern"]
