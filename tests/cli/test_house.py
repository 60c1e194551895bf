import json
import shutil

import pytest

from espressivo import bundle, checkpoint
from espressivo.cli import doctor
from espressivo.errors import CheckpointError


@pytest.fixture
def bundled(model, tmp_path, monkeypatch):
    """Two bundled checkpoints: folders in the right place, nothing else."""
    place = tmp_path / "bundled"
    for name in ("aardvark", "performance-rnn"):
        shutil.copytree(model, place / name)
    (place / "no-checkpoint").mkdir()
    monkeypatch.setattr(bundle, "BUNDLED", place)
    return place


def test_a_folder_is_all_a_bundled_checkpoint_takes(bundled):
    assert bundle.names() == ["performance-rnn", "aardvark"]
    assert bundle.default() == "performance-rnn"
    assert bundle.path() == bundled / "performance-rnn"
    assert bundle.path("aardvark") == bundled / "aardvark"


def test_a_folder_on_disk_is_found_by_its_path(bundled, model):
    assert bundle.path(model) == model


def test_an_unknown_name_is_told_with_those_known(bundled):
    with pytest.raises(CheckpointError, match="bundled: performance-rnn, aardvark"):
        bundle.path("nobody")


def test_nothing_bundled_is_said(monkeypatch, tmp_path):
    monkeypatch.setattr(bundle, "BUNDLED", tmp_path)
    with pytest.raises(CheckpointError, match="no checkpoint is bundled"):
        bundle.path()


def test_bundled_checkpoints_are_listed_with_their_licences(bundled, run):
    code, out, _ = run("models")
    assert code == 0
    assert "performance-rnn (default): lstm" in out
    assert out.count("licence: CC0-1.0") == 2
    assert list(json.loads(run("models", "--json")[1])) == ["performance-rnn", "aardvark"]


def test_the_default_plays_and_is_found_again(bundled, run, tmp_path):
    code, out, _ = run("generate", "--seconds", "2", "-o", "a.mid", "--json")
    assert code == 0
    assert json.loads(out)["model"] == "performance-rnn"
    assert "--model performance-rnn" in json.loads(out)["again"]
    assert run("replay", "a.mid")[0] == 0


def test_the_doctor_finds_what_this_installation_has(run):
    code, out, _ = run("doctor", "--json")
    facts = json.loads(out)
    assert code == 0
    assert facts["whole"]
    found = {finding["what"]: finding["found"] for finding in facts["findings"]}
    assert found["numpy"]
    assert found["symusic"]


def test_the_doctor_says_what_is_missing_and_how_to_mend_it(run, monkeypatch):
    monkeypatch.setattr(doctor, "_REQUIRED", ("no-such-package",))
    code, out, _ = run("doctor")
    assert code == 1
    assert "MISSING no-such-package: pip install no-such-package" in out


@pytest.mark.parametrize("name", bundle.names())
def test_what_ships_is_whole_small_and_says_its_licence(name):
    path = bundle.path(name)
    checkpoint.load(path)
    assert sum(file.stat().st_size for file in path.iterdir()) < 25e6
    card = (path / "README.md").read_text()
    assert "CC BY" in card
    assert checkpoint.load(path).card["corpus"]["licence"]
