import base64
import json
import re

import pytest

from espressivo import notebook
from espressivo.errors import AudioError
from espressivo.performance import Performance

PIECE = Performance([(i, i + 0.9, 60 + i % 12, 64, 0) for i in range(100)])


@pytest.fixture
def recorded(monkeypatch):
    """Stand in for the piano, and remember what it was asked to play."""
    played = []

    def encoded(performance, format):
        played.append((performance, format))
        return b"ID3 sound"

    monkeypatch.setattr(notebook, "encoded", encoded)
    return played


def test_a_performance_shows_its_roll_and_its_sound(recorded):
    html = PIECE._repr_html_()
    assert html.count("<svg ") == 1
    (sound,) = re.findall(r'<audio [^>]*src="data:audio/mpeg;base64,([^"]+)"', html)
    assert base64.b64decode(sound) == b"ID3 sound"
    assert recorded == [(PIECE, "mp3")]
    assert not re.search(r'(?:src|href)="(?!data:)', html)  # nothing is fetched


def test_the_script_knows_where_each_second_is(recorded):
    html = PIECE._repr_html_()
    systems = json.loads(re.search(r"systems = (\[\[.*?\]\]);", html).group(1))
    assert [system[:2] for system in systems] == [[0, 50], [50, 99.9]]
    assert systems[0][3] < systems[1][3]


def test_two_pictures_of_one_performance_do_not_share_an_id(recorded):
    first, second = (re.findall(r'id="([^"]+)"', PIECE._repr_html_()) for _ in range(2))
    assert len(first) == len(second) == 1
    assert first != second


def test_without_scripts_the_picture_and_the_player_are_whole(recorded):
    html = re.sub(r"<script>.*?</script>", "", PIECE._repr_html_(), flags=re.DOTALL)
    notes = re.search(r'<g class="notes">(.*?)<g class="marks">', html, re.DOTALL).group(1)
    assert notes.count("<rect") == 100
    assert "<audio controls" in html


def test_a_long_piece_comes_without_sound_and_says_so(recorded):
    html = PIECE.stretch(2)._repr_html_()
    assert "<svg " in html
    assert "Without sound: 200 s are more than the 180 s" in html
    assert "<audio" not in html
    assert "<script" not in html
    assert not recorded


def test_nothing_played_is_nothing_to_hear(recorded):
    html = Performance()._repr_html_()
    assert "no notes" in html
    assert not recorded


def test_a_missing_piano_is_explained(monkeypatch):
    def encoded(performance, format):
        raise AudioError("no piano <here>")

    monkeypatch.setattr(notebook, "encoded", encoded)
    html = PIECE._repr_html_()
    assert "Without sound: no piano &lt;here&gt;" in html
    assert "<svg " in html
