"""Law: an engine gives the same logits as the model whose weights it plays."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from espressivo import engines, models  # noqa: E402
from espressivo.configs import LstmConfig  # noqa: E402
from espressivo.engines.torch_engine import TorchEngine  # noqa: E402
from tests.engines.nets import (  # noqa: E402
    SMALL,
    VARIANTS,
    VOCABULARY,
    shapes,
    some_tokens,
    transformer,
    weights,
)

BIG = {
    "a wide lstm": LstmConfig(layers=2, width=200),
    "a wide transformer": transformer(width=128, attention=128, heads=2, feed_forward=300),
}
ALL = SMALL | VARIANTS | BIG
every_model = pytest.mark.parametrize("config", ALL.values(), ids=ALL)


def model_of(config, scale=1.0):
    model = models.build(config, VOCABULARY).eval()
    drawn = weights(config)
    model.load_state_dict({name: scale * torch.from_numpy(x) for name, x in drawn.items()})
    return model


def players_of(config):
    """The numpy engine and the torch engine of the same weights, and the model itself."""
    scale = 0.2 if max(config.width, 1) > 100 else 1.0
    model = model_of(config, scale)
    given = {name: scale * weight for name, weight in weights(config).items()}
    return {"numpy": engines.build(config, given), "torch": TorchEngine(model)}, model


@every_model
def test_checkpoints_hold_what_engines_read(config):
    model = models.build(config, VOCABULARY)
    names = {name: tuple(x.shape) for name, x in model.state_dict().items()}
    assert names == shapes(config, VOCABULARY)


@every_model
@pytest.mark.parametrize(("kind", "batch"), [("numpy", 1), ("numpy", 3), ("torch", 2)])
def test_an_engine_gives_the_logits_of_its_model(config, kind, batch):
    players, model = players_of(config)
    player, tokens = players[kind], some_tokens(batch, 330)
    with torch.inference_mode():
        expected = model(torch.from_numpy(tokens))[0].numpy()
    assert expected.std() > 0.1
    state = player.start(batch)

    def close(logits, at):
        np.testing.assert_allclose(logits, expected[:, at], rtol=0, atol=1e-4)

    close(player.read(tokens[:, :9], state), 8)
    for at in range(9, 20):
        close(player.step(tokens[:, at], state), at)
    close(player.read(tokens[:, 20:300], state), 299)
    forked = state.fork(2)
    for at in range(300, 304):
        pair = player.step(tokens[:, at].repeat(2), forked)
        close(pair[::2], at)
        close(pair[1::2], at)
    assert (state.length, forked.length) == (300, 304)
    rows = np.arange(batch)[::-1].copy()
    reordered = player.read(tokens[rows, 300:], state.select(rows))
    close(reordered[rows], 329)


def test_a_torch_engine_keeps_to_its_context_and_its_states():
    config = transformer(context=20)
    player = TorchEngine(models.build(config, VOCABULARY))
    state = player.start(1)
    player.read(some_tokens(1, 20), state)
    with pytest.raises(ValueError, match="20 tokens read and 1 to come"):
        player.step(np.array([0]), state)
    with pytest.raises(TypeError, match="cannot continue from TransformerState"):
        player.step(np.array([0]), engines.build(config, weights(config)).start(1))
    assert player.context == 20
    assert TorchEngine(models.build(SMALL["lstm"], 9)).context is None
