import pytest

from espressivo.codecs import CODECS, MidiLike, Vocabulary
from espressivo.errors import CodecError


@pytest.mark.parametrize(
    ("name", "size"),
    [
        ("oore2018", 413),
        ("oore2018-pedal", 415),
        ("performance-rnn", 388),
        ("performance-rnn-plain", 356),
        ("score2perf", 310),
    ],
)
def test_published_sizes(name, size):
    assert len(CODECS[name].vocabulary) == size


def test_score2perf_reserves_padding_and_end_before_its_308():
    vocabulary = CODECS["score2perf"].vocabulary
    assert [vocabulary.describe(i)[0] for i in (0, 1, 2)] == ["pad", "eos", "note_on"]
    assert len(vocabulary) - 2 == 308
    assert vocabulary.kinds["note_on"] == range(21, 109)


def test_performance_rnn_orders_on_off_shift_velocity():
    vocabulary = CODECS["performance-rnn"].vocabulary
    assert vocabulary.ids("note_on") == range(128)
    assert vocabulary.ids("note_off") == range(128, 256)
    assert vocabulary.ids("shift") == range(256, 356)
    assert vocabulary.ids("velocity") == range(356, 388)
    assert vocabulary.describe(256) == ("shift", 1)
    assert vocabulary.describe(387) == ("velocity", 32)


def test_a_missing_kind_is_named():
    with pytest.raises(CodecError, match="no 'pedal' in this vocabulary; it has note_on"):
        CODECS["performance-rnn"].vocabulary.id("pedal", 1)
    assert not len(CODECS["performance-rnn"].vocabulary.ids("pedal"))
    assert "pedal" not in CODECS["performance-rnn"].vocabulary


def test_a_value_outside_is_named():
    with pytest.raises(CodecError, match=r"shift=101 is outside 1..100"):
        CODECS["performance-rnn"].vocabulary.id("shift", 101)


@pytest.mark.parametrize("token", [-1, 388])
def test_an_id_outside_is_named(token):
    with pytest.raises(CodecError, match=rf"token {token} is outside 0..387"):
        CODECS["performance-rnn"].vocabulary.describe(token)
    with pytest.raises(CodecError, match=rf"token {token} is outside 0..387"):
        CODECS["performance-rnn"].decoder().push(token)


@pytest.mark.parametrize("values", [range(0), range(0, 10, 2), range(5, 0, -1)])
def test_ranges_must_rise_by_one(values):
    with pytest.raises(CodecError, match="shift=range"):
        Vocabulary(shift=values)


def test_equal_means_every_id_means_the_same():
    one, other = Vocabulary(a=range(3), b=range(2)), Vocabulary(b=range(2), a=range(3))
    assert one == Vocabulary(a=range(3), b=range(2))
    assert hash(one) == hash(Vocabulary(a=range(3), b=range(2)))
    assert one != other
    assert one.fingerprint() != other.fingerprint()
    assert repr(one) == "Vocabulary(a=range(0, 3), b=range(0, 2))"


def test_equal_codecs_have_equal_vocabularies():
    assert MidiLike() == CODECS["performance-rnn"]
    assert MidiLike().vocabulary == CODECS["performance-rnn"].vocabulary
