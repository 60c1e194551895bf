"""What an LSTM varies."""

from __future__ import annotations

from dataclasses import dataclass

from espressivo.configs import checks


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
        checks.positive(self, "layers", "width")
        checks.dropout(self.dropout)
