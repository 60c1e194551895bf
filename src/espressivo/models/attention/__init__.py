"""Relative attention: one definition and faster twins with the same signature."""

from collections.abc import Callable

from torch import Tensor

from espressivo.models.attention.reference import reference
from espressivo.models.attention.rows import rows
from espressivo.models.attention.skewed import skew, skewed

Attend = Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]

BACKENDS: dict[str, Attend] = {"rows": rows, "skewed": skewed, "reference": reference}
"""Ways to compute the same thing; the first is what models use."""

__all__ = ["BACKENDS", "Attend", "reference", "rows", "skew", "skewed"]
