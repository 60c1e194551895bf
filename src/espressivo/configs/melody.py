"""What a transformer that accompanies a melody varies."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from espressivo.configs import checks
from espressivo.configs.transformer import TransformerConfig


@dataclass(frozen=True, kw_only=True)
class MelodyTransformerConfig:
    """An encoder that reads a melody, a decoder that plays it with all around it.

    Huang et al. 2018, section 4.2.2. Encoder and decoder have `layers` each, of the same sizes.
    The encoder is plain, with sinusoids; `position`, `reach`, `frequencies`, `sinusoids` and
    `qk_norm` are those of the decoder's attention to itself, which alone may be relative.
    `context` is the number of tokens the decoder was trained to see at once, `melody_steps` that
    of a melody's.

    With `clock` the decoder is told, beside every token, how many steps of the melody have
    passed, and turns its queries to the melody accordingly (rotary positions, Su et al. 2021):
    an addition of this project, without which finding the place in the melody must be learnt.
    """

    layers: int = 6
    width: int = 256
    attention: int = 512
    feed_forward: int = 2048
    heads: int = 8
    context: int = 2048
    melody_steps: int = 300
    dropout: float = 0.1
    position: Literal["none", "relative", "fourier"] = "relative"
    reach: int = 1024
    frequencies: int = 32
    sinusoids: Literal["none", "added"] = "added"
    qk_norm: bool = False
    clock: bool = False

    def __post_init__(self) -> None:
        """Refuse what makes no network."""
        checks.positive(self, "melody_steps")
        _ = self.decoder

    @property
    def decoder(self) -> TransformerConfig:
        """The decoder without the melody: a model whose weights it can begin from."""
        return TransformerConfig(
            layers=self.layers,
            width=self.width,
            attention=self.attention,
            feed_forward=self.feed_forward,
            heads=self.heads,
            context=self.context,
            dropout=self.dropout,
            position=self.position,
            reach=self.reach,
            frequencies=self.frequencies,
            sinusoids=self.sinusoids,
            qk_norm=self.qk_norm,
        )
