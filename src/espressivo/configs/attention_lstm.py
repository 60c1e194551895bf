"""What an LSTM that looks back varies."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from espressivo.configs import checks
from espressivo.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class AttentionLstmConfig:
    """LSTM layers over one-hot events, with attention over the last `look_back` outputs.

    `score` is how an output is compared with those before it (Luong et al. 2015, section 3.1):
    by a small network of both ("concat", as in TensorFlow's attention wrapper, which Magenta
    uses), by their product ("dot") or by a learned one ("general"). `focus` is where it looks
    (section 3.2): at "all" of them, at the latest `window` ("local-m"), or at those `window` to
    either side of a place that it chooses, weighed by a Gaussian around it ("local-p").
    """

    layers: int = 3
    width: int = 512
    dropout: float = 0.0
    look_back: int = 40
    score: Literal["concat", "dot", "general"] = "concat"
    focus: Literal["all", "local-m", "local-p"] = "all"
    window: int = 10

    def __post_init__(self) -> None:
        """Refuse sizes that make no network."""
        checks.positive(self, "layers", "width", "look_back", "window")
        checks.dropout(self.dropout)
        if self.focus != "all" and self.window > self.look_back:
            raise ConfigError(f"window={self.window} must be at most look_back={self.look_back}")
