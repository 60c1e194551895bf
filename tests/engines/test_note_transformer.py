"""Law: the engine of a transformer over notes gives the hidden vectors and logits of its model."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from espressivo import models  # noqa: E402
from espressivo.configs import NoteTransformerConfig  # noqa: E402
from espressivo.engines import NoteTransformerEngine  # noqa: E402
from espressivo.errors import CheckpointError  # noqa: E402

CLASSES = (11, 9, 5, 7)
SIZES = {
    "classes": CLASSES, "layers": 2, "width": 24, "heads": 3, "key_dim": 6,
    "feed_forward": 40, "head_hidden": 20, "frequencies": 4, "context": 32,
}  # fmt: skip
CONFIGS = {
    "plain": NoteTransformerConfig(**SIZES),
    "conditioned": NoteTransformerConfig(
        **SIZES, controls=("notes-per-second",), composers=("Bach", "Ravel")
    ),
    "one frequency, one head": NoteTransformerConfig(**SIZES | {"frequencies": 1, "heads": 1}),
}
every_config = pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)


def both(config):
    """A model whose every tensor matters, and the engine of its weights."""
    torch.manual_seed(2)
    model = models.build(config, sum(config.classes)).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(0.3 * torch.randn_like(parameter))
    return model, NoteTransformerEngine(config, weights_of(model))


def weights_of(model):
    return {name: p.detach().numpy() for name, p in model.named_parameters()}


def some_events(batch, time):
    """Events of which every field may be missing."""
    rng = np.random.default_rng(6)
    return np.stack([rng.integers(-1, size, (batch, time)) for size in CLASSES], -1)


def some_controls(config, batch, time):
    if not config.condition_dim:
        return None
    rng = np.random.default_rng(7)
    return rng.normal(size=(batch, time, config.condition_dim)).astype(np.float32)


def close(got, expected):
    np.testing.assert_allclose(got, expected, rtol=0, atol=1e-4)
    assert got.dtype == np.float32


def part(controls, rows, times):
    return None if controls is None else controls[rows, times]


@every_config
@pytest.mark.parametrize("batch", [1, 3])
def test_an_engine_gives_the_hidden_vectors_of_its_model(config, batch, monkeypatch):
    monkeypatch.setattr("espressivo.engines.note_transformer.PIECE", 7)  # so caches grow, too
    model, engine = both(config)
    events, controls = some_events(batch, 90), some_controls(config, batch, 90)  # context is 32
    with torch.inference_mode():
        given = None if controls is None else torch.from_numpy(controls)
        expected = model(torch.from_numpy(events), None, given)[0].numpy()
    assert expected.std() > 0.1
    every = slice(None)

    def feed(state, start, stop, rows=every):
        times = slice(start, stop)
        return engine.feed(state, events[rows, times], part(controls, rows, times))

    state = engine.start(batch)
    close(feed(state, 0, 9), expected[:, 8])
    for at in range(9, 20):
        close(feed(state, at, at + 1), expected[:, at])
    close(feed(state, 20, 60), expected[:, 59])
    twice, forked = np.repeat(np.arange(batch), 2), state.fork(2)
    for at in range(60, 63):
        close(feed(forked, at, at + 1, twice), expected[twice, at])
    assert (state.length, forked.length, forked.batch) == (60, 63, 2 * batch)
    rows = np.arange(batch)[::-1].copy()
    close(feed(state.select(rows), 60, 90, rows), expected[rows, 89])
    assert state.length == 60


@every_config
def test_a_chain_gives_the_logits_of_every_field(config):
    model, engine = both(config)
    hidden = np.random.default_rng(8).normal(size=(50, config.width)).astype(np.float32)
    events, kept = some_events(50, 1)[:, 0], hidden.copy()
    with torch.inference_mode():
        expected = model.field_logits(
            torch.from_numpy(hidden)[:, None], torch.from_numpy(events)[:, None]
        )
    chain = engine.chain(hidden)
    for field, logits in enumerate(expected):
        assert chain.index == field
        assert logits.std() > 0.1
        close(chain.logits(events[:, field - 1] if field else None), logits[:, 0].numpy())
    np.testing.assert_array_equal(hidden, kept)


def test_half_precision_weights_play_as_float32():
    model, _ = both(CONFIGS["plain"])
    half = {name: weight.astype(np.float16) for name, weight in weights_of(model).items()}
    engine = NoteTransformerEngine(CONFIGS["plain"], half)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.copy_(torch.from_numpy(half[name]))
        expected = model(torch.from_numpy(some_events(2, 12)))[0][:, -1].numpy()
    close(engine.feed(engine.start(2), some_events(2, 12)), expected)


@pytest.mark.parametrize("copy", [lambda s: s.fork(1), lambda s: s.select(np.arange(2))])
def test_what_a_copy_reads_changes_nothing_in_the_original(copy):
    _, engine = both(CONFIGS["plain"])
    events = some_events(2, 40)
    state = engine.start(2)
    engine.feed(state, events[:, :10])
    other = copy(state)
    ahead = engine.feed(other, events[::-1, 10:20])
    again = copy(state)
    engine.feed(state, events[:, 10:30])
    np.testing.assert_array_equal(engine.feed(again, events[::-1, 10:20]), ahead)
    fresh = engine.start(2)
    engine.feed(fresh, events[:, :10])
    engine.feed(fresh, events[:, 10:30])
    last = events[:, 30:31]
    np.testing.assert_array_equal(engine.feed(state, last), engine.feed(fresh, last))


def test_what_the_caller_does_to_a_hidden_vector_is_no_matter():
    _, engine = both(CONFIGS["plain"])
    one, two, events = engine.start(1), engine.start(1), some_events(1, 8)
    engine.feed(one, events[:, :7])[:] = 0
    engine.feed(two, events[:, :7])
    np.testing.assert_array_equal(engine.feed(one, events[:, 7:]), engine.feed(two, events[:, 7:]))


def test_a_tensor_that_does_not_fit_is_named():
    config = CONFIGS["plain"]
    weights = weights_of(both(config)[0])
    gain = weights["layers.1.attention.gain"]
    for changed, message in [
        ({"layers.1.attention.gain": gain[:-1]}, r"layers.1.attention.gain is \(2,\); .* \(3,\)"),
        ({"tuba.weight": gain}, r"tuba.weight is \(3,\); this model has no such tensor"),
    ]:
        with pytest.raises(CheckpointError, match=message):
            NoteTransformerEngine(config, weights | changed)
    for name in weights:
        fewer = {n: w for n, w in weights.items() if n != name}
        with pytest.raises(CheckpointError, match=f"{name} is missing; this model has"):
            NoteTransformerEngine(config, fewer)
    with pytest.raises(CheckpointError, match=r"conditioning.weight is missing; .* \(24, 10\)"):
        NoteTransformerEngine(CONFIGS["conditioned"], weights)


def test_what_is_no_event_is_refused_and_leaves_the_state_as_it_was():
    _, engine = both(CONFIGS["plain"])
    events, state = some_events(2, 3), engine.start(2)
    for wrong in (events[:1], events[:, 0], events[..., :3], events[:, :0]):
        with pytest.raises(ValueError, match=r"this state needs \[2, at least 1, 4\]"):
            engine.feed(state, wrong)
    for value, field, message in [(9, 1, "kind 9 .* -1 to 8"), (-2, 3, "duration -2 .* -1 to 6")]:
        wrong = events.copy()
        wrong[1, 2, field] = value
        with pytest.raises(ValueError, match=message):
            engine.feed(state, wrong)
    assert state.length == 0


def test_controls_must_be_those_of_the_model():
    _, engine = both(CONFIGS["plain"])
    events = some_events(1, 3)
    with pytest.raises(TypeError, match="without controls; give none"):
        engine.feed(engine.start(1), events, np.zeros((1, 3, 8), np.float32))
    _, engine = both(CONFIGS["conditioned"])
    with pytest.raises(ValueError, match=r"need \[1, 3, 10\]"):
        engine.feed(engine.start(1), events, np.zeros((1, 3, 8), np.float32))


def test_a_chain_goes_through_the_fields_once_and_in_order():
    _, engine = both(CONFIGS["plain"])
    hidden, none = np.zeros((2, 24), np.float32), np.zeros(2, int)
    with pytest.raises(ValueError, match="takes nothing, then shift"):
        engine.chain(hidden).logits(none)
    chain = engine.chain(hidden)
    chain.logits()
    with pytest.raises(ValueError, match="takes nothing, then shift"):
        chain.logits()
    with pytest.raises(ValueError, match="shift 11 is outside the classes -1 to 10"):
        chain.logits(none + 11)
    assert [chain.logits(none).shape for _ in range(3)] == [(2, 9), (2, 5), (2, 7)]
    with pytest.raises(ValueError, match="begin another"):
        chain.logits(none)
