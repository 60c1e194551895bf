import csv
import json
import os

import pytest

from espressivo.corpora import Report
from espressivo.corpora.layouts import composition_of, entries, read_table
from espressivo.errors import CorpusError
from espressivo.midi import midi_bytes
from tests.corpora.making import folder_of, music, prepared, quarantined, stored

FILES = [midi_bytes(music(seed, 20)) for seed in range(6)]
MAESTRO = [
    ("Alban Berg", "Sonata Op. 1", "train", 2018, "2018/one.midi"),
    ("Alban Berg", "Sonata Op. 1", "train", 2008, "2008/two.midi"),
    ("Franz Liszt", "Vallée", "validation", 2018, "2018/three.midi"),
    ("Franz Liszt", "Orage", "test", 2018, "2018/four.midi"),
]
COLUMNS = ("canonical_composer", "canonical_title", "split", "year", "midi_filename")


def table(path, columns, rows):
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([columns, *rows])


def maestro(path):
    folder_of(path, {row[-1]: content for row, content in zip(MAESTRO, FILES, strict=False)})
    table(path / "maestro-v3.0.0.csv", COLUMNS, MAESTRO)
    return path


def test_maestro_keeps_its_official_split(tmp_path):
    folder = maestro(tmp_path / "maestro-v3.0.0")
    folder_of(folder, {"2018/unknown.midi": FILES[5]})
    corpus = prepared(folder, tmp_path / "out")
    assert {p.path: p.split for p in corpus.pieces} == {row[4]: row[2] for row in MAESTRO}
    assert {p.composition for p in corpus.pieces} == {
        "alban berg/sonata op. 1",
        "franz liszt/vallée",
        "franz liszt/orage",
    }
    assert {(p.licence, p.source) for p in corpus.pieces} == {("CC BY-NC-SA 4.0", "maestro-v3.0.0")}
    assert corpus.card["licence"] == "CC BY-NC-SA 4.0"
    refused = quarantined(tmp_path / "out")
    assert refused["2018/unknown.midi"]["reason"] == "not listed"


def test_both_forms_of_maestro_json_say_the_same(tmp_path):
    folder = maestro(tmp_path / "maestro")
    expected = entries([folder], "")
    (folder / "maestro-v3.0.0.csv").unlink()
    rows = [dict(zip(COLUMNS, row, strict=True)) for row in MAESTRO]
    columns = {c: {str(n): row[c] for n, row in enumerate(rows)} for c in COLUMNS}
    for content in (rows, columns):
        (folder / "maestro-v3.0.0.json").write_text(json.dumps(content))
        assert entries([folder], "") == expected


def test_asap_leaves_scores_out_and_keeps_a_work_together(tmp_path):
    works = ["Bach/Prelude/bwv_846", "Bach/Fugue/bwv_846", "Beethoven/Piano_Sonatas/21-1",
             "Beethoven/Piano_Sonatas/21-2_no_repeat"]  # fmt: skip
    folder = tmp_path / "asap"
    for work, content in zip(works, FILES, strict=False):
        folder_of(folder, {f"{work}/A.mid": content, f"{work}/midi_score.mid": FILES[5]})
    rows = [(w.split("/")[0], w, f"{w}/midi_score.mid", f"{w}/A.mid") for w in works]
    table(folder / "metadata.csv", ("composer", "folder", "midi_score", "midi_performance"), rows)
    corpus = prepared(folder, tmp_path / "out")
    assert [p.composition for p in corpus.pieces] == [
        "bach/bwv_846",
        "bach/bwv_846",
        "beethoven/piano_sonatas/21",
        "beethoven/piano_sonatas/21",
    ]
    assert len({(p.composition, p.split) for p in corpus.pieces}) == 2
    assert Report.read(tmp_path / "out").reasons == {"not a performance": 4}
    assert quarantined(tmp_path / "out")[f"{works[0]}/midi_score.mid"]["detail"] == "a score"


def test_known_data_sets_may_lie_side_by_side_with_unknown_files(tmp_path):
    maestro(tmp_path / "in" / "maestro-v3.0.0")
    folder_of(tmp_path / "in", {"mine/a.mid": FILES[4]})
    found = {e.path: (e.split, e.licence) for e in entries([tmp_path / "in"], "CC0")}
    assert found["maestro-v3.0.0/2018/four.midi"] == ("test", "CC BY-NC-SA 4.0")
    assert found["mine/a.mid"] == ("", "CC0")


@pytest.fixture
def combined(tmp_path):
    columns = ("source", "path", "kind", "composition_id", "split", "official_split", "licence")
    rows = [
        ("one", "one/a.mid", "performance", "w1", "test", "train", "CC BY 4.0"),
        ("one", "one/b.mid", "performance", "w1", "test", "validation", "CC BY 4.0"),
        ("two", "two/c.mid", "performance", "w2", "train", "", "CC0"),
        ("two", "two/d.mid", "score", "w2", "train", "", "CC0"),
        ("two", "two/not here.mid", "performance", "w3", "train", "", "CC0"),
    ]
    table(tmp_path / "splits.csv", columns, rows)
    return folder_of(tmp_path / "in", {r[1]: c for r, c in zip(rows[:4], FILES, strict=False)})


def test_a_table_says_split_work_source_and_licence_of_each_file(tmp_path, combined):
    prepared(combined, tmp_path / "out", splits=tmp_path / "splits.csv")
    kept = stored(tmp_path / "out")
    columns = ("path", "split", "composition", "source", "licence")
    assert [tuple(row[column] for column in columns) for row in kept.values()] == [
        ("one/a.mid", "test", "w1", "one", "CC BY 4.0"),
        ("one/b.mid", "test", "w1", "one", "CC BY 4.0"),
        ("two/c.mid", "train", "w2", "two", "CC0"),
    ]
    assert list(quarantined(tmp_path / "out")) == ["two/d.mid"]
    assert Report.read(tmp_path / "out").licences == {"CC BY 4.0": 2, "CC0": 1}


def test_another_column_of_the_table_may_hold_the_split(tmp_path, combined):
    csv_file = tmp_path / "splits.csv"
    prepared(combined, tmp_path / "a", splits=csv_file, split_column="official_split")
    kept = {path: row["split"] for path, row in stored(tmp_path / "a").items()}
    assert kept == {"one/a.mid": "train", "one/b.mid": "validation"}
    assert quarantined(tmp_path / "a")["two/c.mid"] == {
        "path": "two/c.mid",
        "reason": "no split",
        "detail": "column official_split is empty",
    }
    assert Report.read(tmp_path / "a").straddling_works == ["w1"]  # as the table wants it
    prepared(combined, tmp_path / "b", splits=csv_file, split_column="official_split,split")
    assert stored(tmp_path / "b")["two/c.mid"]["split"] == "train"


def test_a_table_fits_a_folder_inside_its_own(tmp_path, combined):
    known = read_table(tmp_path / "splits.csv")
    inside = entries([combined / "one"], "", known)
    assert [(e.path, e.split) for e in inside] == [("a.mid", "test"), ("b.mid", "test")]
    both = entries([combined / "one", combined / "two"], "", known)
    assert [e.path for e in both] == ["one/a.mid", "one/b.mid", "two/c.mid", "two/d.mid"]
    assert [e.split for e in both] == ["test", "test", "train", "train"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("path,kind\na,b\n", "no column 'split'; it has path, kind"),
        ("", "it has nothing"),
        ("path,split\na.mid,dev\n", "split='dev' must be one of train, validation, test"),
        (None, "cannot be read as a table"),
    ],
)
def test_a_table_that_says_nothing_is_an_error(tmp_path, content, message):
    file = tmp_path / "splits.csv"
    if content is not None:
        file.write_text(content)
    with pytest.raises(CorpusError, match=message):
        read_table(file)


@pytest.mark.parametrize(
    ("path", "work"),
    [
        ("Sonata No 1.mid", "sonata-no-1"),
        ("sonata_no_1 (2).mid", "sonata-no-1"),
        ("sonata no 1 take 3.mid", "sonata-no-1"),
        ("Sonata-No-1 - copy.mid", "sonata-no-1"),
        ("Chopin/Ballade__x8sQ.mid", "chopin/ballade"),
        ("Liszt/Ballade__y.mid", "liszt/ballade"),
        ("Ballade v2.mid", "ballade"),
        ("Prelude V.mid", "prelude-v"),
        ("(2).mid", "(2)"),
        ("Bach/bwv_846/Shi05M.mid", "bach/bwv_846"),
        ("Bach/bwv_846/Lang.v2.mid", "bach/bwv_846"),
    ],
)
def test_names_tell_the_work(path, work):
    assert composition_of(path, path.count("/")) == work


def test_a_few_pieces_in_deep_folders_are_works_of_their_own(tmp_path):
    files = {f"chopin/ballades/{n}.mid": content for n, content in enumerate(FILES[:5])}
    corpus = prepared(folder_of(tmp_path / "in", files), tmp_path / "out")
    assert {p.split for p in corpus.pieces} == {"train", "validation", "test"}


def test_a_name_that_is_no_text_is_a_name(tmp_path):
    folder = folder_of(tmp_path / "in", {os.fsdecode(b"\xff.mid"): FILES[0], "b.mid": b"?"})
    folder_of(folder, {os.fsdecode(b"\xfe.mid"): b""})
    corpus = prepared(folder, tmp_path / "out")
    assert [p.path for p in corpus.pieces] == [os.fsdecode(b"\xff.mid")]
    assert r"\udcfe.mid: empty" in (tmp_path / "out" / "report.txt").read_text()


def test_two_files_of_one_name_are_refused(tmp_path):
    for parent in "xy":
        folder_of(tmp_path / parent / "in", {"a.mid": FILES[0]})
    with pytest.raises(CorpusError, match=r"two files are called in/a\.mid"):
        entries([tmp_path / "x" / "in", tmp_path / "y" / "in"], "")
