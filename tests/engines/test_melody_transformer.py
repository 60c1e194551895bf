"""Law: the engine that accompanies gives the logits of its model, melody and clock included."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from espressivo import engines, models  # noqa: E402
from espressivo.configs import MelodyTransformerConfig  # noqa: E402

SIZES = {"layers": 2, "width": 16, "attention": 24, "feed_forward": 32, "heads": 3}
CONFIGS = {
    "relative": MelodyTransformerConfig(**SIZES, reach=9, context=80),
    "plain": MelodyTransformerConfig(**SIZES, position="none", context=80),
    "with a clock": MelodyTransformerConfig(**SIZES, reach=9, sinusoids="none", clock=True),
    "waves": MelodyTransformerConfig(
        **SIZES, position="fourier", frequencies=3, sinusoids="none", qk_norm=True, clock=True
    ),
}
every_config = pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)


def both(config):
    """A model whose every tensor matters, and the engine of its weights."""
    torch.manual_seed(2)
    model = models.build(config, 40).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(0.4 * torch.randn_like(parameter))
    weights = {name: p.detach().numpy() for name, p in model.named_parameters()}
    return model, engines.build(config, weights)


def drawn(batch, time, steps):
    rng = np.random.default_rng(6)
    source = rng.integers(92, size=(batch, steps))
    for row in range(batch):
        source[row, steps - 2 * row :] = -1
    clock = np.cumsum(rng.random((batch, time, 1)), axis=1).astype(np.float32)
    return rng.integers(40, size=(batch, time)), source, clock


@every_config
@pytest.mark.parametrize("batch", [1, 3])
def test_an_engine_that_accompanies_gives_the_logits_of_its_model(config, batch, monkeypatch):
    monkeypatch.setattr("espressivo.engines.transformer.BUDGET", 12_000)  # read in several pieces
    model, engine = both(config)
    tokens, source, clock = drawn(batch, 60, 12)
    told = clock if config.clock else None
    with torch.inference_mode():
        state = model.start(batch, torch.from_numpy(source))
        controls = None if told is None else torch.from_numpy(told)
        expected = model(torch.from_numpy(tokens), state, controls)[0].numpy()
    assert expected.std() > 0.1

    def part(a, b):
        return None if told is None else told[:, a:b]

    def close(logits, at):
        np.testing.assert_allclose(logits, expected[:, at], rtol=0, atol=1e-4)

    state = engine.start(batch, source)
    close(engine.read(tokens[:, :9], state, part(0, 9)), 8)
    for at in range(9, 14):
        now = None if told is None else told[:, at]
        close(engine.step(tokens[:, at], state, now), at)
    close(engine.read(tokens[:, 14:50], state, part(14, 50)), 49)
    now = None if told is None else told[:, 50].repeat(2, axis=0)
    pair = engine.step(tokens[:, 50].repeat(2), state.fork(2), now)
    close(pair[::2], 50)
    close(pair[1::2], 50)
    rows = np.arange(batch)[::-1].copy()
    later = None if told is None else told[rows, 50:]
    close(engine.read(tokens[rows, 50:], state.select(rows), later)[rows], 59)


@every_config
def test_without_a_melody_it_plays_what_its_decoder_would(config):
    model, engine = both(config)
    tokens, _, _ = drawn(2, 20, 5)
    with torch.inference_mode():
        expected = model(torch.from_numpy(tokens))[0].numpy()[:, -1]
    np.testing.assert_allclose(engine.read(tokens, engine.start(2)), expected, rtol=0, atol=1e-4)


def test_what_it_cannot_be_told_is_refused():
    _, engine = both(CONFIGS["with a clock"])
    tokens, source, clock = drawn(1, 4, 5)
    with pytest.raises(ValueError, match="follows a clock"):
        engine.step(tokens[:, 0], engine.start(1, source))
    with pytest.raises(ValueError, match="holds no token"):
        engine.start(1, np.full((1, 3), -1))
    _, plain = both(CONFIGS["plain"])
    with pytest.raises(TypeError, match="without controls"):
        plain.step(tokens[:, 0], plain.start(1, source), clock[:, 0])
    other = engines.build(CONFIGS["plain"].decoder, plain_weights())
    with pytest.raises(TypeError, match="cannot continue from TransformerState"):
        plain.step(tokens[:, 0], other.start(1))


def plain_weights():
    model = models.build(CONFIGS["plain"].decoder, 40)
    return {name: p.detach().numpy() for name, p in model.named_parameters()}
