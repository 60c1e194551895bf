import json
import signal

import pytest

from espressivo import read_midi, write_midi
from espressivo.cli import learn

TINY = (
    "performance-rnn-tiny", "corpus", "-o", "run", "model.layers=1", "model.width=16",
    "training.batch=2", "training.length=32", "training.steps=4", "training.evaluate_every=2",
    "training.evaluation_length=64", "training.evaluation_windows=2",
)  # fmt: skip


@pytest.fixture
def corpus(run, samples, tmp_path):
    """Eight pieces, so that every split has some."""
    whole = read_midi(samples / "giantmidi_field.mid")
    (tmp_path / "midi").mkdir()
    for number in range(8):
        part = whole.slice(20.0 * number, 20.0 * number + 18)
        write_midi(part, tmp_path / "midi" / f"piece {number}.mid")
    code, *_ = run("prepare", "midi", "-o", "corpus", "--licence", "CC BY 4.0", "--workers", "0")
    assert code == 0
    return tmp_path / "corpus"


def test_every_file_of_a_corpus_is_accounted_for(corpus, run, tmp_path):
    (tmp_path / "midi" / "broken.mid").write_text("no music")
    words = ("prepare", "midi", "-o", "second", "--workers", "0", "--json")
    code, out, _ = run(*words)
    report = json.loads(out)
    assert code == 0
    assert (report["files"], report["stored"], report["quarantined"]) == (9, 8, 1)
    assert run(*words)[1] == out


def test_a_corpus_is_told(corpus, run):
    _, out, _ = run("inspect", corpus, "--json")
    facts = json.loads(out)
    assert facts["kind"] == "corpus"
    assert sum(split["pieces"] for split in facts["splits"].values()) == 8
    assert facts["card"]["licence"] == "CC BY 4.0"


def test_presets_are_listed_with_their_sources(run):
    code, out, _ = run("presets")
    assert code == 0
    assert "music-transformer: " in out
    assert set(json.loads(run("presets", "--json")[1])) > {"oore2018", "performance-rnn-tiny"}


def test_a_preset_tells_its_numbers_under_the_names_settings_use(run):
    _, out, _ = run("presets", "performance-rnn")
    for words in ("source: ", "deviations: ", "  width: 512", "  learning_rate: 0.001"):
        assert words in out


def test_a_model_is_trained_told_judged_and_played(corpus, run, tmp_path):
    pytest.importorskip("torch")
    code, out, err = run("train", *TINY, "--json")
    facts = json.loads(out)
    assert code == 0
    assert (facts["step"], facts["end"]) == (4, "finished")
    assert '"width": 16' in err.splitlines()[0]
    assert (tmp_path / facts["checkpoint"] / "model.safetensors").is_file()

    told = json.loads(run("inspect", "run", "--json")[1])
    assert (told["kind"], told["steps"]) == ("run", 4)
    assert told["best_validation_nats_per_token"] == pytest.approx(
        facts["best_validation_nats_per_token"], abs=1e-4
    )
    assert told["best"]["card"]["preset"] == "performance-rnn-tiny"

    code, out, _ = run("evaluate", "run", "--corpus", corpus, "--split", "test", "--json")
    assert code == 0
    assert 5 < json.loads(out)["per_token"] < 7
    code, out, _ = run("evaluate", "run", "--midi", "midi", "--limit", "1")
    assert code == 0
    assert "nats_per_note: " in out

    assert run("generate", "--model", "run", "--seconds", "2", "-o", "a.mid")[0] == 0


def test_a_finished_run_goes_on_when_asked_for_more(corpus, run):
    pytest.importorskip("torch")
    run("train", *TINY)
    code, out, _ = run("train", *TINY, "--json")
    assert (code, json.loads(out)["end"]) == (0, "nothing left to do")
    code, out, err = run("train", *TINY, "training.steps=6", "--json")
    assert (code, json.loads(out)["step"]) == (0, 6)
    assert "going on from" in err


def test_a_run_of_another_configuration_is_refused(corpus, run):
    pytest.importorskip("torch")
    run("train", *TINY)
    code, _, err = run("train", *TINY, "model.width=8")
    assert code == 2
    assert "width" in err


def test_control_c_saves_a_run_and_says_where(corpus, process, tmp_path):
    pytest.importorskip("torch")
    endless = ("training.steps=1000000", "training.evaluate_every=3", "training.save_every=1000")
    training = process("train", *TINY, *endless, "--json", cwd=tmp_path)
    for line in training.stderr:
        if "validation" in line:
            break
    training.send_signal(signal.SIGINT)
    out, err = training.communicate(timeout=120)
    assert training.returncode == 130
    facts = json.loads(out)
    assert facts["end"] == "interrupted"
    assert f"step-{facts['step']:08d}" in err
    assert (tmp_path / "run" / "checkpoints" / f"step-{facts['step']:08d}").is_dir()


def test_without_torch_training_says_what_to_install(corpus, run, monkeypatch):
    monkeypatch.setattr(learn, "find_spec", lambda name: None)
    code, _, err = run("train", *TINY)
    assert code == 2
    assert "pip install 'espressivo[train]'" in err
