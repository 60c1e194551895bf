"""The rows of the chorale table: what each adds to the one above, and what all have in common."""

from dataclasses import fields, replace

import pytest

from espressivo.presets.chorales import CHORALES, DEVIATIONS, small


def added(one, other):
    """Which fields of model and transformer differ."""
    before, after = CHORALES[one].model, CHORALES[other].model
    outer = {f.name for f in fields(before) if f.name != "transformer"}
    inner = {f.name for f in fields(before.transformer)}
    return {n for n in outer if getattr(before, n) != getattr(after, n)} | {
        n for n in inner if getattr(before.transformer, n) != getattr(after.transformer, n)
    }


def test_rows_are_those_of_the_paper_best_last():
    assert [row.published for row in CHORALES.values()] == [
        0.417, 0.398, 0.370, 0.357, 0.347, 0.335,
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("one", "other", "what"),
    [
        ("baseline", "sinusoids", {"sinusoids"}),
        ("sinusoids", "labels", {"voice_labels"}),
        ("baseline", "relative", {"width", "attention", "feed_forward", "position", "reach"}),
        ("relative", "relative-labels", {"sinusoids", "voice_labels"}),
        ("relative-labels", "relative-pitch-time", {"pitch_and_time"}),
    ],
)
def test_a_row_adds_what_its_title_says(one, other, what):
    assert added(one, other) == what


def test_sizes_are_those_of_the_paper():
    for name, row in CHORALES.items():
        sizes = row.model.transformer
        relative = name.startswith("relative")
        assert (sizes.layers, sizes.heads) == (5, 8)
        assert (sizes.width, sizes.attention) == ((512, 512) if relative else (256, 256))
        assert sizes.feed_forward == (512 if relative else 1024)
        assert sizes.position == ("relative" if relative else "none")
        assert sizes.reach == 256 or not relative
        assert row.training.augmentation.transpose == 0
    assert DEVIATIONS


def test_small_rows_differ_in_nothing_but_what_is_compared():
    models = [small(row).model for row in CHORALES.values()]
    alike = {replace(m.transformer, position="none", sinusoids="none", reach=256) for m in models}
    assert len(alike) == 1
    assert len({repr(small(row).training) for row in CHORALES.values()}) == 1
