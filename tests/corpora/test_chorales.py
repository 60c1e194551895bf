"""Chorales read as they are stored, and cut into windows."""

import json

import numpy as np
import pytest

from espressivo.codecs.chorale import REST, Chorale
from espressivo.corpora.chorales import ChoraleWindows, chorale_windows, read_chorales
from espressivo.errors import ConfigError, CorpusError

CODEC = Chorale()
SCALE = [60, 62, 64, 65, 67, 69, 71, 72]


def a_chorale(steps, seed=0):
    rng = np.random.default_rng(seed)
    voices = [rng.choice(SCALE, steps) + shift for shift in (7, 0, -7, -19)]
    return np.stack(voices, 1).astype(np.int64)


def stored(folder, **splits):
    content = {"train": [], "valid": [], "test": []} | splits
    (folder / "Jsb16thSeparated.json").write_text(json.dumps(content))
    return folder


def test_splits_are_those_of_the_file(tmp_path):
    grids = [a_chorale(n).tolist() for n in (4, 5, 6)]
    grids[1][2][3] = -1
    found = read_chorales(stored(tmp_path, train=grids[:1], valid=grids[1:2], test=grids[2:]))
    assert {k: [g.tolist() for g in v] for k, v in found.items()} == {
        "train": grids[:1],
        "validation": grids[1:2],
        "test": grids[2:],
    }


@pytest.mark.parametrize(
    ("valid", "words"),
    [
        ([[[60, 60, 60]]], r"valid\[0\] must be steps of 4"),
        ([[[72, 67, 64, 48]], [[60, 60, 60, 60], [1]]], r"valid\[1\] has steps of different"),
        ([[[72, 67, 64, 48.5]]], r"valid\[0\] must be steps of 4 whole numbers"),
        ([[[72, 67, 64, 128]]], r"valid\[0\] has pitch 128"),
        ([[[72, 67, 64, -2]]], r"valid\[0\] has pitch -2"),
    ],
)
def test_a_file_that_holds_something_else_is_refused(tmp_path, valid, words):
    with pytest.raises(CorpusError, match=words):
        read_chorales(stored(tmp_path, valid=valid))


def test_a_missing_or_damaged_file_is_named(tmp_path):
    with pytest.raises(CorpusError, match=r"Jsb16thSeparated\.json cannot be read .*czhuang"):
        read_chorales(tmp_path)
    (tmp_path / "Jsb16thSeparated.json").write_text("{")
    with pytest.raises(CorpusError, match="not JSON"):
        read_chorales(tmp_path)
    (tmp_path / "Jsb16thSeparated.json").write_text('{"train": []}')
    with pytest.raises(CorpusError, match="must hold the lists train, valid, test"):
        read_chorales(tmp_path)


def places(grid, window):
    """Where in a grid the steps of a window lie."""
    steps = CODEC.decode(window[1:][window[1:] >= 0])
    return [
        first
        for first in range(len(grid) - len(steps) + 1)
        if np.array_equal(grid[first : first + len(steps)], steps)
    ]


def test_an_epoch_has_every_chorale_once_from_a_soprano_on():
    grids = [a_chorale(20, seed) for seed in range(5)]
    windows = ChoraleWindows(grids, CODEC, length=24, seed=1)
    for epoch in range(3):
        batch = windows.batch(epoch, 5)
        assert batch.shape == (5, 25)
        assert (batch[:, 0] == CODEC.start).all()
        owners = [[i for i, g in enumerate(grids) if places(g, row)] for row in batch]
        assert sorted(owners) == [[0], [1], [2], [3], [4]]


def test_stretches_differ_and_a_seed_draws_the_same():
    windows = ChoraleWindows([a_chorale(40)], CODEC, length=16, seed=3)
    firsts = {places(a_chorale(40), windows.sample(i))[0] for i in range(200)}
    assert firsts == set(range(37))
    again = ChoraleWindows([a_chorale(40)], CODEC, length=16, seed=3)
    assert np.array_equal(windows.batch(7, 4), again.batch(7, 4))


def test_a_short_chorale_is_followed_by_nothing():
    window = ChoraleWindows([a_chorale(3)], CODEC, length=20, seed=0).sample(0)
    assert np.array_equal(window[1:13], CODEC.encode(a_chorale(3)))
    assert (window[13:] == -1).all()


def test_transposing_stays_in_the_vocabulary_and_keeps_rests():
    grid = a_chorale(8)
    grid[2, 1], grid[5] = REST, [80, 70, 60, 40]
    windows = ChoraleWindows([grid], CODEC, length=32, seed=0, transpose=3)
    moves = set()
    for index in range(100):
        moved = CODEC.decode(windows.sample(index)[1:])
        assert np.array_equal(moved == REST, grid == REST)
        (move,) = set((moved - grid)[grid != REST].tolist())
        moves.add(move)
    assert moves == {-3, -2, -1, 0, 1}  # 80 + 1 is the highest pitch


def test_evaluation_hears_every_token_once():
    grids = [a_chorale(9), a_chorale(4)]
    windows = chorale_windows(grids, CODEC, 16)
    assert [(len(w.targets), w.piece) for w in windows] == [(16, 0), (16, 0), (4, 0), (16, 1)]
    assert np.array_equal(
        np.concatenate([w.targets for w in windows]),
        np.concatenate([CODEC.encode(grid) for grid in grids]),
    )
    for window in windows:
        assert window.inputs[0] == CODEC.start
        assert np.array_equal(window.inputs[1:], window.targets[:-1])


@pytest.mark.parametrize("length", [0, 2, 30])
def test_windows_are_of_whole_steps(length):
    with pytest.raises(ConfigError, match=f"length={length} must be whole steps"):
        ChoraleWindows([a_chorale(3)], CODEC, length=length, seed=0)


def test_windows_need_a_chorale():
    with pytest.raises(CorpusError, match="no chorale"):
        ChoraleWindows([], CODEC, length=16, seed=0)
