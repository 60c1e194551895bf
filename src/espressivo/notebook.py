"""How a performance shows itself in a notebook: its roll, and a player below it."""

from __future__ import annotations

import base64
import json
import uuid
from html import escape

from espressivo.audio import encoded
from espressivo.errors import AudioError
from espressivo.performance import Performance
from espressivo.roll import drawing, svg
from espressivo.roll.shapes import Page

LONGEST_SOUND = 180.0
_WIDTH = 1000.0


def html(performance: Performance) -> str:
    """Draw the roll as inline SVG, with the sound as an MP3 inside the page.

    Click the roll to hear it from there. Without scripts the picture and the browser's own player
    remain. A piece longer than 180 seconds comes without sound, and says so.
    """
    sheet = drawing(performance, width=_WIDTH)
    name = f"espressivo-{uuid.uuid4().hex}"
    picture = svg.written(sheet).replace(
        "<svg ", '<svg style="max-width:100%;height:auto;cursor:pointer" ', 1
    )
    sound, reason = _sound(performance)
    if reason:
        return f'<div id="{name}">{picture}<p>{escape(reason)}</p></div>'
    style = f"width:100%;max-width:{_WIDTH:.0f}px"
    player = f'<audio controls preload="auto" style="{style}" src="{sound}"></audio>'
    return f'<div id="{name}">{picture}{player}<script>{_script(name, sheet)}</script></div>'


def _sound(performance: Performance) -> tuple[str, str]:
    """Give the sound as an address, or else the reason why there is none."""
    if not len(performance):
        return "", "Nothing to hear: no notes."
    if performance.duration > LONGEST_SOUND:
        return "", (
            f"Without sound: {performance.duration:.0f} s are more than the {LONGEST_SOUND:.0f} s "
            "a notebook should carry. Cut with slice(start, end) to listen here."
        )
    try:
        mp3 = encoded(performance, format="mp3")
    except AudioError as error:
        return "", f"Without sound: {error}"
    return "data:audio/mpeg;base64," + base64.b64encode(mp3).decode(), ""


def _script(name: str, sheet: Page) -> str:
    """Move a playhead with the sound, and the sound to where the roll is clicked."""
    systems = [[round(value, 3) for value in system] for system in sheet.systems]
    values = {
        "NAME": json.dumps(name),
        "SYSTEMS": json.dumps(systems),
        "COLOUR": json.dumps(sheet.theme.mark),
    }
    script = _SCRIPT
    for word, value in values.items():
        script = script.replace(word, value)
    return script


_SCRIPT = """(() => {
  const root = document.getElementById(NAME), systems = SYSTEMS;
  const svg = root.querySelector("svg"), audio = root.querySelector("audio");
  const head = svg.appendChild(document.createElementNS(svg.namespaceURI, "rect"));
  head.setAttribute("width", 1.5);
  head.setAttribute("fill", COLOUR);
  const draw = () => {
    const at = audio.currentTime;
    const [start, end, x, y, width, height] = systems.findLast((s) => s[0] <= at) || systems[0];
    const place = { x: x + Math.min(1, (at - start) / (end - start)) * width, y, height };
    for (const key in place) head.setAttribute(key, place[key]);
    if (!audio.paused) requestAnimationFrame(draw);
  };
  audio.onplay = audio.onseeked = draw;
  svg.onclick = (event) => {
    const { x: left, y: top } = new DOMPoint(event.clientX, event.clientY)
      .matrixTransform(svg.getScreenCTM().inverse());
    const [start, end, x, , width] = systems.findLast((s) => s[3] <= top) || systems[0];
    audio.currentTime = start + Math.max(0, Math.min(1, (left - x) / width)) * (end - start);
    audio.play();
  };
})();"""
