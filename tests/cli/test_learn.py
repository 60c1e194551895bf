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

NOTES = (
    "train", "note-transformer-tiny", "corpus", "-o", "notes", "training.batch=2",
    "training.length=32", "training.steps=3", "training.evaluate_every=3",
    "training.evaluation_length=32", "training.evaluation_windows=2",
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


def test_a_model_of_note_events_is_trained_and_judged_but_not_played_yet(corpus, run, tmp_path):
    pytest.importorskip("torch")
    code, out, err = run(*NOTES, "--json")
    facts = json.loads(out)
    assert code == 0
    assert (facts["step"], facts["end"]) == (3, "finished")
    assert '"kind": "note-events"' in err.splitlines()[0]

    for where in (("--corpus", corpus, "--split", "test"), ("--midi", "midi", "--limit", "1")):
        code, out, _ = run("evaluate", "notes", *where, "--json")
        judged = json.loads(out)
        assert code == 0
        assert 15 < judged["per_note_390"] < judged["per_note"] < 30
        assert judged["notes_390"] == pytest.approx(judged["notes"], abs=2)
        assert judged["pieces"][0]["per_note_390"] > 0
        assert "key" in judged["told"]

    code, out, err = run("generate", "--model", "notes", "--seconds", "2", "-o", "a.mid")
    assert (code, out) == (2, "")
    assert err.startswith("espressivo: a note-transformer cannot be played")
    assert len(err.splitlines()) == 1
    assert not (tmp_path / "a.mid").exists()


def test_only_390_events_are_compared_with_note_events(corpus, run):
    pytest.importorskip("torch")
    run("train", *TINY)
    told = json.loads(run("evaluate", "run", "--midi", "midi", "--limit", "1", "--json")[1])
    assert told["per_note_390"] is None


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ("codec.velocity_bins=32", "are 740 classes, the codec has 708"),
        ("codec.pedal_levels=3", "pedal_levels=3 must be one of 2, 4 and 8"),
        ("model.controls=tuba", "controls: no 'tuba'; known are notes-per-second"),
        ("training.grow=-5", "must be steps from 0 on"),
        ("training.augmentation.curve=0.5", "curve=0.5 must be a factor from 1 on"),
    ],
)
def test_settings_that_make_no_run_of_note_events_are_one_sentence(setting, words, corpus, run):
    pytest.importorskip("torch")
    code, out, err = run(*NOTES, setting)
    assert (code, out) == (2, "")
    assert words in err
    assert len(err.splitlines()) == 1


def test_a_corpus_without_pedals_and_a_composer_nobody_knows_are_refused(corpus, run, tmp_path):
    pytest.importorskip("torch")
    code, _, err = run(*NOTES, "model.composers=Nobody")
    assert (code, "no piece by 'Nobody' is known" in err) == (2, True)
    for file in (tmp_path / "midi").iterdir():
        write_midi(read_midi(file).replace(controls=[]), file)
    assert run("prepare", "midi", "-o", "dry", "--workers", "0")[0] == 0
    code, _, err = run(*(word.replace("corpus", "dry") for word in NOTES))
    assert code == 2
    assert "dry: no piece of split 'train' moves the sustain pedal" in err.splitlines()[-1]


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
