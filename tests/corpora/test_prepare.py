import json
import os
import random
import shutil
import tarfile
import tempfile
import zipfile
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from espressivo.codecs import CODECS
from espressivo.corpora import Report, prepare
from espressivo.corpora.plan import SHARD
from espressivo.corpora.shards import one_piano
from espressivo.errors import CorpusError, MidiError
from espressivo.midi import Limits, midi_bytes, read_midi
from espressivo.performance import SUSTAIN, Performance, Track
from tests.corpora.making import folder_of, music, prepared, quarantined, stored

PIECES = [midi_bytes(music(seed, 40)) for seed in range(3)]
DRUMS = Performance(music(9).notes, tracks=[Track(is_drum=True)])
CHORD = Performance([(0.0, 0.4, key, 80, 0) for key in range(40, 60)])


def damaged():
    """A file somebody could have, whole or not."""
    whole = st.sampled_from(PIECES)
    return st.one_of(
        whole,
        st.builds(lambda raw, at: raw[: at % len(raw)], whole, st.integers(0)),
        st.builds(_flipped, whole, st.integers(0, 2**32)),
        st.sampled_from([b"", b"<html>", midi_bytes(DRUMS), midi_bytes(CHORD)]),
        st.sampled_from([midi_bytes(music(5, 3)), midi_bytes(Performance())]),
    )


def _flipped(raw: bytes, seed: int) -> bytes:
    rng, changed = random.Random(seed), bytearray(raw)
    for _ in range(rng.randint(1, 8)):
        changed[rng.randrange(len(raw))] = rng.randrange(256)
    return bytes(changed)


@settings(max_examples=10)
@given(st.lists(damaged(), min_size=1, max_size=6))
def test_every_file_ends_in_exactly_one_place(contents):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder)
        files = {f"{n}.mid": content for n, content in enumerate(contents)}
        corpus = prepared(folder_of(path / "in", files), path / "out")
        kept, refused = stored(path / "out"), quarantined(path / "out")
        assert sorted([*kept, *refused]) == sorted(files)
        report = Report.read(path / "out")
        assert (report.files, report.stored, report.quarantined) == (
            len(files),
            len(kept),
            len(refused),
        )
        assert sum(report.reasons.values()) == len(refused)
        assert all(row["reason"] and row["detail"] for row in refused.values())
        for number, piece in enumerate(corpus.pieces):
            assert corpus.performance(number) == one_piano(read_midi(path / "in" / piece.path))


def test_reasons_name_what_is_wrong(tmp_path):
    files = {
        "broken.mid": PIECES[0][:200],
        "page.MID": b"<html>",
        "drums.mid": DRUMS,
        "few.midi": music(5, 9),
        "chord.kar": CHORD,
        "copy.mid": PIECES[1],
        "again.mid": PIECES[1],
        "notes.txt": b"no MIDI, not counted",
    }
    prepared(folder_of(tmp_path / "in", files), tmp_path / "out")
    found = {p: (row["reason"], row["detail"]) for p, row in quarantined(tmp_path / "out").items()}
    assert found.pop("broken.mid")[0] == found["page.MID"][0] == "unreadable"
    assert found.pop("page.MID")[1].startswith("a web page")
    assert found == {
        "drums.mid": ("no notes", "it holds no note but drums"),
        "few.midi": ("few notes", "9 notes; at least 10 are needed"),
        "chord.kar": ("too short", "0.400 seconds; at least 1 are needed"),
        "copy.mid": ("duplicate", "the same notes as again.mid"),
    }
    text = (tmp_path / "out" / "report.txt").read_text()
    assert text == f"{Report.read(tmp_path / 'out')}\n"
    assert "7 files = 1 stored + 6 quarantined" in text
    assert "few.midi: 9 notes" in text


def failing(path, error):
    raise error


@pytest.mark.parametrize(
    ("error", "reason"),
    [(MidiError("bad"), "unreadable"), (ZeroDivisionError("x"), "internal error")],
)
def test_an_error_while_reading_stops_nothing(tmp_path, error, reason):
    folder_of(tmp_path / "in", {"a.mid": PIECES[0]})
    prepared(tmp_path / "in", tmp_path / "out", read=partial(failing, error=error))
    assert quarantined(tmp_path / "out")["a.mid"]["reason"] == reason


def test_limits_of_reading_are_reasons(tmp_path):
    folder_of(tmp_path / "in", {"a.mid": PIECES[0]})
    read = partial(read_midi, limits=Limits(notes=20))
    prepared(tmp_path / "in", tmp_path / "out", read=read)
    assert "20" in quarantined(tmp_path / "out")["a.mid"]["detail"]


def test_what_is_stored_encodes_as_what_was_read(tmp_path, samples):
    files = {p.name: p.read_bytes() for p in sorted(samples.glob("*.mid"))}
    corpus = prepared(folder_of(tmp_path / "in", files), tmp_path / "out", licence="CC BY 4.0")
    assert len(corpus.pieces) == len(files)
    for number, piece in enumerate(corpus.pieces):
        original = read_midi(samples / piece.path)
        for codec in CODECS.values():
            np.testing.assert_array_equal(
                codec.encode(corpus.performance(number)), codec.encode(original.trimmed())
            )
    assert corpus.card["licences"] == {"CC BY 4.0": len(files)}


def test_all_but_drums_becomes_one_piano_from_its_first_onset():
    performance = Performance(
        [(1.0, 1.5, 36, 90, 1), (2.0, 3.0, 60, 80, 0), (2.5, 3.5, 64, 70, 2)],
        [(0.5, SUSTAIN, 90, 0), (0.5, SUSTAIN, 90, 2), (3.0, SUSTAIN, 0, 0), (3.0, SUSTAIN, 0, 2)],
        tracks=[Track(), Track(is_drum=True), Track(program=4)],
    )
    assert one_piano(performance) == Performance(
        [(0.0, 1.0, 60, 80, 0), (0.5, 1.5, 64, 70, 0)],
        [(0.0, SUSTAIN, 90, 0), (1.0, SUSTAIN, 0, 0)],
    )


# -- going on ------------------------------------------------------------------------------------


def many(path, count=SHARD + 6):
    """More files than fit one shard; most are broken, which is quick."""
    files = {f"{n:03d}.mid": PIECES[n // 30] if n % 30 == 0 else b"?" for n in range(count)}
    return folder_of(path, files)


def contents(out):
    """Everything a corpus consists of."""
    return {p.name: p.read_bytes() for p in out.iterdir() if not p.name.startswith(".")}


def test_a_run_left_at_any_step_goes_on_to_the_same_corpus(tmp_path):
    many(tmp_path / "in")
    expected = contents(prepared(tmp_path / "in", tmp_path / "out").path)
    for steps, done in enumerate([0, 0, SHARD, SHARD + 6]):
        out = tmp_path / str(steps)
        progress = prepare(tmp_path / "in", out, workers=0, name="out")
        for _ in range(steps):
            next(progress)
        progress.close()
        (out / ".notes-00001.npy.0123.tmp").write_bytes(b"half")
        resumed = list(prepare(tmp_path / "in", out, workers=0, name="out"))
        assert resumed[0].done == done
        assert resumed[-1].done == resumed[-1].files == SHARD + 6
        assert contents(out) == expected
        assert not list(out.glob(".*"))


@pytest.mark.parametrize("lost", ["shard-00000.json", "notes-00001.npy", "corpus.json"])
def test_what_is_lost_is_made_again(tmp_path, lost):
    many(tmp_path / "in")
    out = prepared(tmp_path / "in", tmp_path / "out").path
    expected = contents(out)
    (out / "corpus.json").unlink()
    (out / lost).unlink(missing_ok=True)
    prepared(tmp_path / "in", out)
    assert contents(out) == expected


def test_a_finished_corpus_is_left_alone(tmp_path):
    folder_of(tmp_path / "in", {"a.mid": PIECES[0]})
    out = prepared(tmp_path / "in", tmp_path / "out").path
    before = {p: p.stat().st_mtime_ns for p in out.iterdir()}
    assert [p.done for p in prepare(tmp_path / "in", out, read=None)] == [1]
    assert {p: p.stat().st_mtime_ns for p in out.iterdir()} == before


def test_a_folder_that_changed_is_noticed(tmp_path):
    folder = folder_of(tmp_path / "in", {"a.mid": PIECES[0], "b.mid": PIECES[1]})
    out = prepared(folder, tmp_path / "out").path
    folder_of(folder, {"c.mid": PIECES[2], "b.mid": PIECES[1] + b"\0"})
    (folder / "a.mid").unlink()
    message = r"1 added \(such as c.mid\), 1 missing \(such as a.mid\), 1 changed \(such as b.mid\)"
    with pytest.raises(CorpusError, match=message):
        prepare(folder, out)


def test_a_folder_may_move(tmp_path):
    folder = folder_of(tmp_path / "in", {"a.mid": PIECES[0]})
    out = prepared(folder, tmp_path / "out").path
    (tmp_path / "elsewhere").mkdir()
    moved = shutil.move(folder, tmp_path / "elsewhere" / "in")
    assert [p.done for p in prepare(moved, out)] == [1]


def test_other_settings_are_noticed(tmp_path):
    folder = folder_of(tmp_path / "in", {"a.mid": PIECES[0]})
    out = prepared(folder, tmp_path / "out").path
    with pytest.raises(CorpusError, match="licence='unknown', not 'CC0'"):
        prepare(folder, out, licence="CC0")
    with pytest.raises(CorpusError, match="name='out', not 'mine'"):
        prepare(folder, out, name="mine")


def test_a_file_that_changes_while_being_prepared_is_quarantined(tmp_path):
    folder = folder_of(tmp_path / "in", {"a.mid": PIECES[0], "b.mid": PIECES[1]})
    progress = prepare(folder, tmp_path / "out", workers=0)
    (folder / "a.mid").write_bytes(PIECES[2] + b"\0")
    list(progress)
    assert quarantined(tmp_path / "out")["a.mid"]["reason"] == "changed"


def test_nothing_to_read_and_nowhere_to_write_are_errors(tmp_path):
    (tmp_path / "in").mkdir()
    with pytest.raises(CorpusError, match=r"no MIDI file \(.mid, .midi, .kar\)"):
        prepare(tmp_path / "in", tmp_path / "out")
    with pytest.raises(CorpusError, match=r"missing: no such folder"):
        prepare(tmp_path / "missing", tmp_path / "out")
    folder_of(tmp_path / "in", {"a.mid": PIECES[0]})
    with pytest.raises(CorpusError, match="holds something else"):
        prepare(tmp_path / "in", tmp_path / "in")
    with pytest.raises(CorpusError, match="cannot be made"):
        prepare(tmp_path / "in", tmp_path / "in" / "a.mid" / "out")


def test_a_full_disk_is_one_clear_error_and_leaves_no_half_file(tmp_path, monkeypatch):
    folder = folder_of(tmp_path / "in", {"a.mid": PIECES[0]})

    def full(handle):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(CorpusError, match=r"plan.jsonl: cannot be written: No space left"):
            prepare(folder, tmp_path / "out", workers=0)
    assert not list((tmp_path / "out").iterdir())
    assert len(prepared(folder, tmp_path / "out").pieces) == 1


# -- archives ------------------------------------------------------------------------------------


def test_archives_are_read_like_the_folders_in_them(tmp_path):
    files = {"music/x/a.mid": PIECES[0], "music/b.mid": PIECES[1], "music/readme.wav": b"RIFF"}
    folder_of(tmp_path, files)
    with tarfile.open(tmp_path / "music.tar.xz", "w:xz") as archive:
        archive.add(tmp_path / "music", "music")
        hostile = tarfile.TarInfo("../../outside.mid")
        archive.addfile(hostile)
    with zipfile.ZipFile(tmp_path / "music.zip", "w") as zipped:
        for name in files:
            zipped.write(tmp_path / name, name)
    expected = contents(prepared(tmp_path / "music", tmp_path / "out", name="m").path)
    for archive in ("music.tar.xz", "music.zip"):
        out = tmp_path / f"from {archive}"
        corpus = prepared(tmp_path / archive, out, name="m")
        assert [p.path for p in corpus.pieces] == ["b.mid", "x/a.mid"]
        found = contents(out)
        assert found.keys() == expected.keys()
        assert found["corpus.json"] == expected["corpus.json"]
        assert not list(out.glob(".*"))
        assert len(list(prepare(tmp_path / archive, out, name="m"))) == 1  # finished: not unpacked
        assert not list(out.glob(".*"))
    assert not list(tmp_path.rglob("outside.mid"))


def test_a_broken_archive_is_an_error(tmp_path):
    raw = random.Random(0).randbytes(200_000)
    with tarfile.open(tmp_path / "a.tar.gz", "w:gz") as archive:
        folder_of(tmp_path, {"a.mid": raw})
        archive.add(tmp_path / "a.mid", "a.mid")
    whole = (tmp_path / "a.tar.gz").read_bytes()
    (tmp_path / "a.tar.gz").write_bytes(whole[:100_000])
    with pytest.raises(CorpusError, match=r"a.tar.gz: cannot be unpacked"):
        prepare(tmp_path / "a.tar.gz", tmp_path / "out")


def test_a_damaged_corpus_is_named(tmp_path):
    corpus = prepared(folder_of(tmp_path / "in", {"a.mid": PIECES[0]}), tmp_path / "out")
    corpus.verify()
    file = tmp_path / "out" / "notes-00000.npy"
    raw = bytearray(file.read_bytes())
    raw[-3] ^= 1
    file.write_bytes(raw)
    with pytest.raises(CorpusError, match=r"notes-00000.npy is damaged"):
        corpus.verify()
    (tmp_path / "out" / "corpus.json").write_text(json.dumps({"format": 99}))
    with pytest.raises(CorpusError, match="format 99 is not 1"):
        _ = corpus.card.keys()
