"""Notes and pedal changes as rows: the laws of every codec, for every kind of NoteEvents."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from espressivo.codecs import CODECS, EVENT_CODECS, NoteEvents, note_events_reference
from espressivo.codecs.note_events import FIELDS, with_hysteresis
from espressivo.errors import CodecError
from espressivo.midi import read_midi
from espressivo.performance import SOFT, SUSTAIN, Event, Performance
from tests.strategies import performances

CODEC = EVENT_CODECS["note-events"]
FINE = NoteEvents(steps_per_second=200)
SHIFT, KIND, VELOCITY, DURATION, SHIFT_RESIDUAL, DURATION_RESIDUAL = range(6)
TIMES = [  # with all but the first, rests are cut and notes are clipped
    {},
    {"exact": 32, "per_octave": 8, "octaves": 3},
    {"exact": 4, "per_octave": 2, "octaves": 3},
    {"exact": 1, "per_octave": 1, "octaves": 4},
    {"exact": 6, "octaves": 0},
]
SEEDS = st.integers(0, 2**32)
laws = settings(max_examples=50, deadline=None)


@st.composite
def codecs(draw) -> NoteEvents:
    """A registered codec or one of any grid, pedals and classes of time."""
    if draw(st.booleans()):
        return draw(st.sampled_from(list(EVENT_CODECS.values())))
    fields = {
        "steps_per_second": draw(st.sampled_from([100, 200, 400])),
        "velocity_bins": draw(st.sampled_from([1, 32, 64, 127])),
        "pedal_levels": draw(st.sampled_from([2, 4, 8])),
        "soft_pedal": draw(st.booleans()),
    }
    return NoteEvents(**fields, **draw(st.sampled_from(TIMES)))


CONFIGURATIONS = [
    *EVENT_CODECS.values(),
    NoteEvents(velocity_bins=32, pedal_levels=4, soft_pedal=True),
    NoteEvents(velocity_bins=100, pedal_levels=8, exact=6, octaves=0),
]


def any_rows(codec, rng, length, few=False) -> np.ndarray:
    """Rows of random classes; fields without use are -1. With `few` they collide often."""
    times, kinds, velocities, _ = codec.sizes
    rows = np.full((length, 6), -1)
    rows[:, SHIFT] = rng.integers(0, min(times, 3) if few else times, length)
    kind = rng.integers(0, kinds, length)
    if few:
        kind = rng.choice([60, 61, *range(128, kinds)], length)
    rows[:, KIND] = kind
    rows[:, SHIFT_RESIDUAL] = rng.integers(codec.times.width[rows[:, SHIFT]])
    note = kind < 128
    rows[note, VELOCITY] = rng.integers(0, velocities, note.sum())
    rows[note, DURATION] = rng.integers(0, min(times, 6) if few else times, note.sum())
    rows[note, DURATION_RESIDUAL] = rng.integers(codec.times.width[rows[note, DURATION]])
    return rows


def streamed(codec, rows) -> list[Event]:
    decoder, events = codec.decoder(), []
    for row in rows.tolist():
        events += decoder.push(row)
        assert not events or events[-1].time <= decoder.time
    return events + decoder.close()


# -- laws ------------------------------------------------------------------------------------


@given(codec=codecs(), performance=performances())
@laws
def test_decoding_gives_what_quantize_promised(codec, performance):
    assert codec.decode(codec.encode(performance)) == codec.quantize(performance)


@given(codec=codecs(), performance=performances())
@laws
def test_quantizing_twice_changes_nothing_more(codec, performance):
    once = codec.quantize(performance)
    assert codec.quantize(once) == once
    assert np.array_equal(codec.encode(once), codec.encode(performance))


@given(codec=codecs(), seed=SEEDS, length=st.integers(0, 120), few=st.booleans())
@laws
def test_any_rows_are_a_performance_that_encoding_keeps(codec, seed, length, few):
    rows = any_rows(codec, np.random.default_rng(seed), length, few)
    performance = codec.decode(rows)
    assert isinstance(performance, Performance)
    assert codec.quantize(performance) == performance
    assert codec.decode(codec.encode(performance)) == performance


@given(codec=codecs(), performance=performances())
@laws
def test_encode_equals_the_event_loop(codec, performance):
    assert codec.encode(performance).tolist() == note_events_reference.encode(codec, performance)


@given(codec=codecs(), performance=performances())
@laws
def test_streaming_gives_what_decoding_gives(codec, performance):
    rows = codec.encode(performance)
    assert Performance.from_events(streamed(codec, rows)) == codec.decode(rows)


@given(codec=codecs(), seed=SEEDS, length=st.integers(0, 120), few=st.booleans())
@laws
def test_events_come_in_order_and_no_note_hangs(codec, seed, length, few):
    events = streamed(codec, any_rows(codec, np.random.default_rng(seed), length, few))
    times = [event.time for event in events]
    assert times == sorted(times)
    down, pedals = set(), {}
    for event in events:
        if event.kind == "on":
            assert event.number not in down
            down.add(event.number)
        elif event.kind == "off":
            down.remove(event.number)  # an orphan raises
        else:
            assert pedals.get(event.number, 0) != event.value
            pedals[event.number] = event.value
    assert not down
    assert not any(pedals.values())


@given(codec=codecs(), performance=performances())
@laws
def test_every_field_is_one_of_its_classes_or_unused(codec, performance):
    rows = codec.encode(performance)
    note = rows[:, KIND] < 128
    assert (rows[:, [SHIFT, KIND, SHIFT_RESIDUAL]] >= 0).all()
    for column in (VELOCITY, DURATION, DURATION_RESIDUAL):
        assert np.array_equal(rows[:, column] >= 0, note)
        assert (rows[~note, column] == -1).all()
    assert (rows[:, : len(FIELDS)] < codec.sizes).all()
    assert (rows[:, KIND] < codec.begin).all()
    assert (rows[:, SHIFT_RESIDUAL] < codec.times.width[rows[:, SHIFT]]).all()
    assert (rows[note, DURATION_RESIDUAL] < codec.times.width[rows[note, DURATION]]).all()


@given(codec=codecs(), performance=performances())
@laws
def test_no_note_and_no_pedal_change_is_lost_or_added(codec, performance):
    rows, said = codec.encode(performance), codec.quantize(performance)
    notes = performance.select(drums=False).notes
    steps = np.floor(notes["onset"] * codec.steps_per_second + 0.5)
    struck = set(zip(steps.tolist(), notes["pitch"].tolist(), strict=True))
    assert (rows[:, KIND] < 128).sum() == len(said.notes) == len(struck)
    levels, changes = {}, 0
    for kind in rows[rows[:, KIND] >= 128, KIND].tolist():
        number, value = codec.control(kind)
        changes += levels.get(number, 0) != value
        levels[number] = value
    assert changes == len(said.controls)
    assert not any(levels.values())
    if codec.times.most > 60_000:  # rests and nothing else are added
        assert len(rows) == len(said.notes) + len(said.controls)


@given(codec=codecs(), performance=performances())
@laws
def test_residuals_cost_nothing_where_classes_are_exact(codec, performance):
    rows = codec.encode(performance)
    nats = codec.residual_nats(rows)
    assert nats.shape == (len(rows),)
    assert (nats >= 0).all()
    exact = (rows[:, SHIFT] < codec.times.exact) & (rows[:, DURATION] < codec.times.exact)
    assert not nats[exact].any()
    width = [codec.times.width[rows[:, column]] for column in (SHIFT, DURATION)]
    width[1][rows[:, DURATION] < 0] = 1  # what is not said costs nothing
    np.testing.assert_allclose(np.exp(nats), width[0] * width[1])


@given(performance=performances(), fields=st.sampled_from(TIMES))
@laws
def test_the_music_is_that_of_performance_rnn_with_its_pedal(performance, fields):
    played = CODECS["performance-rnn-pedal"].quantize(performance)
    codec = NoteEvents(steps_per_second=100, velocity_bins=32, **fields)
    assert codec.quantize(performance) == codec.quantize(played)  # clipped notes apart
    assert NoteEvents(steps_per_second=100, velocity_bins=32).quantize(performance) == played


@given(performance=performances(), fields=st.sampled_from(TIMES))
@laws
def test_the_soft_pedal_changes_nothing_else(performance, fields):
    with_soft = NoteEvents(soft_pedal=True, **fields).quantize(performance)
    controls = with_soft.controls[with_soft.controls["number"] == SUSTAIN]
    assert with_soft.replace(controls=controls) == NoteEvents(**fields).quantize(performance)


# -- the vocabulary --------------------------------------------------------------------------


@pytest.mark.parametrize("codec", CONFIGURATIONS, ids=str)
def test_every_class_describes_itself_uniquely(codec):
    vocabulary = codec.vocabulary
    meanings = [vocabulary.describe(token) for token in range(len(vocabulary))]
    assert len(set(meanings)) == len(vocabulary) == sum(codec.sizes)
    assert [vocabulary.id(*meaning) for meaning in meanings] == list(range(len(vocabulary)))


@pytest.mark.parametrize("codec", CONFIGURATIONS, ids=str)
def test_fields_stand_one_after_another(codec):
    first = 0
    for field, size in zip(FIELDS, codec.sizes, strict=True):
        told = {codec.vocabulary.describe(first + index)[0] for index in range(size)}
        kinds = {"pitch", "sustain", "begin", "end"} if field == "kind" else {field}
        assert told - {"soft"} == kinds
        first += size


def test_the_classes_of_the_registered_codec():
    assert CODEC.sizes == (272, 132, 64, 272)
    assert (CODEC.sustain(1), CODEC.begin, CODEC.end) == (129, 130, 131)
    assert CODEC.start.tolist() == [0, 130, -1, -1, 0, -1]


# -- one case at a time ----------------------------------------------------------------------


def test_pedals_come_first_and_then_notes_from_the_lowest_key():
    played = Performance(
        [(0.5, 1.5, 64, 81, 0), (0.5, 1.0, 60, 1, 0)],
        [(0.5, SOFT, 127, 0), (0.5, SUSTAIN, 127, 0), (1.0, SOFT, 0, 0), (1.5, SUSTAIN, 3, 0)],
    )
    assert NoteEvents(steps_per_second=200, soft_pedal=True).encode(played).tolist() == [
        [100, 129, -1, -1, 0, -1],
        [0, 131, -1, -1, 0, -1],
        [0, 60, 0, 99, 0, 0],
        [0, 64, 40, 136, 0, 7],
        [100, 130, -1, -1, 0, -1],
        [100, 128, -1, -1, 0, -1],
    ]


def test_a_long_rest_repeats_the_level_the_pedal_has():
    codec = NoteEvents(steps_per_second=100, exact=10, octaves=0, pedal_levels=4)
    played = Performance(
        [(0.19, 0.2, 60, 64, 0), (0.4, 0.45, 60, 64, 0)],
        [(0.19, SUSTAIN, 50, 0), (0.41, SUSTAIN, 0, 0)],
    )
    shift_and_kind = codec.encode(played)[:, [SHIFT, KIND]].tolist()
    up, half = codec.sustain(0), codec.sustain(1)
    before, after = [[9, up], [9, up], [1, half], [0, 60]], [[9, half], [9, half], [3, 60], [1, up]]
    assert shift_and_kind == before + after


def test_a_key_is_held_for_as_long_as_there_are_classes():
    codec = NoteEvents(steps_per_second=100, exact=10, octaves=0)
    notes = codec.quantize(Performance([(0, 0.1, 60, 64, 0), (0, 5.0, 62, 64, 0)])).notes
    assert notes["offset"].tolist() == [0.1, 0.1]
    assert codec.durations(codec.encode(Performance([(0, 5.0, 62, 64, 0)]))).tolist() == [10]


@pytest.mark.parametrize("fields", [{}, {"soft_pedal": True}, {"pedal_levels": 8}], ids=str)
def test_a_pedal_still_down_is_lifted_with_the_last_note(fields):
    codec = NoteEvents(**fields)

    def heard(*moves):
        controls = [(time, SUSTAIN, value, 0) for time, value in moves]
        said = codec.quantize(Performance([(0, 1, 60, 61, 0)], controls)).controls
        return said[["time", "value"]].tolist()

    assert heard((0.4, 127)) == [(0.4, 127), (1.0, 0)]
    assert heard((1.0, 127)) == []
    assert heard((0.4, 127), (0.401, 0), (0.402, 127)) == [(0.4, 127), (1.0, 0)]  # in one step
    assert heard((0.4, 127), (0.6, 0), (1.0, 127)) == [(0.4, 127), (0.6, 0)]
    late = [(0.4, 127), (1.5, 0), (2.0, 127), (2.5, 0)]
    assert heard(*late) == heard(*late, (3.0, 127)) == late


def test_the_soft_pedal_is_lifted_with_the_last_note_too():
    played = Performance([(0, 1, 60, 61, 0)], [(0.5, SOFT, 100, 0), (2.0, SOFT, 127, 0)])
    said = NoteEvents(steps_per_second=200, soft_pedal=True).quantize(played).controls
    assert said[["time", "number", "value"]].tolist() == [(0.5, SOFT, 127), (1.0, SOFT, 0)]
    assert len(CODEC.quantize(played).controls) == 0


def test_a_restless_pedal_keeps_its_level():
    def heard(levels, *values):
        return with_hysteresis(np.array(values), levels).tolist()

    assert heard(4, 31, 35, 36, 30, 28, 27, 127, 92, 91) == [0, 0, 1, 1, 1, 0, 3, 3, 2]
    assert heard(8, 16, 17, 15, 14, 112, 127) == [0, 1, 1, 0, 7, 7]
    assert heard(2, 63, 64, 63) == [0, 1, 0]


@pytest.mark.parametrize("levels", [2, 4, 8])
def test_levels_span_the_pedal_and_stay_when_played_again(levels):
    codec = NoteEvents(pedal_levels=levels)
    values = [codec.control(codec.sustain(level))[1] for level in range(levels)]
    assert (values[0], values[-1]) == (0, 127)
    way = [*range(levels), *range(levels)[::-1], 0, levels - 1]
    told = with_hysteresis(np.array([values[level] for level in way]), levels)
    assert told.tolist() == way


def test_the_end_comes_when_the_last_key_is_released():
    rows = FINE.encode(Performance([(0, 3.0, 60, 64, 0), (1.0, 1.5, 64, 64, 0)]))
    end = FINE.ended(rows)
    assert end.tolist() == [153, FINE.end, -1, -1, 0, -1]
    assert FINE.shifts(end[None]).tolist() == [400]
    assert FINE.ended(rows[:0]).tolist() == [0, FINE.end, -1, -1, 0, -1]


@given(codec=codecs(), performance=performances())
@laws
def test_begin_and_end_change_nothing(codec, performance):
    rows = codec.encode(performance)
    framed = np.concatenate([codec.start[None], rows, codec.ended(rows)[None]])
    assert codec.decode(framed) == codec.decode(rows)
    assert Performance.from_events(streamed(codec, framed)) == codec.decode(rows)


def test_silence_is_no_rows():
    for codec in CONFIGURATIONS:
        rows = codec.encode(Performance())
        assert rows.shape == (0, 6)
        assert codec.decode(rows) == Performance() == codec.quantize(Performance())
        assert codec.residual_nats(rows).shape == (0,)


def test_events_come_when_time_passes_them():
    decoder = FINE.decoder()
    held, again, down = [0, 60, 31, 99, 0, 0], [60, 60, 40, 9, 0, 0], [0, 129, -1, -1, 0, -1]
    assert decoder.push(held) == [Event(0.0, "on", 60, 63)]
    assert decoder.sounding == {60: 0.0}
    assert decoder.push(down) == [Event(0.0, "control", SUSTAIN, 127)]
    assert decoder.push(down) == []
    assert decoder.push(again) == [Event(0.3, "off", 60), Event(0.3, "on", 60, 81)]
    assert decoder.time == 0.3
    assert decoder.ended(0.34) == []
    assert decoder.ended(0.35) == [Event(0.35, "off", 60)]
    assert decoder.close() == [Event(0.3, "control", SUSTAIN, 0)]
    assert decoder.close() == []


# -- what cannot be said ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"steps_per_second": 0}, "steps_per_second=0"),
        ({"velocity_bins": 0}, r"velocity_bins=0 must lie in 1\.\.127"),
        ({"velocity_bins": 128}, r"velocity_bins=128 must lie in 1\.\.127"),
        ({"pedal_levels": 3}, "pedal_levels=3 must be one of 2, 4 and 8"),
        ({"per_octave": 24}, "per_octave=24 must divide exact=128"),
        ({"exact": 1, "octaves": 0}, "exact=1 with octaves=0 has no shift but 0"),
    ],
    ids=str,
)
def test_a_codec_that_cannot_be_is_refused(fields, words):
    with pytest.raises(CodecError, match=words):
        NoteEvents(**fields)


@pytest.mark.parametrize("number", [SUSTAIN, SOFT])
def test_a_time_beyond_the_grid_is_refused(number):
    codec = NoteEvents(steps_per_second=200, soft_pedal=True)
    with pytest.raises(CodecError, match=r"1e\+300 s is too late for steps of 1/200 s"):
        codec.encode(Performance([], [(1e300, number, 127, 0)]))
    with pytest.raises(CodecError, match=r"e\+300 s is too late"):
        codec.encode(Performance([(1e300, 2e300, 60, 64, 0)]))


# -- real music ------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["giantmidi_field", "giantmidi_joplin"])
def test_real_performances_encode_like_the_event_loop(name, samples):
    performance = read_midi(samples / f"{name}.mid")
    for codec in CONFIGURATIONS:
        rows = codec.encode(performance)
        assert rows.tolist() == note_events_reference.encode(codec, performance)
        assert codec.decode(rows) == codec.quantize(performance)


def test_what_the_rows_of_a_real_performance_are(golden, samples):
    performance = read_midi(samples / "giantmidi_field.mid").slice(0, 15)
    rows = CODEC.encode(performance).tolist()
    golden("rows-note-events-giantmidi_field", [" ".join(map(str, row)) for row in rows])


@pytest.mark.parametrize("name", EVENT_CODECS)
def test_what_the_classes_mean(name, golden):
    vocabulary = EVENT_CODECS[name].vocabulary
    kinds = {kind: [v.start, v.stop - 1] for kind, v in vocabulary.kinds.items()}
    golden(f"vocabulary-{name}", {"kinds": kinds, "fingerprint": vocabulary.fingerprint()})
