"""Relative pitch and time as defined, and a model that keeps the laws of all models."""

import math
from dataclasses import replace

import pytest

torch = pytest.importorskip("torch")

from espressivo.configs import TransformerConfig  # noqa: E402
from espressivo.configs.chorale import ChoraleConfig  # noqa: E402
from espressivo.configs.patterns import Causal  # noqa: E402
from espressivo.errors import ConfigError  # noqa: E402
from espressivo.models.attention import attend  # noqa: E402
from espressivo.models.attention.position import Relative  # noqa: E402
from espressivo.models.chorale_transformer import (  # noqa: E402
    ChoraleTransformer,
    PitchAndTime,
    intervals_of,
    steps_apart,
)
from espressivo.models.music_transformer import MusicTransformer  # noqa: E402

PITCHES = 9
SIZES = TransformerConfig(
    layers=2, width=16, attention=24, feed_forward=32, heads=3, reach=7, context=64,
    dropout=0.0, sinusoids="concatenated",
)  # fmt: skip
ROWS = {
    "labels": ChoraleConfig(transformer=SIZES, voice_labels=True),
    "pitch and time": ChoraleConfig(transformer=SIZES, voice_labels=True, pitch_and_time=True),
}
every_row = pytest.mark.parametrize("config", ROWS.values(), ids=ROWS)


def some_tokens(batch, time):
    generator = torch.Generator().manual_seed(3)
    return torch.randint(PITCHES + 1, (batch, time), generator=generator)


def lively(config):
    torch.manual_seed(1)
    model = ChoraleTransformer(config, PITCHES + 1).double().eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 0.2 * torch.randn_like(parameter)
    return model


# -- pitch and time ------------------------------------------------------------------------------


def test_steps_are_counted_from_the_first_soprano():
    # start | S A T B | S A
    assert steps_apart(7, 7, 4)[5].tolist() == [2, 1, 1, 1, 1, 0, 0]
    assert steps_apart(7, 7, 4)[:, 0].tolist() == [0, 1, 1, 1, 1, 2, 2]
    assert torch.equal(steps_apart(2, 7, 4), steps_apart(7, 7, 4)[5:])


def test_every_interval_has_a_row_and_a_rest_has_the_last():
    pitch = torch.arange(1, PITCHES + 1)[None]
    rows = intervals_of(pitch, pitch, PITCHES)[0]
    assert (rows == pitch[0][:, None] - pitch[0] + PITCHES - 1).all()
    assert sorted(set(rows.flatten().tolist())) == list(range(2 * PITCHES - 1))
    silent = intervals_of(torch.tensor([[0, 5]]), torch.tensor([[5, 0]]), PITCHES)[0]
    assert silent.tolist() == [[17, 17], [PITCHES - 1, 17]]


@pytest.mark.parametrize(("queries", "keys"), [(13, 13), (5, 13), (1, 13), (1, 1)])
@pytest.mark.parametrize("reach", [2, 7, 64])
def test_products_looked_up_are_vectors_looked_up(queries, keys, reach):
    generator = torch.Generator().manual_seed(0)

    def drawn(*shape):
        values = torch.randn(*shape, generator=generator, dtype=torch.float64)
        return values.requires_grad_()

    tokens = some_tokens(2, keys)
    q, k, v = drawn(2, 3, queries, 8), drawn(2, 3, keys, 8), drawn(2, 3, keys, 8)
    tables = drawn(3, reach, 8), drawn(3, reach, 8), drawn(3, 2 * PITCHES, 8)
    position = PitchAndTime(
        Relative(tables[0]),
        tables[1],
        steps_apart(queries, keys, 4),
        tables[2],
        intervals_of(tokens[:, keys - queries :], tokens, PITCHES),
    )
    heard = [
        attend(q, k, v, Causal(), position, backend=name)
        for name in ("reference", "skewed", "auto")
    ]
    for other in heard[1:]:
        torch.testing.assert_close(other, heard[0], rtol=0, atol=1e-9)
    felt = [torch.autograd.grad(h.square().sum(), (q, k, v, *tables)) for h in heard[:2]]
    for one, other in zip(*felt, strict=True):
        torch.testing.assert_close(other, one, rtol=0, atol=1e-9)


def test_a_case_by_hand():
    """One query, two keys: a third below it a step ago, and itself."""
    one = torch.ones(1, 1, 1, 1, dtype=torch.float64)
    tokens = torch.tensor([[1, 4]])
    position = PitchAndTime(
        Relative(torch.tensor([[[3.0], [0.0]]], dtype=torch.float64)),  # one token away: 3
        torch.tensor([[[0.0], [5.0]]], dtype=torch.float64),  # one step away: 5
        torch.tensor([[1, 0]]),
        torch.arange(18, dtype=torch.float64).view(1, 18, 1) * (torch.arange(18) == 11)[:, None],
        intervals_of(tokens[:, 1:], tokens, PITCHES),  # 4 - 1: row 3 + 8 = 11
    )
    assert position.fast_bias(one, torch.ones(1, 1, 2, 1).double()).tolist() == [[[[19.0, 0.0]]]]


# -- the model -----------------------------------------------------------------------------------


@every_row
@pytest.mark.parametrize("cuts", [[1] * 13, [5, 1, 7], [12, 1]], ids=str)
def test_pieces_give_what_the_whole_gives(config, cuts):
    model, tokens = lively(config), some_tokens(3, 13)
    whole, _ = model(tokens)
    state, parts = model.start(3), []
    for piece in tokens.split(cuts, dim=1):
        logits, state = model(piece, state)
        parts.append(logits)
    assert state.length == 13
    torch.testing.assert_close(torch.cat(parts, 1), whole, rtol=0, atol=1e-9)


@every_row
def test_forks_go_their_own_ways(config):
    model, tokens, ways = lively(config), some_tokens(2, 6), some_tokens(4, 5)
    _, state = model(tokens)
    forked, _ = model(ways, state.fork(2).detach())
    for row, way in enumerate(ways):
        alone, _ = model(torch.cat([tokens[row // 2], way])[None])
        torch.testing.assert_close(forked[row], alone[0, 6:], rtol=0, atol=1e-9)


@every_row
def test_no_output_depends_on_a_later_note(config):
    model, tokens = lively(config), some_tokens(1, 12)
    before, _ = model(tokens)
    for place in range(12):
        changed = tokens.clone()
        changed[0, place] = (changed[0, place] + 1) % (PITCHES + 1)
        moved = (model(changed)[0] - before).abs().sum(-1)[0] > 1e-12
        assert moved.tolist() == [i >= place for i in range(12)]


def test_without_labels_or_sinusoids_turns_are_all_alike():
    still = replace(SIZES, position="none", sinusoids="none")
    plain = lively(ChoraleConfig(transformer=still))
    told = lively(ChoraleConfig(transformer=still, voice_labels=True))
    tokens = torch.full((1, 9), 5)
    assert plain(tokens)[0][0].std(0).max() < 1e-9
    turns = told(tokens)[0][0]
    assert (turns[0] - turns[1]).abs().max() > 1e-3


def test_pitch_and_time_are_learnt_in_the_first_layer_alone():
    model = lively(ROWS["pitch and time"])
    model(some_tokens(2, 12))[0].square().sum().backward()
    names = {n for n, p in model.named_parameters() if n.endswith(("steps", "intervals"))}
    assert names == {"layers.0.attention.steps", "layers.0.attention.intervals"}
    first = model.layers[0].attention
    heard = first.steps.grad.abs().sum((0, 2)) > 0
    assert heard.tolist() == [True] * 4 + [False] * 3  # 11 notes are three steps
    assert (first.intervals.grad.abs().sum((0, 2)) > 0).sum() > PITCHES


@every_row
def test_an_untrained_model_expects_everything_equally(config):
    torch.manual_seed(0)
    model, tokens = ChoraleTransformer(config, 47).eval(), some_tokens(4, 33)
    logits, _ = model(tokens[:, :-1])
    loss = torch.nn.functional.cross_entropy(logits.flatten(0, 1), tokens[:, 1:].flatten())
    assert loss.item() == pytest.approx(math.log(47), rel=0.05)


def test_pitch_and_time_need_relative_attention():
    still = replace(SIZES, position="none")
    with pytest.raises(ConfigError, match="position=none"):
        ChoraleConfig(transformer=still, pitch_and_time=True)
    with pytest.raises(ConfigError, match="voices=0"):
        ChoraleConfig(transformer=SIZES, voices=0)


def test_a_model_refuses_the_memory_of_another_kind():
    model = lively(ROWS["labels"])
    other = MusicTransformer(SIZES, PITCHES + 1).double()
    with pytest.raises(TypeError, match="cannot continue from TransformerState"):
        model(some_tokens(1, 2), other.start(1))
