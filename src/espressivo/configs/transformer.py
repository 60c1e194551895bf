"""What a Music Transformer varies."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from espressivo.configs import checks
from espressivo.configs import controls as known
from espressivo.configs.patterns import pattern
from espressivo.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class TransformerConfig:
    """A decoder that looks back; by default Huang et al. 2018, sections 3 and 4.2.

    `attention` is the width of all heads' queries together, `values` that of their values (none:
    the same), and `context` the number of tokens it was trained to see at once.

    `position` is what order adds to attention:

        none      nothing
        relative  a learned vector per distance (Huang et al. 2018); further away than `reach`
                  it is zero, as in tensor2tensor, or the furthest one, as `beyond` says
        shaw      the same, clipped: further than `reach` it is always the furthest one, with
                  `value_table` also a vector per distance added to the values (Shaw et al. 2018)
        xl        projected sinusoids of the distance, and what is asked for regardless of the
                  query (Transformer-XL, Dai et al. 2019)
        rotary    queries and keys turned by their position (Su et al. 2021)
        alibi     a penalty proportional to the distance, steeper from head to head (Press 2022)
        fourier   a learned sum of `frequencies` waves of the distance per head: a vector for any
                  distance, at the price of plain attention

    `shared_heads` gives all heads of a layer one table. `sinusoids` are added to the embeddings in
    all of the paper's models but one on chorales, where half the width is embedding and half
    sinusoids. `patterns` says who hears whom, layer by layer, from the first again when they run
    out: see `espressivo.configs.patterns`. `qk_norm` scales queries and keys to one length and
    learns one gain per head (Henry et al. 2020). `controls` names tracks of
    `espressivo.controls` that the model is told beside the tokens; zeros are nothing.
    """

    layers: int = 6
    width: int = 256
    attention: int = 512
    values: int | None = None
    feed_forward: int = 2048
    heads: int = 8
    context: int = 2048
    dropout: float = 0.1
    position: Literal["none", "relative", "shaw", "xl", "rotary", "alibi", "fourier"] = "relative"
    reach: int = 1024
    beyond: Literal["zero", "clamp"] = "zero"
    shared_heads: bool = False
    value_table: bool = False
    frequencies: int = 32
    sinusoids: Literal["none", "added", "concatenated"] = "added"
    patterns: tuple[str, ...] = ("causal",)
    activation: Literal["relu", "relu2", "gelu"] = "relu"
    qk_norm: bool = False
    controls: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Refuse what makes no network."""
        names = ("layers", "width", "attention", "feed_forward", "heads", "context")
        checks.positive(self, *names, "reach", "frequencies")
        checks.dropout(self.dropout)
        self._check_widths()
        known.check(self.controls)
        if self.value_table and self.position not in ("relative", "shaw"):
            raise ConfigError(
                f"value_table=true needs learned distances, position={self.position} has none; "
                "try position=shaw"
            )
        if self.beyond == "clamp" and self.position != "relative":
            raise ConfigError(
                f"beyond=clamp is for position=relative; position={self.position} needs none"
            )
        if self.shared_heads and self.position not in ("relative", "shaw", "xl", "fourier"):
            raise ConfigError(f"position={self.position} has nothing that heads could share")
        if not self.patterns:
            raise ConfigError('patterns=() lets nobody hear anything; try patterns=("causal",)')
        for one in self.patterns:
            pattern(one)

    @property
    def told(self) -> int:
        """How many numbers the model is shown beside each token."""
        return known.width_of(self.controls)

    @property
    def value_width(self) -> int:
        """The width of all heads' values together."""
        return self.attention if self.values is None else self.values

    @property
    def clamped(self) -> bool:
        """Whether distances beyond the table are heard as the furthest in it."""
        return self.position == "shaw" or self.beyond == "clamp"

    def _check_widths(self) -> None:
        for name in ("attention", "values"):
            width = getattr(self, name)
            if width is not None and (width < 1 or width % self.heads):
                raise ConfigError(f"heads={self.heads} must divide {name}={width}; try heads=8")
        if self.width % 2:
            raise ConfigError(f"width={self.width} must be even; try width={self.width + 1}")
        if self.sinusoids == "concatenated" and self.width % 4:
            raise ConfigError(
                f"width={self.width} is half sinusoids, in pairs: it must be a multiple of 4; "
                f"try width={-(-self.width // 4) * 4}"
            )
        head_width = self.attention // self.heads
        if self.position == "rotary" and head_width % 2:
            raise ConfigError(
                f"position=rotary turns pairs: attention={self.attention} over heads={self.heads} "
                f"must be even; try attention={(head_width + 1) * self.heads}"
            )
