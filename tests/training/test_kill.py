"""kill -9 at any moment, most of them inside a save, leaves a whole checkpoint to go on from."""

import multiprocessing
import random
import time
from dataclasses import replace

import pytest

from espressivo import checkpoint
from espressivo.corpora import Corpus
from tests.training.made import CODEC, LSTM, SMALL

train = pytest.importorskip("espressivo.training.train")

EVERY_STEP = replace(SMALL, steps=100_000, batch=1, length=8, save_every=1, evaluate_every=2)


def train_for_ever(run, corpus):
    train.torch.set_num_threads(1)
    for _ in train.Trainer(run, Corpus(corpus), CODEC, LSTM, EVERY_STEP).steps():
        pass


def newest_whole(run):
    for path in reversed(checkpoint.folders(run / "checkpoints", "step-")):
        try:
            return checkpoint.load(path)
        except checkpoint.CheckpointError:
            pass
    return None


def test_killing_a_run_again_and_again_never_costs_what_was_saved(corpus, tmp_path):
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["espressivo.training.train", "torch._dynamo"])
    run, rng, reached = tmp_path / "run", random.Random(0), 0
    for _ in range(15):
        trainer = context.Process(target=train_for_ever, args=(run, corpus.path))
        trainer.start()
        name = f"step-{reached + 1:08d}"
        while not (run / "checkpoints" / name).exists():
            assert trainer.is_alive()
            time.sleep(0.002)
        time.sleep(rng.uniform(0, 0.05))
        trainer.kill()
        trainer.join()
        saved = newest_whole(run)
        assert saved is not None
        assert saved.card["step"] > reached
        reached = saved.card["step"]
        best = checkpoint.find(run)
        assert checkpoint.load(best).config == LSTM
    last = train.Trainer(run, corpus, CODEC, LSTM, replace(EVERY_STEP, steps=reached + 1))
    assert last.step == reached
    list(last.steps())
    hidden = [path for path in run.rglob(".*") if path.is_dir()]
    assert hidden == []
