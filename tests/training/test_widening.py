"""A conditioned model begins as the plain one it starts from, and then learns to listen."""

from dataclasses import replace

import pytest

from espressivo.errors import CheckpointError
from tests.training.made import CODEC, LSTM, SMALL, TRANSFORMER

train = pytest.importorskip("espressivo.training.train")
torch = pytest.importorskip("torch")

BOTH = ("notes-per-second", "pitch-class-histogram")
TOLD = replace(LSTM, dropout=0.0, controls=BOTH, optional=True)


def some(*shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0))


CALM = {"lstm": replace(LSTM, dropout=0.0), "transformer": replace(TRANSFORMER, dropout=0.0)}


@pytest.fixture(scope="module")
def plain(corpus, tmp_path_factory):
    """A run of a plain model of either kind."""
    path = tmp_path_factory.mktemp("plain")
    for kind, config in CALM.items():
        list(train.Trainer(path / kind, corpus, CODEC, config, SMALL).steps())
    return path


@pytest.mark.parametrize(
    ("kind", "told"), [("lstm", TOLD), ("transformer", replace(CALM["transformer"], controls=BOTH))]
)
def test_a_conditioned_model_begins_as_the_plain_one(kind, told, corpus, plain, tmp_path):
    before = train.Trainer(plain / kind, corpus, CODEC, CALM[kind], SMALL)
    run = train.Trainer(tmp_path / "run", corpus, CODEC, told, SMALL, start=plain / kind)
    tokens = torch.from_numpy(before.windows.sample(0).tokens[None, :20])
    with before.averaged(), run.averaged(), torch.no_grad():
        expected, _ = before.model.eval()(tokens)
        for controls in (None, some(1, 20, told.told)):
            torch.testing.assert_close(run.model.eval()(tokens, None, controls)[0], expected)
    list(run.steps())
    with run.averaged(), torch.no_grad():
        heard, _ = run.model.eval()(tokens, None, some(1, 20, told.told))
        assert (heard - run.model(tokens)[0]).abs().max() > 1e-3


@pytest.mark.parametrize("controls", [(), BOTH])
def test_a_model_that_tells_the_pedal_begins_as_one_that_folds_it(
    controls, corpus, plain, tmp_path
):
    before = train.Trainer(plain / "transformer", corpus, CODEC, CALM["transformer"], SMALL)
    pedal = replace(CODEC, pedal="events")
    config = replace(CALM["transformer"], controls=controls)
    start = plain / "transformer"
    run = train.Trainer(tmp_path / "run", corpus, pedal, config, SMALL, start=start)
    tokens = torch.from_numpy(before.windows.sample(0).tokens[None, :20])
    with before.averaged(), run.averaged(), torch.no_grad():
        expected = before.model.eval()(tokens)[0]
        found = run.model.eval()(tokens)[0]
    assert found.shape[-1] == expected.shape[-1] + 2
    torch.testing.assert_close(found[..., :-2], expected)


def test_what_folds_the_pedal_does_not_begin_as_what_tells_it(corpus, plain, tmp_path):
    pedal = replace(CODEC, pedal="events")
    calm = CALM["transformer"]
    list(train.Trainer(tmp_path / "one", corpus, pedal, calm, SMALL).steps())
    for codec, config, start in (
        (CODEC, calm, tmp_path / "one"),
        (replace(pedal, velocity_bins=16), calm, plain / "transformer"),
        (pedal, CALM["lstm"], plain / "lstm"),
    ):
        with pytest.raises(CheckpointError, match="this run speaks"):
            train.Trainer(tmp_path / "two", corpus, codec, config, SMALL, start=start)


def test_what_was_told_something_else_is_no_beginning(corpus, plain, tmp_path):
    list(train.Trainer(tmp_path / "one", corpus, CODEC, TOLD, SMALL).steps())
    for other in (replace(TOLD, optional=False), replace(TOLD, controls=BOTH[:1]), LSTM):
        with pytest.raises(CheckpointError, match="this run asks for"):
            train.Trainer(tmp_path / "two", corpus, CODEC, other, SMALL, start=tmp_path / "one")
    wider = replace(TOLD, width=32)
    with pytest.raises(CheckpointError, match="this run asks for"):
        train.Trainer(tmp_path / "three", corpus, CODEC, wider, SMALL, start=plain / "lstm")
