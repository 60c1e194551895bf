"""A transformer whose positions are events of several fields, and the chain over their fields."""

import math

import pytest

torch = pytest.importorskip("torch")
F = torch.nn.functional

from espressivo import models  # noqa: E402
from espressivo.configs import NoteTransformerConfig  # noqa: E402
from espressivo.errors import ConfigError  # noqa: E402
from espressivo.models.attention.position import spread, waves  # noqa: E402
from espressivo.models.note_transformer import _attend, _Attention  # noqa: E402

CLASSES = (11, 9, 5, 7)
SIZES = {
    "classes": CLASSES, "layers": 2, "width": 24, "heads": 3, "key_dim": 6,
    "feed_forward": 40, "head_hidden": 20, "frequencies": 4, "context": 8,
}  # fmt: skip
PLAIN = NoteTransformerConfig(**SIZES)
CONDITIONED = NoteTransformerConfig(
    **SIZES, controls=("notes-per-second",), composers=("Bach", "Ravel"), sources=("a", "b", "c")
)
every_config = pytest.mark.parametrize("config", [PLAIN, CONDITIONED], ids=["plain", "controls"])


def lively(config):
    """A model in which no parameter keeps a first value that could hide a mistake."""
    torch.manual_seed(1)
    model = models.build(config, sum(config.classes)).eval().double()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 0.3 * torch.randn_like(parameter)
    return model


def some_events(batch, time, seed=2, classes=CLASSES):
    """Events of which every field may be missing."""
    draw = torch.Generator().manual_seed(seed)
    fields = [torch.randint(-1, size, (batch, time), generator=draw) for size in classes]
    return torch.stack(fields, -1)


def some_controls(config, batch, time):
    if not config.condition_dim:
        return None
    draw = torch.Generator().manual_seed(3)
    return torch.randn(batch, time, config.condition_dim, generator=draw).double()


def close(got, expected):
    torch.testing.assert_close(got, expected, rtol=0, atol=1e-9)


def test_no_output_depends_on_a_later_event():
    model, events, other = lively(PLAIN), some_events(2, 12), some_events(2, 12, seed=5)
    whole, _ = model(events)
    for at in range(12):
        for field in range(4):
            changed = events.clone()
            changed[:, at, field] = (events[:, at, field] + 2) % (CLASSES[field] + 1) - 1
            after, _ = model(changed)
            close(after[:, :at], whole[:, :at])
            assert ((after - whole)[:, at:].abs().amax((0, 2)) > 1e-6).all()
        close(model(torch.cat([events[:, :at], other[:, at:]], 1))[0][:, :at], whole[:, :at])


def test_no_field_depends_on_itself_or_a_later_one():
    model, hidden = lively(PLAIN), torch.randn(50, 1, 24).double()
    events = some_events(50, 1)
    whole = model.field_logits(hidden, events)
    for field in range(4):
        changed = events.clone()
        changed[..., field] = (events[..., field].clamp(min=0) + 1) % CLASSES[field]
        for index, logits in enumerate(model.field_logits(hidden, changed)):
            different = (logits - whole[index]).abs().amax(-1) > 1e-9
            assert different.all() if index > field else not different.any()


@every_config
@pytest.mark.parametrize("cuts", [[1] * 13, [5, 1, 7], [4, 4, 5], [12, 1], [1, 12]], ids=str)
def test_pieces_give_what_the_whole_gives(config, cuts):
    model, events, controls = lively(config), some_events(3, 13), some_controls(config, 3, 13)
    whole, _ = model(events, None, controls)
    state, parts, at = model.start(3), [], 0
    for piece in events.split(cuts, dim=1):
        now = None if controls is None else controls[:, at : at + piece.shape[1]]
        hidden, state = model(piece, state, now)
        parts.append(hidden)
        at += piece.shape[1]
        assert state.length == at
    close(torch.cat(parts, 1), whole)


@pytest.mark.gpu
def test_pieces_give_what_the_whole_gives_on_an_accelerator():
    model, events = lively(PLAIN).float().cuda(), some_events(3, 13).cuda()
    whole, _ = model(events)
    state, parts = None, []
    for piece in events.split([1, 5, 1, 6], dim=1):
        hidden, state = model(piece, state)
        parts.append(hidden)
    torch.testing.assert_close(torch.cat(parts, 1), whole, rtol=0, atol=1e-3)


def test_forks_go_their_own_ways():
    model, events, ways = lively(PLAIN), some_events(2, 6), some_events(4, 5, seed=4)
    _, state = model(events)
    forked, _ = model(ways, state.fork(2))
    for row, way in enumerate(ways):
        alone, _ = model(torch.cat([events[row // 2], way])[None])
        close(forked[row], alone[0, 6:])
    assert state.length == 6
    again, _ = model(ways[::2], state)  # the first state is as it was
    close(again, forked[::2])


@pytest.mark.parametrize("copy", [lambda s: s.fork(1), lambda s: s.select(torch.arange(2))])
def test_copies_of_a_state_share_no_memory(copy):
    model = lively(PLAIN)
    _, state = model(some_events(2, 6))
    expected, _ = model(some_events(2, 3, seed=4), state)
    for tensor in (other := copy(state)).keys + other.values:
        tensor.data.zero_()
    close(model(some_events(2, 3, seed=4), state)[0], expected)


def test_selected_rows_go_on_in_their_order():
    model, events, rows = lively(PLAIN), some_events(3, 9), torch.tensor([2, 0, 2])
    whole, _ = model(events)
    _, state = model(events[:, :6])
    after, _ = model(events[rows, 6:], state.select(rows))
    close(after, whole[rows, 6:])


def test_a_detached_state_has_the_same_values_and_no_history():
    model = lively(PLAIN)
    _, state = model(some_events(1, 3))
    detached = state.detach()
    assert all(x.requires_grad for x in state.keys + state.values)
    assert not any(x.requires_grad for x in detached.keys + detached.values)
    close(model(some_events(1, 3), detached)[0], model(some_events(1, 3), state)[0])
    assert detached.length == state.length == 3


@every_config
def test_nats_are_minus_the_logarithms_of_the_probabilities_of_the_fields(config):
    model, events, controls = lively(config), some_events(3, 9), some_controls(config, 3, 8)
    events[1, 6:] = -1
    hidden, _ = model(events[:, :-1], None, controls)
    logits = model.field_logits(hidden, events[:, 1:])
    nats = model.nats(events, controls)
    assert nats.shape == (3, 8)
    for row in range(3):
        for at in range(8):
            expected = 0.0
            for field, one in enumerate(events[row, at + 1].tolist()):
                if one >= 0:
                    expected -= logits[field][row, at].log_softmax(-1)[one].item()
            assert nats[row, at].item() == pytest.approx(expected, abs=1e-4)
    assert nats[1, 5:].tolist() == [0, 0, 0]


def test_an_untrained_model_expects_every_class_of_a_field_equally():
    torch.manual_seed(0)
    config = NoteTransformerConfig(layers=2, width=128, feed_forward=256, head_hidden=128)
    events = some_events(2, 40, classes=config.classes).clamp(min=0)
    nats = models.build(config, sum(config.classes)).nats(events)
    assert nats.mean().item() == pytest.approx(sum(map(math.log, config.classes)), rel=0.02)


def test_a_small_model_learns_a_sequence_by_heart():
    torch.manual_seed(0)
    config = NoteTransformerConfig(
        classes=(40, 30, 20, 40), layers=1, width=48, heads=2, key_dim=16,
        feed_forward=96, head_hidden=96, frequencies=8, context=32,
    )  # fmt: skip
    events = some_events(1, 33, classes=config.classes)
    model = models.build(config, 130)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    for _ in range(300):
        nats = model.nats(events).mean()
        if nats < 0.1:
            break
        optimizer.zero_grad()
        nats.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
    assert nats < 0.1, f"{nats:.3f} nats per event after 300 steps"
    assert all((table.weight[0] == 0).all() for table in model.embedding.values())


@pytest.mark.parametrize("lengths", [(5, 5), (3, 7), (1, 6), (1, 1)], ids=str)
def test_the_gradient_of_attention_is_that_of_softmax(lengths):
    i, j = lengths
    draw = torch.Generator().manual_seed(6)
    shapes = [(2, i, 4), (2, j, 4), (2, j, 3)]
    q, k, v = (torch.randn(s, generator=draw).double().requires_grad_() for s in shapes)
    mask = torch.full((i, j), -math.inf).double().triu(j - i + 1)
    assert torch.autograd.gradcheck(_Attention.apply, (q, k, v, mask))
    out, plain = _Attention.apply(q, k, v, mask), (q @ k.mT + mask).softmax(-1) @ v
    close(out, plain)
    close(_attend(q[None], k[None], v[None])[0], plain)
    above = torch.randn(out.shape, generator=draw).double()
    for got, expected in zip(
        torch.autograd.grad(out, (q, k, v), above),
        torch.autograd.grad(plain, (q, k, v), above),
        strict=True,
    ):
        close(got, expected)


def test_the_logit_of_a_distance_is_a_product_of_the_query_and_its_waves():
    attention, x = lively(PLAIN).layers[0].attention, torch.randn(1, 7, 24).double()
    rates = spread(4, 4.0 * 8)
    q, k, v = (
        part.view(7, 3, -1).transpose(0, 1)
        for part in attention.qkv_proj(attention.norm(x)).split([18, 18, 24], -1)
    )
    q = F.normalize(q, dim=-1) * attention.gain[:, None, None]
    k = F.normalize(k, dim=-1) * 6**0.5
    logits = torch.full((3, 7, 7), -math.inf).double()
    for i in range(7):
        for j in range(i + 1):
            distance = waves(torch.tensor([i - j]), rates)[0] @ attention.fourier
            logits[:, i, j] = (q[:, i] * (k[:, j] + distance)).sum(-1)
    expected = attention.out_proj((logits.softmax(-1) @ v).transpose(0, 1).flatten(1))
    for first in (0, 10_000):  # wherever they stand, only distances count
        got, keys, values = attention(x, waves(torch.arange(first, first + 7), rates), None)
        torch.testing.assert_close(got[0], expected, rtol=0, atol=1e-4)
        torch.testing.assert_close(keys[0, ..., :6], k, rtol=0, atol=1e-4)
        assert keys.shape == (1, 3, 7, 6 + 8)
        assert values.shape == (1, 3, 7, 8)


def test_bfloat16_computes_nearly_the_same_and_leaves_gradients_in_float32():
    model, events = lively(PLAIN).float(), some_events(2, 10)
    exact = model.nats(events)
    with torch.autocast("cpu", torch.bfloat16):
        hidden, state = model(events[:, :4])
        hidden, state = model(events[:, 4:], state)
        nats = model.nats(events)
    assert hidden.dtype == state.keys[0].dtype == state.values[0].dtype == torch.bfloat16
    assert nats.dtype == torch.float32
    torch.testing.assert_close(nats, exact, rtol=0, atol=0.3)
    nats.sum().backward()
    assert {parameter.grad.dtype for parameter in model.parameters()} == {torch.float32}


def test_controls_change_what_comes_after_them_and_nothing_before():
    model, events = lively(CONDITIONED), some_events(1, 6)
    zeros = torch.zeros(1, 6, 13).double()
    close(model(events, None, zeros)[0], model(events)[0])
    for number in range(13):
        controls = zeros.clone()
        controls[0, 3, number] = 1.0
        difference = (model(events, None, controls)[0] - model(events)[0]).abs().amax((0, 2))
        assert difference[:3].max() == 0
        assert difference[3:].min() > 1e-6


def test_what_a_model_has_no_use_for_is_refused():
    model = lively(PLAIN)
    with pytest.raises(TypeError, match="made without controls; give it none"):
        model(some_events(1, 4), None, torch.zeros(1, 4, 8).double())
    with pytest.raises(TypeError, match="has no encoder"):
        model.start(1, torch.zeros(1, 4, dtype=torch.long))
    with pytest.raises(TypeError, match="has no encoder"):
        model.nats(some_events(1, 4), None, torch.zeros(1, 4, dtype=torch.long))


def test_settings_that_make_no_network_are_refused():
    with pytest.raises(ConfigError, match=r"are 32 classes, the codec has 33"):
        models.build(PLAIN, 33)
    for changes, message in [
        ({"classes": (4, 5, 6)}, r"classes=\(4, 5, 6\) must be 4 sizes: shift, kind"),
        ({"classes": (4, 5, 6, 0)}, "must be 4 sizes"),
        ({"heads": 5}, "heads=5 must divide width=24; try heads=4"),
        ({"layers": 0}, "layers"),
        ({"frequencies": 0}, "frequencies"),
        ({"context": 0}, "context"),
        ({"dropout": 1.5}, "dropout"),
        ({"controls": ("tuba",)}, "tuba"),
        ({"composers": ("Bach", "Bach")}, "composers=Bach,Bach names one twice"),
        ({"sources": ("a", "a")}, "sources=a,a names one twice"),
    ]:
        with pytest.raises(ConfigError, match=message):
            NoteTransformerConfig(**SIZES | changes)


def test_tensor_names_are_a_contract(golden):
    shapes = {
        name: list(parameter.shape)
        for name, parameter in models.build(CONDITIONED, 32).named_parameters()
    }
    assert shapes.keys() == models.build(CONDITIONED, 32).state_dict().keys()
    golden("note_transformer_tensors", shapes)
