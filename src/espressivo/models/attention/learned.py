"""What a layer learns about order: first values by name, and the position they make."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import torch
from torch import Tensor

from espressivo.configs import TransformerConfig
from espressivo.models.attention.position import (
    Alibi,
    Position,
    Relative,
    Rotary,
    Waves,
    spread,
)


def first_values(config: TransformerConfig) -> dict[str, Tensor]:
    """Draw what the position of one layer learns, so that every distance has a vector of length 1.

    Tensor2tensor draws its tables so; whether all heads share them, `shared_heads` says.
    """
    tables = 1 if config.shared_heads else config.heads
    width, value_width = config.attention // config.heads, config.value_width // config.heads
    if config.position in ("relative", "shaw"):
        first = {"distances": torch.randn(tables, config.reach, width) * width**-0.5}
        if config.value_table:
            values = torch.randn(tables, config.reach, value_width) * value_width**-0.5
            first["distance_values"] = values
        return first
    if config.position == "fourier":
        return {"waves": _waves(tables, config.frequencies, width)}
    if config.position == "xl":
        biases = {name: torch.zeros(config.heads, width) for name in ("key_bias", "distance_bias")}
        return {"waves": _waves(tables, config.width // 2, width), **biases}
    return {}


def _waves(tables: int, count: int, width: int) -> Tensor:
    size: float = (width * count) ** -0.5
    return size * torch.randn(tables, 2 * count, width)


def position(config: TransformerConfig, learned: Mapping[str, Tensor], keys: int) -> Position:
    """Give what order adds in a layer that attends to `keys` keys."""
    match config.position:
        case "none":
            return Position()
        case "rotary":
            return Rotary()
        case "alibi":
            return Alibi()
        case "fourier":
            longest = 4.0 * config.reach
            rates = spread(config.frequencies, longest).to(learned["waves"].device)
            return Waves(learned["waves"], rates)
        case "xl":
            half = config.width // 2
            octaves = torch.arange(half, device=learned["waves"].device, dtype=torch.float64)
            table = Waves(learned["waves"], 10_000 ** (-octaves / half)).table(keys)
            return Relative(table, u=learned["key_bias"], v=learned["distance_bias"])
        case "relative" | "shaw":
            values = learned.get("distance_values")
            beyond: Literal["clamp", "zero"] = "clamp" if config.clamped else "zero"
            return Relative(learned["distances"], beyond, values=values)
