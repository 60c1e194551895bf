import json
import os
import signal

import pytest

from espressivo import checkpoint, read_midi
from espressivo.checkpoint import Checkpoint
from espressivo.generation import Provenance
from espressivo.midi import read_texts


@pytest.fixture
def generate(run, model):
    def command(*words):
        return run("generate", "--model", model, "--seconds", "4", *words)

    return command


def test_a_performance_is_written_heard_and_drawn(generate, tmp_path):
    files = ("-o", "out/a.mid", "--audio", "out/a.flac", "--plot", "out/a.png")
    code, out, err = generate(*files, "--seed", "7")
    assert (code, err) == (0, "")
    for line in ("midi: out/a.mid", "audio: out/a.flac", "plot: out/a.png", "seed: 7"):
        assert line in out.splitlines()
    assert read_midi(tmp_path / "out/a.mid").duration == pytest.approx(4, abs=0.01)
    assert (tmp_path / "out/a.flac").read_bytes().startswith(b"fLaC")
    assert (tmp_path / "out/a.png").read_bytes().startswith(b"\x89PNG")


def test_the_command_it_prints_plays_the_same_again(generate, run, tmp_path):
    _, out, _ = generate("-o", "a.mid", "--json")
    again = json.loads(out)["again"].split()
    first = (tmp_path / "a.mid").read_bytes()
    assert again[0] == "espressivo"
    code, _, _ = run(*again[1:], "--force")
    assert code == 0
    assert (tmp_path / "a.mid").read_bytes() == first


def test_every_run_without_a_seed_draws_its_own(generate):
    seeds = {json.loads(generate("-o", f"{i}.mid", "--json")[1])["seed"] for i in range(3)}
    assert len(seeds) == 3


def test_takes_are_numbered_and_differ(generate, tmp_path):
    code, out, _ = generate("-o", "a.mid", "--plot", "a.svg", "--takes", "3", "--json")
    assert code == 0
    takes = json.loads(out)["takes"]
    assert [take["midi"] for take in takes] == ["a-1.mid", "a-2.mid", "a-3.mid"]
    assert [take["plot"] for take in takes] == ["a-1.svg", "a-2.svg", "a-3.svg"]
    assert len({(tmp_path / take["midi"]).read_bytes() for take in takes}) == 3


@pytest.mark.parametrize("name", ["a-2.mid", "a-2.png"])
def test_nothing_is_overwritten_before_or_after_the_work(generate, tmp_path, name):
    (tmp_path / name).write_text("mine")
    code, out, err = generate("-o", "a.mid", "--plot", "a.png", "--takes", "2")
    assert (code, out) == (2, "")
    assert f"{name} exists; add --force" in err
    assert [path.name for path in tmp_path.iterdir()] == [name]
    assert (tmp_path / name).read_text() == "mine"


def test_settings_may_stand_anywhere_and_are_remembered(generate, tmp_path):
    code, _, _ = generate("sampling.top_k=5", "-o", "a.mid", "sampling.temperature=0.5")
    assert code == 0
    sampling = Provenance.find(read_texts(tmp_path / "a.mid")).sampling
    assert (sampling.top_k, sampling.temperature) == (5, 0.5)


def test_an_unknown_setting_is_told_with_the_nearest(generate):
    code, _, err = generate("-o", "a.mid", "sampling.temprature=0.5")
    assert code == 2
    assert "did you mean sampling.temperature" in err


def test_standard_output_carries_nothing_but_midi(process, model):
    words = ("generate", "--model", model, "--seconds", "2", "--seed", "3", "-o", "-")
    playing = process(*words, text=False)
    midi, err = playing.communicate()
    assert playing.returncode == 0
    assert read_midi(midi).duration == pytest.approx(2, abs=0.01)
    assert b"seed: 3" in err


def test_a_roll_is_shown_when_asked_for(generate):
    _, out, _ = generate("-o", "a.mid", "--show")
    assert "ped │" in out
    _, out, _ = generate("-o", "b.mid")
    assert "ped │" not in out


def test_a_continuation_begins_with_its_primer(run, model, samples, tmp_path):
    primer = samples / "giantmidi_field.mid"
    code, _, err = run(
        "continue", primer, "--primer-seconds", "6", "--seconds", "3", "--model", model,
        "-o", "a.mid", "--plot", "a.svg",
    )  # fmt: skip
    assert (code, err) == (0, "")
    played, given = read_midi(tmp_path / "a.mid"), read_midi(primer).trimmed()
    assert played.duration == pytest.approx(9, abs=0.05)
    early = given.notes[given.notes["onset"] < 5.9]
    assert played.notes["pitch"][: len(early)].tolist() == early["pitch"].tolist()
    assert "from here on the model" in (tmp_path / "a.svg").read_text()


def test_a_replay_is_the_same_file(generate, run, tmp_path, model):
    generate("-o", "a.mid", "--takes", "2")
    code, out, err = run("replay", "a-2.mid", "-o", "b.mid")
    assert (code, err) == (0, "")
    assert "identical: True" in out
    assert (tmp_path / "b.mid").read_bytes() == (tmp_path / "a-2.mid").read_bytes()


def test_a_continuation_is_replayed_without_its_primer(run, model, samples, tmp_path):
    primer = tmp_path / "primer.mid"
    primer.write_bytes((samples / "giantmidi_field.mid").read_bytes())
    run("continue", primer, "--primer-seconds", "5", "--seconds", "3", "--model", model,
        "-o", "a.mid")  # fmt: skip
    primer.unlink()
    code, out, _ = run("replay", "a.mid", "--json")
    assert code == 0
    assert json.loads(out)["identical"] is True


def test_a_replay_needs_the_same_checkpoint(generate, run, model, tmp_path):
    generate("-o", "a.mid")
    model = model.rename(model.with_name("moved"))
    try:
        code, _, err = run("replay", "a.mid")
        assert code == 2
        assert "name its folder with --model" in err
        assert run("replay", "a.mid", "--model", model)[0] == 0
    finally:
        model.rename(model.with_name("untaught"))


def test_only_what_espressivo_played_can_be_replayed(run, samples):
    code, _, err = run("replay", samples / "giantmidi_field.mid")
    assert code == 2
    assert "no provenance" in err


def test_control_c_saves_what_was_played_and_says_where(process, run, model, tmp_path):
    terminal, stderr = os.openpty()
    words = ("generate", "--model", model, "--seconds", "80000", "-o", "a.mid", "--seed", "1")
    playing = process(*words, cwd=tmp_path, stderr=stderr)
    shown = b""
    while b"playing 9 s of 80000 s" not in shown:
        shown += os.read(terminal, 1000)
    playing.send_signal(signal.SIGINT)
    out, _ = playing.communicate(timeout=60)
    os.close(stderr)
    assert playing.returncode == 130
    assert "midi: a.mid" in out
    assert b"interrupted" in os.read(terminal, 1_000_000)
    os.close(terminal)

    played = read_midi(tmp_path / "a.mid")
    assert 8 < played.duration < 80000
    pedals = played.controls[played.controls["number"] == 64]
    assert not len(pedals) or pedals["value"][-1] == 0
    assert Provenance.find(read_texts(tmp_path / "a.mid")).seconds == 80000


@pytest.fixture
def told(tmp_path):
    """The folder of an untrained model that is told what is to come."""
    from tests.generation.test_controls import CODEC, CONFIG, weights  # noqa: PLC0415

    checkpoint.save(tmp_path / "told", Checkpoint(weights(), CONFIG, CODEC))
    return tmp_path / "told"


def test_a_model_is_told_what_is_typed(run, told, tmp_path):
    words = ("generate", "--model", told, "--seconds", "4", "--seed", "1", "--notes-per-second")
    asked = ("2,8,2", "--pitch-class-histogram", "C major; f# minor")
    assert run(*words, *asked, "-o", "a.mid")[0] == 0
    found = Provenance.find(read_texts(tmp_path / "a.mid"))
    assert found.controls["notes-per-second"] == [[2], [8], [2]]
    assert [sum(row) for row in found.controls["pitch-class-histogram"]] == [10, 11]
    assert run("replay", "a.mid", "-o", "b.mid")[0] == 0
    assert (tmp_path / "a.mid").read_bytes() == (tmp_path / "b.mid").read_bytes()


def test_what_a_model_cannot_be_told_is_refused_before_it_plays(generate, run, told):
    code, _, err = generate("-o", "a.mid", "--notes-per-second", "4")
    assert code == 2
    assert "cannot be told notes-per-second" in err
    for flag, value in (("notes-per-second", "fast"), ("pitch-class-histogram", "C mayor")):
        code, _, err = run("generate", "--model", told, "-o", "a.mid", f"--{flag}", value)
        assert code == 2
        assert value in err


def test_a_beam_is_asked_for_and_remembered(generate, run, model, tmp_path):
    flags = ("--beam", "2", "--branch", "3", "--steps-per-iteration", "4")
    code, out, _ = generate("-o", "a.mid", "--seed", "3", *flags, "--json")
    assert code == 0
    assert all(flag in json.loads(out)["again"].split() for flag in flags)
    sampling = Provenance.find(read_texts(tmp_path / "a.mid")).sampling
    assert (sampling.beam, sampling.branch, sampling.steps_per_iteration) == (2, 3, 4)
    code, out, _ = run("replay", "a.mid", "--model", model, "--json")
    assert (code, json.loads(out)["identical"]) == (0, True)
    generate("-o", "c.mid", "--seed", "3")
    assert (tmp_path / "c.mid").read_bytes() != (tmp_path / "a.mid").read_bytes()
