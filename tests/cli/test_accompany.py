"""`espressivo accompany`: a melody in, the same melody between two hands out."""

import json

import numpy as np
import pytest

from espressivo import bundle, checkpoint
from espressivo.codecs import CODECS
from espressivo.configs import MelodyTransformerConfig
from espressivo.generation import MELODIES, line_of
from espressivo.midi import read_midi, write_midi
from espressivo.performance import Performance

models = pytest.importorskip("espressivo.models", reason="torch draws the weights")

CODEC = CODECS["performance-rnn"]


@pytest.fixture(scope="module")
def accompanist(tmp_path_factory):
    """A checkpoint that reads melodies and has learnt nothing."""
    config = MelodyTransformerConfig(
        layers=1, width=8, attention=8, feed_forward=8, heads=2, reach=8, context=64, clock=True
    )
    parameters = models.build(config, len(CODEC.vocabulary)).named_parameters()
    weights = {name: p.detach().numpy() for name, p in parameters}
    path = tmp_path_factory.mktemp("models") / "accompanist"
    card = {"licence": "CC0-1.0", "trained_on": "nothing"}
    checkpoint.save(path, checkpoint.Checkpoint(weights, config, CODEC, card))
    return path


@pytest.fixture
def accompany(run, accompanist):
    def command(melody, *words):
        sparse = "sampling.densest_second=5"
        return run("accompany", melody, "--model", accompanist, sparse, *words)

    return command


def starts(performance, name="melody"):
    """Onset in microseconds, pitch and velocity of the notes of a track."""
    (track,) = (i for i, track in enumerate(performance.tracks) if track.name == name)
    notes = performance.notes[performance.notes["track"] == track]
    return [(round(1e6 * n[0]), n[2], n[3]) for n in notes.tolist()]


def given(performance):
    return [(round(1e6 * n[0]), n[2], n[3]) for n in performance.notes.tolist()]


def near(one, other):
    """A file holds times to half a tick."""
    return [n[1:] for n in one] == [n[1:] for n in other] and all(
        abs(a[0] - b[0]) < 100 for a, b in zip(one, other, strict=True)
    )


def test_a_tune_at_hand_keeps_every_note(accompany, tmp_path):
    code, out, err = accompany("row", "-o", "a.mid", "--seed", "1")
    assert (code, err) == (0, "")
    assert "midi: a.mid" in out.splitlines()
    played = read_midi(tmp_path / "a.mid")
    assert near(starts(played), given(MELODIES["row"]()))
    assert starts(played, "accompaniment")


def test_the_melody_of_a_file_is_kept_where_it_is(accompany, tmp_path):
    late = MELODIES["mary"]().shift(3.21)
    write_midi(late, tmp_path / "late.mid")
    code, _, err = accompany("late.mid", "-o", "a.mid", "--takes", "2")
    assert (code, err) == (0, "")
    for name in ("a-1.mid", "a-2.mid"):
        assert near(starts(read_midi(tmp_path / name)), given(late))


def test_a_melody_drawn_out_of_chords_is_said_to_be(accompany, tmp_path):
    chords = Performance.merge([MELODIES["mary"](), MELODIES["mary"]().transpose(-16)])
    write_midi(chords, tmp_path / "chords.mid")
    code, _, err = accompany("chords.mid", "-o", "a.mid")
    assert code == 0
    assert err == "chords.mid: a melody of 26 out of 52 notes\n"
    assert near(starts(read_midi(tmp_path / "a.mid")), given(MELODIES["mary"]()))


def test_the_command_it_prints_and_the_file_itself_play_the_same_again(accompany, run, tmp_path):
    code, out, _ = accompany("mary", "-o", "a.mid", "--json")
    assert code == 0
    first = (tmp_path / "a.mid").read_bytes()
    again = json.loads(out)["again"].split()
    assert run(*again[1:], "--force")[0] == 0
    assert (tmp_path / "a.mid").read_bytes() == first
    code, out, _ = run("replay", "a.mid", "-o", "b.mid", "--json")
    assert code == 0
    assert json.loads(out)["identical"]
    assert near(starts(read_midi(tmp_path / "b.mid")), starts(read_midi(tmp_path / "a.mid")))


def test_other_models_and_other_files_are_refused(run, model, accompany, tmp_path):
    code, out, err = run("accompany", "twinkle", "--model", model, "-o", "a.mid")
    assert (code, out) == (2, "")
    assert "reads no melodies" in err
    write_midi(Performance(), tmp_path / "empty.mid")
    code, _, err = accompany("empty.mid", "-o", "a.mid")
    assert code == 2
    assert "no notes" in err
    code, _, err = accompany("nowhere.mid", "-o", "a.mid")
    assert code == 2
    assert "nowhere.mid" in err


def test_without_a_name_the_bundled_accompanist_plays(run, monkeypatch, accompanist):
    monkeypatch.setattr(bundle, "BUNDLED", accompanist.parent)
    assert bundle.accompanist() == "accompanist"
    code, out, _ = run("accompany", "mary", "-o", "a.mid")
    assert code == 0
    assert "model: accompanist" in out.splitlines()


def test_tunes_are_melodies_and_sound_as_they_are_sung():
    lengths = {"twinkle": 42, "row": 27, "mary": 26}
    for name, tune in MELODIES.items():
        melody = tune()
        assert len(melody) == lengths[name]
        assert line_of(melody) == melody
        steps = np.diff(melody.notes["onset"]) * 96 / 60
        assert melody.duration < 33
        assert set(np.round(steps, 6).tolist()) <= {0.5, 1.0, 1.5, 2.0, 3.0, 4.0}
