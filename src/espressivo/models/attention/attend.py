"""Ways to compute the same attention, and who can compute what. Nothing falls back silently."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from espressivo.configs.patterns import Blocks, Causal, Pattern, Window
from espressivo.models.attention.blocked import blocked
from espressivo.models.attention.dense import skewed
from espressivo.models.attention.fused import fused, unavailable, unfit
from espressivo.models.attention.position import Position, Relative, Waves
from espressivo.models.attention.reference import reference
from espressivo.models.attention.rows import rows
from espressivo.models.attention.sdpa import sdpa

Attend = Callable[[Tensor, Tensor, Tensor, Pattern, Position, int], Tensor]


@dataclass(frozen=True)
class Case:
    """What a back end is asked for."""

    q: Float[Tensor, "b h i d"]
    k: Float[Tensor, "b h j d"]
    v: Float[Tensor, "b h j e"]
    pattern: Pattern
    position: Position

    @property
    def needs_grad(self) -> bool:
        """Whether there will be a backward pass."""
        return torch.is_grad_enabled() and any(x.requires_grad for x in (self.q, self.k, self.v))


@dataclass(frozen=True)
class Backend:
    """One way to compute attention; `supports` gives None, or the reason why not."""

    run: Attend
    supports: Callable[[Case], str | None]


def attend(
    q: Float[Tensor, "b h i d"],
    k: Float[Tensor, "b h j d"],
    v: Float[Tensor, "b h j e"],
    pattern: Pattern,
    position: Position,
    first_key: int = 0,
    backend: str = "auto",
) -> Float[Tensor, "b h i e"]:
    """Attend as `reference` does, in the first way of the table that can, or in the one named.

    ValueError says why the one named cannot.
    """
    case = Case(q, k, v, pattern, position)
    name = chosen(case) if backend == "auto" else backend
    if (reason := BACKENDS[name].supports(case)) is not None:
        raise ValueError(f"backend {name} cannot: {reason}; try backend='auto'")
    return BACKENDS[name].run(q, k, v, pattern, position, first_key)


def chosen(case: Case) -> str:
    """Give the name of the first back end that supports a case."""
    return next(name for name, backend in BACKENDS.items() if backend.supports(case) is None)


def _all(case: Case) -> str | None:
    return None


def _learned_distances(case: Case) -> str | None:
    """Say why what order adds is more, or less, than a product per distance."""
    if not isinstance(case.position, Relative):
        return f"{type(case.position).__name__} is no table of distances"
    return None if case.position.values is None else "distances add to the values"


def _kernels(case: Case) -> str | None:
    """Say why fused kernels cannot be it."""
    if (reason := _learned_distances(case)) is not None:
        return reason
    if not isinstance(case.pattern, Causal | Window | Blocks):
        return f"{case.pattern} is neither causal nor a window nor blocks"
    assert isinstance(case.position, Relative)
    values = case.v if case.v.shape[-1] > case.k.shape[-1] else case.k  # narrow ones are filled up
    table = case.position.table
    return unavailable(case.q.device) or unfit(case.q, case.k, values, table)


def _distances(case: Case) -> str | None:
    """Say why rows of queries cannot be it."""
    if not isinstance(case.pattern, Causal):
        return f"{case.pattern} is not plainly causal"
    if isinstance(case.position, Waves):
        # torch's kernels fill the values up to the width of keys with waves, at a price
        at_home = case.q.device.type == "cpu" and case.q.dtype.itemsize >= 4
        return None if at_home else "waves go this way on a processor only, in 32 bits or more"
    return _learned_distances(case)


def _near(case: Case) -> str | None:
    """Say why blocks cannot be it."""
    if not isinstance(case.pattern, Blocks | Window):
        return f"{case.pattern} hears further than two blocks"
    if case.q.shape[2] < case.pattern.length:
        return f"{case.q.shape[2]} queries are less than a block of {case.pattern.length}"
    return None


def _no_distances(case: Case) -> str | None:
    """Say why torch's own attention cannot be it."""
    if isinstance(case.position, Relative):
        return "Relative has a product per distance"
    return None


def _in_32_bits(run: Attend) -> Attend:
    """Compute in float32 at least: 16 bits are too few for logits that are added up."""

    def attended(
        q: Tensor, k: Tensor, v: Tensor, pattern: Pattern, position: Position, first_key: int
    ) -> Tensor:
        wide = torch.promote_types(q.dtype, torch.float32)
        with torch.autocast(q.device.type, enabled=False):
            heard = run(q.to(wide), k.to(wide), v.to(wide), pattern, position.to(wide), first_key)
        return heard.to(q.dtype)

    return attended


def _asked(q: Tensor, position: Relative) -> tuple[Tensor, Tensor | None]:
    """Give what queries ask of keys, and what they ask of distances if that is not the same."""
    if position.u is None and position.v is None:
        return q, None
    return q if position.u is None else q + position.u[:, None], position.asked(q)


def _fused(
    q: Tensor, k: Tensor, v: Tensor, pattern: Pattern, position: Position, first_key: int
) -> Tensor:
    """Hand over the table of distances, what the queries ask of it, and how far they hear."""
    assert isinstance(position, Relative)
    q, p = _asked(q, position)
    window, blocks = (
        pattern.length if isinstance(pattern, kind) else None for kind in (Window, Blocks)
    )
    width = v.shape[-1]
    v = F.pad(v, (0, q.shape[-1] - width))
    heard = fused(
        q, k, v, position.table, p=p, beyond=position.beyond, window=window, blocks=blocks,
        first_key=first_key,
    )  # fmt: skip
    return heard[..., :width]


def _rows(
    q: Tensor, k: Tensor, v: Tensor, pattern: Pattern, position: Position, first_key: int
) -> Tensor:
    """Hand over the table of distances and what the queries ask of it, or queries with waves."""
    if isinstance(position, Waves):
        wide_q, wide_k = position.widened(q, k)
        return rows(wide_q * (wide_q.shape[-1] / q.shape[-1]) ** 0.5, wide_k, v, None)
    assert isinstance(position, Relative)
    q, p = _asked(q, position)
    return rows(q, k, v, position.table, p=p, beyond=position.beyond)


BACKENDS: dict[str, Backend] = {
    "fused": Backend(_fused, _kernels),
    "rows": Backend(_rows, _distances),
    "blocked": Backend(_in_32_bits(blocked), _near),
    "sdpa": Backend(sdpa, _no_distances),
    "skewed": Backend(_in_32_bits(skewed), _all),
    "reference": Backend(_in_32_bits(reference), _all),
}
"""The first that supports a case is what `auto` takes."""
