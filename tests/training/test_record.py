"""What a run writes about itself, and how it is read after any end."""

import json

import pytest

from espressivo.errors import ConfigError, CorpusError
from espressivo.training import read_metrics, read_record
from espressivo.training.record import differences, mend_metrics, sha256_of, write_record


def test_a_torn_last_line_and_steps_taken_again_are_left_out(tmp_path):
    lines = [{"step": 1, "loss": 3}, {"step": 2, "loss": 2}, {"step": 3, "loss": 9}]
    lines += [{"step": 2, "loss": 2}, {"step": 3, "loss": 1}]
    text = "".join(json.dumps(line) + "\n" for line in lines)
    (tmp_path / "metrics.jsonl").write_text(text + '{"step": 4, "l')
    assert [(x["step"], x["loss"]) for x in read_metrics(tmp_path)] == [(1, 3), (2, 2), (3, 1)]
    mend_metrics(tmp_path)
    assert (tmp_path / "metrics.jsonl").read_text() == text
    mend_metrics(tmp_path)
    assert (tmp_path / "metrics.jsonl").read_text() == text


@pytest.mark.parametrize("line", [b"{", b"[]", b'{"loss": 1}', b"\xff"])
def test_a_line_damaged_within_is_named(line, tmp_path):
    (tmp_path / "metrics.jsonl").write_bytes(b'{"step": 1}\n' + line + b'\n{"step": 2}\n')
    with pytest.raises(CorpusError, match=r"metrics\.jsonl:2"):
        read_metrics(tmp_path)


def test_no_metrics_is_said(tmp_path):
    with pytest.raises(CorpusError, match="cannot be read"):
        read_metrics(tmp_path)


def test_a_record_is_empty_read_or_refused(tmp_path):
    assert read_record(tmp_path) == {}
    write_record(tmp_path, {"format": 1, "seed": 3})
    assert read_record(tmp_path)["seed"] == 3
    assert [path.name for path in tmp_path.iterdir()] == ["run.json"]
    for content in ("{", "[]", '{"format": 9}'):
        (tmp_path / "run.json").write_text(content)
        with pytest.raises(ConfigError, match=r"run\.json"):
            read_record(tmp_path)


def test_differences_are_named_with_both_values_but_for_what_is_free():
    before = {"model": {"layers": 2, "old": 1}, "training": {"steps": 5, "betas": [0.9, 0.98]}}
    now = {"model": {"layers": 3, "new": 1}, "training": {"steps": 9, "betas": (0.9, 0.98)}}
    assert differences(before, now) == [
        ("model.layers", 2, 3),
        ("model.new", None, 1),
        ("model.old", 1, None),
    ]


def test_the_hash_of_a_configuration_does_not_depend_on_order():
    assert sha256_of({"a": 1, "b": 2}) == sha256_of({"b": 2, "a": 1}) != sha256_of({"a": 1, "b": 3})
