"""What each paper's model varies, as frozen values that check themselves.

The size of the vocabulary is never in here: it comes from the codec when a model is built.
"""

from __future__ import annotations

from dataclasses import dataclass

from espressivo.errors import ConfigError


def _positive(config: object, *names: str) -> None:
    for name in names:
        if getattr(config, name) < 1:
            raise ConfigError(f"{name}={getattr(config, name)} must be at least 1")


def _dropout(value: float) -> None:
    if not 0 <= value < 1:
        raise ConfigError(f"dropout={value} must lie in [0, 1); try dropout=0.1")


@dataclass(frozen=True, kw_only=True)
class LstmConfig:
    """A stack of LSTM layers over one-hot events (Oore et al. 2018; Performance RNN 2017).

    Dropout is applied to the output of every layer, never to the recurrence.
    """

    layers: int = 3
    width: int = 512
    dropout: float = 0.0

    def __post_init__(self) -> None:
        """Refuse sizes that make no network."""
        _positive(self, "layers", "width")
        _dropout(self.dropout)


@dataclass(frozen=True, kw_only=True)
class TransformerConfig:
    """A Music Transformer with relative global attention (Huang et al. 2018, sections 3 and 4.2).

    `attention` is the width of all heads together, `reach` the number of distances with a learned
    embedding per head (the relative logit of anything further away is zero, as in
    tensor2tensor), and `context` the number of tokens it was trained to see at once. Sinusoids
    are added to the embeddings in all of the paper's models.
    """

    layers: int = 6
    width: int = 256
    attention: int = 512
    feed_forward: int = 2048
    heads: int = 8
    reach: int = 1024
    context: int = 2048
    sinusoids: bool = True
    dropout: float = 0.1

    def __post_init__(self) -> None:
        """Refuse sizes that make no network."""
        names = ("layers", "width", "attention", "feed_forward", "heads", "reach", "context")
        _positive(self, *names)
        _dropout(self.dropout)
        if self.attention % self.heads:
            raise ConfigError(
                f"heads={self.heads} must divide attention={self.attention}; try heads=8"
            )
        if self.width % 2:
            raise ConfigError(f"width={self.width} must be even; try width={self.width + 1}")


ModelConfig = LstmConfig | TransformerConfig

CONFIGS: dict[str, type[LstmConfig] | type[TransformerConfig]] = {
    "lstm": LstmConfig,
    "music-transformer": TransformerConfig,
}
