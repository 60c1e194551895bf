"""Blocks that more than one transformer is made of."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from espressivo.configs import Pattern, TransformerConfig
from espressivo.models.attention import Heads

ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "relu": F.relu,
    "relu2": lambda x: F.relu(x).square(),  # So et al. 2021
    "gelu": partial(F.gelu, approximate="tanh"),  # numpy has no error function
}


def sinusoids(positions: Int[Tensor, " t"], width: int) -> Float[Tensor, "t w"]:
    """Give tensor2tensor's timing signal: all sines, then all cosines, periods 2 pi to 20000 pi."""
    count = width // 2
    step = math.log(10_000) / max(count - 1, 1)
    rate = torch.exp(-step * torch.arange(count, device=positions.device))
    angle = positions[:, None] * rate
    return torch.cat([angle.sin(), angle.cos()], -1)


class Layer(nn.Module):
    """Attention and feed-forward, each on normalised input, each added to the stream."""

    def __init__(self, config: TransformerConfig, pattern: Pattern, backend: str = "auto") -> None:
        """Build one layer."""
        super().__init__()
        self.attention_norm = nn.LayerNorm(config.width)
        self.attention = Heads(config, pattern, backend)
        self.forward_norm = nn.LayerNorm(config.width)
        self.expand = nn.Linear(config.width, config.feed_forward)
        self.contract = nn.Linear(config.feed_forward, config.width)
        self.activation = ACTIVATIONS[config.activation]
        self.dropout = nn.Dropout(config.dropout)

    def forward(
        self, x: Float[Tensor, "b t w"], past: tuple[Tensor, Tensor] | None, *beside: Tensor
    ) -> tuple[Float[Tensor, "b t w"], Tensor, Tensor]:
        """Refine the stream; give back all keys and values too.

        What stands `beside` the stream goes to heads that ask for it.
        """
        heard, keys, values = self.attention(self.attention_norm(x), past, *beside)
        x = x + self.dropout(heard)
        hidden = self.dropout(self.activation(self.expand(self.forward_norm(x))))
        return x + self.dropout(self.contract(hidden)), keys, values


def initialise(module: nn.Module) -> None:
    """Draw all projections as Glorot and Bengio do, as tensor2tensor, and start biases at zero."""
    for part in module.modules():
        if isinstance(part, nn.Linear):
            nn.init.xavier_uniform_(part.weight)
            if part.bias is not None:
                nn.init.zeros_(part.bias)
    for part in module.modules():
        if isinstance(part, Heads):  # queries, keys and values are projections of their own
            for weight in torch.split(part.inputs.weight.detach(), part.widths):
                nn.init.xavier_uniform_(weight)
