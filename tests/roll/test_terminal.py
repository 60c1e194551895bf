import re

import pytest

from espressivo import roll
from espressivo.errors import ConfigError
from espressivo.performance import SUSTAIN, Performance

GUTTER = 5


def rows(performance, width=100, **options):
    """Split a plain roll into its keys, its pedal and its times."""
    *keys, pedal, times = roll.terminal(performance, width, **options).split("\n")
    return keys, pedal, times


def test_a_piano_is_22_rows_of_four_keys():
    keys, pedal, times = rows(Performance([(0, 4, 108, 64, 0), (0, 4, 21, 64, 0)]))
    assert len(keys) == 22
    assert all(row[3:5] == " │" for row in keys)
    assert keys[0].startswith(" C8 │⠉⠉")
    assert keys[-1].startswith(" C1 │⣀⣀")  # A0 to C1 share the lowest row
    assert pedal.startswith("ped │")
    assert "0s" in times


@pytest.mark.parametrize("width", [24, 60, 100, 200])
def test_no_line_is_wider_than_asked(width):
    performance = Performance([(t, t + 1, 60, 64, 0) for t in range(700)], [(0, SUSTAIN, 127, 0)])
    lines = roll.terminal(performance, width).split("\n")
    assert max(map(len, lines)) == width
    colored = re.sub(r"\x1b\[[\d;]*m", "", roll.terminal(performance, width, color=True))
    assert [line.rstrip() for line in colored.split("\n")] == [line.rstrip() for line in lines]


def test_dots_are_at_their_time():
    keys, _, _ = rows(Performance([(5, 5.04, 72, 64, 0)]), width=105, end=10)
    (row,) = [row for row in keys if set(row[GUTTER:]) - {" "}]
    assert len(row) == GUTTER + 51
    assert row[-1] in "⠁⠂⠄⡀"


def test_pedal_line_shows_how_deep():
    moves = [(0, SUSTAIN, 127, 0), (4, SUSTAIN, 64, 0), (8, SUSTAIN, 0, 0)]
    _, pedal, _ = rows(Performance([(0, 12, 60, 64, 0)], moves), width=65)
    assert pedal[GUTTER:] == "█" * 20 + "▅" * 20 or pedal[GUTTER:] == "█" * 20 + "▄" * 20


def test_colour_follows_velocity_and_is_off_by_default():
    performance = Performance([(0, 1, 30, 10, 0), (2, 3, 60, 64, 0), (4, 5, 90, 120, 0)])
    assert "\x1b" not in roll.terminal(performance)
    codes = re.findall(r"\x1b\[38;5;(\d+)m[⠀-⣿]", roll.terminal(performance, color=True))
    assert len(set(codes)) == 3
    assert roll.terminal(performance, color=True).count("\x1b[0m") == 4  # three notes, one pedal


def test_the_loudest_note_of_a_cell_colours_it():
    both = Performance([(0, 4, 61, 10, 0), (0, 4, 62, 120, 0)])
    loud = Performance([(0, 4, 62, 120, 0)])
    code = re.compile(r"\x1b\[38;5;(\d+)m[⠀-⣿]")
    assert code.findall(roll.terminal(both, color=True)) == code.findall(
        roll.terminal(loud, color=True)
    )


@pytest.mark.parametrize(
    "performance",
    [Performance(), Performance([(1e9, 2e9, 127, 64, 0)]), Performance([(0, 1e-9, 0, 1, 0)])],
    ids=["empty", "late", "low"],
)
def test_odd_performances(performance):
    keys, _, times = rows(performance)
    assert len(keys) >= 22
    assert times.strip()
    assert any(set(row[GUTTER:]) - {" "} for row in keys) == bool(len(performance))


def test_too_narrow_is_explained():
    with pytest.raises(ConfigError, match=r"width=10 .* at least 24"):
        roll.terminal(Performance(), 10)
