from itertools import islice

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from espressivo.codecs import CODECS
from espressivo.controls import Conditioning, moments
from espressivo.corpora import (
    NO_AUGMENTATION,
    Augmentation,
    Corpus,
    TrainingWindows,
    evaluation_windows,
)
from espressivo.corpora.augmentation import Change
from espressivo.corpora.excerpts import LEAD, excerpt
from espressivo.errors import ConfigError, CorpusError
from espressivo.performance import SUSTAIN, Performance
from tests.corpora.making import music
from tests.strategies import every_codec, performances

RNN = CODECS["performance-rnn"]


def is_stretch_of(part, whole):
    if len(part) > len(whole):
        return False
    views = np.lib.stride_tricks.sliding_window_view(whole, len(part))
    return bool((views == part).all(axis=1).any())


@pytest.mark.parametrize("name", CODECS)
@pytest.mark.parametrize("length", [1, 17, 256, 1000])
def test_a_window_is_a_stretch_of_the_tokens_of_its_piece(corpus, name, length):
    codec = CODECS[name]
    windows = TrainingWindows(corpus, codec, length, seed=1, augmentation=NO_AUGMENTATION)
    for index in range(6):
        piece, first, _ = windows._place(index)
        tokens = codec.encode(corpus.performance(piece))
        window = windows.sample(index).tokens
        heard = window[window >= 0]
        assert window.shape == (length + 1,)
        assert (window[len(heard) :] == -1).all()
        assert is_stretch_of(heard, np.append(codec.start, tokens))
        if first == 0:
            assert heard[0] == codec.start
        if len(heard) < length + 1:
            assert heard[-1] == tokens[-1]  # only the end of a piece cuts a window short


@settings(max_examples=30)
@given(every_codec(), performances(tracks=1, drums=False), st.data())
def test_what_is_settled_of_an_excerpt_is_what_the_piece_says(codec, performance, data):
    piece = performance.trimmed()
    if not len(piece):
        return
    first = data.draw(st.integers(0, len(piece) - 1))
    cut = excerpt(piece.notes, piece.controls, first, data.draw(st.integers(1, 30)))
    tokens = codec.encode(Performance(cut.notes, cut.controls))
    sure = tokens if cut.ends else tokens[: codec.settled(tokens)]
    onsets = codec.onsets(sure)
    if len(onsets) > cut.lead:
        assert is_stretch_of(sure[onsets[cut.lead] :], codec.encode(piece))


def test_a_note_held_by_the_pedal_is_released_where_the_piece_releases_it():
    notes = [(0.0, 0.2, 40, 80, 0)]
    notes += [(i * 0.01, i * 0.01 + 0.005, 60 + i % 20, 80, 0) for i in range(1, LEAD)]
    controls = [(0.1, SUSTAIN, 100, 0), (9.0, SUSTAIN, 0, 0)]
    piece = Performance([*notes, (8.0, 8.1, 30, 80, 0), (9.5, 9.6, 31, 80, 0)], controls)
    near = excerpt(piece.notes, piece.controls, LEAD, 10)
    assert near.lead == LEAD  # note 40 still sounds, under the pedal pressed at 0.1
    tokens = RNN.encode(Performance(near.notes, near.controls))
    assert RNN.vocabulary.id("note_off", 40) in tokens.tolist()
    far = excerpt(piece.notes, piece.controls, LEAD + 1, 10)
    assert far.lead < LEAD  # further back than LEAD notes is not looked


def test_a_window_depends_on_seed_and_index_alone(corpus):
    def fresh():
        return TrainingWindows(Corpus(corpus.path), RNN, 128, seed=5)

    forwards = [fresh().sample(i).tokens for i in range(6)]
    once = fresh()
    backwards = [once.sample(i).tokens for i in reversed(range(6))][::-1]
    np.testing.assert_array_equal(forwards, backwards)
    np.testing.assert_array_equal(once.batch(3, 3).tokens, forwards[3:6])
    other = TrainingWindows(corpus, RNN, 128, seed=6)
    assert any((other.sample(i).tokens != forwards[i]).any() for i in range(6))


def test_an_epoch_visits_every_slot_once_and_the_next_draws_afresh(corpus):
    windows = TrainingWindows(corpus, RNN, 256, seed=3)
    notes = windows.length // 4
    size = len(windows)
    assert size == sum(-(-piece.notes // notes) for piece in corpus.pieces)
    places = [[windows._place(e * size + i)[:2] for i in range(size)] for e in range(2)]
    for epoch in places:
        for number, piece in enumerate(corpus.pieces):
            firsts = sorted(first for p, first in epoch if p == number)
            last = max(piece.notes - notes // 2, 0)
            for slot, first in enumerate(firsts):  # each within half a window of its slot
                low, high = (slot - 0.5) * notes, (slot + 0.5) * notes
                assert max(min(low, last), 0) - 1 <= first <= max(min(high, last), 0)
    assert places[0] != places[1]
    assert sorted(places[0]) != sorted(places[1])


def test_augmentation_draws_every_transposition_and_tempo(corpus):
    windows = TrainingWindows(corpus, RNN, 64, seed=0)
    drawn = {windows.augmentation.draw(windows._place(i)[2])[:2] for i in range(600)}
    assert drawn == {(s, f) for s in range(-3, 4) for f in (0.95, 0.975, 1.0, 1.025, 1.05)}


@settings(max_examples=20)
@given(
    performances(tracks=1, drums=False).filter(len),
    st.integers(-30, 30),
    st.sampled_from([0.95, 1.0, 1.05, 2.0]),
    st.integers(-40, 40),
)
def test_a_change_is_what_the_performance_itself_would_do(performance, semitones, factor, louder):
    changed = Change(semitones, factor, louder)(performance.notes, performance.controls)
    expected = performance.transpose(semitones).stretch(factor)
    notes = expected.notes.copy()
    notes["velocity"] = np.clip(notes["velocity"].astype(int) + louder, 1, 127)
    np.testing.assert_array_equal(changed.notes, Performance(notes).notes)
    np.testing.assert_array_equal(changed.controls, expected.controls)


def test_evaluation_cuts_blocks_and_a_tail_with_nothing_carried_over():
    pieces = [music(1, 400), Performance(), music(2, 30)]
    found = list(evaluation_windows(iter(pieces), RNN, 256))
    for number, piece in enumerate(pieces):
        mine = [w for w in found if w.piece == number]
        tokens = RNN.encode(piece.trimmed())
        np.testing.assert_array_equal(
            np.concatenate([tokens[:0], *(w.targets for w in mine)]), tokens
        )
        assert all(len(w.targets) == 256 for w in mine[:-1])
        for window in mine:
            assert window.inputs[0] == RNN.start
            np.testing.assert_array_equal(window.inputs[1:], window.targets[:-1])
    assert {w.piece for w in found} == {0, 2}


def test_evaluation_windows_can_be_taken_one_at_a_time(corpus):
    endless = (corpus.performance(4) for _ in iter(int, 1))
    assert len(list(islice(evaluation_windows(endless, RNN, 2048), 10))) == 10


def test_what_cannot_be_drawn_is_refused(corpus):
    with pytest.raises(ConfigError, match=r"stretch=\(0.0, 1.0\)"):
        Augmentation(stretch=(0.0, 1.0))
    with pytest.raises(ConfigError, match="transpose=-1"):
        Augmentation(transpose=-1)
    with pytest.raises(ConfigError, match="length=0"):
        TrainingWindows(corpus, RNN, 0, 0)
    with pytest.raises(CorpusError, match="no piece in split 'test'"):
        len(TrainingWindows(corpus, RNN, 8, 0, split="test"))


BOTH = ("notes-per-second", "pitch-class-histogram")


def place_of(part, whole):
    views = np.lib.stride_tricks.sliding_window_view(whole, len(part))
    return int(np.flatnonzero((views == part).all(axis=1))[0])


@pytest.mark.parametrize("name", ["performance-rnn", "oore2018-pedal"])
@pytest.mark.parametrize("length", [40, 400, 1000])
def test_a_window_is_told_what_is_measured_from_the_whole_piece(corpus, name, length):
    codec, told = CODECS[name], Conditioning(BOTH)
    given = {"seed": 1, "augmentation": NO_AUGMENTATION}
    windows = TrainingWindows(corpus, codec, length, **given, conditioning=told)
    plain = TrainingWindows(corpus, codec, length, **given)
    for index in range(6):
        piece = corpus.performance(windows._place(index)[0])
        tokens, rows = windows.sample(index)[:2]
        np.testing.assert_array_equal(tokens, plain.sample(index).tokens)
        whole = codec.encode(piece)
        expected = told.measured(codec.quantize(piece), moments(codec, whole))
        heard = tokens[tokens >= 0]
        first = place_of(heard, np.append(codec.start, whole))  # and its next in `whole`
        counted = len(heard) - 1
        assert rows.shape == (length, 20)
        np.testing.assert_allclose(rows[:counted], expected[first : first + counted], atol=1e-6)
        assert not rows[counted:].any()


def test_controls_follow_what_a_window_is_changed_to(corpus):
    change = Augmentation(transpose=0, stretch=(2.0,))
    windows = TrainingWindows(
        corpus, RNN, 200, 3, augmentation=change, conditioning=Conditioning(BOTH)
    )
    piece = corpus.performance(windows._place(0)[0]).stretch(2.0)
    tokens, rows = windows.sample(0)[:2]
    whole = np.append(RNN.start, RNN.encode(piece))
    first = place_of(tokens[tokens >= 0], whole)
    times = moments(RNN, whole[1:])[first : first + 200]
    expected = Conditioning(BOTH).measured(RNN.quantize(piece), times)
    np.testing.assert_allclose(rows[: len(expected)], expected, atol=1e-6)


def test_half_of_the_windows_of_a_model_that_need_not_be_told_are_not(corpus):
    windows = TrainingWindows(corpus, RNN, 32, seed=2, conditioning=Conditioning(BOTH, "flag"))
    rows = [windows.sample(index).controls for index in range(200)]
    set_ = [(r[0, 1:9].any(), r[0, 9:].any(), r[0, 0] == 1) for r in rows if len(r)]
    for density, histogram, flag in set_:
        assert flag == (not density and not histogram)
    for column in zip(*set_, strict=True):
        assert 0.1 < np.mean(column) < 0.7
    again = TrainingWindows(corpus, RNN, 32, seed=2, conditioning=Conditioning(BOTH, "flag"))
    np.testing.assert_array_equal(again.sample(7).controls, rows[7])


def test_evaluation_tells_every_target_what_holds_for_it():
    piece, told = music(1, 400), Conditioning(BOTH, "flag")
    tokens = RNN.encode(piece.trimmed())
    expected = told.measured(RNN.quantize(piece.trimmed()), moments(RNN, tokens))
    found = list(evaluation_windows([piece], RNN, 256, told))
    np.testing.assert_array_equal(np.concatenate([w.controls for w in found]), expected)
    untold = list(evaluation_windows([piece], RNN, 256, told, ()))
    rows = np.concatenate([w.controls for w in untold])
    assert rows.sum() == rows[:, 0].sum() == len(tokens)
