import json
import sys
from io import BytesIO, TextIOWrapper

import pytest

from espressivo import read_midi, write_midi


@pytest.fixture(scope="module")
def short(tmp_path_factory, samples):
    path = tmp_path_factory.mktemp("midi") / "short.mid"
    write_midi(read_midi(samples / "giantmidi_field.mid").slice(0, 4), path)
    return path


@pytest.mark.parametrize("suffix", ["wav", "flac", "ogg", "mp3"])
def test_a_file_is_heard(run, short, tmp_path, suffix):
    code, out, _ = run("render", short, "-o", f"a.{suffix}", "--json")
    assert code == 0
    assert json.loads(out)["seconds"] > 4
    assert (tmp_path / f"a.{suffix}").stat().st_size > 1000


def test_a_sound_that_exists_is_kept(run, short, tmp_path):
    (tmp_path / "a.wav").write_text("mine")
    assert run("render", short, "-o", "a.wav")[0] == 2
    assert (tmp_path / "a.wav").read_text() == "mine"
    assert run("render", short, "-o", "a.wav", "--force")[0] == 0
    assert (tmp_path / "a.wav").read_bytes().startswith(b"RIFF")


def test_a_file_is_drawn(run, short, tmp_path):
    code, out, _ = run("plot", short, "-o", "a.svg", "--theme", "dark", "--title", "Nocturne")
    assert (code, out) == (0, "plot: a.svg\n")
    assert "Nocturne" in (tmp_path / "a.svg").read_text()


def test_without_a_file_the_roll_is_drawn_in_the_terminal(run, short):
    code, out, _ = run("plot", short, "--start", "1", "--end", "3")
    assert code == 0
    assert "ped │" in out
    assert "\x1b[" not in out


def test_midi_may_come_from_standard_input(run, short, monkeypatch):
    monkeypatch.setattr(sys, "stdin", TextIOWrapper(BytesIO(short.read_bytes())))
    assert run("plot", "-")[0] == 0


def test_a_damaged_file_is_salvaged_when_asked_to(run, short, tmp_path):
    (tmp_path / "torn.mid").write_bytes(short.read_bytes()[:-60])
    assert run("plot", "torn.mid")[0] == 2
    code, out, err = run("plot", "torn.mid", "--salvage")
    assert code == 0
    assert "ped │" in out
    assert "lost" in err


def test_a_performance_is_told(run, short):
    code, out, _ = run("inspect", short, "--json")
    facts = json.loads(out)
    assert code == 0
    assert facts["kind"] == "midi"
    assert facts["notes"] == len(read_midi(short))
    assert facts["lowest_pitch"] < facts["highest_pitch"]


def test_who_played_is_told(run, model):
    run("generate", "--model", model, "--seconds", "2", "-o", "a.mid", "--seed", "5")
    _, out, _ = run("inspect", "a.mid", "--json")
    assert json.loads(out)["played_by"]["seed"] == 5


def test_a_checkpoint_is_told(run, model):
    _, out, _ = run("inspect", model, "--json")
    facts = json.loads(out)
    assert facts["kind"] == "checkpoint"
    assert facts["vocabulary"] == 415
    assert facts["card"]["licence"] == "CC0-1.0"


def test_facts_are_one_a_line_under_their_json_names(run, model):
    _, out, _ = run("inspect", model)
    assert "  licence: CC0-1.0" in out.splitlines()
    assert "vocabulary: 415" in out.splitlines()
