"""What order adds to attention: small values that a reference and every back end read.

Distances count back from the query: 0 is the query's own key. Everything here is defined pair by
pair in `bias` and `extra`, which the reference uses, and computed for all pairs at once, by
skewing, in `fast_bias` and `fast_extra`, where the queries are the newest of the keys.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional as F

from espressivo.models.attention.skewing import skew, unskew


class Position:
    """Nothing: attention that does not know the order of what it hears, but for the pattern."""

    def to(self, dtype: torch.dtype) -> Position:
        """Give the same with its learned numbers as `dtype`."""
        return self

    def rotate(
        self, x: Float[Tensor, "b h t d"], at: Int[Tensor, " t"]
    ) -> Float[Tensor, "b h t d"]:
        """Turn queries and keys by their absolute positions."""
        return x

    def bias(
        self,
        q: Float[Tensor, "*b h i d"],
        k: Float[Tensor, "*b h j d"],
        distance: Int[Tensor, "i j"],
    ) -> Tensor | None:
        """Give what is added to the scaled logits, as wide as [b, h, i, j]; None: nothing."""
        return None

    def fast_bias(
        self, q: Float[Tensor, "*b h i d"], k: Float[Tensor, "*b h j d"]
    ) -> Tensor | None:
        """Give the same for the newest `i` of `j` keys; what lies in the future is meaningless."""
        return self.bias(q, k, distances(q, k))

    def extra(
        self, weights: Float[Tensor, "b h i j"], distance: Int[Tensor, "i j"]
    ) -> Tensor | None:
        """Give what is heard beside the values, [b, h, i, d]; None: nothing."""
        return None

    def fast_extra(self, weights: Float[Tensor, "*b h i j"]) -> Tensor | None:
        """Give the same for the newest `i` of `j` keys; the future has no weight."""
        return None


def distances(q: Tensor, k: Tensor) -> Int[Tensor, "i j"]:
    """Give how far every key lies behind every query, negative in the future."""
    i, j = q.shape[-2], k.shape[-2]
    return torch.arange(j - i, j, device=q.device)[:, None] - torch.arange(j, device=q.device)


@dataclass(frozen=True)
class Rotary(Position):
    """Pairs of numbers turned by angles proportional to the position (Su et al. 2021)."""

    base: float = 10_000.0

    def rotate(
        self, x: Float[Tensor, "b h t d"], at: Int[Tensor, " t"]
    ) -> Float[Tensor, "b h t d"]:
        """Turn number f and number f + d/2 by `at` * base^(-2f/d)."""
        half = x.shape[-1] // 2
        rates = self.base ** (-torch.arange(half, device=x.device, dtype=torch.float64) / half)
        cos, sin = (wave.to(x.dtype) for wave in waves(at, rates).chunk(2, -1))
        a, b = x.chunk(2, -1)
        return torch.cat([a * cos - b * sin, a * sin + b * cos], -1)


@dataclass(frozen=True)
class Alibi(Position):
    """A penalty proportional to the distance: head n of h loses 2^(-8n/h) a step (Press 2022)."""

    def bias(
        self, q: Float[Tensor, "*b h i d"], k: Float[Tensor, "*b h j d"], distance: Tensor
    ) -> Tensor:
        """Give the penalties, [h, i, j]."""
        heads = q.shape[-3]
        slope = 2.0 ** (-8 / heads * torch.arange(1, heads + 1, device=q.device, dtype=q.dtype))
        return -slope[:, None, None] * distance


@dataclass(frozen=True, eq=False)
class Relative(Position):
    """A vector per distance, by which a query asks how far away it would like to hear.

    `table` runs from the furthest distance to zero, as in Huang et al. 2018, so distance c is row
    `r - 1 - c`; one table may serve all heads. Further away than the table the logit is zero, as
    in tensor2tensor, or that of the furthest row (Shaw et al. 2018), as `beyond` says. `values`,
    read alike, are heard beside the values (Shaw). With `u` and `v` the logits are
    (q + u) k + (q + v) e (Dai et al. 2019). All logits are divided by sqrt(d).
    """

    table: Float[Tensor, "#h r d"]
    beyond: Literal["zero", "clamp"] = "zero"
    u: Float[Tensor, "h d"] | None = None
    v: Float[Tensor, "h d"] | None = None
    values: Float[Tensor, "#h r e"] | None = None

    def to(self, dtype: torch.dtype) -> Relative:
        """Give the same with its tables as `dtype`."""
        tensors = ((name, getattr(self, name)) for name in ("table", "u", "v", "values"))
        return replace(self, **{name: x.to(dtype) for name, x in tensors if x is not None})

    def bias(
        self, q: Float[Tensor, "b h i d"], k: Float[Tensor, "b h j d"], distance: Int[Tensor, "i j"]
    ) -> Float[Tensor, "b h i j"]:
        """Look up the vector of every pair."""
        scale: float = q.shape[-1] ** -0.5
        vectors = self._pairwise(self.table, distance).expand(q.shape[1], -1, -1, -1)
        logits = torch.einsum("b h i d, h i j d -> b h i j", self.asked(q), vectors)
        return (logits + self._regardless(k)) * scale

    def fast_bias(
        self, q: Float[Tensor, "*b h i d"], k: Float[Tensor, "*b h j d"]
    ) -> Float[Tensor, "*b h i j"]:
        """Multiply by all vectors, then put the products where they belong."""
        scale: float = q.shape[-1] ** -0.5
        keys = k.shape[-2]
        by_distance = self.asked(q) @ self.near(self.table, keys).mT
        by_key = skew(F.pad(by_distance, (keys - by_distance.shape[-1], 0)))
        return (by_key + self._regardless(k)) * scale

    def extra(
        self, weights: Float[Tensor, "b h i j"], distance: Int[Tensor, "i j"]
    ) -> Float[Tensor, "b h i e"] | None:
        """Look up the value of every pair."""
        if self.values is None:
            return None
        vectors = self._pairwise(self.values, distance).expand(weights.shape[1], -1, -1, -1)
        return torch.einsum("b h i j, h i j d -> b h i d", weights, vectors)

    def fast_extra(self, weights: Float[Tensor, "*b h i j"]) -> Float[Tensor, "*b h i e"] | None:
        """Put the weights where their distances belong, then multiply."""
        if self.values is None:
            return None
        near = self.near(self.values, weights.shape[-1])
        return unskew(weights)[..., weights.shape[-1] - near.shape[-2] :] @ near

    def asked(self, q: Float[Tensor, "*b h i d"]) -> Float[Tensor, "*b h i d"]:
        """Give what the queries ask of distances."""
        return q if self.v is None else q + self.v[:, None]

    def near(self, table: Float[Tensor, "h r d"], keys: int) -> Float[Tensor, "h n d"]:
        """Give the rows that `keys` keys need, at most one per key; those left out are zero."""
        missing = keys - table.shape[1]
        if self.beyond == "zero" or missing <= 0:
            return table[:, -keys:]
        return torch.cat([table[:, :1].expand(-1, missing, -1), table], 1)

    def _pairwise(self, table: Tensor, distance: Tensor) -> Float[Tensor, "h i j d"]:
        reach = table.shape[1]
        vectors = table[:, (reach - 1 - distance).clamp(0, reach - 1)]
        if self.beyond == "clamp":
            return vectors
        return vectors.masked_fill((distance >= reach)[..., None], 0.0)

    def _regardless(self, k: Float[Tensor, "*b h j d"]) -> Tensor | float:
        """Give what is asked of every key, whatever the query."""
        return 0.0 if self.u is None else self.u[:, None] @ k.mT


@dataclass(frozen=True, eq=False)
class Waves(Position):
    """A vector per distance made of waves, so for any distance: cosines at `rates`, then sines.

    The angle-sum identities split the logit of a distance into a product of what the query asks
    and the waves at the key's own position, so plain attention over wider queries and keys, given
    by `widened`, computes the same.
    """

    weights: Float[Tensor, "#h f2 d"]
    rates: Float[Tensor, " f"]

    def to(self, dtype: torch.dtype) -> Waves:
        """Give the same with its weights as `dtype`."""
        return replace(self, weights=self.weights.to(dtype))

    def table(self, count: int) -> Float[Tensor, "#h r d"]:
        """Give the vectors of the first `count` distances, the furthest first."""
        back = torch.arange(count - 1, -1, -1, device=self.weights.device)
        return waves(back, self.rates).to(self.weights.dtype) @ self.weights

    def bias(
        self, q: Float[Tensor, "b h i d"], k: Float[Tensor, "b h j d"], distance: Int[Tensor, "i j"]
    ) -> Float[Tensor, "b h i j"]:
        """Make the vectors, then look them up."""
        return Relative(self.table(k.shape[-2])).bias(q, k, distance)

    def fast_bias(
        self, q: Float[Tensor, "*b h i d"], k: Float[Tensor, "*b h j d"]
    ) -> Float[Tensor, "*b h i j"]:
        """Make the vectors, then multiply by them."""
        return Relative(self.table(k.shape[-2])).fast_bias(q, k)

    def widened(
        self, q: Float[Tensor, "b h i d"], k: Float[Tensor, "b h j d"]
    ) -> tuple[Float[Tensor, "b h i d2"], Float[Tensor, "b h j d2"]]:
        """Give queries and keys whose plain products hold the logits of the distance too."""
        at = waves(torch.arange(k.shape[-2], device=k.device), self.rates).to(q.dtype)  # j 2f
        cos, sin = at[-q.shape[-2] :].chunk(2, -1)
        a, b = (q @ self.weights.mT).chunk(2, -1)
        asked = torch.cat([a * cos + b * sin, a * sin - b * cos], -1)
        places = at.expand(*k.shape[:-2], -1, -1)
        return torch.cat([q, asked], -1), torch.cat([k, places], -1)


def waves(at: Int[Tensor, " t"], rates: Float[Tensor, " f"]) -> Float[Tensor, "t f2"]:
    """Give cosines, then sines; in float64, for a late position has a large angle."""
    angle = at[:, None] * rates.double()
    return torch.cat([angle.cos(), angle.sin()], -1)


def spread(count: int, longest: float) -> Float[Tensor, " f"]:
    """Give rates of waves with periods from 4 to `longest` steps, evenly in octaves."""
    octaves = torch.linspace(0, 1, count, dtype=torch.float64)
    return math.tau / 4 * (4 / longest) ** octaves
