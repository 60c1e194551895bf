"""Paint a page into a PNG, two pixels to the point."""

from __future__ import annotations

import io
import unicodedata
from functools import cache

from PIL import Image, ImageDraw, ImageFont
from PIL.PngImagePlugin import PngInfo

from espressivo.roll.shapes import Area, Box, Label, Line, Page

PIXELS_PER_POINT = 2
Font = ImageFont.FreeTypeFont | ImageFont.ImageFont
_KIN = {
    **{"\u2013": "-", "♯": "#", "♭": "b", "ß": "ss", "Æ": "AE", "æ": "ae", "Œ": "OE", "œ": "oe"},
    **{"Ł": "L", "ł": "l", "Ø": "O", "ø": "o", "Đ": "D", "đ": "d"},
}
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


@cache
def _font(size: float) -> Font:
    return ImageFont.load_default(size)


@cache
def _drawable(letter: str, font: Font) -> str:
    """Give what Pillow's own font has for a letter: itself, its nearest kin, or else "?".

    That font knows little beyond ASCII, but it is everywhere the same. SVG keeps every letter.
    """
    missing = bytes(font.getmask("\uffff"))
    for candidate in (letter, _KIN.get(letter, unicodedata.normalize("NFKD", letter)[0])):
        if bytes(font.getmask(candidate)) != missing:
            return candidate
    return "?"


def _label(brush: ImageDraw.ImageDraw, label: Label) -> None:
    font = _font(label.size * PIXELS_PER_POINT)
    text = "".join(_drawable(letter, font) for letter in label.text)
    place = (label.x * PIXELS_PER_POINT, label.y * PIXELS_PER_POINT)
    brush.text(place, text, fill=label.fill, font=font, anchor=_ANCHORS[label.anchor])
