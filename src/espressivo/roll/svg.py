"""Write a page as SVG: no scripts, no fonts and no addresses to load."""

from __future__ import annotations

from itertools import groupby
from xml.sax.saxutils import escape, quoteattr

from espressivo.roll.shapes import Area, Box, Label, Line, Page, Shape

_FONTS = "Inter, 'Helvetica Neue', Helvetica, Arial, sans-serif"


def written(page: Page) -> str:
    """Write; the layers become groups named by their class, notes the group "notes"."""
    width, height = _number(page.width), _number(page.height)
    name = quoteattr(": ".join(part for part in (page.title or "Piano roll", page.facts) if part))
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" '
        f'viewBox="0 0 {width} {height}" role="img" aria-label={name} '
        f'font-family="{_FONTS}">',
        f"<title>{escape(page.title or 'Piano roll')}</title>",
        f"<desc>{escape(page.facts)}</desc>",
        f'<rect width="{width}" height="{height}" fill="{page.theme.paper}"/>',
    ]
    for layer, shapes in page.layers.items():
        lines.append(f'<g class="{layer}">')
        for colour, alike in groupby(shapes, key=_colour):
            lines.append(f'<g fill="{colour}">' + "".join(map(_element, alike)) + "</g>")
        lines.append("</g>")
    return "\n".join([*lines, "</svg>", ""])


def _colour(shape: Shape) -> str:
    return shape.stroke if isinstance(shape, Line) else shape.fill


def _number(value: float) -> str:
    return f"{value:.2f}".rstrip("0").rstrip(".")


def _element(shape: Shape) -> str:
    match shape:
        case Box(x, y, width, height):
            at = f'x="{_number(x)}" y="{_number(y)}"'
            return f'<rect {at} width="{_number(width)}" height="{_number(height)}"/>'
        case Area(points):
            path = "L".join(f"{_number(x)} {_number(y)}" for x, y in points)
            return f'<path d="M{path}Z"/>'
        case Label(x, y, text, size, _, anchor):
            at = f'x="{_number(x)}" y="{_number(y)}" font-size="{_number(size)}"'
            return f'<text {at} text-anchor="{anchor}">{escape(text)}</text>'
        case Line(x1, y1, x2, y2, width, stroke, dashed):
            path = f"M{_number(x1)} {_number(y1)}L{_number(x2)} {_number(y2)}"
            dashes = ' stroke-dasharray="4 2"' if dashed else ""
            return f'<path d="{path}" stroke="{stroke}" stroke-width="{_number(width)}"{dashes}/>'
