import io
import re
import xml.etree.ElementTree as ET
from itertools import pairwise

import numpy as np
import pytest
from PIL import Image

from espressivo import roll
from espressivo.errors import ConfigError
from espressivo.performance import SOFT, SUSTAIN, Performance, Track
from espressivo.roll.colour import DARK, LIGHT, channels
from espressivo.roll.shapes import Area, Box, Label

SVG = "{http://www.w3.org/2000/svg}"


def scale_of(pitches, step=0.5, length=0.3, velocity=64):
    return Performance(
        [(i * step, i * step + length, pitch, velocity, 0) for i, pitch in enumerate(pitches)]
    )


def crowd(count, seconds, seed=0):
    rng = np.random.default_rng(seed)
    onsets = np.sort(rng.uniform(0, seconds - 1, count))
    return Performance(
        list(
            zip(
                onsets,
                onsets + rng.uniform(0.05, 1, count),
                rng.integers(21, 109, count),
                rng.integers(1, 128, count),
                np.zeros(count, int),
                strict=True,
            )
        )
    )


def drawn(performance, tmp_path, **options):
    """Save as SVG and give (x, y, width, height, fill) of each note."""
    path = tmp_path / "roll.svg"
    roll.save(performance, path, **options)
    root = ET.fromstring(path.read_text())
    (layer,) = root.findall(f"{SVG}g[@class='notes']")
    return [
        (*(float(rect.get(k)) for k in ("x", "y", "width", "height")), group.get("fill"))
        for group in layer
        for rect in group
    ]


def words(performance, **options):
    sheet = roll.drawing(performance, **options)
    return [shape.text for shape in sheet.layers["words"] if isinstance(shape, Label)]


def luminance(colour):
    linear = [
        c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4
        for c in (part / 255 for part in channels(colour))
    ]
    return float(np.dot(linear, (0.2126, 0.7152, 0.0722)))


def oklab(colour):
    """Convert to OKLab (Ottosson 2020)."""
    c = np.array(channels(colour)) / 255
    linear = np.where(c <= 0.04045, c / 12.92, ((c + 0.055) / 1.055) ** 2.4)
    to_cones = np.array(
        [
            (0.4122214708, 0.5363325363, 0.0514459929),
            (0.2119034982, 0.6806995451, 0.1073969566),
            (0.0883024619, 0.2817188376, 0.6299787005),
        ]
    )
    to_lab = np.array(
        [
            (0.2104542553, 0.7936177850, -0.0040720468),
            (1.9779984951, -2.4285922050, 0.4505937099),
            (0.0259040371, 0.7827717662, -0.8086757660),
        ]
    )
    return to_lab @ np.cbrt(to_cones @ linear)


def test_each_note_is_one_shape_at_its_onset(tmp_path):
    performance = scale_of(range(40, 80))
    shapes = sorted(drawn(performance, tmp_path))
    assert len(shapes) == 40
    steps = np.diff([x for x, *_ in shapes])
    assert steps == pytest.approx(steps[0], abs=0.02)
    widths = [width for _, _, width, _, _ in shapes]
    assert widths == pytest.approx([steps[0] * 0.6] * 40, abs=0.03)
    heights = np.diff([y for _, y, *_ in shapes])
    assert heights == pytest.approx(-shapes[0][3], abs=0.02)


def test_only_sounding_notes_of_the_window_are_drawn_and_clipped(tmp_path):
    performance = Performance(
        [(0, 1, 60, 64, 0), (1, 12, 62, 64, 0), (11, 30, 64, 64, 0), (20, 21, 65, 64, 0)]
    )
    shapes = drawn(performance, tmp_path, start=10, end=20)
    (system,) = roll.drawing(performance, start=10, end=20).systems
    assert len(shapes) == 2
    assert shapes[0][0] == pytest.approx(system.x, abs=0.01)
    assert shapes[0][2] == pytest.approx(system.width * 0.2, abs=0.01)
    assert shapes[1][0] + shapes[1][2] == pytest.approx(system.x + system.width, abs=0.02)
    assert "20 s" in words(performance, start=10, end=20)


def test_drums_are_left_out(tmp_path):
    performance = Performance(
        [(0, 1, 60, 64, 0), (0, 1, 36, 64, 1)],
        [(0, SUSTAIN, 127, 1)],
        tracks=[Track(), Track(0, True, "kit")],
    )
    assert len(drawn(performance, tmp_path)) == 1
    assert not roll.drawing(performance).layers["pedal"]


def test_notes_beyond_a_piano_get_keys(tmp_path):
    shapes = drawn(Performance([(0, 1, 0, 64, 0), (0, 1, 127, 64, 0)]), tmp_path)
    (system,) = roll.drawing(Performance([(0, 1, 0, 64, 0), (0, 1, 127, 64, 0)])).systems
    for _, y, _, height, _ in shapes:
        assert system.y <= y
        assert y + height <= system.y + system.height + 0.01


@pytest.mark.parametrize(("theme", "sign"), [(LIGHT, -1), (DARK, 1)])
def test_louder_is_always_further_from_the_paper(theme, sign):
    ladder = [sign * luminance(theme.velocity(velocity)) for velocity in range(1, 128)]
    assert all(louder > softer for softer, louder in pairwise(ladder))


@pytest.mark.parametrize("theme", [LIGHT, DARK])
def test_equal_steps_of_velocity_look_equal(theme):
    colours = [oklab(theme.velocity(velocity)) for velocity in range(1, 128, 6)]
    steps = [np.linalg.norm(b - a) for a, b in pairwise(colours)]
    assert max(steps) < 1.6 * min(steps)


@pytest.mark.parametrize("theme", [LIGHT, DARK])
def test_words_can_be_read(theme):
    for ink in (theme.ink, theme.quiet_ink, theme.mark):
        darker, lighter = sorted((luminance(ink), luminance(theme.paper)))
        assert (lighter + 0.05) / (darker + 0.05) >= 4.5  # WCAG 2 AA


@pytest.mark.parametrize("name", ["light", "dark"])
def test_pixels_at_a_note_have_its_colour(tmp_path, name):
    performance = Performance([(1, 3, 60, 20, 0), (5, 6, 84, 110, 0)])
    path = tmp_path / "roll.PNG"
    roll.save(performance, path, theme=name)
    sheet = roll.drawing(performance, theme=name)
    with Image.open(path) as image:
        assert image.size == (round(2 * sheet.width), round(2 * sheet.height))
        assert image.getpixel((0, 0)) == channels(sheet.theme.paper)
        for note in sheet.layers["notes"]:
            centre = (round(2 * note.x + note.width), round(2 * note.y + note.height))
            assert image.getpixel(centre) == channels(note.fill)
        fills = [note.fill for note in sheet.layers["notes"]]
        assert fills == [sheet.theme.velocity(20), sheet.theme.velocity(110)]


def pedal_height(sheet, time, layer="pedal"):
    (system,) = sheet.systems
    x = system.x + (time - system.start) / (system.end - system.start) * system.width
    heights = [0.0]
    for area in sheet.layers[layer]:
        assert isinstance(area, Area)
        floor = area.points[0][1]
        for (x1, y1), (x2, y2) in pairwise(area.points):
            if x1 <= x < x2 and y1 == y2:
                heights.append(floor - y1)
    return max(heights)


def test_half_pedal_stands_half_as_high():
    moves = [(0, SUSTAIN, 127, 0), (2, SUSTAIN, 64, 0), (4, SUSTAIN, 0, 0), (6, SUSTAIN, 32, 0)]
    sheet = roll.drawing(Performance([(0, 8, 60, 64, 0)], moves))
    full, half, up, quarter = (pedal_height(sheet, time) for time in (1, 3, 5, 7))
    assert half == pytest.approx(full * 64 / 127, abs=0.3)
    assert up == 0
    assert quarter == pytest.approx(full * 32 / 127, abs=0.3)


def test_soft_pedal_has_a_lane_only_when_used():
    notes = [(0, 8, 60, 64, 0)]
    unused = roll.drawing(Performance(notes, [(1, SOFT, 0, 0)]))
    used = roll.drawing(Performance(notes, [(1, SOFT, 90, 0), (4, SOFT, 0, 0)]))
    assert "soft" not in [shape.text for shape in unused.layers["words"]]
    assert pedal_height(used, 2, "soft") > 0
    assert pedal_height(used, 6, "soft") == 0
    assert used.height > unused.height


def test_long_pieces_wrap_into_systems_without_losing_a_second():
    for seconds in (59, 61, 600, 725, 3600, 90_000):
        sheet = roll.drawing(scale_of([60]), end=seconds)
        systems = sheet.systems
        assert systems[0].start == 0
        assert systems[-1].end == seconds
        assert all(a.end == b.start and b.y > a.y + a.height for a, b in pairwise(systems))
        assert len(systems) <= 12
        assert seconds > 720 or systems[0].end <= 60
        assert sheet.height < 4000


def test_a_note_across_a_break_continues_on_the_next_line(tmp_path):
    performance = Performance([(40, 80, 60, 64, 0)])
    first, second = drawn(performance, tmp_path, end=100)
    systems = roll.drawing(performance, end=100).systems
    assert first[0] + first[2] == pytest.approx(systems[0].x + systems[0].width, abs=0.02)
    assert second[0] == pytest.approx(systems[1].x, abs=0.01)


def test_an_hour_of_dense_music_is_a_file_of_sane_size(tmp_path):
    performance = crowd(70_000, 3600)
    path = tmp_path / "hour.svg"
    roll.save(performance, path)
    assert path.stat().st_size < 5_000_000
    assert re.search(r"70,000 notes.*[\d,]+ drawn: of each key the loudest in", path.read_text())


def test_thinning_keeps_the_loudest_in_place():
    notes = [(k * 1e-3, k * 1e-3 + 0.5, 60, 1 + k % 100, 0) for k in range(1000)]
    kept, seconds = roll.geometry.thinned(Performance(notes).notes, 0.1, 20)
    assert seconds == 0.1
    assert list(kept["velocity"]) == [100] * 10


def test_marks_are_lines_with_words():
    performance = scale_of(range(40, 80))
    sheet = roll.drawing(performance, marks=[(10, "primer ends"), (10.1, "theme"), (99, "gone")])
    lines = [shape for shape in sheet.layers["marks"] if not isinstance(shape, Label)]
    texts = [shape for shape in sheet.layers["marks"] if isinstance(shape, Label)]
    (system,) = sheet.systems
    middle = system.x + system.width * 10 / system.end
    assert lines[0].x1 == pytest.approx(middle)
    assert [label.text for label in texts] == ["primer ends", "theme"]
    assert texts[1].x > texts[0].x + 40  # beside each other, though the lines nearly touch


def test_words_do_not_collide():
    for seconds in (0.05, 3, 47, 60, 300, 4000, 1e6):
        sheet = roll.drawing(scale_of(range(30, 100)), end=seconds, title="x " * 300)
        rows = {}
        for label in sheet.layers["words"]:
            width = 0.5 * label.size * len(label.text)
            left = label.x - {"start": 0, "middle": width / 2, "end": width}[label.anchor]
            rows.setdefault(round(label.y), []).append((left, left + width))
        for row in rows.values():
            assert all(a[1] < b[0] for a, b in pairwise(sorted(row)))
        assert all(x >= 0 for row in rows.values() for x, _ in row)


def test_facts_are_written_and_titles_escaped(tmp_path):
    path = tmp_path / "roll.svg"
    roll.save(scale_of([60, 62], step=2.0, length=3.0), path, title='A <b>"take"</b>\n\x00 & more')
    root = ET.fromstring(path.read_text())
    texts = [text.text for text in root.iter(f"{SVG}text")]
    assert 'A <b>"take"</b> & more' in texts
    assert any("5.0 s" in t and "2 notes" in t and "0.4 notes per second" in t for t in texts)


def test_facts_count_what_was_played_not_the_paper_beyond():
    assert "0.0 s  ·  0 notes" in words(Performance())
    assert "0.5 s  ·  1 note" in words(Performance([(0, 0.5, 60, 1, 0)]))
    facts = "20.0 s from 0:10  ·  2 notes  ·  0.1 notes per second"
    assert facts in words(Performance([(9, 12, 60, 1, 0), (20, 30, 61, 1, 0)]), start=10, end=50)


@pytest.mark.parametrize(
    "performance",
    [
        Performance(),
        Performance([(0, 1e-4, 60, 1, 0)]),
        Performance([(1e9, 1e9 + 1, 60, 64, 0)]),
        Performance([], [(3, SUSTAIN, 127, 0)]),
    ],
    ids=["empty", "one", "late", "only-pedal"],
)
def test_odd_performances_draw_something_sensible(tmp_path, performance):
    for suffix in ("png", "svg"):
        path = tmp_path / f"roll.{suffix}"
        roll.save(performance, path)
        assert path.stat().st_size < 1_000_000
    sheet = roll.drawing(performance)
    notes = [shape for shape in sheet.layers["notes"] if isinstance(shape, Box)]
    assert len(notes) >= len(performance)
    assert all(note.width >= 1 for note in notes)
    assert len([text for text in words(performance) if "C" not in text]) >= 10


def test_letters_unknown_to_the_font_of_pixels_become_their_kin():
    pictures = []
    for title in ("Dvořák, Étude in C♯ \u2013 Ø", "Dvorak, Etude in C# - O", "Dvorak"):
        sheet = roll.drawing(scale_of([60]), title=title)
        with Image.open(io.BytesIO(roll.png.painted(sheet))) as image:
            pictures.append(image.convert("RGB").tobytes())
    assert pictures[0] == pictures[1]
    assert pictures[1] != pictures[2]


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("roll.gif", {}, r"roll\.gif.*use \.png or \.svg"),
        ("roll", {}, r"use \.png or \.svg"),
        ("roll.png", {"theme": "blue"}, "theme='blue'.*light, dark"),
        ("roll.png", {"start": 5, "end": 5}, "end=5 must be later than start=5"),
        ("roll.png", {"start": -1}, "start=-1"),
        ("roll.png", {"end": float("nan")}, "end=nan"),
    ],
)
def test_mistakes_are_explained_and_nothing_is_written(tmp_path, name, options, message):
    with pytest.raises(ConfigError, match=message):
        roll.save(scale_of([60]), tmp_path / name, **options)
    assert not list(tmp_path.iterdir())


def test_the_same_performance_gives_the_same_bytes(tmp_path):
    performance = crowd(200, 30)
    for suffix in ("png", "svg"):
        paths = [tmp_path / f"{n}.{suffix}" for n in "ab"]
        for path in paths:
            roll.save(performance, path)
        assert paths[0].read_bytes() == paths[1].read_bytes()
