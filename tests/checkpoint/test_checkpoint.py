"""A checkpoint is whole and true, or refused by the name of the file that is not."""

import errno
import hashlib
import json
import os
import pickle
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save

from espressivo import checkpoint
from espressivo.checkpoint import Checkpoint
from espressivo.codecs import CODECS
from espressivo.configs import LstmConfig, TransformerConfig
from espressivo.errors import CheckpointError

FILES = ("config.json", "manifest.json", "model.safetensors", "notes.txt")


def made(**changes):
    rng = np.random.default_rng(0)
    weights = {"a": rng.normal(size=(4, 3)).astype("f4"), "b": rng.normal(size=5).astype("f4")}
    config = LstmConfig(layers=1, width=8)
    return replace(Checkpoint(weights, config, CODECS["oore2018"], {"preset": "x"}), **changes)


@pytest.fixture
def saved(tmp_path):
    path = tmp_path / "checkpoint"
    checkpoint.save(path, made(), {"notes.txt": b"more about it"})
    return path


def reseal(path, name, content):
    """Replace a file and make the manifest agree, as someone who means harm would."""
    (path / name).write_bytes(content)
    entries = json.loads((path / "manifest.json").read_text())
    entries[name] = {"sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content)}
    (path / "manifest.json").write_text(json.dumps(entries))


@pytest.mark.parametrize("codec", CODECS.values(), ids=CODECS)
@pytest.mark.parametrize(
    "config",
    [LstmConfig(dropout=0.1), TransformerConfig(patterns=("causal", "blocks:8"), values=256)],
)
def test_what_is_saved_is_loaded(codec, config, tmp_path):
    before = made(codec=codec, config=config)
    checkpoint.save(tmp_path / "one", before)
    after = checkpoint.load(tmp_path / "one")
    assert (after.config, after.codec, after.card) == (config, codec, before.card)
    assert after.weights.keys() == before.weights.keys()
    for name, array in before.weights.items():
        assert np.array_equal(after.weights[name], array)


def test_a_checkpoint_of_the_first_format_is_loaded(saved):
    content = json.loads((saved / "config.json").read_text())
    for old, new in ((True, "added"), (False, "none")):
        model = {"kind": "music-transformer", "layers": 1, "reach": 9, "sinusoids": old}
        first = content | {"format": 1, "model": model}
        reseal(saved, "config.json", json.dumps(first).encode())
        config = checkpoint.load(saved).config
        assert config == TransformerConfig(layers=1, reach=9, sinusoids=new)


def test_the_digest_tells_contents_and_not_places(saved, tmp_path):
    checkpoint.save(tmp_path / "again", made(), {"notes.txt": b"more about it"})
    checkpoint.save(tmp_path / "other", made(card={"preset": "y"}))
    digests = [checkpoint.load(tmp_path / name).digest for name in ("checkpoint", "again", "other")]
    assert digests[0] == digests[1] != digests[2]


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("place", [0.0, 0.5, 1.0])
def test_one_flipped_bit_is_refused_by_name(name, place, saved):
    content = bytearray((saved / name).read_bytes())
    content[int(place * (len(content) - 1))] ^= 1
    (saved / name).write_bytes(content)
    with pytest.raises(CheckpointError, match="checkpoint/"):
        checkpoint.load(saved)
    if name != "manifest.json":
        with pytest.raises(CheckpointError, match=f"{name} is damaged"):
            checkpoint.load(saved)


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("keep", [0, 10])
def test_a_truncated_file_is_refused_by_name(name, keep, saved):
    (saved / name).write_bytes((saved / name).read_bytes()[:keep])
    with pytest.raises(CheckpointError, match=f"{name} is damaged"):
        checkpoint.load(saved)


@pytest.mark.parametrize("name", FILES)
def test_a_missing_file_is_refused_by_name(name, saved):
    (saved / name).unlink()
    with pytest.raises(CheckpointError, match=f"{name} is missing"):
        checkpoint.load(saved)


def test_what_the_manifest_does_not_name_is_never_opened(saved):
    class Harm:
        def __reduce__(self):
            return Path.write_text, (saved.parent / "harmed", "")

    for name in ("model.pt", "pytorch_model.bin", "data.pkl"):
        (saved / name).write_bytes(pickle.dumps(Harm()))
    checkpoint.load(saved)
    for name in ("model.safetensors", "config.json"):
        reseal(saved, name, pickle.dumps(Harm()))
        with pytest.raises(CheckpointError):
            checkpoint.load(saved)
    assert not (saved.parent / "harmed").exists()


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"\xff\xfe{}", "config.json is damaged"),
        (b"[1, 2]", "it holds list"),
        (b"[" * 100_000, "config.json is damaged"),
        (b"{}", "format None"),
        (b'{"format": 3}', "a newer espressivo"),
    ],
)
def test_a_config_that_is_none_is_refused(content, words, saved):
    reseal(saved, "config.json", content)
    with pytest.raises(CheckpointError, match=words):
        checkpoint.load(saved)


@pytest.mark.parametrize(
    ("noun", "change", "words"),
    [
        ("model", None, "unknown model None"),
        ("model", {"kind": "gpt"}, "unknown model 'gpt'; known are lstm"),
        ("model", {"kind": ["lstm"]}, "unknown model"),
        ("model", {"layers": -1}, "layers=-1"),
        ("model", {"layers": 2.5}, r"model\.layers=2\.5"),
        ("model", {"layers": True}, r"model\.layers=True"),
        ("model", {"width": "8"}, r"model\.width='8'"),
        ("model", {"dropout": 2}, "dropout=2"),
        ("model", {"depth": 3}, "lstm has no field 'depth'"),
        ("codec", {"pedal": "up"}, r"codec\.pedal='up'"),
        ("codec", {"max_shift": 0}, "max_shift=0"),
        ("codec", {"max_shift": 9}, "token ids are not those"),
        ("vocabulary", {"sha256": 7}, "token ids are not those"),
    ],
)
def test_a_field_that_cannot_be_is_refused_by_name(noun, change, words, saved):
    content = json.loads((saved / "config.json").read_text())
    content[noun] = None if change is None else {**content[noun], **change}
    reseal(saved, "config.json", json.dumps(content).encode())
    with pytest.raises(CheckpointError, match=words):
        checkpoint.load(saved)


def test_a_manifest_cannot_point_outside(saved):
    entries = json.loads((saved / "manifest.json").read_text())
    (saved.parent / "secret").write_text("")
    entries["../secret"] = {"sha256": hashlib.sha256(b"").hexdigest(), "bytes": 0}
    (saved / "manifest.json").write_text(json.dumps(entries))
    with pytest.raises(CheckpointError, match="secret is missing"):
        checkpoint.load(saved)


def test_weights_must_be_real_numbers(tmp_path):
    checkpoint.save(tmp_path / "one", made(weights={"a": np.arange(3)}))
    with pytest.raises(CheckpointError, match="a is int64"):
        checkpoint.load(tmp_path / "one")


# -- saving --------------------------------------------------------------------------------------


def test_nothing_is_written_over(saved):
    with pytest.raises(CheckpointError, match="never written over another"):
        checkpoint.save(saved, made())


@pytest.mark.parametrize("step", ["save_file", "write_text", "fsync", "rename"])
def test_a_full_disk_is_one_clear_error_and_leaves_nothing(step, tmp_path, monkeypatch):
    def full(*_, **__):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    owner = {"save_file": checkpoint, "fsync": os}.get(step, Path)
    with monkeypatch.context() as patch:
        patch.setattr(owner, step, full)
        with pytest.raises(CheckpointError, match=r"cannot be written \(No space left"):
            checkpoint.save(tmp_path / "one", made())
    assert list(tmp_path.iterdir()) == []


def test_a_disk_that_fills_while_weights_are_written_is_told_of(tmp_path):
    resource = pytest.importorskip("resource")
    signal = pytest.importorskip("signal")
    large = made(weights={"a": np.ones(100_000, dtype="f4")})
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))
    try:
        with pytest.raises(CheckpointError, match="one: cannot be written"):
            checkpoint.save(tmp_path / "one", large)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, handler)
    assert list(tmp_path.iterdir()) == []


def test_a_place_that_cannot_be_is_one_clear_error(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(CheckpointError, match="cannot be written"):
        checkpoint.save(tmp_path / "file" / "one", made())


# -- releases ------------------------------------------------------------------------------------


def test_a_release_is_half_as_large_and_loads_as_float32(saved, tmp_path):
    licence = {"LICENSE": b"CC BY-NC-SA 4.0"}
    path = checkpoint.release(saved, tmp_path / "release", card={"name": "mine"}, extra=licence)
    released, full = checkpoint.load(path), checkpoint.load(saved)
    assert (path / "LICENSE").read_bytes() == licence["LICENSE"]
    assert {key: released.card[key] for key in ("preset", "name", "dtype", "released_from")} == {
        "preset": "x", "name": "mine", "dtype": "float16", "released_from": full.digest,
    }  # fmt: skip
    for name, array in full.weights.items():
        assert released.weights[name].dtype == np.float32
        assert np.array_equal(released.weights[name], array.astype("f2").astype("f4"))


def test_a_release_drops_the_state_of_training(tmp_path):
    checkpoint.save(tmp_path / "step", made(), {"optimizer.safetensors": b"large"})
    path = checkpoint.release(tmp_path / "step", tmp_path / "release")
    names = {file.name for file in path.iterdir()}
    assert names == {"model.safetensors", "config.json", "manifest.json"}


def test_what_float16_cannot_hold_is_refused(tmp_path):
    checkpoint.save(tmp_path / "one", made(weights={"a": np.full(3, 1e6, "f4")}))
    with pytest.raises(CheckpointError, match="a holds values that float16 cannot"):
        checkpoint.release(tmp_path / "one", tmp_path / "two")
    assert not (tmp_path / "two").exists()
    checkpoint.release(tmp_path / "one", tmp_path / "two", dtype="float32")


def test_the_best_of_a_run_is_found_before_its_newest(tmp_path):
    run = tmp_path / "run"
    for number in (1, 2):
        checkpoint.save(run / "checkpoints" / f"step-{number:08d}", made())
    assert checkpoint.find(run).name == "step-00000002"
    checkpoint.save(run / "best-00000001", made())
    assert checkpoint.find(run).name == "best-00000001"
    assert checkpoint.find(run / "best-00000001") == run / "best-00000001"


def test_a_release_of_8_bits_is_a_quarter_and_nearly_the_same(tmp_path):
    rng = np.random.default_rng(1)
    big = {"a": rng.normal(size=(64, 256)).astype("f4"), "b": rng.normal(size=5).astype("f4")}
    big["a"][3] = 0.0  # a row of nothing has nothing to be scaled by
    checkpoint.save(tmp_path / "whole", made(weights=big))
    path = checkpoint.release(tmp_path / "whole", tmp_path / "small", dtype="int8")
    sizes = [(tmp_path / x / "model.safetensors").stat().st_size for x in ("whole", "small")]
    assert sizes[1] < 0.3 * sizes[0]
    after = checkpoint.load(path)
    assert after.card["dtype"] == "int8"
    for name, array in big.items():
        assert after.weights[name].dtype == np.float32
        worst = np.abs(array).max(-1, keepdims=True) / 127 / 2
        assert (np.abs(after.weights[name] - array) <= worst + 1e-3 * np.abs(array)).all(), name


@pytest.mark.parametrize("lost", ["a", "a.scale"])
def test_8_bit_rows_and_their_scales_belong_together(lost, tmp_path):
    checkpoint.save(tmp_path / "whole", made())
    path = checkpoint.release(tmp_path / "whole", tmp_path / "small", dtype="int8")
    stored = load_file(path / "model.safetensors")
    del stored[lost]
    reseal(path, "model.safetensors", save(stored))
    with pytest.raises(CheckpointError, match=r"model.safetensors: a(\.scale)? "):
        checkpoint.load(path)
