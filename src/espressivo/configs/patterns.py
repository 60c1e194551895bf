"""Who may hear whom: pure predicates on absolute positions, for arrays of any library.

    causal       everything before, and itself
    window:N     itself and the N - 1 before it (Luong et al. 2015, local-m, looking back only)
    blocks:N     its own block of N so far, and all of the block before it (Huang et al. 2018, 3.5)
    strided:N    every N-th, counting back from itself (Child et al. 2019)
    fixed:N:C    its own block of N so far, and the last C of every block before it (the same)

Two or more joined by `|` are heard together: `window:128|strided:128`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Any

from espressivo.errors import ConfigError


@dataclass(frozen=True)
class Causal:
    """Everything before, and itself."""

    def __call__(self, i: Any, j: Any) -> Any:
        """Say whether position `i` hears position `j`; both broadcast."""
        return j <= i


@dataclass(frozen=True)
class Window:
    """Itself and the `length` - 1 before it."""

    length: int

    def __call__(self, i: Any, j: Any) -> Any:
        """Say whether position `i` hears position `j`; both broadcast."""
        return (j <= i) & (i - j < self.length)


@dataclass(frozen=True)
class Blocks:
    """Its own block of `length` so far, and all of the block before it."""

    length: int

    def __call__(self, i: Any, j: Any) -> Any:
        """Say whether position `i` hears position `j`; both broadcast."""
        return (j <= i) & (i // self.length - j // self.length <= 1)


@dataclass(frozen=True)
class Strided:
    """Every `length`-th, counting back from itself."""

    length: int

    def __call__(self, i: Any, j: Any) -> Any:
        """Say whether position `i` hears position `j`; both broadcast."""
        return (j <= i) & ((i - j) % self.length == 0)


@dataclass(frozen=True)
class Fixed:
    """Its own block of `length` so far, and the last `count` of every block before it."""

    length: int
    count: int

    def __call__(self, i: Any, j: Any) -> Any:
        """Say whether position `i` hears position `j`; both broadcast."""
        near = i // self.length == j // self.length
        return (j <= i) & (near | (j % self.length >= self.length - self.count))


@dataclass(frozen=True)
class Either:
    """What either of two patterns hears."""

    one: Pattern
    other: Pattern

    def __call__(self, i: Any, j: Any) -> Any:
        """Say whether position `i` hears position `j`; both broadcast."""
        return self.one(i, j) | self.other(i, j)


Pattern = Causal | Window | Blocks | Strided | Fixed | Either

PATTERNS: dict[str, Callable[..., Pattern]] = {
    "causal": Causal,
    "window": Window,
    "blocks": Blocks,
    "strided": Strided,
    "fixed": Fixed,
}


def pattern(text: str) -> Pattern:
    """Read a pattern as it is written in a configuration; ConfigError says what would be right."""
    first, bar, rest = text.partition("|")
    if bar:
        return Either(pattern(first), pattern(rest))
    name, *numbers = first.strip().split(":")
    kind: Any = PATTERNS.get(name)
    sizes = [int(number) for number in numbers if number.isdecimal()]
    if kind is None or len(sizes) != len(numbers) or len(sizes) != len(fields(kind)):
        raise ConfigError(
            f"pattern {text!r} is none of causal, window:N, blocks:N, strided:N, fixed:N:C, "
            "nor some of them joined by |"
        )
    if min(sizes, default=1) < 1:
        raise ConfigError(f"pattern {text!r} must count from 1; try {name}:512")
    found: Pattern = kind(*sizes)
    if isinstance(found, Fixed) and found.count > found.length:
        raise ConfigError(f"pattern {text!r} wants more than a block; try fixed:{sizes[0]}:1")
    return found
