from __future__ import annotations

import pytest

from espressivo.errors import MidiError
from espressivo.midi import Limits, read_midi, read_texts, salvage_midi

ON, OFF = b"\x90\x3c\x50", b"\x80\x3c\x40"
HEADER = b"MThd\x00\x00\x00\x06"


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (b"", "empty"),
        (b"<!DOCTYPE html><html>", "web page"),
        (b"\xef\xbb\xbf\n <html>", "web page"),
        (b"RIFF\x00\x00\x00\x00RMID", "RIFF"),
        (b"PK\x03\x04", "zip"),
        (b"\x1f\x8b\x08", "gzip"),
        (b"version https://git-lfs.github.com/spec/v1", "LFS"),
        (b"hello", "begins with b'hell', not with b'MThd'"),
        (b"MThd\x00", "cut off inside its header: 5 bytes"),
        (b"MThd\x00\x00\x00\x05" + bytes(6), "claims 5 bytes"),
        (b"MThd\x00\x00\xff\xff" + bytes(6), "claims 65535 bytes"),
        (HEADER + b"\x00\x03\x00\x01\x01\xe0", "type 3"),
        (HEADER + b"\x00\x01\x00\x01\x00\x00", "0 ticks"),
        (HEADER + b"\x00\x01\x00\x01\xe7\x00", "0xE700"),
        (HEADER + b"\x00\x01\x00\x01\x81\x10", "0x8110"),
        (HEADER + b"\x00\x01\x00\x02\x01\xe0", "truncated: 2 tracks announced, 0 found"),
        (
            HEADER + b"\x00\x01\x00\x01\x01\xe0MTrk\x00\x00\x00\x09\x00",
            "truncated at byte 23: 8 bytes",
        ),
    ],
)
def test_what_is_not_midi_is_named(raw, reason, tmp_path):
    path = tmp_path / "piece.mid"
    path.write_bytes(raw)
    for read in (read_midi, salvage_midi, read_texts):
        if read is salvage_midi and "truncated" in reason:
            continue
        with pytest.raises(MidiError, match=reason) as caught:
            read(path)
        assert str(caught.value).startswith(f"{path}: ")
        assert str(caught.value).count(str(path)) == 1
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("event", "reason"),
    [
        (b"\x3c\x50", "byte 328: data byte 0x3C where a status byte must stand"),
        (b"\x90\x3c\x85", "a value of 133 in an event of status 0x90"),
        (b"\xb0\x80\x05", "a value of 128 in an event of status 0xB0"),
        (b"\xf4", "status byte 0xF4 does not exist"),
        (b"\xff\x51\x02\x01\x01", "a tempo of 2 bytes"),
        (b"\xff\x51\x03\x00\x00\x00", "a tempo of 0"),
        (b"\xff\x01\x60hello", "an event of 96 bytes in a track with"),
        (OFF + b"\x81\x82\x83\x84\x85", "a number of more than four bytes"),
    ],
)
@pytest.mark.parametrize("padding", [0, 300])
def test_damage_is_found_by_its_byte(lay, event, reason, padding):
    reason = reason.removeprefix("byte 328: ") if not padding else reason
    with pytest.raises(MidiError, match=rf"^<bytes>: byte \d+: .*|{reason}") as caught:
        read_midi(lay.smf(lay.track((0, event), (0, ON), (480, OFF), padding=padding)))
    assert caught.match(reason)


def test_a_track_that_ends_inside_an_event(lay):
    content = b"\x00" + ON + b"\x10\x80"
    raw = lay.smf(b"MTrk" + len(content).to_bytes(4, "big") + content)
    with pytest.raises(MidiError, match="ends inside an event begun at 4"):
        read_midi(raw)


def test_missing_files_and_folders(tmp_path):
    with pytest.raises(MidiError, match=r"none\.mid: no such file"):
        read_midi(tmp_path / "none.mid")
    with pytest.raises(MidiError, match="a folder, not a MIDI file"):
        read_midi(tmp_path)
    with pytest.raises(MidiError, match="cannot be read: embedded null byte"):
        read_midi("a\0b")


def test_names_stay_on_one_line(tmp_path):
    with pytest.raises(MidiError, match="no such file") as caught:
        read_midi(tmp_path / "two\nlines")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("limits", "reason"),
    [
        (Limits(bytes=100), "larger than the limit of 100 bytes"),
        (Limits(notes=9), "10 notes, the limit is 9"),
        (Limits(notes=4), "10 notes, the limit is 4"),
        (Limits(seconds=9.9), "lasts 10 seconds, the limit is 9.9"),
        (Limits(tracks=0), "1 tracks, the limit is 0"),
    ],
)
def test_limits_are_explicit(lay, limits, reason, tmp_path):
    path = tmp_path / "long.mid"
    path.write_bytes(lay.smf(lay.track(*[(480, ON), (480, OFF)] * 10)))
    for source in (path, path.read_bytes()):
        with pytest.raises(MidiError, match=reason):
            read_midi(source, limits=limits)
    assert len(read_midi(path, limits=Limits(notes=10, seconds=10, tracks=1))) == 10


def test_an_absurd_time_base_is_too_long(lay):
    track = lay.track((0, lay.tempo(0xFFFFFF)), (0x0FFFFFFF, ON), (0x0FFFFFFF, OFF))
    with pytest.raises(MidiError, match=r"lasts 9\.0072e\+09 seconds, the limit is 86400"):
        read_midi(lay.smf(track, division=1))


def test_a_sound_file_has_nothing_to_salvage(samples):
    for sample in samples:
        rescued = salvage_midi(sample)
        assert rescued[1:] == (0, 0, 0, "")
        assert rescued.performance == read_midi(sample) == read_midi(sample, salvage=True)


def test_a_truncated_file_keeps_what_came_before(samples):
    raw = samples[0].read_bytes()
    whole = read_midi(raw)
    with pytest.raises(MidiError, match="truncated at byte 8001"):
        read_midi(raw[:8001])
    rescued = salvage_midi(raw[:8001])
    kept = rescued.performance.notes
    assert 0.6 * len(whole) < len(kept) < 0.9 * len(whole)
    finished = kept["offset"] < rescued.performance.duration
    assert (kept["onset"] == whole.notes["onset"][: len(kept)]).all()
    assert (kept["offset"][finished] == whole.notes["offset"][: len(kept)][finished]).all()
    assert 0 < rescued.cut_notes <= len(kept) - finished.sum() < 10
    assert rescued.lost_bytes < 5
    with pytest.warns(UserWarning, match=r"truncated at byte 8001: .* notes cut"):
        assert read_midi(raw[:8001], salvage=True) == rescued.performance


def test_an_impossible_value_costs_one_event(lay):
    track = lay.track((0, ON), (0, b"\x90\x40\x90"), (480, OFF))
    rescued = salvage_midi(lay.smf(track))
    assert rescued[1:4] == (0, 1, 0)
    assert len(rescued.performance) == 1
    assert "a value of 144" in rescued.reason


def test_an_unreadable_event_costs_the_rest_of_its_track(lay):
    broken = lay.track((0, ON), (480, OFF), (0, b"\xf4\x00\x00"), (0, ON), padding=0)
    rescued = salvage_midi(lay.smf(broken, lay.track((480, ON), (480, OFF))))
    assert len(rescued.performance) == 2
    assert rescued.lost_bytes == 12
    assert rescued.reason == "byte 32: status byte 0xF4 does not exist"


def test_wrong_lengths_and_leading_rubbish_are_survived(lay):
    raw = lay.smf(lay.track((0, ON), (480, OFF)), lay.track((0, ON), (480, OFF)))
    for length in (0, 10, 1_000, 1_000_000):
        rescued = salvage_midi(b"rubbish" + raw[:18] + length.to_bytes(4, "big") + raw[22:])
        assert len(rescued.performance) == 2
        assert rescued.lost_bytes == 7


def test_nothing_to_salvage(lay):
    with pytest.raises(MidiError, match="nothing to salvage: truncated: 1 tracks"):
        salvage_midi(lay.smf(b"")[:14])
