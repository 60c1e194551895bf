"""The shapes a page is made of. Measures are points; y grows downwards."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

from espressivo.roll.colour import Theme

LAYERS = (
    *("rows", "lanes", "grid", "pedal", "soft"),
    *("keyboard", "notes", "marks", "words", "legend"),
)
"""The layers of a page, each lying on those before it."""


class Box(NamedTuple):
    """A filled rectangle."""

    x: float
    y: float
    width: float
    height: float
    fill: str


class Area(NamedTuple):
    """A filled outline."""

    points: tuple[tuple[float, float], ...]
    fill: str


class Line(NamedTuple):
    """A horizontal or vertical line, solid or dashed."""

    x1: float
    y1: float
    x2: float
    y2: float
    width: float
    stroke: str
    dashed: bool = False


class Label(NamedTuple):
    """Words on a baseline; `anchor` says which of their ends is at x."""

    x: float
    y: float
    text: str
    size: float
    fill: str
    anchor: str = "start"


Shape = Box | Area | Line | Label


class System(NamedTuple):
    """Where a stretch of time is on the page: `x` to `x + width` is `start` to `end`."""

    start: float
    end: float
    x: float
    y: float
    width: float
    height: float


@dataclass
class Page:
    """Everything to paint: named layers, each lying on those before it."""

    width: float
    theme: Theme
    title: str
    facts: str = ""
    height: float = 0.0
    systems: list[System] = field(default_factory=list)
    layers: dict[str, list[Shape]] = field(default_factory=lambda: {name: [] for name in LAYERS})

    def add(self, layer: str, *shapes: Shape) -> None:
        """Put shapes on one of the layers."""
        self.layers[layer].extend(shapes)
