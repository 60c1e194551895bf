"""Chorales as tokens: what the grid says is kept, and what is sung is what the grid says."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from espressivo.codecs.chorale import REST, VOICES, Chorale
from espressivo.errors import CodecError
from espressivo.midi import read_midi, write_midi

CODEC = Chorale()
PITCHES = st.one_of(st.just(REST), st.integers(36, 81), st.sampled_from([60, 62]))
grids = st.integers(0, 12).flatmap(lambda n: arrays(np.int64, (n, 4), elements=PITCHES))
ids = st.lists(st.integers(0, len(CODEC.vocabulary) - 1), max_size=30)
laws = settings(max_examples=40, deadline=None)


@given(grids)
@laws
def test_decoding_gives_the_grid_back(grid):
    assert np.array_equal(CODEC.decode(CODEC.encode(grid)), grid)


@given(ids)
@laws
def test_any_ids_are_a_grid_that_encoding_keeps(tokens):
    whole = len(tokens) // 4 * 4
    assert CODEC.encode(CODEC.decode(np.array(tokens))).tolist() == tokens[:whole]


@given(grids)
@laws
def test_every_step_sounds_as_the_grid_says(grid):
    sung = np.full(grid.shape, REST)
    for onset, offset, pitch, _, voice in CODEC.performance(CODEC.encode(grid)).notes.tolist():
        first, end = round(onset * 6), round(offset * 6)
        assert (sung[first:end, voice] == REST).all()
        sung[first:end, voice] = pitch
    assert np.array_equal(sung, grid)


def test_steps_are_told_from_the_soprano_down():
    grid = np.array([[72, 67, 64, 48], [REST, 67, 65, 36]])
    assert CODEC.encode(grid).tolist() == [37, 32, 29, 13, 0, 32, 30, 1]


def test_what_is_held_is_one_note():
    grid = np.array([[72, 67, 64, 48], [72, 67, 65, 48], [72, REST, 65, 48]])
    sung = CODEC.performance(CODEC.encode(grid))
    assert sung.notes[["onset", "offset", "pitch", "track"]].tolist() == [
        (0, 1 / 2, 48, 3),
        (0, 1 / 6, 64, 2),
        (0, 2 / 6, 67, 1),
        (0, 1 / 2, 72, 0),
        (1 / 6, 1 / 2, 65, 2),
    ]
    assert [track.name for track in sung.tracks] == list(VOICES)


def test_a_chorale_can_be_written_and_read(tmp_path):
    rng = np.random.default_rng(0)
    sung = CODEC.performance(rng.integers(0, len(CODEC.vocabulary), 64))
    write_midi(sung, tmp_path / "chorale.mid")
    read = read_midi(tmp_path / "chorale.mid").notes
    assert read[["pitch", "track"]].tolist() == sung.notes[["pitch", "track"]].tolist()


def test_every_id_describes_itself_uniquely():
    vocabulary = CODEC.vocabulary
    meanings = [vocabulary.describe(token) for token in range(len(vocabulary))]
    assert meanings == [("rest", 0), *(("pitch", pitch) for pitch in range(36, 82))]
    assert vocabulary.describe(CODEC.start) == ("rest", 0)


@pytest.mark.parametrize(
    ("grid", "words"),
    [
        (np.zeros((3, 5), int), r"shape \(3, 5\) must be \[steps, 4\]"),
        (np.zeros(4, int), r"shape \(4,\)"),
        (np.array([[72, 67, 64, 35]]), "pitch 35 is outside 36..81"),
        (np.array([[72, 67, -2, 48]]), "pitch -2 is outside 36..81"),
    ],
)
def test_what_cannot_be_said_is_refused(grid, words):
    with pytest.raises(CodecError, match=words):
        CODEC.encode(grid)


def test_ids_that_are_none_are_refused():
    with pytest.raises(CodecError, match=r"token 47 is outside 0\.\.46"):
        CODEC.decode(np.array([47]))
    with pytest.raises(CodecError, match="token -1"):
        CODEC.decode(np.array([-1]))


@pytest.mark.parametrize(
    "fields", [{"lowest": 90}, {"highest": 128}, {"lowest": -1}, {"steps_per_second": 0}], ids=str
)
def test_a_vocabulary_that_cannot_be_is_refused(fields):
    ((name, value),) = fields.items()
    with pytest.raises(CodecError, match=f"{name}={value}"):
        Chorale(**fields)
