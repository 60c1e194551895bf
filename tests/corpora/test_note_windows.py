"""Windows of note events: which are drawn, where they begin, and what stands beside them."""

from collections import Counter

import numpy as np
import pytest

from espressivo.codecs import NoteEvents
from espressivo.codecs.coarse import Coarse
from espressivo.codecs.note_events import FIELDS, KIND, VELOCITY
from espressivo.configs import NoteTransformerConfig
from espressivo.controls import Conditioning
from espressivo.corpora import NO_AUGMENTATION, Corpus
from espressivo.corpora import note_windows as drawing
from espressivo.corpora.note_windows import Labels, NoteWindows, composers, note_windows
from espressivo.errors import ConfigError, CorpusError
from espressivo.performance import SUSTAIN, Performance
from tests.corpora.making import music, written

CODEC = NoteEvents(steps_per_second=200)
START = CODEC.start[: len(FIELDS)].tolist()
UP, DOWN = CODEC.sustain(0), CODEC.sustain(1)
ALL = ("notes-per-second", "mean-velocity", "pedal-share", "pitch-class-histogram", "key")
MODEL = NoteTransformerConfig(
    controls=ALL, composers=("Bach", "Chopin"), sources=("human", "transcribed", "roll")
)
LABELS = Labels(
    Conditioning(ALL, "zeros"),
    MODEL.composers,
    MODEL.sources,
    {"a": "Chopin", "b": "Bach", "c": "Clementi"},
)
CONSTANT = len(MODEL.composers) + len(MODEL.sources)


def on_the_grid(seed, notes):
    """A piece whose times are whole steps; no key is struck again before it was released."""
    rng = np.random.default_rng(seed)
    onset = np.cumsum(rng.integers(0, 60, notes))
    onset -= onset[0]
    pitch, offset = 20 + np.arange(notes) % 96, onset + rng.integers(1, 400, notes)
    velocity = rng.integers(1, 128, notes)
    moves = np.unique(rng.integers(1, onset[-1], notes // 3)) / 200
    return Performance(
        list(zip(onset / 200, offset / 200, pitch, velocity, [0] * notes, strict=True)),
        [(time, SUSTAIN, 127 * ((i + 1) % 2), 0) for i, time in enumerate(moves.tolist())],
    )


@pytest.fixture(scope="module")
def three(tmp_path_factory):
    """Corpora of 3, 2 and 1 pieces; nobody knows what recordings those of the last are."""
    path, sizes = tmp_path_factory.mktemp("corpora"), {
        "maestro": {"a": 300, "b": 90, "c": 40}, "giantmidi": {"d": 150, "a": 60},
        "unheard-of": {"e": 77},
    }  # fmt: skip
    return tuple(
        written(path / name, {p: on_the_grid(n, n) for p, n in pieces.items()}, name)
        for name, pieces in sizes.items()
    )


def windows(*corpora, parts=None, length=32, **changes):
    given = {"augmentation": NO_AUGMENTATION, "parts": parts or (1,) * len(corpora)}
    return NoteWindows(corpora, CODEC, length, **{"seed": 1, **given, **changes})


@pytest.fixture
def place_of(monkeypatch):
    """Tell corpus, piece and first note of a window."""

    def place(some, index):
        with monkeypatch.context() as patch:
            patch.setattr(NoteWindows, "_sample", lambda _, corpus, piece, first, rng: locals())
            found = some.sample(index)
        return some.corpora.index(found["corpus"]), found["piece"], found["first"]

    return place


@pytest.fixture
def told(monkeypatch):
    """Decide what windows are told, and that none or all are coarse."""

    def decide(*names, coarse=False):
        monkeypatch.setattr(Labels, "drawn", lambda self, rng: list(names))
        monkeypatch.setattr(drawing, "COARSE", float(coarse))

    return decide


def whole(corpus, piece):
    """All rows of a piece between its start and its end."""
    rows = CODEC.encode(corpus.performance(piece))
    return np.concatenate([CODEC.start[None], rows, CODEC.ended(rows)[None]])


def found_in(part, rows):
    """Where in some rows others stand, one after another; there is one such place."""
    views = np.lib.stride_tricks.sliding_window_view(rows, len(part), axis=0).swapaxes(1, 2)
    (place,) = np.flatnonzero((views == part).all((1, 2)))
    return int(place)


# -- which -----------------------------------------------------------------------------------


def test_a_window_depends_on_seed_and_index_alone(three):
    def fresh(**changes):
        some = tuple(Corpus(corpus.path) for corpus in three)
        return NoteWindows(some, CODEC, 24, **{"seed": 5, "parts": (2, 1, 1), **changes},
                           labels=LABELS)  # fmt: skip

    once, count = fresh(), 24
    forwards = [fresh().sample(i) for i in range(count)]
    backwards = [once.sample(i) for i in reversed(range(count))][::-1]
    for one, other in zip(forwards, backwards, strict=True):
        np.testing.assert_array_equal(one.tokens, other.tokens)
        np.testing.assert_array_equal(one.controls, other.controls)
    batch = once.batch(7, 5)
    np.testing.assert_array_equal(batch.tokens, [one.tokens for one in forwards[7:12]])
    np.testing.assert_array_equal(batch.controls, [one.controls for one in forwards[7:12]])
    for other in (fresh(seed=6), fresh(augmentation=NO_AUGMENTATION)):
        assert any((other.sample(i).tokens != forwards[i].tokens).any() for i in range(count))


@pytest.mark.parametrize("parts", [(1, 1, 1), (5, 4, 1), (1, 3, 2)])
def test_every_cycle_has_the_parts_of_every_corpus_evenly_spread(parts, three, place_of):
    some, cycle = windows(*three, parts=parts), sum(parts)
    drawn = [place_of(some, index)[0] for index in range(7 * cycle)]
    for first in range(0, len(drawn), cycle):
        assert drawn[first : first + cycle] == drawn[:cycle]
    assert [drawn[:cycle].count(number) for number in range(3)] == list(parts)
    for number, part in enumerate(parts):  # never further apart than a share and one
        turns = [place for place, corpus in enumerate(drawn) if corpus == number]
        assert max(np.diff(turns)) <= cycle / part + 1.5


@pytest.mark.parametrize("length", [16, 64, 500])
def test_within_a_corpus_every_place_is_visited_once_an_epoch(length, three, place_of):
    some = windows(*three, parts=(3, 2, 1), length=length)
    drawn = [place_of(some, index) for index in range(6 * 120)]
    notes = int(length / 1.15)
    for number, corpus in enumerate(three):
        slots = sorted(
            (piece, slot * notes)
            for piece, about in enumerate(corpus.pieces)
            for slot in range(-(-about.notes // notes))
        )
        mine = [place[1:] for place in drawn if place[0] == number]
        epochs = [mine[i : i + len(slots)] for i in range(0, len(mine), len(slots))]
        for epoch in [epoch for epoch in epochs if len(epoch) == len(slots)]:
            for (piece, first), (expected, slot) in zip(sorted(epoch), slots, strict=True):
                last = max(corpus.pieces[piece].notes - notes // 2, 0)
                assert piece == expected
                assert min(max(slot - notes / 2, 0), last) <= first + 1
                assert first <= min(max(slot + notes / 2, 0), last)
        assert len(slots) == 1 or epochs[0] != epochs[1]


def test_length_is_after_how_many_windows_the_first_corpus_comes_again(three):
    alone = windows(three[0])
    assert len(alone) == sum(-(-n // 27) for n in (300, 90, 40))
    assert len(windows(*three, parts=(2, 3, 1))) == len(alone) * 6 // 2


def test_windows_say_which_corpora_they_are_of(three):
    assert windows(*three[:2], parts=(3, 1)).facts == {
        "corpora": ["maestro", "giantmidi"],
        "licences": ["CC0", "CC0"],
        "sha256": ["0" * 64, "0" * 64],
        "parts": [3, 1],
    }


# -- rows ------------------------------------------------------------------------------------


@pytest.mark.parametrize("length", [1, 20, 150, 1000])
def test_after_its_first_row_a_window_is_the_rows_of_its_piece(length, three, place_of, told):
    told()
    some, begun, ended = windows(*three, length=length), 0, 0
    for index in range(min(len(some) + 6, 40)):
        number, piece, first = place_of(some, index)
        rows, tokens = whole(three[number], piece), some.sample(index).tokens
        assert tokens.shape == (length + 1, len(FIELDS))
        count = int((tokens >= 0).any(1).sum())
        assert (tokens[count:] == -1).all()
        place = found_in(tokens[1:count], rows[:, : len(FIELDS)]) if count > 2 else 0
        if first == 0:
            begun += 1
            assert tokens[0].tolist() == START
            assert place in (0, 1)
        else:
            moved = rows[:place][np.isin(rows[:place, KIND], [UP, DOWN]), KIND]
            level = moved[-1] if len(moved) else UP
            assert count <= 2 or tokens[0].tolist() == [0, level, -1, -1]
        if count < length + 1:
            ended += 1
            assert tokens[count - 1].tolist() == rows[-1, : len(FIELDS)].tolist()
            assert tokens[count - 1, KIND] == CODEC.end
    assert begun or length < 20
    assert ended or length < 150


def test_a_note_ends_where_its_key_is_struck_again_beyond_the_window(tmp_path, told):
    told()
    notes = [(n / 20, n / 20 + 5, 40 + n % 20, 1 + n % 127, 0) for n in range(200)]
    corpus = written(tmp_path / "again", {"a": Performance(notes, [(0.5, SUSTAIN, 127, 0)])})
    some = windows(corpus, length=30)
    for index in range(len(some)):
        tokens = some.sample(index).tokens
        found_in(tokens[1 : int((tokens >= 0).any(1).sum())], whole(corpus, 0)[:, : len(FIELDS)])


def test_times_on_no_grid_are_rounded_from_the_note_before_a_window(tmp_path, place_of, told):
    told()
    corpus = written(tmp_path / "loose", {"a": music(3, 200)})
    some = windows(corpus, length=40)
    for index in range(6):
        notes, (_, _, first) = corpus.notes(0), place_of(some, index)
        tokens = some.sample(index).tokens
        struck = tokens[(tokens[:, KIND] < 128) & (tokens[:, VELOCITY] >= 0)]
        steps = CODEC.times.first[tokens[:, 0].clip(0)].cumsum()  # but for residuals
        onsets = steps[(tokens[:, KIND] < 128) & (tokens[:, VELOCITY] >= 0)] / 200
        origin = notes["onset"][max(first - 1, 0)]
        played = notes["onset"][first : first + len(struck)] - origin
        assert np.abs(onsets[:5] - played[:5]).max() < 0.06


def test_some_windows_are_on_the_grid_of_390_events(three, told):
    told(coarse=True)
    some = windows(three[0])
    for index in range(5):
        tokens = some.sample(index).tokens
        velocity = tokens[tokens[:, VELOCITY] >= 0, VELOCITY]
        assert not (velocity % 2).any()  # 32 of 64
    told()
    assert any((some.sample(i).tokens[:, VELOCITY].clip(0) % 2).any() for i in range(5))


def test_about_a_fifth_are(three):
    some, coarse = windows(three[0]), 0
    for index in range(100):
        velocity = some.sample(index).tokens[:, VELOCITY].clip(0)
        coarse += not (velocity % 2).any()
    assert 8 < coarse < 35


# -- what stands beside them -----------------------------------------------------------------


def test_nothing_is_told_in_half_of_the_windows_and_else_each_in_half():
    rng = np.random.default_rng(0)
    drawn = [LABELS.drawn(rng) for _ in range(4000)]
    assert LABELS.names == (*ALL, "composer", "source")
    assert sum(not names for names in drawn) / 4000 == pytest.approx(0.5 + 0.5**8, abs=0.03)
    counts = Counter(name for names in drawn for name in names)
    for name in LABELS.names:
        assert counts[name] / 4000 == pytest.approx(0.25, abs=0.03)


def test_controls_are_as_wide_as_the_model_and_zeros_where_nothing_is_told(three, told):
    some = windows(*three, labels=LABELS)
    told()
    for index in range(8):
        controls = some.sample(index).controls
        assert controls.shape == (32, MODEL.condition_dim)
        assert controls.dtype == np.float32
        assert not controls.any()
    assert windows(*three).sample(0).controls is None


def test_composer_and_source_are_one_of_those_known_or_none(three, place_of, told):
    told("composer", "source")
    some, seen = windows(*three, labels=LABELS), set()
    for index in range(40):
        number, piece, _ = place_of(some, index)
        about = three[number].pieces[piece]
        sample = some.sample(index)
        there = (sample.tokens[1:] >= 0).any(1)
        composer = {"a": [0, 1], "b": [1, 0]}.get(about.path, [0, 0])
        source = {"maestro": [1, 0, 0], "giantmidi": [0, 1, 0]}.get(about.source, [0, 0, 0])
        assert (sample.controls[there, -CONSTANT:] == composer + source).all()
        assert not sample.controls[:, :-CONSTANT].any()
        assert not sample.controls[~there].any()
        seen.add((about.path, about.source))
    assert len(seen) == 6
    told("composer")
    assert not some.sample(0).controls[:, -len(MODEL.sources) :].any()


@pytest.mark.parametrize("name", ALL)
def test_a_window_is_told_what_is_measured_from_its_piece(name, three, place_of, told):
    told(name)
    labels = Labels(Conditioning((name,), "zeros"))
    some, wrong, rows_told = windows(*three, labels=labels, length=60), 0, 0
    for index in range(12):
        number, piece, _ = place_of(some, index)
        rows, sample = whole(three[number], piece), some.sample(index)
        count = int((sample.tokens >= 0).any(1).sum())
        place = found_in(sample.tokens[1:count], rows[:, : len(FIELDS)])
        times = np.cumsum(CODEC.shifts(rows))[place : place + count - 1] / 200
        played = three[number].performance(piece)
        expected = labels.beside(played, times, np.zeros(0, np.float32), [name])
        differ = np.abs(sample.controls[: count - 1] - expected).max(1) > 1e-4
        if name in ("pitch-class-histogram", "key"):  # but for what sounds from before
            differ &= times > times[0] + 4
        wrong, rows_told = wrong + differ.sum(), rows_told + len(times)
        assert (sample.controls[: count - 1].sum(1) > 0.99).all()
        assert not sample.controls[count - 1 :].any()
    assert wrong <= 0.005 * rows_told  # times were summed otherwise, at the edge of a range


def test_composers_are_those_of_enough_pieces_the_most_frequent_first(three):
    table = {"a": "Bach", "b": "Chopin", "c": "Chopin", "d": "Chopin", "e": "", "f": "Nobody"}
    assert composers(three, table, 1) == ("Chopin", "Bach")
    assert composers(three, table, 3) == ("Chopin",)
    assert composers(three, table, 4) == ()
    assert composers(three, {"a": "Bach", "b": "Alkan", "c": "Alkan"}, 2) == ("Alkan", "Bach")


# -- evaluation ------------------------------------------------------------------------------


@pytest.mark.parametrize("coarse", [False, True])
@pytest.mark.parametrize("length", [1, 50, 10_000])
def test_evaluation_covers_every_row_once_and_knows_where_the_pedal_is(length, coarse):
    pieces = [music(1, 200), Performance(), on_the_grid(2, 70)]
    found = list(note_windows(pieces, CODEC, length, coarse=coarse))
    assert {window.piece for window in found} == {0, 2}
    assert {window.coarse for window in found} == {coarse}
    for number in (0, 2):
        mine = [window for window in found if window.piece == number]
        piece = pieces[number].trimmed()
        rows = Coarse(CODEC).rows(piece) if coarse else CODEC.encode(piece)
        np.testing.assert_array_equal(np.concatenate([w.targets for w in mine]), rows)
        assert all(len(window.targets) == length for window in mine[:-1])
        level = None
        for window in mine:
            expected = CODEC.start if level is None else [0, level, -1, -1, 0, -1]
            assert window.inputs[0].tolist() == list(expected)
            np.testing.assert_array_equal(window.inputs[1:], window.targets[:-1])
            moves = [kind for kind in window.targets[:, KIND] if kind in (UP, DOWN)]
            level = moves[-1] if moves else level or UP


def test_evaluation_tells_what_is_wanted_as_measured_and_never_labels():
    pieces = [music(1, 300)]
    told = list(note_windows(pieces, CODEC, 100, labels=LABELS, wanted=LABELS.names))
    rows = np.concatenate([window.controls for window in told])
    piece = pieces[0].trimmed()
    times = np.cumsum(CODEC.shifts(CODEC.encode(piece))) / 200
    expected = LABELS.conditioning.measured(CODEC.quantize(piece), times)
    np.testing.assert_array_equal(rows[:, :-CONSTANT], expected)
    assert not rows[:, -CONSTANT:].any()
    untold = list(note_windows(pieces, CODEC, 100, labels=LABELS))
    assert not np.concatenate([window.controls for window in untold]).any()
    assert all(window.controls is None for window in note_windows(pieces, CODEC, 100))


# -- what cannot be drawn --------------------------------------------------------------------


def test_what_cannot_be_drawn_is_refused(three, tmp_path):
    with pytest.raises(ConfigError, match="length=0 must be at least 1; try 512"):
        windows(*three, length=0)
    with pytest.raises(ConfigError, match="length=0 must be at least 1"):
        list(note_windows([music(1)], CODEC, 0))
    for parts in [(1, 1), (1, 0, 1), (1, 1, 1, 1)]:
        with pytest.raises(ConfigError, match="whole number from 1 on for each of 3 corpora"):
            windows(*three, parts=parts)
    with pytest.raises(ConfigError, match=r"parts=\(\) .* for each of 0 corpora"):
        NoteWindows((), CODEC, 8, 0, ())
    with pytest.raises(CorpusError, match="no piece in split 'test'"):
        windows(*three, split="test").sample(0)
    silent = written(tmp_path / "silent", {"a": Performance([], [(0, SUSTAIN, 127, 0)])})
    with pytest.raises(CorpusError, match="silent: split 'train' has no notes"):
        len(windows(silent))


def test_a_pedal_is_needed_but_not_in_every_corpus(three, tmp_path):
    dry = written(tmp_path / "dry", {"a": on_the_grid(1, 50).replace(controls=[])})
    with pytest.raises(CorpusError, match="dry: no piece of split 'train' moves the sustain pedal"):
        windows(dry).sample(0)
    assert windows(dry, three[0]).sample(0).tokens[0, KIND] in (CODEC.begin, UP)


def test_a_composer_nobody_is_known_by_is_refused(three):
    labels = Labels(composers=("Bach", "Chopine"), composer_of={"a": "Bach", "b": "Chopin"})
    with pytest.raises(
        ConfigError, match=r"no piece by 'Chopine' is known; did you mean 'Chopin'\?"
    ):
        windows(*three, labels=labels)
    with pytest.raises(ConfigError, match="no piece by 'Bach' is known; leave it out"):
        windows(*three, labels=Labels(composers=("Bach",)))
