"""What goes to a rented machine and what comes back from it."""

import json
import subprocess
import sys
from argparse import Namespace
from dataclasses import replace
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from espressivo import checkpoint  # noqa: E402
from espressivo.checkpoint import Checkpoint  # noqa: E402
from espressivo.codecs import EVENT_CODECS  # noqa: E402
from espressivo.corpora import Corpus, prepare  # noqa: E402
from espressivo.models import build  # noqa: E402
from espressivo.performance import SUSTAIN  # noqa: E402
from espressivo.presets import preset  # noqa: E402
from tests.corpora.making import folder_of, music, prepared  # noqa: E402

TOOLS = Path(__file__).parents[2] / "tools"
CODEC = EVENT_CODECS["note-events"]


@pytest.fixture(scope="module")
def tools():
    before = list(sys.path)
    sys.path.insert(0, str(TOOLS))
    yield Namespace(
        leg=import_module("gpu_leg"),
        files=import_module("gpu_leg_files"),
        weights=import_module("gpu_leg_weights"),
    )
    sys.path[:] = before


@pytest.fixture(scope="module")
def samples_corpus(tmp_path_factory, samples):
    """The committed performances, one to train on and one to be judged on."""
    path = tmp_path_factory.mktemp("prepared")
    rows = "path,split\ngiantmidi_field.mid,train\ngiantmidi_joplin.mid,validation\n"
    (path / "splits.csv").write_text(rows)
    for _ in prepare(samples, path / "human", splits=path / "splits.csv", workers=0):
        pass
    return Corpus(path / "human")


@pytest.fixture(scope="module")
def off_the_clock(tmp_path_factory):
    """Pieces whose times are on no clock at all, under pedals that are half down."""
    path = tmp_path_factory.mktemp("music")
    pieces = {f"piece {n:04d}.mid": music(n, n) for n in (40, 90, 300)}
    (path / "splits.csv").write_text("path,split\n" + "".join(f"{p},train\n" for p in pieces))
    return prepared(folder_of(path / "in", pieces), path / "loose", splits=path / "splits.csv")


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    chosen = preset("note-transformer-tiny")
    torch.manual_seed(0)
    made = build(chosen.model, len(CODEC.vocabulary))
    weights = {name: p.detach().numpy() for name, p in made.named_parameters()}
    for name, tensor in weights.items():
        if not tensor.any():
            weights[name] = np.random.default_rng(0).normal(0, 0.1, tensor.shape).astype("f4")
    path = tmp_path_factory.mktemp("models") / "untaught"
    checkpoint.save(path, Checkpoint(weights, chosen.model, CODEC, {"licence": "CC0-1.0"}))
    return path


def packed(tools, corpora, path, **settings):
    settings = {"most": 10e6, "wheels": False, **settings}
    about = tools.leg.pack([corpus.path for corpus in corpora], path / "packed", **settings)
    tools.leg.unpack(path / "packed", path / "restored")
    return about, [Corpus(path / "restored" / corpus.path.name) for corpus in corpora]


def pieces_of(corpus):
    return {piece.path: number for number, piece in enumerate(corpus.pieces)}


def test_a_corpus_on_a_clock_comes_back_as_the_same_rows(tools, samples_corpus, tmp_path):
    about, (corpus,) = packed(tools, [samples_corpus], tmp_path)
    corpus.verify()
    assert pieces_of(corpus) == pieces_of(samples_corpus)
    assert about["corpora"][0]["validation_pieces"] == 1
    assert corpus.card["packed_from"] == samples_corpus.card["sha256"]
    for before, after in zip(samples_corpus.pieces, corpus.pieces, strict=True):
        same = ("path", "split", "composition", "licence", "source", "notes")
        assert all(getattr(before, name) == getattr(after, name) for name in same)
    for number in range(len(corpus.pieces)):
        one, two = samples_corpus.performance(number), corpus.performance(number)
        assert np.allclose(one.notes["onset"], two.notes["onset"], atol=1e-9)
        assert np.allclose(one.notes["offset"], two.notes["offset"], atol=1e-9)
        np.testing.assert_array_equal(CODEC.encode(one), CODEC.encode(two))


def test_what_is_lost_off_a_clock_is_half_a_millisecond(tools, off_the_clock, tmp_path):
    _, (corpus,) = packed(tools, [off_the_clock], tmp_path)
    for number in range(len(corpus.pieces)):
        one, two = off_the_clock.notes(number), corpus.notes(number)
        assert (np.diff(two["onset"]) >= 0).all()
        assert (two["offset"] > two["onset"]).all()
        assert (np.abs(np.sort(two["onset"]) - np.sort(one["onset"])) <= 0.000501).all()
        assert sorted(zip(one["pitch"], one["velocity"], strict=True)) == sorted(
            zip(two["pitch"], two["velocity"], strict=True)
        )
        # in another order at most where onsets round to one
        ranked = np.lexsort([one["velocity"], one["pitch"], np.rint(one["onset"] * 1000)])
        again = np.lexsort([two["velocity"], two["pitch"], np.rint(two["onset"] * 1000)])
        held = one["offset"][ranked] - two["offset"][again]
        assert (np.abs(held) <= 0.001501).all()


def test_of_pedals_only_the_sustain_pedal_is_left_and_only_on_and_off(
    tools, off_the_clock, tmp_path
):
    _, (corpus,) = packed(tools, [off_the_clock], tmp_path)
    for number in range(len(corpus.pieces)):
        moves, kept = off_the_clock.controls(number), corpus.controls(number)
        moves = moves[moves["number"] == SUSTAIN]
        down = moves["value"] >= 64
        changed = np.diff(down, prepend=False)
        assert set(kept["number"].tolist()) <= {SUSTAIN}
        assert (kept["value"] == np.where(down[changed], 127, 0)).all()
        assert np.allclose(kept["time"], moves["time"][changed], atol=0.0006)


def test_packing_takes_few_bytes_a_note_and_leaves_pieces_out_to_fit(
    tools, samples_corpus, off_the_clock, tmp_path
):
    about, _ = packed(tools, [samples_corpus], tmp_path / "whole")
    entry = about["corpora"][0]
    assert entry["bytes"] < 5 * entry["notes"] + 2000
    room = entry["bytes"] + tools.leg.SPARE + 1500
    about, restored = packed(
        tools, [samples_corpus, off_the_clock], tmp_path / "cut", most=room, parts=(2, 1)
    )
    assert about["training_share"] < 1
    assert about["corpora"][1]["left_out"] >= 1
    assert tools.files.size_of(tmp_path / "cut" / "packed") <= room
    assert len(restored[1].pieces) == 3 - about["corpora"][1]["left_out"]


def test_composers_and_parts_of_a_recipe_travel(tools, samples_corpus, tmp_path):
    recipe = {"parts": [3], "composers": {"giantmidi/giantmidi_field.mid": "John Field"}}
    packed(tools, [samples_corpus], tmp_path, recipe=recipe)
    found = json.loads((tmp_path / "restored" / "recipe.json").read_text())
    assert found["parts"] == [3]
    assert found["composers"] == {"giantmidi_field.mid": "John Field"}


def test_a_full_folder_is_not_packed_into(tools, samples_corpus, tmp_path):
    (tmp_path / "packed").mkdir()
    (tmp_path / "packed" / "something").touch()
    with pytest.raises(ValueError, match="new folder"):
        packed(tools, [samples_corpus], tmp_path)


@pytest.mark.parametrize("bits", [8, 16])
def test_weights_to_begin_with_arrive_nearly_the_same(tools, model, tmp_path, bits):
    about = tools.weights.pack_start(model, tmp_path / "packed", bits)
    tools.weights.unpack_start(tmp_path / "packed", tmp_path / "start")
    before, after = checkpoint.load(model), checkpoint.load(tmp_path / "start")
    assert about["digest"] == before.digest
    assert (before.config, before.codec) == (after.config, after.codec)
    for name, tensor in before.weights.items():
        row = np.abs(tensor).max(-1, keepdims=True)
        assert (np.abs(after.weights[name] - tensor) <= row / (253 if bits == 8 else 1000)).all()
    assert tools.files.size_of(tmp_path / "packed") < bits / 7 * sum(
        tensor.size for tensor in before.weights.values()
    )


def test_damaged_weights_to_begin_with_are_refused(tools, model, tmp_path):
    tools.weights.pack_start(model, tmp_path / "packed", 8)
    file = tmp_path / "packed" / "packed.safetensors"
    content = bytearray(file.read_bytes())
    content[-5] ^= 1
    file.write_bytes(content)
    with pytest.raises(ValueError, match="damaged"):
        tools.weights.unpack_start(tmp_path / "packed", tmp_path / "start")


def test_weights_come_back_in_parts_and_are_joined_into_a_checkpoint(tools, model, tmp_path):
    trained = replace(checkpoint.load(model), card={"licence": "CC0-1.0", "step": 3})
    tmp_path.joinpath("out").mkdir()
    about = tools.weights.write_parts(trained, tmp_path / "out", most=100_000)
    assert len(about["parts"]) > 2
    assert tools.weights.join(tmp_path / "out", tmp_path / "joined") == about["digest"]
    joined = checkpoint.load(tmp_path / "joined")
    assert joined.card["step"] == 3
    for name, tensor in trained.weights.items():
        np.testing.assert_array_equal(joined.weights[name], tensor.astype("f2").astype("f4"))


def test_a_damaged_or_missing_part_joins_into_nothing(tools, model, tmp_path):
    tmp_path.joinpath("out").mkdir()
    tools.weights.write_parts(checkpoint.load(model), tmp_path / "out", most=100_000)
    (tmp_path / "out" / "weights-01.bin").unlink()
    with pytest.raises(checkpoint.CheckpointError, match="damaged"):
        tools.weights.join(tmp_path / "out", tmp_path / "joined")
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_the_model_joined_is_the_one_the_report_names(tools, model, tmp_path):
    tmp_path.joinpath("out").mkdir()
    tools.weights.write_parts(checkpoint.load(model), tmp_path / "out")
    named = {"parts": {"note-transformer": {"result": {"weights": {"digest": "0" * 64}}}}}
    (tmp_path / "out" / "report.json").write_text(json.dumps(named))
    with pytest.raises(ValueError, match="its report names"):
        tools.weights.join(tmp_path / "out", tmp_path / "joined")


@pytest.mark.slow
@pytest.mark.parametrize("begun", [False, True])
def test_a_leg_is_rehearsed_from_packing_to_joining(
    tools, samples_corpus, off_the_clock, model, tmp_path, begun
):
    start = model if begun else None
    packed(tools, [samples_corpus, off_the_clock], tmp_path, start=start, parts=(2, 1))
    out = tmp_path / "out"
    # where symusic cannot be imported, as there
    (tmp_path / "without" / "symusic").mkdir(parents=True)
    (tmp_path / "without" / "symusic" / "__init__.py").write_text("raise ImportError\n")
    command = [sys.executable, TOOLS / "gpu_leg.py", "run", tmp_path / "packed", "--out", out]
    command += ["--minutes", "20", "--rehearse", "--leg", "0.03"]
    if begun:
        command += ["--only", "note-transformer"]
    done = subprocess.run(
        [str(word) for word in command],
        env={"PATH": "/usr/bin:/bin", "PYTHONPATH": str(tmp_path / "without")},
        capture_output=True,
        text=True,
    )
    report = json.loads((out / "report.json").read_text())
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    assert report["rehearsed"]
    assert report["parts"]["note-transformer"]["result"]["start"] == begun
    assert report["parts"]["note-transformer"]["result"]["after"]["per_note_390"] > 0
    assert len(list(out.iterdir())) <= 8
    assert "A leg on a GPU" in (out / "report.md").read_text()
    digest = tools.weights.join(out, tmp_path / "joined")
    assert checkpoint.load(tmp_path / "joined").digest == digest
