"""What a transformer may vary, and what is refused before anything is built."""

import itertools

import numpy as np
import pytest

from espressivo.configs import TransformerConfig, pattern
from espressivo.errors import ConfigError


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"heads": 7}, "heads=7 must divide attention=512; try heads=8"),
        ({"values": 260}, "heads=8 must divide values=260"),
        ({"values": 0}, "heads=8 must divide values=0"),
        ({"width": 5}, "width=5 must be even"),
        ({"width": 6, "sinusoids": "concatenated"}, "width=6 .* multiple of 4; try width=8"),
        ({"position": "rotary", "attention": 24}, "attention=24 over heads=8 must be even.*=32"),
        ({"position": "xl", "value_table": True}, "position=xl has none; try position=shaw"),
        ({"frequencies": 0}, "frequencies=0 must be at least 1"),
        ({"patterns": ()}, "lets nobody hear anything"),
        ({"patterns": ("blocks",)}, "pattern 'blocks' is none of causal, window:N"),
        ({"patterns": ("causal", "window:x")}, "pattern 'window:x' is none of"),
        ({"patterns": ("window:-3",)}, "pattern 'window:-3' is none of"),
        ({"patterns": ("nearby:3",)}, "pattern 'nearby:3' is none of"),
        ({"patterns": ("window:0",)}, "'window:0' must count from 1; try window:512"),
        ({"patterns": ("fixed:4:5",)}, "wants more than a block; try fixed:4:1"),
    ],
)
def test_what_makes_no_network_is_refused(settings, message):
    with pytest.raises(ConfigError, match=message):
        TransformerConfig(**settings)


HEARD = {
    "causal": ["#......", "##.....", "###....", "####...", "#####..", "######.", "#######"],
    "window:2": ["#......", "##.....", ".##....", "..##...", "...##..", "....##.", ".....##"],
    "blocks:2": ["#......", "##.....", "###....", "####...", "..###..", "..####.", "....###"],
    "strided:3": ["#......", ".#.....", "..#....", "#..#...", ".#..#..", "..#..#.", "#..#..#"],
    "fixed:3:1": ["#......", "##.....", "###....", "..##...", "..###..", "..####.", "..#..##"],
    "window:1|strided:3": 7 * [""],
}
HEARD["window:1|strided:3"] = HEARD["strided:3"]


@pytest.mark.parametrize("text", HEARD)
def test_patterns_as_drawn(text):
    heard = pattern(text)
    i, j = np.arange(7)[:, None], np.arange(7)
    drawn = ["".join(".#"[int(one)] for one in row) for row in heard(i, j)]
    assert drawn == HEARD[text]
    assert all(
        heard(a, b) == (drawn[a][b] == "#") for a, b in itertools.product(range(7), repeat=2)
    )
