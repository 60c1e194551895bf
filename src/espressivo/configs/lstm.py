"""What an LSTM varies."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from espressivo.configs import checks, controls, modulo
from espressivo.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class LstmConfig:
    """A stack of LSTM layers over one-hot events (Oore et al. 2018; Performance RNN 2017).

    Dropout is applied to the output of every layer, never to the recurrence. `controls` names
    tracks of `espressivo.controls` that the model is told beside the events; where one is not set
    it is told a default value, or, if `optional`, that there is none. With `inputs="modulo"` an
    event goes in as sixteen numbers, places on circles, instead of one-hot: see
    `espressivo.configs.modulo`.
    """

    layers: int = 3
    width: int = 512
    dropout: float = 0.0
    controls: tuple[str, ...] = ()
    optional: bool = False
    inputs: Literal["one-hot", "modulo"] = "one-hot"

    def __post_init__(self) -> None:
        """Refuse sizes that make no network."""
        checks.positive(self, "layers", "width")
        checks.dropout(self.dropout)
        controls.check(self.controls)
        if self.optional and not self.controls:
            raise ConfigError("optional=true needs controls; try controls=notes-per-second")

    def check_vocabulary(self, size: int) -> None:
        """Refuse events that have no place on the circles."""
        if self.inputs == "modulo" and size != modulo.EVENTS:
            raise ConfigError(
                f"inputs=modulo places the {modulo.EVENTS} events of codec performance-rnn, the "
                f"vocabulary has {size}; try inputs=one-hot"
            )

    @property
    def told(self) -> int:
        """How many numbers the model is shown beside each event."""
        return controls.width_of(self.controls) + self.optional
