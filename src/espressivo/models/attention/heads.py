"""The heads of one layer: projections, what they learn about order, and attention itself."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn

from espressivo.configs import Pattern, TransformerConfig
from espressivo.models.attention.attend import attend
from espressivo.models.attention.learned import first_values, position
from espressivo.models.attention.position import Position


class Heads(nn.Module):
    """Heads that hear the past, each in its own way."""

    def __init__(self, config: TransformerConfig, pattern: Pattern, backend: str = "auto") -> None:
        """Project width to queries, keys and values and back without biases, as tensor2tensor."""
        super().__init__()
        self.config, self.pattern, self.backend = config, pattern, backend
        self.widths = [config.attention, config.attention, config.value_width]
        self.inputs = nn.Linear(config.width, sum(self.widths), bias=False)
        self.output = nn.Linear(config.value_width, config.width, bias=False)
        for name, first in first_values(config).items():
            self.register_parameter(name, nn.Parameter(first))
        if config.qk_norm:
            self.gain = nn.Parameter(torch.ones(config.heads))

    def forward(
        self, x: Float[Tensor, "b t w"], past: tuple[Tensor, Tensor] | None
    ) -> tuple[Float[Tensor, "b t w"], Tensor, Tensor]:
        """Attend from every place to itself and the past; give back all keys and values."""
        q, k, v = self.projected(x, past)
        return self.heard(q, k, v, self.order(k.shape[2])), k, v

    def projected(
        self, x: Float[Tensor, "b t w"], past: tuple[Tensor, Tensor] | None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Give the queries, and keys and values with those of the past before them."""
        q, k, v = (
            part.unflatten(-1, (self.config.heads, -1)).transpose(1, 2)  # b h t d
            for part in self.inputs(x).split(self.widths, -1)
        )
        if self.config.qk_norm:
            q, k = self.gain[:, None, None] * _one_length(q), _one_length(k)
        if past is not None:
            k, v = torch.cat([past[0], k], 2), torch.cat([past[1], v], 2)
        return q, k, v

    def order(self, keys: int) -> Position:
        """Give what order adds where `keys` keys are heard."""
        return position(self.config, dict(self.named_parameters(recurse=False)), keys)

    def heard(self, q: Tensor, k: Tensor, v: Tensor, order: Position) -> Float[Tensor, "b t w"]:
        """Give what all heads hear, together."""
        each = attend(q, k, v, self.pattern, order, backend=self.backend)
        together: Tensor = self.output(each.transpose(1, 2).flatten(2))
        return together


def _one_length(x: Float[Tensor, "b h t d"]) -> Float[Tensor, "b h t d"]:
    """Scale vectors to the length sqrt(d)."""
    return x * torch.rsqrt(x.square().mean(-1, keepdim=True) + 1e-6)
