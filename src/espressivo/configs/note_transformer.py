"""What a transformer over events of several fields varies."""

from __future__ import annotations

from dataclasses import dataclass

from espressivo.configs import checks
from espressivo.configs import controls as known
from espressivo.errors import ConfigError

FIELDS = 4
"""The fields of an event that are predicted one after another."""


@dataclass(frozen=True, kw_only=True)
class NoteTransformerConfig:
    """A decoder over events; the fields of the next one are predicted in a chain.

    `classes` are the sizes of the fields in the order of the chain (see `codecs.NoteEvents`).
    Every head has `key_dim` numbers of content in queries and keys and `width` / `heads` in values;
    the position adds a learned Fourier series of `frequencies` over the distance in events, with
    periods from 4 to 4 * `context`. `context` is the number of events it was trained to see at
    once. The chain is an MLP of width `head_hidden` for each field, residual.

    `controls` names tracks of `espressivo.controls`, `composers` and `sources` the labels that the
    model is conditioned on; what is not set is zeros.
    """

    classes: tuple[int, ...] = (272, 132, 64, 272)
    layers: int = 8
    width: int = 384
    heads: int = 4
    key_dim: int = 64
    feed_forward: int = 1536
    head_hidden: int = 768
    frequencies: int = 16
    context: int = 512
    dropout: float = 0.0
    controls: tuple[str, ...] = ()
    composers: tuple[str, ...] = ()
    sources: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Raise ConfigError for what makes no network."""
        names = (
            "layers",
            "width",
            "heads",
            "key_dim",
            "feed_forward",
            "head_hidden",
            "frequencies",
        )
        checks.positive(self, *names, "context")
        checks.dropout(self.dropout)
        known.check(self.controls)
        if len(self.classes) != FIELDS or min(self.classes) < 1:
            raise ConfigError(
                f"classes={self.classes} must be {FIELDS} sizes: shift, kind, velocity, duration"
            )
        if self.width % self.heads:
            raise ConfigError(f"heads={self.heads} must divide width={self.width}; try heads=4")
        for labels in ("composers", "sources"):
            names = getattr(self, labels)
            if len(set(names)) < len(names):
                raise ConfigError(f"{labels}={','.join(names)} names one twice")

    @property
    def condition_dim(self) -> int:
        """How many numbers of conditioning stand beside each event."""
        return known.width_of(self.controls) + len(self.composers) + len(self.sources)

    def check_vocabulary(self, size: int) -> None:
        """Raise ConfigError unless the fields have as many classes as a codec's vocabulary."""
        if sum(self.classes) != size:
            raise ConfigError(
                f"model.classes={self.classes} are {sum(self.classes)} classes, the codec has "
                f"{size}; give the sizes of its fields"
            )
