"""See a performance: a piano roll as PNG, as SVG, or in the terminal.

Time runs to the right in seconds, colour is velocity, and the lanes below are the pedals with
their half positions. Long pieces wrap into systems like music on a page.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from espressivo.errors import ConfigError
from espressivo.performance import Performance
from espressivo.roll import geometry, png, svg
from espressivo.roll.braille import terminal
from espressivo.roll.colour import theme_named
from espressivo.roll.page import page
from espressivo.roll.shapes import Page

__all__ = ["Page", "drawing", "save", "terminal"]


def save(
    performance: Performance,
    path: Path | str,
    *,
    start: float | None = None,
    end: float | None = None,
    title: str | None = None,
    theme: str = "light",
    marks: Sequence[tuple[float, str]] = (),
) -> None:
    """Draw from `start` to `end` seconds into a file; its suffix, .png or .svg, says how.

    `marks` are (seconds, words) drawn as dashed lines, such as the border of a primer. `theme` is
    "light" or "dark". Drums are left out. Up to twelve minutes wrap into systems of at most 60
    seconds; longer pieces into twelve longer ones. Above 60,000 notes only the loudest of each
    key within some pixels are drawn, and the picture says so. Raises ConfigError for another
    suffix, an unknown theme or an empty window.
    """
    path = Path(path)
    suffix = path.suffix.lower()
    if suffix not in (".png", ".svg"):
        raise ConfigError(f"{path.name!r} does not say which picture to draw; use .png or .svg")
    sheet = drawing(performance, start=start, end=end, title=title, theme=theme, marks=marks)
    path.write_bytes(png.painted(sheet) if suffix == ".png" else svg.written(sheet).encode())


def drawing(
    performance: Performance,
    *,
    start: float | None = None,
    end: float | None = None,
    title: str | None = None,
    theme: str = "light",
    marks: Sequence[tuple[float, str]] = (),
    width: float = 1600.0,
) -> Page:
    """Lay out what `save` paints, `width` points wide: shapes, and where each second is."""
    window = geometry.window(performance, start, end)
    return page(performance, theme_named(theme), window, title or "", marks, width)
