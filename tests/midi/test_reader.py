from __future__ import annotations

import random
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import espressivo.midi as midi
from espressivo.midi import events, fast, read_midi
from espressivo.performance import Track

ON, OFF = b"\x90\x3c\x50", b"\x80\x3c\x40"


def played(performance):
    return [tuple(row) for row in performance.notes.tolist()]


def test_one_note_in_seconds(lay):
    performance = read_midi(lay.smf(lay.track((480, ON), (240, OFF))))
    assert played(performance) == [(0.5, 0.75, 60, 80, 0)]
    assert performance.tempi.tolist() == [(0.0, 120.0)]
    assert len(performance.beats) == 0


@pytest.mark.parametrize("padding", [0, 300])
def test_velocity_zero_is_a_release_and_status_may_run(lay, padding):
    track = lay.track(
        (0, ON), (480, b"\x3c\x00"), (0, b"\x3e\x10"), (480, b"\x3e\x00"), padding=padding
    )
    assert played(read_midi(lay.smf(track))) == [(0.0, 0.5, 60, 80, 0), (0.5, 1.0, 62, 16, 0)]


def test_a_file_of_type_0_separates_channels_and_marks_drums(lay):
    track = lay.track(
        (0, b"\xc0\x05"), (0, b"\x90\x3c\x50"), (0, b"\x99\x24\x60"), (480, b"\x80\x3c\x00"),
        (0, b"\x89\x24\x00"),
    )  # fmt: skip
    performance = read_midi(lay.smf(track, form=0))
    assert performance.tracks == (Track(5, False, ""), Track(0, True, ""))
    assert performance.notes["track"].tolist() == [1, 0]


def test_a_file_of_type_1_takes_its_tempo_from_any_track(lay):
    conductor = lay.track((480, lay.tempo(1_000_000)), padding=0)
    hand = lay.track((0, lay.meta(3, "Hände".encode())), (960, ON), (480, OFF))
    performance = read_midi(lay.smf(conductor, hand))
    assert played(performance) == [(1.5, 2.5, 60, 80, 0)]
    assert performance.tempi.tolist() == [(0.0, 120.0), (0.5, 60.0)]
    assert performance.tracks[0].name == "Hände"


def test_the_sequences_of_type_2_follow_one_another(lay):
    first = lay.track((0, lay.tempo(1_000_000)), (0, ON), (480, OFF), end=480)
    second = lay.track((0, ON), (480, OFF))
    performance = read_midi(lay.smf(first, second, form=2))
    assert played(performance) == [(0.0, 1.0, 60, 80, 0), (2.0, 2.5, 60, 80, 1)]
    assert performance.tempi.tolist() == [(0.0, 60.0), (2.0, 120.0)]


@pytest.mark.parametrize(("division", "second"), [(0xE728, 1000), (0xE250, 2400), (0xE864, 2400)])
def test_smpte_frames_need_no_tempo(lay, division, second):
    track = lay.track((0, lay.tempo(1)), (second, ON), (second, OFF))
    assert played(read_midi(lay.smf(track, division=division))) == [(1.0, 2.0, 60, 80, 0)]


def test_drop_frames_last_longer(lay):
    track = lay.track((30_000, ON), (30_000, OFF))
    performance = read_midi(lay.smf(track, division=0xE301))
    assert performance.notes["onset"][0] == pytest.approx(1001.0, abs=1e-9)


def test_unknown_chunks_system_events_and_other_metas_are_passed_over(lay):
    track = lay.track(
        (0, b"\xf0" + lay.quantity(3) + b"\x7e\x09\xf7"),
        (0, lay.meta(0x58, b"\x04\x02\x18\x08")),
        (0, lay.meta(0x59, b"\xfb\x00")),
        (0, lay.meta(1, b"\xff\x51\x00")),
        (0, b"\xf7\x01\xf8"),
        (0, b"\xe0\x00\x40"),
        (480, ON),
        (0, b"\xd0\x40"),
        (480, OFF),
    )
    alien = b"XFIH" + (5).to_bytes(4, "big") + b"hello"
    raw = lay.smf(track)
    assert played(read_midi(raw[:14] + alien + raw[14:] + b"trailing")) == [(0.5, 1.0, 60, 80, 0)]


def test_a_longer_header_is_read_past(lay):
    raw = lay.smf(lay.track((480, ON), (480, OFF)))
    longer = raw[:4] + (8).to_bytes(4, "big") + raw[8:14] + b"\x00\x00" + raw[14:]
    assert len(read_midi(longer)) == 1


def test_an_end_mark_may_be_missing_or_early(lay):
    def body(content):
        return lay.smf(b"MTrk" + len(content).to_bytes(4, "big") + content)

    content = b"\x00" + ON + b"\x10" + OFF
    assert len(read_midi(body(content + bytes(0)))) == 1
    assert len(read_midi(body(content + b"\x00\xff\x2f\x00" + b"\xaa" * 300))) == 1


def test_pedals_keep_every_value_and_their_order(lay):
    moves = [b"\xb0\x40\x00", b"\xb0\x40\x25", b"\xb0\x42\x7f", b"\xb0\x43\x01", b"\xb0\x07\x64"]
    track = lay.track((0, ON), *[(0, move) for move in moves], (480, OFF))
    controls = read_midi(lay.smf(track)).controls
    assert controls[["number", "value"]].tolist() == [(64, 0), (64, 37), (66, 127), (67, 1)]


def test_a_pedal_on_a_track_of_its_own_acts_on_its_channel(lay):
    left, right = (
        lay.track((0, ON), (480, OFF)),
        lay.track((0, b"\x90\x48\x50"), (480, b"\x80\x48\x00")),
    )
    pedal = lay.track((0, b"\xb0\x40\x7f"), (480, b"\xb0\x40\x00"))
    performance = read_midi(lay.smf(left, right, pedal))
    assert len(performance.tracks) == 2
    assert performance.controls["track"].tolist() == [0, 1, 0, 1]


def test_a_track_with_a_pedal_keeps_to_it(lay):
    first = lay.track((0, ON), (0, b"\xb0\x40\x7f"), (480, OFF))
    second = lay.track((0, ON), (0, b"\xb0\x40\x20"), (480, OFF))
    assert read_midi(lay.smf(first, second)).controls["value"].tolist() == [127, 32]


def test_a_port_has_channels_of_its_own(lay):
    pedal = lay.track((0, lay.meta(0x21, b"\x01")), (0, b"\xb0\x40\x7f"))
    performance = read_midi(lay.smf(pedal, lay.track((0, ON), (480, OFF))))
    assert performance.controls["track"].tolist() == [0]
    assert performance.notes["track"].tolist() == [1]


def test_pedals_without_any_note_are_kept(lay):
    performance = read_midi(lay.smf(lay.track((0, b"\xc2\x07"), (480, b"\xb2\x40\x7f"), end=9)))
    assert performance.controls.tolist() == [(0.5, 64, 127, 0)]
    assert performance.tracks[0].program == 7


def test_a_change_of_program_begins_another_player(lay):
    track = lay.track((0, b"\xc0\x00"), (0, ON), (480, OFF), (0, b"\xc0\x30"), (0, ON), (480, OFF))
    performance = read_midi(lay.smf(track))
    assert [t.program for t in performance.tracks] == [0, 48]
    assert played(performance) == [(0.0, 0.5, 60, 80, 0), (0.5, 1.0, 60, 80, 1)]


def test_a_pedal_between_two_programs_is_kept(lay):
    between = [(0, b"\xc0\x05"), (480, b"\xb0\x40\x7f"), (0, b"\xc0\x00")]
    track = lay.track((0, ON), (0, OFF), *between, (0, ON), (480, OFF))
    assert read_midi(lay.smf(track)).controls.tolist() == [(0.5, 64, 127, 0)]


@pytest.mark.parametrize("padding", [0, 300])
def test_a_key_never_released_sounds_until_the_track_ends(lay, padding):
    track = lay.track(
        (0, ON), (480, b"\x90\x40\x40"), (480, b"\x80\x40\x00"), end=480, padding=padding
    )
    assert played(read_midi(lay.smf(track)))[0] == (0.0, 1.5, 60, 80, 0)


def test_a_note_without_length_lasts_one_tick(lay):
    track = lay.track((480, ON), (0, OFF))
    assert played(read_midi(lay.smf(track, division=500))) == [(0.48, 0.481, 60, 80, 0)]


def test_notes_of_one_pitch_end_in_the_order_they_began(lay):
    track = lay.track((0, ON), (480, b"\x90\x3c\x10"), (480, OFF), (480, OFF))
    assert played(read_midi(lay.smf(track))) == [(0.0, 1.0, 60, 80, 0), (0.5, 1.5, 60, 16, 0)]


def test_names_that_are_not_utf8_are_latin1(lay):
    track = lay.track((0, lay.meta(3, "Flügel".encode("latin-1"))), (0, ON), (480, OFF))
    assert read_midi(lay.smf(track)).tracks[0].name == "Flügel"


def test_paths_and_bytes_read_alike(samples):
    for sample in samples:
        performance = read_midi(sample)
        assert performance == read_midi(str(sample)) == read_midi(bytearray(sample.read_bytes()))
        assert len(performance) > 1000


marks = st.lists(st.tuples(st.integers(0, 100_000), st.integers(1, 0xFFFFFF)), max_size=60)


@settings(max_examples=60, deadline=None)
@given(marks=marks, onset=st.integers(0, 3_000_000), division=st.integers(1, 0x7FFF))
def test_tempo_maps_agree_with_exact_fractions(lay, marks, onset, division):
    conductor = lay.track(*[(delta, lay.tempo(value)) for delta, value in marks])
    raw = lay.smf(conductor, lay.track((onset, ON), (1, OFF)), division=division)
    exact, position, per_tick = Fraction(0), 0, Fraction(500_000)
    for delta, value in marks:
        if position + delta > onset:
            break
        exact += delta * per_tick
        position, per_tick = position + delta, Fraction(value)
    exact = (exact + (onset - position) * per_tick) / 1_000_000 / division
    limits = midi.Limits(seconds=1e12)
    assert read_midi(raw, limits=limits).notes["onset"][0] == pytest.approx(float(exact), rel=1e-15)


def any_events(lay, seed):
    """Notes, moves and programs on three channels, with and without what others put between."""
    rng = random.Random(seed)
    statuses = [0x90, 0x90, 0x90, 0x80, 0xB0, 0xE0, 0xA0, 0xD0] + [0xC0] * (seed % 2)
    between = [
        b"\xf0" + lay.quantity(3) + b"\x7e\x09\xf7",
        lay.meta(1, rng.randbytes(5)),
        lay.meta(0x59, b"\xfb\x00"),
        lay.tempo(rng.choice([0x03F23D, 0x07A120, 0x0B90F0])),
        b"\xf7" + lay.quantity(2) + b"\x90\x3c",
    ][: rng.choice([0, 1, 4, 5])]
    before, running, longest = b"", rng.random() < 0.5, rng.choice([5, 300, 20_000])
    for _ in range(rng.randrange(60, 200)):
        delta = rng.choice([1, 1 + rng.randrange(longest)])
        if between and rng.random() < 0.1:
            yield delta, rng.choice(between)
            continue
        status = rng.choice(statuses)
        code = bytes([status | rng.choice([0, 0, 0, 9, 15])])
        content = bytes([rng.choice([60, 64, 67]), rng.randrange(128)])
        content = content[:1] if status in (0xC0, 0xD0) else content
        yield delta, content if running and code == before else code + content
        before = code
    for channel in (0, 9, 15) if rng.random() < 0.7 else ():
        for pitch in [60, 64, 67] * 40:
            yield 0, bytes([0x80 | channel, pitch, 0])


def test_the_fast_reader_agrees_with_the_exact_one_or_declines(lay):
    vouched = 0
    for seed in range(150):
        body = lay.track(*any_events(lay, seed), end=seed % 3, padding=0)[8:]
        quick, exact = fast.read_track(body, 1000), events.read_track(body, 1000)
        assert quick is None or _same(quick, exact), seed
        vouched += quick is not None
    assert vouched > 20


def _same(one, other):
    def plain(track):
        columns = [
            [(v.channel, v.program, *(c.tolist() for c in v[2:])) for v in track.voices],
            {c: [column.tolist() for column in moves] for c, moves in track.pedals.items()},
        ]
        return track[:4], columns, [track.programs[c] for c in track.pedals]

    return plain(one) == plain(other)


def test_ordinary_tracks_are_read_fast(samples):
    for sample in samples:
        raw = sample.read_bytes()
        bodies = [chunk.body for chunk in midi.chunks.chunks(raw, 14, raw[11])]
        for body in bodies:
            quick = fast.read_track(body, 10_000)
            assert quick is not None
            assert _same(quick, events.read_track(body, 10_000))


def test_reading_is_vectorised_to_the_last_note(lay):
    track = lay.track(*[(d, e) for _ in range(500) for d, e in ((3, ON), (2, OFF))])
    performance = read_midi(lay.smf(track, division=500))
    assert np.array_equal(performance.notes["onset"], (np.arange(500) * 5 + 3) / 1000)
