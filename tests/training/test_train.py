"""The loop: what it yields, when it ends, and what it leaves behind."""

import json
import math
import os
import signal
from dataclasses import replace

import pytest

from espressivo import checkpoint
from espressivo.corpora import NO_AUGMENTATION
from espressivo.errors import CheckpointError, ConfigError, TrainingError
from espressivo.training import TrainingConfig, interruptible, read_metrics, read_record
from tests.training.made import CODEC, LSTM, SMALL, TRANSFORMER, write_corpus

train = pytest.importorskip("espressivo.training.train")
torch = pytest.importorskip("torch")


def trainer(tmp_path, corpus, model=LSTM, **changes):
    return train.Trainer(tmp_path / "run", corpus, CODEC, model, replace(SMALL, **changes))


@pytest.mark.parametrize(
    ("model", "optimizer", "precision"),
    [
        (LSTM, "adamw", "float32"),
        (LSTM, "muon", "float32"),
        (TRANSFORMER, "adamw", "float32"),
        (TRANSFORMER, "muon", "bfloat16"),
    ],
)
def test_a_small_model_learns_a_phrase_by_heart(model, optimizer, precision, tmp_path):
    corpus = write_corpus(tmp_path / "corpus", ["train", "validation"], apart=0)
    larger = replace(model, width=32, dropout=0.0)
    run = trainer(
        tmp_path, corpus, larger, steps=80, optimizer=optimizer, precision=precision, length=32,
        learning_rate=2e-2, evaluate_every=40, save_every=80, evaluation_length=32, ema=0.5,
        augmentation=NO_AUGMENTATION,
    )  # fmt: skip
    steps = list(run.steps())
    assert steps[0].loss == pytest.approx(math.log(len(CODEC.vocabulary)), rel=0.06)
    assert steps[-1].loss < 1.2
    assert steps[-1].evaluation.per_token < 1.2


def test_steps_say_where_the_run_stands(corpus, tmp_path):
    steps = list(trainer(tmp_path, corpus).steps())
    assert [step.step for step in steps] == [1, 2, 3, 4, 5, 6]
    assert [step.evaluation is not None for step in steps] == [False, False, True] * 2
    assert [step.saved is not None for step in steps] == [False, False, True] * 2
    assert [step.end for step in steps] == [""] * 5 + ["finished"]
    assert steps[-1].left == 0 < steps[0].left
    assert all(step.rate > 0 and step.seconds > 0 and step.gradient_norm > 0 for step in steps)
    assert steps[0].tokens <= 4 * 24


def test_nothing_is_left_to_do_in_a_finished_run(corpus, tmp_path):
    list(trainer(tmp_path, corpus).steps())
    assert list(trainer(tmp_path, corpus).steps()) == []
    assert read_record(tmp_path / "run")["sessions"][-1]["exit"] == "nothing left to do"


def test_training_stops_early_when_evaluations_get_no_better(corpus, tmp_path):
    run = trainer(tmp_path, corpus, steps=50, evaluate_every=1, patience=3, learning_rate=1e-12)
    judged = list(run.steps())
    assert judged[-1].end == "stopped early"
    bests = [step.step for step in judged if step.best]
    assert judged[-1].step == bests[-1] + 3


def test_the_best_model_is_the_one_that_is_found(corpus, tmp_path):
    run = trainer(tmp_path, corpus, steps=12, evaluate_every=2, learning_rate=0.3)
    scores = {step.step: step.evaluation.per_token for step in run.steps() if step.evaluation}
    best = min(scores, key=scores.get)
    path = checkpoint.find(tmp_path / "run")
    assert path.name == f"best-{best:08d}"
    card = checkpoint.load(path).card
    assert card["metrics"]["validation_nats_per_token"] == scores[best]
    assert card["corpus"]["licence"] == "CC0"


def test_a_deadline_ends_a_run_judged_and_saved(corpus, tmp_path):
    run = trainer(tmp_path, corpus, steps=100_000, evaluate_every=100_000, save_every=100_000)
    run.pace.saving = 0.1
    *_, last = run.steps(deadline=run.pace.elapsed + 1.5)
    assert last.end == "deadline"
    assert last.evaluation is not None
    assert last.best
    assert last.saved is not None
    assert last.left == pytest.approx(0, abs=1.5)
    assert trainer(tmp_path, corpus, steps=100_000).step == last.step


def test_a_deadline_that_has_passed_still_saves_one_step(corpus, tmp_path):
    (step,) = trainer(tmp_path, corpus).steps(deadline=0.0)
    assert (step.step, step.end, step.evaluation) == (1, "deadline", None)
    assert checkpoint.load(step.saved).card["step"] == 1


def train_and_spoil(run, what):
    """Train; after step 3 put something that is not finite into it."""
    for step in run.steps():
        if step.step == 3 and what == "weights":
            with torch.no_grad():
                run.model.output.weight[0, 0] = math.nan
        elif step.step == 3:
            run.model.output.weight.register_hook(lambda gradient: gradient * math.inf)


@pytest.mark.parametrize("what", ["weights", "gradient"])
def test_a_loss_that_is_not_finite_stops_and_keeps_the_last_good_state(what, corpus, tmp_path):
    run = trainer(tmp_path, corpus)
    with pytest.raises(TrainingError, match=r"step 4: loss .*step-00000003.*learning_rate"):
        train_and_spoil(run, what)
    again = trainer(tmp_path, corpus)
    assert again.step == 3
    assert all(p.isfinite().all() for p in again.model.parameters())
    assert read_record(tmp_path / "run")["sessions"][-1]["exit"].startswith("TrainingError")


def test_a_step_cut_short_is_never_saved(corpus, tmp_path, monkeypatch):
    run = trainer(tmp_path, corpus)
    steps = run.steps()
    next(steps)

    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(run.optimizers[0], "step", interrupted)
    with pytest.raises(KeyboardInterrupt):
        next(steps)
    with pytest.raises(CheckpointError, match="step 2 was cut short"):
        run.save()


def test_an_interrupted_evaluation_gives_the_weights_back(corpus, tmp_path, monkeypatch):
    run = trainer(tmp_path, corpus, ema=0.9)
    before = [p.detach().clone() for p in run.model.parameters()]
    with pytest.raises(KeyboardInterrupt), run.averaged():
        raise KeyboardInterrupt
    assert all(map(torch.equal, run.model.parameters(), before))


def test_ctrl_c_is_noted_and_the_step_finished(corpus, tmp_path):
    run = trainer(tmp_path, corpus)
    handler = signal.getsignal(signal.SIGINT)
    with interruptible() as asked:
        for step in run.steps():
            if step.step == 2:
                os.kill(os.getpid(), signal.SIGINT)
            if asked():
                break
    assert step.step == 2
    assert signal.getsignal(signal.SIGINT) is handler
    assert checkpoint.load(run.save()).card["step"] == 2
    assert read_record(tmp_path / "run")["sessions"][-1]["exit"] == "left by the caller"


def test_the_record_tells_what_ran_on_what(corpus, tmp_path):
    card = {"preset": "made-up"}
    run = train.Trainer(tmp_path / "run", corpus, CODEC, LSTM, SMALL, card=card)
    list(run.steps())
    record = read_record(tmp_path / "run")
    assert record["preset"] == "made-up"
    assert record["config"] == json.loads(json.dumps(run.resolved))
    assert record["vocabulary"]["sha256"] == CODEC.vocabulary.fingerprint()
    assert record["config"]["corpus"]["sha256"] == corpus.card["sha256"]
    assert record["versions"]["torch"] == torch.__version__
    (session,) = record["sessions"]
    assert (session["first_step"], session["last_step"]) == (1, 6)
    assert session["exit"] == "finished"
    for entry in record["checkpoints"]:
        assert checkpoint.load(tmp_path / "run" / entry["path"]).digest == entry["digest"]


def test_a_killed_session_is_told_from_one_that_ended(corpus, tmp_path):
    list(trainer(tmp_path, corpus).steps())
    path = tmp_path / "run" / "run.json"
    record = json.loads(path.read_text())
    record["sessions"][-1] |= {"exit": "running", "ended": None}
    path.write_text(json.dumps(record))
    list(trainer(tmp_path, corpus, steps=7).steps())
    exits = [session["exit"] for session in read_record(tmp_path / "run")["sessions"]]
    assert exits == ["killed", "finished"]


def test_metrics_have_one_line_a_step_after_any_end(corpus, tmp_path):
    for last in (4, 6):
        run = trainer(tmp_path, corpus)
        for step in run.steps():
            if step.step == last:
                break
        with (tmp_path / "run" / "metrics.jsonl").open("a") as log:
            log.write('{"step": 99, "lo')  # torn by a kill
    metrics = read_metrics(tmp_path / "run")
    assert [line["step"] for line in metrics] == [1, 2, 3, 4, 5, 6]
    assert metrics[2]["validation"]["per_token"] == pytest.approx(
        metrics[2]["validation"]["nats"] / metrics[2]["validation"]["tokens"]
    )


def test_a_run_cannot_be_a_file(corpus, tmp_path):
    (tmp_path / "run").write_text("")
    with pytest.raises(ConfigError, match="cannot be a run folder"):
        trainer(tmp_path, corpus)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("steps", 0),
        ("accumulate", 3),
        ("ema", 1.0),
        ("learning_rate", 0.0),
        ("learning_rate", math.nan),
        ("clip_norm", -1.0),
        ("betas", (0.9, 1.0)),
        ("evaluation_windows", 0),
        ("patience", -1),
    ],
)
def test_what_cannot_be_trained_is_refused_by_name(field, value):
    with pytest.raises(ConfigError, match=rf"training\.{field}="):
        TrainingConfig(**{field: value})
