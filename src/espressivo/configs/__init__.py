"""What each paper's model varies, as frozen values that check themselves.

The size of the vocabulary is never in here: it comes from the codec when a model is built.
"""

from espressivo.configs.attention_lstm import AttentionLstmConfig
from espressivo.configs.lstm import LstmConfig
from espressivo.configs.melody import MelodyTransformerConfig
from espressivo.configs.note_lstm import NoteLstmConfig
from espressivo.configs.note_transformer import NoteTransformerConfig
from espressivo.configs.patterns import Pattern, pattern
from espressivo.configs.transformer import TransformerConfig

ModelConfig = (
    LstmConfig
    | NoteLstmConfig
    | AttentionLstmConfig
    | TransformerConfig
    | MelodyTransformerConfig
    | NoteTransformerConfig
)

CONFIGS: dict[str, type[ModelConfig]] = {
    "lstm": LstmConfig,
    "note-lstm": NoteLstmConfig,
    "attention-lstm": AttentionLstmConfig,
    "music-transformer": TransformerConfig,
    "melody-transformer": MelodyTransformerConfig,
    "note-transformer": NoteTransformerConfig,
}

__all__ = [
    "CONFIGS",
    "AttentionLstmConfig",
    "LstmConfig",
    "MelodyTransformerConfig",
    "ModelConfig",
    "NoteLstmConfig",
    "NoteTransformerConfig",
    "Pattern",
    "TransformerConfig",
    "pattern",
]
