from __future__ import annotations

import errno
import json
import os
import threading

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from espressivo.errors import MidiError
from espressivo.midi import Limits, midi_bytes, read_midi, read_texts, write_midi
from espressivo.performance import Performance, Track

HALF_TICK = 0.0002501

times = st.floats(0, 3_600, allow_nan=False)
pitches = st.integers(0, 127)


@st.composite
def performances(draw, most_tracks=20):
    """Anything a performance can hold, on tracks where something happens."""
    players = st.builds(
        Track, st.integers(0, 127), st.booleans(), st.text(st.characters(codec="utf-8"), max_size=9)
    )
    tracks = draw(st.lists(players, min_size=1, max_size=most_tracks))
    who = st.integers(0, len(tracks) - 1)
    lengths = st.sampled_from([1e-6, 0.01, 0.3, 20.0])
    note = st.tuples(times, lengths, pitches, st.integers(1, 127), who)
    move = st.tuples(times, st.sampled_from([64, 66, 67]), st.integers(0, 127), who)
    notes = draw(st.lists(note, max_size=20)) + [(0, 1, 60, 1, i) for i in range(len(tracks))]
    marks = st.tuples(st.integers(0, 3_600), st.floats(20, 400))
    tempi = draw(st.lists(marks, max_size=5, unique_by=lambda mark: mark[0]))
    return Performance(
        [(onset, onset + length, *rest) for onset, length, *rest in notes],
        draw(st.lists(move, max_size=20)),
        tempi=tempi,
        tracks=tracks,
    )


def by_key(performance):
    """Notes per track and pitch, the only order in which MIDI tells notes apart."""
    notes = performance.notes
    onsets = notes[np.lexsort([notes["onset"], notes["pitch"], notes["track"]])]
    return onsets, np.sort(notes[["track", "pitch", "offset"]])


@settings(max_examples=40, deadline=None)
@given(performances())
def test_nothing_is_lost_on_the_way_through_a_file(performance):
    again = read_midi(midi_bytes(performance))
    assert again.tracks == performance.tracks
    (before, ends), (after, later_ends) = by_key(performance), by_key(again)
    assert np.allclose(before["onset"], after["onset"], rtol=0, atol=HALF_TICK)
    assert np.allclose(ends["offset"], later_ends["offset"], rtol=0, atol=3 * HALF_TICK)
    for field in ("pitch", "track"):
        assert (before[field] == after[field]).all()
    for track in range(len(performance.tracks)):
        one, other = (p.controls[p.controls["track"] == track] for p in (performance, again))
        assert one[["number", "value"]].tolist() == other[["number", "value"]].tolist()
        assert np.allclose(one["time"], other["time"], rtol=0, atol=HALF_TICK)
    assert sorted(before["velocity"].tolist()) == sorted(after["velocity"].tolist())


@settings(max_examples=25, deadline=None)
@given(performances())
def test_what_was_read_is_written_the_same(performance):
    once = read_midi(midi_bytes(performance))
    assert read_midi(midi_bytes(once)) == once


def test_an_hour_does_not_drift():
    rng = np.random.default_rng(0)
    onsets = np.arange(36_000) / 10 + rng.uniform(0, 0.09, 36_000)
    notes = [(t, t + 0.05, 60 + i % 12, 64, 0) for i, t in enumerate(onsets)]
    moves = [(t, 64, i % 128, 0) for i, t in enumerate(onsets)]
    for tempi in ([], [(60.0 * i, 40 + 7.3 * (i % 20)) for i in range(60)]):
        again = read_midi(midi_bytes(Performance(notes, moves, tempi=tempi)))
        assert np.abs(again.notes["onset"] - onsets).max() < HALF_TICK
        assert np.abs(again.controls["time"] - onsets).max() < HALF_TICK
        assert again.controls["value"].tolist() == [i % 128 for i in range(36_000)]


@pytest.mark.parametrize("step", [0.008, 0.010])
def test_the_grids_of_the_codecs_fall_on_ticks(step):
    onsets = np.arange(0, 360_000, 997) * step
    notes = [(t, t + step, 60, 64, 0) for t in onsets]
    assert np.abs(read_midi(midi_bytes(Performance(notes))).notes["onset"] - onsets).max() < 1e-12


def test_tempo_marks_are_kept():
    marks = [(0.0, 50.0), (1.5, 133.0), (1.7, 61.3)]
    again = read_midi(midi_bytes(Performance([(0, 2, 60, 1, 0)], tempi=marks)))
    assert np.allclose(again.tempi["time"], [m[0] for m in marks], atol=HALF_TICK)
    assert np.allclose(again.tempi["bpm"], [m[1] for m in marks], rtol=1e-5)


def test_overlapping_notes_of_one_pitch_keep_their_ends():
    notes = [(0.0, 1.0, 60, 10, 0), (0.5, 1.5, 60, 20, 0), (1.5, 2.0, 60, 30, 0)]
    assert read_midi(midi_bytes(Performance(notes))).notes.tolist() == notes


def test_a_note_inside_another_of_its_pitch_exchanges_ends_with_it():
    notes = [(0.0, 2.0, 60, 10, 0), (0.5, 1.0, 60, 20, 0)]
    again = read_midi(midi_bytes(Performance(notes))).notes.tolist()
    assert again == [(0.0, 1.0, 60, 10, 0), (0.5, 2.0, 60, 20, 0)]


def test_pedals_come_before_releases_and_onsets_of_the_same_moment():
    performance = Performance([(0, 1, 60, 9, 0), (1, 2, 60, 9, 0)], [(1, 64, 99, 0)])
    raw = midi_bytes(performance)
    assert raw.index(b"\xb0\x40\x63") < raw.index(b"\x3c\x00", raw.index(b"\xb0"))
    assert len(read_midi(raw)) == 2


def test_many_tracks_have_channels_of_their_own():
    tracks = [Track(i, i % 10 == 3, f"player {i}") for i in range(60)]
    notes = [(i, i + 1, 60, 64, i) for i in range(60)]
    performance = Performance(notes, [(0, 64, 127, 0)], tracks=tracks)
    again = read_midi(midi_bytes(performance))
    assert again.tracks == tuple(tracks)
    assert again.controls["track"].tolist() == [0]


def test_drums_are_on_channel_ten():
    raw = midi_bytes(Performance([(0, 1, 36, 99, 0)], tracks=[Track(0, True)]))
    assert b"\x99\x24\x63" in raw


def test_texts_survive(tmp_path):
    text = json.dumps({"seed": 3, "prompt": "Größe ♪", "weights": "0" * 6_000}, ensure_ascii=False)
    path = tmp_path / "take.mid"
    write_midi(Performance([(0, 1, 60, 64, 0)]), path, text=text)
    assert read_texts(path) == [text]
    assert read_texts(path.read_bytes()) == [text]
    assert len(read_midi(path)) == 1
    write_midi(Performance(), path)
    assert read_texts(path) == []
    assert len(read_midi(path)) == 0


@pytest.mark.parametrize(
    ("performance", "reason"),
    [
        (Performance(tempi=[(0, 2)]), "a tempo of 2 beats"),
        (Performance([(2e5, 2e5 + 1, 60, 1, 0)]), "a silence of 400000000 ticks"),
    ],
)
def test_what_midi_cannot_hold_is_refused(performance, reason):
    with pytest.raises(MidiError, match=reason):
        midi_bytes(performance)


def test_a_day_is_written():
    again = read_midi(midi_bytes(Performance([(86_000, 86_001, 60, 1, 0)])), limits=Limits())
    assert again.notes["onset"][0] == 86_000


def test_a_file_that_cannot_be_written_is_one_clear_error(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    for path in (tmp_path / "none" / "a.mid", tmp_path / "file" / "a.mid", tmp_path):
        with pytest.raises(MidiError, match=r"cannot be written: .*; choose a folder") as caught:
            write_midi(Performance(), path)
        assert str(caught.value).startswith(f"{path}: ")
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


@pytest.mark.parametrize("failing", ["fsync", "replace"])
def test_a_full_disk_leaves_the_old_file_whole(tmp_path, monkeypatch, failing):
    path = tmp_path / "a.mid"
    write_midi(Performance([(0, 1, 60, 64, 0)]), path)
    before = path.read_bytes()

    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, failing, full)
    with pytest.raises(MidiError, match="no space left on device"):
        write_midi(Performance(), path)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_a_pipe_can_be_written(tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    received = []
    reader = threading.Thread(target=lambda: received.append(pipe.read_bytes()))
    reader.start()
    write_midi(Performance([(0, 1, 60, 64, 0)]), pipe)
    reader.join()
    assert len(read_midi(received[0])) == 1
