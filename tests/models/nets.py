"""Small networks of every kind, for the laws."""

import torch

from espressivo import models
from espressivo.configs import (
    AttentionLstmConfig,
    LstmConfig,
    MelodyTransformerConfig,
    ModelConfig,
    NoteLstmConfig,
    TransformerConfig,
)

VOCABULARY = 40

SMALL: dict[str, ModelConfig] = {
    "lstm": LstmConfig(layers=2, width=16),
    "lstm that is told": LstmConfig(
        layers=2, width=16, controls=("notes-per-second", "pitch-class-histogram"), optional=True
    ),
    "lstm of notes": NoteLstmConfig(slots=(5, 7, 10, 6, 4, 8), layers=2, width=16),
    "lstm that looks back": AttentionLstmConfig(layers=2, width=16, look_back=5),
    "lstm that looks somewhere": AttentionLstmConfig(
        layers=1, width=16, look_back=6, score="general", focus="local-p", window=2
    ),
    "transformer": TransformerConfig(
        layers=2, width=16, attention=24, feed_forward=32, heads=3, reach=64, context=64
    ),
    "transformer with a short reach": TransformerConfig(
        layers=2, width=16, attention=24, feed_forward=32, heads=3, reach=5, context=64
    ),
    "transformer without sinusoids": TransformerConfig(
        layers=1, width=16, attention=16, feed_forward=32, heads=2, reach=7, context=64,
        sinusoids="none",
    ),
    "xl": TransformerConfig(
        layers=1, width=16, attention=16, values=8, feed_forward=32, heads=2, context=64,
        position="xl", sinusoids="concatenated", activation="gelu", qk_norm=True,
    ),
    "shaw in blocks": TransformerConfig(
        layers=2, width=16, attention=16, values=8, feed_forward=32, heads=2, context=64,
        position="shaw", reach=3, value_table=True, shared_heads=True, patterns=("blocks:3",),
    ),
    "rotary, sparse": TransformerConfig(
        layers=2, width=16, attention=16, feed_forward=32, heads=2, context=64, activation="relu2",
        position="rotary", sinusoids="none", patterns=("window:2", "strided:3"),
    ),
    "waves in a window": TransformerConfig(
        layers=2, width=16, attention=16, feed_forward=32, heads=2, context=64,
        position="fourier", frequencies=3, patterns=("window:4", "fixed:4:1"),
    ),
    "alibi": TransformerConfig(
        layers=1, width=16, attention=16, feed_forward=32, heads=2, context=64, position="alibi"
    ),
    "accompanist": MelodyTransformerConfig(
        layers=1, width=16, attention=16, feed_forward=32, heads=2, context=64, reach=9, clock=True
    ),
}  # fmt: skip


def lively(config: ModelConfig, vocabulary: int = VOCABULARY) -> models.Model:
    """A model in which no parameter keeps a first value that could hide a mistake."""
    torch.manual_seed(1)
    model = models.build(config, vocabulary).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 0.2 * torch.randn_like(parameter)
    return model


def some_tokens(batch: int, time: int, vocabulary: int = VOCABULARY) -> torch.Tensor:
    """Tokens drawn evenly, the same ones every time."""
    return torch.randint(vocabulary, (batch, time), generator=torch.Generator().manual_seed(2))
