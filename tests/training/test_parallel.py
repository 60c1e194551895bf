"""Several processes train what one would: the same numbers, whole checkpoints, clear ends."""

import json
import os
import signal
import sys
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta

import pytest

from espressivo import checkpoint, engines
from espressivo.corpora import Corpus
from espressivo.errors import CheckpointError, ConfigError
from espressivo.training import read_metrics, read_record
from tests.training.made import CODEC, LSTM, SMALL, TRANSFORMER
from tests.training.together import digest, together

train = pytest.importorskip("espressivo.training.train")
parallel = pytest.importorskip("espressivo.training.parallel")
torch = pytest.importorskip("torch")

CALM = {LSTM: replace(LSTM, dropout=0.0), TRANSFORMER: replace(TRANSFORMER, dropout=0.0)}
SIX = replace(SMALL, accumulate=2, ema=0.9)


def made(run, corpus, mode, model, config):
    torch.set_num_threads(1)
    return train.Trainer(run, Corpus(corpus.path), CODEC, model, config, parallel=mode)


def tensors(trainer):
    """All that training goes on from, whatever it is called here and there."""
    yield from trainer.model.parameters()
    yield from trainer.average
    for optimizer in trainer.optimizers:
        for _, values in sorted(optimizer.state_dict()["state"].items()):
            yield from (torch.as_tensor(values[name]) for name in sorted(values))


def trained(run, corpus, mode, model, config, last=6):
    """Train to a step; tell what happened and what there is of it in this process."""
    trainer = made(run, corpus, mode, model, config)
    begun, told = digest(tensors(trainer)), []
    for step in trainer.steps():
        judged = step.evaluation.per_token if step.evaluation else 0.0
        told.append((step.loss, step.gradient_norm, judged))
        if step.step == last:
            trainer.save()
            break
    everything = [t for t in tensors(trainer) if t.ndim]
    here = [t.to_local() if isinstance(t, parallel.DTensor) else t for t in everything]
    return {
        "resumed": trainer.resumed,
        "begun": begun,
        "steps": told,
        "digest": digest(tensors(trainer)),
        "cut": all(isinstance(t, parallel.DTensor) for t in everything),
        "share": sum(t.numel() for t in here) / sum(t.numel() for t in everything),
    }


@pytest.mark.parametrize(
    ("mode", "model", "optimizer"),
    [
        ("ddp", TRANSFORMER, "muon"),
        ("fsdp", TRANSFORMER, "muon"),
        ("fsdp", LSTM, "adamw"),
    ],
)
def test_two_processes_train_what_one_would(mode, model, optimizer, corpus, tmp_path):
    config = replace(SIX, optimizer=optimizer, clip_norm=0.5)
    alone = trained(tmp_path / "alone", corpus, "none", CALM[model], config)
    both = together(trained, 2, tmp_path / "both", corpus, mode, CALM[model], config)
    assert both[0] == both[1]
    for one, other in zip(alone["steps"], both[0]["steps"], strict=True):
        assert other == pytest.approx(one, abs=2e-5)
    assert both[0]["cut"] == (mode == "fsdp")
    assert both[0]["share"] == (0.5 if mode == "fsdp" else 1.0)

    assert [line["step"] for line in read_metrics(tmp_path / "both")] == [1, 2, 3, 4, 5, 6]
    assert read_record(tmp_path / "both")["parallel"] == {"mode": mode, "processes": 2}
    one, other = (checkpoint.load(checkpoint.find(tmp_path / run)) for run in ("alone", "both"))
    assert one.weights.keys() == other.weights.keys()
    for name, weights in one.weights.items():
        assert other.weights[name] == pytest.approx(weights, abs=1e-4), name
    assert engines.build(other.config, other.weights) is not None


@pytest.mark.parametrize("mode", ["ddp", "fsdp"])
def test_two_processes_resume_to_the_last_bit(mode, corpus, tmp_path):
    (whole, _) = together(trained, 2, tmp_path / "whole", corpus, mode, TRANSFORMER, SIX)
    (first, _) = together(trained, 2, tmp_path / "parts", corpus, mode, TRANSFORMER, SIX, 3)
    second = together(trained, 2, tmp_path / "parts", corpus, mode, TRANSFORMER, SIX)
    assert second[0] == second[1]
    assert second[0]["begun"] == first["digest"]
    assert first["steps"] + second[0]["steps"] == whole["steps"]
    assert second[0]["digest"] == whole["digest"]


def test_a_run_moves_between_modes_and_numbers_of_processes(corpus, tmp_path):
    config, run = replace(SIX, optimizer="muon", steps=1), tmp_path / "run"
    (before, _) = together(trained, 2, run, corpus, "fsdp", TRANSFORMER, config, 1)
    steps = [("none", 1), ("fsdp", 2), ("ddp", 2), ("fsdp", 1), ("fsdp", 2), ("none", 1)]
    for number, (mode, size) in enumerate(steps, 2):
        config = replace(config, steps=number)
        after = together(trained, size, run, corpus, mode, TRANSFORMER, config, number)
        assert {one["begun"] for one in after} == {before["digest"]}
        before = after[0]
    files = {path.name for path in (run / "checkpoints" / "step-00000006").iterdir()}
    assert {"optimizer-00001.safetensors", "optimizer-00002.safetensors"} < files
    assert [path for path in run.rglob(".*") if path.is_dir()] == []


def test_a_damaged_part_of_a_checkpoint_is_refused_by_name(corpus, tmp_path):
    together(trained, 2, tmp_path / "run", corpus, "fsdp", LSTM, SMALL, 2)
    part = tmp_path / "run" / "checkpoints" / "step-00000002" / "optimizer-00002.safetensors"
    content = bytearray(part.read_bytes())
    content[-1] ^= 1
    part.write_bytes(content)
    with pytest.raises(CheckpointError, match=r"optimizer-00002\.safetensors is damaged"):
        made(tmp_path / "run", corpus, "none", LSTM, SMALL)


def train_and_lose(run, corpus, mode, how):
    """Train, and after step 2 lose the second process."""
    parallel.TIMEOUT = parallel.ROLL_CALL = timedelta(seconds=2)
    trainer = made(run, corpus, mode, LSTM, SMALL)
    processes = trainer.ensemble.gather(os.getpid())
    try:
        for step in trainer.steps():
            if step.step == 2 and not trainer.ensemble.leads:
                if how == "bug":
                    trainer.windows = None
                else:
                    os.kill(os.getpid(), how)
    finally:
        if trainer.ensemble.leads:
            with suppress(ProcessLookupError):
                os.kill(processes[1], signal.SIGKILL)


@pytest.mark.parametrize(
    ("how", "words"),
    [
        (signal.SIGKILL, "process 1, which is gone or hangs"),
        (signal.SIGSTOP, "process 1, which is gone or hangs"),
        ("bug", "process 1, which failed (AttributeError"),
    ],
)
def test_a_lost_process_is_named_and_nobody_waits_for_ever(how, words, corpus, tmp_path):
    first, _ = together(train_and_lose, 2, tmp_path / "run", corpus, "ddp", how)
    assert first.startswith("TrainingError")
    assert "step 3: process 0 of 2 lost " + words in first
    assert read_record(tmp_path / "run")["sessions"][-1]["exit"] in first


def test_a_run_has_one_trainer_at_a_time(corpus, tmp_path):
    first, second = (made(tmp_path / "run", corpus, "none", LSTM, SMALL) for _ in range(2))
    steps = first.steps()
    next(steps)
    with pytest.raises(ConfigError, match=r"run is being trained by another process"):
        next(second.steps())
    steps.close()
    next(second.steps())


def test_what_processes_cannot_share_is_refused(corpus, tmp_path, monkeypatch):
    (said, _) = together(trained, 2, tmp_path, corpus, "ddp", LSTM, replace(SMALL, batch=5))
    assert said.startswith("ConfigError: training.batch=5 cannot be shared by 2 processes")
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(ConfigError, match="parallel=none, but 2 processes were started"):
        parallel.join("none", "cpu")


def test_activations_computed_twice_give_the_same_gradients_and_are_not_kept():
    tokens = torch.randint(0, 50, (2, 16), generator=torch.Generator().manual_seed(0))
    kept, gradients = [], []
    for again in (False, True):
        torch.manual_seed(0)
        model = train.build(replace(TRANSFORMER, layers=3), 50)
        if again:
            parallel.checkpoint_activations(model)
        seen = {}

        def keep(tensor, seen=seen):
            seen[tensor.data_ptr()] = tensor.nbytes
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
            torch.manual_seed(1)  # dropout
            loss = model(tokens)[0].square().mean()
            kept.append(sum(seen.values()))
        loss.backward()
        gradients.append([p.grad for p in model.parameters()])
    assert all(map(torch.equal, *gradients))
    assert kept[1] < 0.5 * kept[0]


@pytest.mark.slow
def test_torchrun_starts_the_same_command(corpus, tmp_path, process):
    """Two processes, one line of output, one run."""
    command = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    small = {
        "model.layers": 1, "model.width": 16, "training.batch": 2, "training.length": 32,
        "training.steps": 2, "training.evaluate_every": 1, "training.evaluation_length": 64,
        "training.evaluation_windows": 2,
    }  # fmt: skip
    words = ["train", "performance-rnn-tiny", corpus.path, "-o", tmp_path / "run", "--json"]
    settings = [f"{name}={value}" for name, value in small.items()]
    words += ["--parallel", "fsdp", *settings]
    ran = process(sys.executable, *command, "-m", "espressivo.cli", *words)
    assert ran.returncode == 0, ran.stderr
    facts = json.loads(ran.stdout)
    assert (facts["step"], facts["end"]) == (2, "finished")
    assert ran.stderr.count("step 2 of 2") == 1
