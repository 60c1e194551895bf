"""What an LSTM over whole notes varies."""

from __future__ import annotations

from dataclasses import dataclass

from espressivo.configs import checks
from espressivo.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class NoteLstmConfig:
    """LSTM layers that read a note at a time and predict all of the next one at once.

    A note is one token of every slot, in order; `slots` are how many ids each has, one slot after
    another in the vocabulary. By default those of Magenta's
    `performance_with_dynamics_and_note_encoding`: wait, key, velocity and duration.
    """

    slots: tuple[int, ...] = (13, 77, 128, 32, 25, 40)
    layers: int = 3
    width: int = 512
    dropout: float = 0.0

    def __post_init__(self) -> None:
        """Refuse sizes that make no network."""
        checks.positive(self, "layers", "width")
        checks.dropout(self.dropout)
        if len(self.slots) < 2 or min(self.slots) < 1:
            raise ConfigError(f"slots={self.slots} must be two or more, of at least one id each")

    def check_vocabulary(self, size: int) -> None:
        """Refuse a vocabulary that is not made of these slots."""
        if sum(self.slots) != size:
            raise ConfigError(
                f"slots={self.slots} have {sum(self.slots)} ids, the vocabulary has {size}; "
                "give one number for each kind of token of the codec"
            )
