"""A model that accompanies is trained by the same loop, on segments with their melodies."""

from dataclasses import replace

import numpy as np
import pytest

from espressivo import checkpoint
from espressivo.configs import MelodyTransformerConfig
from espressivo.errors import CheckpointError
from tests.training.made import CODEC, SMALL, TRANSFORMER

train = pytest.importorskip("espressivo.training.train")
torch = pytest.importorskip("torch")

from espressivo.models import build  # noqa: E402
from espressivo.training.evaluate import evaluate, window_length  # noqa: E402
from espressivo.training.optim import optimizers  # noqa: E402

PLAIN = replace(TRANSFORMER, dropout=0.0)
MELODY = MelodyTransformerConfig(
    layers=1, width=16, attention=16, feed_forward=32, heads=2, reach=16, context=32, clock=True
)


def test_a_run_goes_on_bit_for_bit_and_is_judged_on_segments(corpus, tmp_path):
    whole = train.Trainer(tmp_path / "whole", corpus, CODEC, MELODY, SMALL)
    losses = [step.loss for step in whole.steps()]
    first = train.Trainer(tmp_path / "parts", corpus, CODEC, MELODY, SMALL)
    for step in first.steps():
        if step.step == 3:
            break
    second = train.Trainer(tmp_path / "parts", corpus, CODEC, MELODY, SMALL)
    assert [step.loss for step in second.steps()] == losses[3:]
    for one, other in zip(whole.model.parameters(), second.model.parameters(), strict=True):
        assert torch.equal(one, other)
    assert all(window.source is not None for window in whole.validation)
    verdict = evaluate(tmp_path / "whole", corpus=corpus.path, split="test")
    assert verdict.length == window_length(MELODY) == 32
    assert 0 < verdict.total.per_token < 10
    loaded = checkpoint.load(checkpoint.find(tmp_path / "whole"))
    assert loaded.config == MELODY


@pytest.mark.parametrize("controls", [(), ("notes-per-second",)])
def test_it_begins_as_the_decoder_it_starts_from_and_learns_to_listen(controls, corpus, tmp_path):
    plain = replace(PLAIN, controls=controls)
    list(train.Trainer(tmp_path / "plain", corpus, CODEC, plain, SMALL).steps())
    before = train.Trainer(tmp_path / "plain", corpus, CODEC, plain, SMALL)
    run = train.Trainer(
        tmp_path / "run", corpus, CODEC, replace(MELODY, dropout=0.0), SMALL,
        start=tmp_path / "plain",
    )  # fmt: skip
    tokens = torch.from_numpy(before.windows.sample(0).tokens[None, :20])
    source, clock = torch.full((1, 5), 40), torch.zeros(1, 20, 1)

    def heard():
        with run.averaged(), torch.no_grad():
            model = run.model.eval()
            return model(tokens, model.start(1, source), clock)[0]

    with before.averaged(), torch.no_grad():
        expected, _ = before.model.eval()(tokens)
    torch.testing.assert_close(heard(), expected)
    list(run.steps())
    with run.averaged(), torch.no_grad():
        alone, _ = run.model(tokens)
    assert (heard() - alone).abs().max() > 1e-3


def test_another_decoder_is_no_beginning(corpus, tmp_path):
    wider = replace(PLAIN, feed_forward=48)
    list(train.Trainer(tmp_path / "plain", corpus, CODEC, wider, SMALL).steps())
    with pytest.raises(CheckpointError, match="feed_forward=48"):
        train.Trainer(tmp_path / "run", corpus, CODEC, MELODY, SMALL, start=tmp_path / "plain")


def test_muon_leaves_both_embeddings_alone():
    model = build(MELODY, len(CODEC.vocabulary))
    adam, muon = optimizers(model, replace(SMALL, optimizer="muon"))
    rest = {id(p) for group in adam.param_groups for p in group["params"]}
    assert {id(model.embedding.weight), id(model.encoder.embedding.weight)} <= rest
    matrices = {id(p) for group in muon.param_groups for p in group["params"]}
    assert id(model.layers[0].melody.queries.weight) in matrices


def test_short_segments_come_first_where_lengths_grow(corpus, tmp_path):
    trainer = train.Trainer(tmp_path / "run", corpus, CODEC, MELODY, replace(SMALL, short=0.5))
    short, _ = trainer._due()
    assert np.array_equal(
        short.sample(1).tokens, trainer.windows.sample(1).tokens[: short.length + 1]
    )
