"""Paint a page into a PNG, two pixels to the point."""

from __future__ import annotations

import io

from PIL import Image, ImageDraw, ImageFont
from PIL.PngImagePlugin import PngInfo

from espressivo.roll.shapes import Area, Box, Label, Line, Page

PIXELS_PER_POINT = 2
_ANCHORS = {"start": "ls", "middle": "ms", "end": "rs"}


def painted(page: Page) -> bytes:
    """Paint; every edge falls on a whole pixel, so thin notes stay sharp."""
    size = (_pixels(page.width), _pixels(page.height))
    image = Image.new("RGB", size, page.theme.paper)
    brush = ImageDraw.Draw(image)
    for shapes in page.layers.values():
        for shape in shapes:
            match shape:
                case Box():
                    _box(brush, shape)
                case Area():
                    points = [(_pixels(x), _pixels(y)) for x, y in shape.points]
                    brush.polygon(points, fill=shape.fill)
                case Line():
                    _line(brush, shape)
                case Label():
                    _label(brush, shape)
    facts = PngInfo()
    facts.add_itxt("Title", page.title)
    facts.add_itxt("Description", page.facts)
    out = io.BytesIO()
    image.save(out, "png", pnginfo=facts, dpi=(72 * PIXELS_PER_POINT,) * 2)
    return out.getvalue()


def _pixels(points: float) -> int:
    return round(points * PIXELS_PER_POINT)


def _box(brush: ImageDraw.ImageDraw, box: Box) -> None:
    left, top = _pixels(box.x), _pixels(box.y)
    right = max(_pixels(box.x + box.width), left + 1)
    bottom = max(_pixels(box.y + box.height), top + 1)
    brush.rectangle((left, top, right - 1, bottom - 1), fill=box.fill)


def _line(brush: ImageDraw.ImageDraw, line: Line) -> None:
    thick = max(1, _pixels(line.width))
    left, top = _pixels(line.x1), _pixels(line.y1)
    right, bottom = _pixels(line.x2), _pixels(line.y2)
    if left == right:
        right = left + thick
    else:
        bottom = top + thick
    pieces = range(top, bottom, 12) if line.dashed else [top]
    for y in pieces:
        end = min(y + 8, bottom) if line.dashed else bottom
        brush.rectangle((left, y, right - 1, end - 1), fill=line.stroke)


def _label(brush: ImageDraw.ImageDraw, label: Label) -> None:
    font = ImageFont.load_default(label.size * PIXELS_PER_POINT)
    place = (label.x * PIXELS_PER_POINT, label.y * PIXELS_PER_POINT)
    brush.text(place, label.text, fill=label.fill, font=font, anchor=_ANCHORS[label.anchor])
