"""A conditioned model begins as the plain one it starts from, and then learns to listen."""

from dataclasses import replace

import pytest

from espressivo.errors import CheckpointError
from tests.training.made import CODEC, LSTM, SMALL

train = pytest.importorskip("espressivo.training.train")
torch = pytest.importorskip("torch")

BOTH = ("notes-per-second", "pitch-class-histogram")
TOLD = replace(LSTM, dropout=0.0, controls=BOTH, optional=True)


def some(*shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0))


@pytest.fixture(scope="module")
def plain(corpus, tmp_path_factory):
    path = tmp_path_factory.mktemp("plain") / "run"
    list(train.Trainer(path, corpus, CODEC, replace(LSTM, dropout=0.0), SMALL).steps())
    return path


def test_a_conditioned_model_begins_as_the_plain_one(corpus, plain, tmp_path):
    before = train.Trainer(plain, corpus, CODEC, replace(LSTM, dropout=0.0), SMALL)
    run = train.Trainer(tmp_path / "run", corpus, CODEC, TOLD, SMALL, start=plain)
    tokens = torch.from_numpy(before.windows.sample(0).tokens[None, :20])
    with before.averaged(), run.averaged(), torch.no_grad():
        expected, _ = before.model.eval()(tokens)
        for controls in (None, some(1, 20, 21)):
            torch.testing.assert_close(run.model.eval()(tokens, None, controls)[0], expected)
    list(run.steps())
    with run.averaged(), torch.no_grad():
        told, _ = run.model.eval()(tokens, None, some(1, 20, 21))
        assert (told - run.model(tokens)[0]).abs().max() > 1e-3


def test_what_was_told_something_else_is_no_beginning(corpus, plain, tmp_path):
    list(train.Trainer(tmp_path / "one", corpus, CODEC, TOLD, SMALL).steps())
    for other in (replace(TOLD, optional=False), replace(TOLD, controls=BOTH[:1]), LSTM):
        with pytest.raises(CheckpointError, match="this run asks for"):
            train.Trainer(tmp_path / "two", corpus, CODEC, other, SMALL, start=tmp_path / "one")
    wider = replace(TOLD, width=32)
    with pytest.raises(CheckpointError, match="this run asks for"):
        train.Trainer(tmp_path / "three", corpus, CODEC, wider, SMALL, start=plain)
