"""Note events at the information of the 390 events: nothing of a class is lost or counted twice."""

from functools import lru_cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from espressivo.codecs import NoteEvents
from espressivo.codecs.coarse import EVENTS_390
from espressivo.codecs.coarse import Coarse as NewCoarse
from espressivo.codecs.note_events import DURATION, FIELDS, KIND, SHIFT, VELOCITY
from espressivo.midi import read_midi
from espressivo.performance import SUSTAIN, Performance
from tests.strategies import performances

GRID = NoteEvents(steps_per_second=100, velocity_bins=32)
"""What tells apart as much as the grid does, and no more."""
FINE = NoteEvents(steps_per_second=200)
FINER = [
    NoteEvents(),
    FINE,
    GRID,
    NoteEvents(steps_per_second=400, velocity_bins=127, pedal_levels=4),
    NoteEvents(steps_per_second=200, velocity_bins=100, pedal_levels=8, soft_pedal=True),
]
ANY = [
    *FINER,
    NoteEvents(steps_per_second=125, velocity_bins=50, exact=32, per_octave=8, octaves=6),
    NoteEvents(steps_per_second=50, velocity_bins=16, exact=6, octaves=0),
]
Coarse = lru_cache(NewCoarse)  # which makes its tables once
laws = settings(max_examples=40)


def shares_of(cells, size):
    """For every class of a field the sum of its shares in all cells."""
    total = np.zeros(size)
    np.add.at(total, cells.classes, np.exp(cells.log_share.astype(float)))
    return total


@pytest.mark.parametrize("codec", ANY, ids=str)
def test_the_shares_of_every_class_in_all_cells_sum_to_one(codec):
    for cells, size in zip(Coarse(codec).cells, codec.sizes, strict=True):
        assert cells.classes.shape == cells.log_share.shape
        np.testing.assert_allclose(shares_of(cells, size), 1, rtol=1e-4)


@given(codec=st.sampled_from(FINER), performance=performances())
@laws
def test_coarse_values_are_those_of_the_codec_that_has_no_finer_ones(codec, performance):
    values = Coarse(codec).values(Coarse(codec).rows(performance))
    rows = GRID.encode(EVENTS_390.quantize(performance))
    np.testing.assert_array_equal(values, Coarse(GRID).values(rows))
    np.testing.assert_array_equal(rows, GRID.encode(performance))
    np.testing.assert_array_equal(values[:, KIND], rows[:, KIND])
    np.testing.assert_array_equal(values[:, VELOCITY], rows[:, VELOCITY])
    np.testing.assert_array_equal(values[:, SHIFT], GRID.shifts(rows))
    np.testing.assert_array_equal(values[:, DURATION], GRID.durations(rows) - 1)


@given(codec=st.sampled_from(ANY), performance=performances())
@laws
def test_a_class_lies_in_the_cell_of_its_coarse_value(codec, performance):
    coarse = Coarse(codec)
    rows = coarse.rows(performance)
    values = coarse.values(rows)
    np.testing.assert_array_equal(values < 0, rows[:, : len(FIELDS)] < 0)
    for field, cells in enumerate(coarse.cells):
        used = values[:, field] >= 0
        value, of_row = values[used, field], rows[used, field]
        inside = (cells.classes[value] == of_row[:, None]) & np.isfinite(cells.log_share[value])
        assert inside.any(1).all()


def test_cells_of_a_codec_equal_to_the_grid_are_its_classes():
    shift, kind, velocity, duration = Coarse(GRID).cells
    for cells in (kind, velocity):
        np.testing.assert_array_equal(cells.classes[:, 0], np.arange(len(cells.classes)))
        assert cells.log_share.shape[1] == 1
        assert not cells.log_share.any()
    steps = np.arange(GRID.times.most + 1)
    classes, _ = GRID.times.split(steps)
    for cells in (shift, duration):
        np.testing.assert_array_equal(cells.classes, classes[:, None])
        np.testing.assert_allclose(np.exp(cells.log_share[:, 0]), 1 / GRID.times.width[classes])


def test_likelihoods_compare_where_nothing_of_the_grid_is_lost():
    assert [Coarse(codec).exact for codec in ANY] == [True] * len(FINER) + [False] * 2
    assert not Coarse(NoteEvents(velocity_bins=50)).exact  # bins of 3 velocities lie across
    assert not Coarse(NoteEvents(steps_per_second=250)).exact


def cell(codec, field, value):
    """The classes of a cell and their shares."""
    cells = Coarse(codec).cells[field]
    found = zip(cells.classes[value].tolist(), np.exp(cells.log_share[value]).tolist(), strict=True)
    return {number: round(share, 6) for number, share in found if share}


def test_cells_are_what_rounding_by_hand_gives():
    assert cell(FINE, SHIFT, 0) == {0: 1}
    assert cell(FINE, SHIFT, 3) == {5: 1, 6: 1}  # 25 and 30 ms, halves up
    assert cell(FINE, SHIFT, 200) == {152: 0.0625, 153: 0.0625}  # 1.995 and 2 s
    assert cell(FINE, DURATION, 0) == {0: 1, 1: 1}  # 5 and 10 ms: nothing lasts for 0
    assert cell(FINE, VELOCITY, 1) == {2: 1, 3: 1}  # velocities 5, 6 and 7, 8
    assert cell(NoteEvents(steps_per_second=400), DURATION, 0) == dict.fromkeys(range(5), 1)


def test_a_pedal_of_many_levels_is_down_from_its_middle():
    codec = NoteEvents(pedal_levels=4, soft_pedal=True)
    assert cell(codec, KIND, 60) == {60: 1}
    assert cell(codec, KIND, 128) == {codec.sustain(0): 1, codec.sustain(1): 1}
    assert cell(codec, KIND, 129) == {codec.sustain(2): 1, codec.sustain(3): 1}
    rest = [cell(codec, KIND, value) for value in range(130, 134)]
    assert rest == [{kind: 1} for kind in range(132, 136)]
    assert rest[2:] == [{codec.begin: 1}, {codec.end: 1}]


def test_a_performance_is_put_on_the_coarse_grid_first():
    played = Performance([(0.013, 0.052, 60, 67, 0)], [(0.0, SUSTAIN, 70, 0), (1.0, SUSTAIN, 3, 0)])
    rows = Coarse(FINE).rows(played)
    assert rows.tolist() == [
        [0, 129, -1, -1, 0, -1],
        [2, 60, 32, 7, 0, 0],
        [136, 128, -1, -1, 6, -1],
    ]
    assert Coarse(FINE).values(rows).tolist() == [
        [0, 129, -1, -1],
        [1, 60, 16, 3],
        [99, 128, -1, -1],
    ]


@pytest.mark.parametrize("name", ["giantmidi_field", "giantmidi_joplin"])
def test_real_performances_have_the_same_coarse_values_in_every_finer_codec(name, samples):
    performance = read_midi(samples / f"{name}.mid")
    first, *others = [Coarse(codec).values(Coarse(codec).rows(performance)) for codec in FINER]
    for other in others:
        np.testing.assert_array_equal(other, first)
