"""Schedules against values worked out by hand; Muon against what it promises."""

import math

import pytest

from espressivo.presets import preset
from espressivo.presets.music_transformer import noam_peak
from espressivo.training import TrainingConfig
from tests.training.made import CODEC, LSTM, TRANSFORMER

optim = pytest.importorskip("espressivo.training.optim")
torch = pytest.importorskip("torch")
models = pytest.importorskip("espressivo.models")


def rate(schedule, step, warmup=10, steps=110):
    """The factor in step 1, 2, ..."""
    return optim.factor(schedule, step - 1, warmup, steps)


def test_constant_rises_and_stays():
    assert [rate("constant", s) for s in (1, 5, 10, 11, 110)] == [0.1, 0.5, 1, 1, 1]
    assert rate("constant", 1, warmup=0) == 1


def test_constant_falls_to_zero_over_the_last_steps_and_only_there():
    factors = [optim.factor("constant", step, 10, 110, decay=4) for step in range(110)]
    assert factors[:10] == pytest.approx([0.1 * n for n in range(1, 11)])
    assert factors[10:106] == [1] * 96
    assert factors[106:] == [1, 0.75, 0.5, 0.25]
    assert optim.factor("constant", 110, 10, 110, decay=4) == 0
    assert [optim.factor("constant", n, 0, 2, decay=4) for n in range(2)] == [0.5, 0.25]


def test_linear_falls_to_zero():
    assert [rate("linear", s) for s in (1, 10, 60, 110)] == [0.1, 1, 0.5, 0]


def test_cosine_falls_to_a_tenth():
    values = [rate("cosine", s) for s in (10, 35, 60, 110)]
    expected = [1, 0.55 + 0.45 * math.sqrt(0.5), 0.55, 0.1]
    assert values == pytest.approx(expected)


def test_noam_is_the_schedule_of_vaswani_et_al():
    width, warmup = 256, 8000
    peak = noam_peak(width, warmup)
    assert peak == pytest.approx(7.0e-4, rel=2e-3)
    assert noam_peak(256, 4000) == pytest.approx(9.9e-4, rel=2e-3)
    for step in (1, 100, 7999, 8000, 8001, 32_000, 1_000_000):
        published = width**-0.5 * min(step * warmup**-1.5, step**-0.5)
        assert peak * optim.factor("noam", step - 1, warmup, 1) == pytest.approx(published)


def test_the_learning_rate_of_music_transformer_is_no_step_size():
    step, width, warmup = 12_345, 256, 8000
    printed = 5000 * width**-0.5 * min(step * warmup**-1.5, step**-0.5) * 0.002 * 0.1
    ours = noam_peak(width, warmup) * optim.factor("noam", step - 1, warmup, 1)
    assert ours == pytest.approx(printed)


def test_muon_brings_singular_values_near_one():
    torch.manual_seed(0)
    for shape in ((8, 8), (32, 8), (8, 32)):
        values = torch.linalg.svdvals(optim.orthogonal(torch.randn(shape)))
        assert values.min() > 0.3
        assert values.max() < 1.3


@pytest.mark.parametrize("shape", [(8, 40), (40, 8), (8, 8)])
def test_muon_iterates_as_published(shape):
    matrix = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    x = matrix.double() / (matrix.double().norm() + 1e-7)
    for _ in range(5):  # X <- a X + b X X' X + c X X' X X' X
        once = x @ x.mT @ x
        x = 3.4445 * x - 4.7750 * once + 2.0315 * x @ x.mT @ once
    torch.testing.assert_close(optim.orthogonal(matrix).double(), x, rtol=0, atol=1e-4)


@pytest.mark.parametrize("shape", [(16, 80), (80, 16), (16, 16)])
def test_muon_in_16_bits_is_close_to_muon_in_32(shape):
    matrix = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    exact, rounded = optim.orthogonal(matrix), optim.orthogonal(matrix, bfloat16=True)
    assert rounded.dtype == torch.float32
    assert not torch.equal(rounded, exact)
    assert (rounded - exact).norm() / exact.norm() < 0.06
    values = torch.linalg.svdvals(rounded)
    assert (values.min() > 0.3, values.max() < 1.3) == (True, True)


def test_muon_iterates_in_the_arithmetic_of_the_run():
    model = models.build(TRANSFORMER, len(CODEC.vocabulary))
    for precision in ("float32", "bfloat16"):
        config = TrainingConfig(optimizer="muon", precision=precision)
        assert optim.optimizers(model, config)[1].bfloat16 == (precision == "bfloat16")


def test_muon_moves_as_worked_out_by_hand():
    weights = torch.nn.Parameter(torch.ones(4, 1))
    muon = optim.Muon([weights], lr=0.1, weight_decay=0.5)
    weights.grad = torch.full((4, 1), -3.0)
    muon.step()
    update = optim.orthogonal(weights.grad)  # a direction alone: its size does not matter
    expected = (1 - 0.1 * 0.5) - 0.1 * math.sqrt(4) * update  # sqrt(rows / columns)
    assert torch.allclose(weights.detach(), expected, atol=1e-6)


def test_muon_takes_hidden_matrices_and_leaves_the_rest_to_adamw():
    model = models.build(TRANSFORMER, len(CODEC.vocabulary))
    adam, muon = optim.optimizers(model, TrainingConfig(optimizer="muon", weight_decay=0.1))
    names = {id(p): name for name, p in model.named_parameters()}
    taken = [names[id(p)] for group in muon.param_groups for p in group["params"]]
    assert all(name.startswith("layers.") and name.endswith("weight") for name in taken)
    assert len(taken) == 4 * TRANSFORMER.layers
    left = [names[id(p)] for group in adam.param_groups for p in group["params"]]
    assert sorted(taken + left) == sorted(names.values())


def test_muon_takes_the_hidden_matrices_of_a_note_transformer():
    found = preset("note-transformer-tiny")
    model = models.build(found.model, len(found.codec.vocabulary))
    adam, muon = optim.optimizers(model, found.training)
    names = {id(p): name for name, p in model.named_parameters()}
    taken = {names[id(p)].split(".")[0] for group in muon.param_groups for p in group["params"]}
    left = {names[id(p)].split(".")[0] for group in adam.param_groups for p in group["params"]
            if p.ndim == 2}  # fmt: skip
    assert taken == {"layers", "head"}
    assert left == {"embedding", "embedding_of_field", "conditioning", "output"}


def test_decay_spares_biases_and_norms():
    model = models.build(LSTM, len(CODEC.vocabulary))
    (adam,) = optim.optimizers(model, TrainingConfig(weight_decay=0.1))
    for group in adam.param_groups:
        assert all((p.ndim >= 2) == (group["weight_decay"] == 0.1) for p in group["params"])


def test_without_decay_adamw_is_adam():
    torch.manual_seed(0)
    config = TrainingConfig(betas=(0.9, 0.98), eps=1e-9, learning_rate=1e-3)
    one, two = torch.nn.Linear(3, 3), torch.nn.Linear(3, 3)
    two.load_state_dict(one.state_dict())
    (ours,) = optim.optimizers(one, config)
    theirs = torch.optim.Adam(two.parameters(), lr=1e-3, betas=(0.9, 0.98), eps=1e-9)
    x = torch.randn(5, 3)
    for _ in range(3):
        for model, optimizer in ((one, ours), (two, theirs)):
            model.zero_grad()
            model(x).square().sum().backward()
            optimizer.step()
    assert torch.equal(one.weight, two.weight)
