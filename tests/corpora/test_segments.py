import numpy as np
import pytest

from espressivo.codecs import CODECS, decode
from espressivo.codecs.melody import MelodySteps
from espressivo.corpora import NO_AUGMENTATION, Augmentation
from espressivo.corpora.segments import TrainingSegments, clock_of, evaluation_segments
from espressivo.errors import ConfigError
from espressivo.performance import Performance, Track, infer_melody
from tests.corpora.making import folder_of, music, prepared

RNN, PUBLISHED = CODECS["performance-rnn"], CODECS["score2perf"]
STEPS = MelodySteps()


def tune(notes=240):
    """Two minutes of one note after another, none of them like the next."""
    return Performance([(i / 2, i / 2 + 0.4, 50 + i * 7 % 31, 64, 0) for i in range(notes)])


@pytest.fixture(scope="module")
def tunes(tmp_path_factory):
    path = tmp_path_factory.mktemp("tunes")
    pieces = {f"tune {n}.mid": tune(n) for n in (240, 100)}
    (path / "splits.csv").write_text("path,split\n" + "".join(f"{p},train\n" for p in pieces))
    return prepared(folder_of(path / "in", pieces), path / "out", splits=path / "splits.csv")


def pitches_of(source):
    return [STEPS.vocabulary.describe(t)[1] for t in source.tolist() if t >= 4]


def segments(corpus, codec=RNN, **changes):
    return TrainingSegments(corpus, codec, **{"length": 4000, "seed": 1, **changes})


def test_a_segment_is_a_function_of_seed_and_index(corpus):
    some, same, other = segments(corpus), segments(corpus), segments(corpus, seed=2)
    for index in (0, 7, len(some) + 3):
        one, two = some.sample(index), same.sample(index)
        assert (one.tokens == two.tokens).all()
        assert (one.source == two.source).all()
    assert any(not np.array_equal(some.sample(i).tokens, other.sample(i).tokens) for i in range(5))


def test_segments_last_five_to_thirty_seconds_however_they_are_stretched(tunes):
    wide = segments(tunes, augmentation=Augmentation(stretch=(0.5, 2.0)))
    lasting = [decode(RNN, wide.sample(i).tokens[1:]).duration for i in range(40)]
    assert 3.5 < min(lasting) < 10  # the last note may have ended before the segment does
    assert 24 < max(lasting) <= 30.01


def test_a_segment_begins_with_a_note_and_holds_the_melody_and_all_the_rest(corpus):
    for index in range(8):
        tokens, controls, source = segments(corpus).sample(index)
        assert tokens[0] == RNN.start
        assert controls is None
        played = decode(RNN, tokens[1:])
        assert played.start == 0
        told = decode(RNN, tokens[1:]).select(pitches=range(21, 109))
        assert set(pitches_of(source)) <= set(told.notes["pitch"].tolist())
        assert len(source) <= 10 * played.duration + 3


def test_melody_and_performance_are_moved_alike(tunes):
    moved = segments(tunes, augmentation=Augmentation(transpose=3, stretch=(0.8, 1.25)))
    every = []
    for index in range(12):
        tokens, _, source = moved.sample(index)
        played = decode(RNN, tokens[1:])
        heard = pitches_of(source)  # a last note may be cut too short to be part of the melody
        assert len(heard) >= len(played) - 1
        assert heard == played.notes["pitch"].tolist()[: len(heard)]
        struck = np.flatnonzero(source >= 4)
        expected = np.flatnonzero(STEPS.encode(played) >= 4)[: len(struck)]
        assert abs(struck - expected).max() <= 1  # the grids differ by half a step at most
        every += heard
    assert min(every) < 50
    assert max(every) > 80


def test_a_piece_is_visited_as_often_as_it_is_long(tunes):
    plain = segments(tunes, augmentation=NO_AUGMENTATION)
    assert len(plain) == 7 + 3
    first = [pitches_of(plain.sample(i).source)[0] for i in range(len(plain))]
    assert len(set(first)) > len(first) / 2


def test_the_end_is_told_where_there_is_a_token_for_it_and_cut_where_there_is_no_room(tunes):
    end = PUBLISHED.vocabulary.id("eos", 0)
    assert segments(tunes, PUBLISHED).sample(0).tokens[-1] == end
    short = segments(tunes, PUBLISHED, length=20).sample(0).tokens
    whole = segments(tunes, PUBLISHED).sample(0).tokens
    assert short.tolist() == whole[:21].tolist()
    with pytest.raises(ConfigError, match="length=0"):
        segments(tunes, length=0)


def test_the_clock_tells_when_each_token_is_chosen(tunes):
    tokens, clock, _ = segments(tunes, clock=True).sample(3)
    assert clock.shape == (len(tokens) - 1, 1)
    decoder = RNN.decoder()
    for token, now in zip(tokens[1:].tolist(), clock[:, 0].tolist(), strict=True):
        assert now == pytest.approx(10 * decoder.time, abs=1e-3)
        decoder.push(token)
    assert clock_of(RNN, tokens[1:])[-1] == pytest.approx(decoder.time)


def test_every_piece_is_judged_in_fixed_segments():
    pieces = [music(1, 700), Performance(), tune()]
    windows = list(evaluation_segments(pieces, RNN, 4000, clock=True))
    assert [w.piece for w in windows].count(2) == 7
    assert 1 not in [w.piece for w in windows]
    mine = [w for w in windows if w.piece == 2]
    assert sum(len(decode(RNN, w.targets)) for w in mine) == 240
    for window in windows:
        assert window.inputs[0] == RNN.start
        assert window.inputs[1:].tolist() == window.targets[:-1].tolist()
        assert len(window.controls) == len(window.targets)
    assert sum(len(decode(RNN, w.targets)) for w in windows if w.piece == 0) == pytest.approx(
        len(RNN.quantize(pieces[0])), rel=0.02
    )  # twins may meet in one step where a segment begins
    source = STEPS.encode(infer_melody(tune().slice(17.5, 35)))
    assert mine[1].source.tolist() == source.tolist()
    short = list(evaluation_segments(pieces, RNN, 10))
    assert {len(w.targets) for w in short} == {10}
    assert short[0].controls is None


def test_segments_of_a_file_are_those_of_its_pianos_together():
    two = Performance.merge([tune(40).shift(3), tune(40).transpose(12).shift(3.25)])
    drums = Performance([(0, 1, 40, 80, 0)], tracks=[Track(is_drum=True)])
    both = list(evaluation_segments([Performance.merge([drums, two])], RNN, 4000))
    assert sum(len(decode(RNN, w.targets)) for w in both) == 80
