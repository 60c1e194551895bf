"""What an LSTM varies."""

from __future__ import annotations

from dataclasses import dataclass

from espressivo.configs import checks, controls
from espressivo.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class LstmConfig:
    """A stack of LSTM layers over one-hot events (Oore et al. 2018; Performance RNN 2017).

    Dropout is applied to the output of every layer, never to the recurrence. `controls` names
    tracks of `espressivo.controls` that the model is told beside the events; where one is not set
    it is told a default value, or, if `optional`, that there is none.
    """

    layers: int = 3
    width: int = 512
    dropout: float = 0.0
    controls: tuple[str, ...] = ()
    optional: bool = False

    def __post_init__(self) -> None:
        """Refuse sizes that make no network."""
        checks.positive(self, "layers", "width")
        checks.dropout(self.dropout)
        controls.check(self.controls)
        if self.optional and not self.controls:
            raise ConfigError("optional=true needs controls; try controls=notes-per-second")

    @property
    def told(self) -> int:
        """How many numbers the model is shown beside each event."""
        return controls.width_of(self.controls) + self.optional
