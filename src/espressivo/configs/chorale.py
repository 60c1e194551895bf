"""What the models of the chorale experiment vary."""

from __future__ import annotations

from dataclasses import dataclass

from espressivo.configs import checks
from espressivo.configs.transformer import TransformerConfig
from espressivo.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class ChoraleConfig:
    """A transformer that may know who sings and how notes lie (Huang et al. 2018, 4.1.1).

    `voices` take turns, one token each. `voice_labels` tells the model whose turn it is.
    `pitch_and_time` gives the first layer a learned vector for every distance in steps of the grid
    and for every interval between two pitches, beside the one for every distance in tokens.
    """

    transformer: TransformerConfig
    voices: int = 4
    voice_labels: bool = False
    pitch_and_time: bool = False

    def __post_init__(self) -> None:
        """Refuse what makes no network."""
        checks.positive(self, "voices")
        position, pattern = self.transformer.position, self.transformer.patterns[0]
        if self.pitch_and_time and (position, pattern) != ("relative", "causal"):
            raise ConfigError(
                f"pitch_and_time=true adds to relative attention to all of the past; "
                f"position={position} with pattern {pattern} is none"
            )
