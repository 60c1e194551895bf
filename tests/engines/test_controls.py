"""What a model is told beside the tokens, in the engines: law, shapes and what nothing means."""

import numpy as np
import pytest

from espressivo import engines
from espressivo.configs import LstmConfig
from tests.engines.nets import VOCABULARY, some_tokens, transformer, weights

BOTH = ("notes-per-second", "pitch-class-histogram")
TOLD = {
    "lstm": (LstmConfig(layers=2, width=16, controls=BOTH), 20),
    "lstm of one layer": (LstmConfig(layers=1, width=16, controls=BOTH[:1]), 8),
    "transformer": (transformer(controls=BOTH), 20),
    "transformer without sinusoids": (transformer(controls=BOTH[1:], sinusoids="none"), 12),
    "optional lstm": (LstmConfig(layers=2, width=16, controls=BOTH, optional=True), 21),
}
every = pytest.mark.parametrize(("config", "width"), TOLD.values(), ids=TOLD)


def some_controls(batch, time, width):
    return np.random.default_rng(5).normal(size=(batch, time, width)).astype(np.float32)


def play(player, tokens, controls):
    """Logits after every token: some read, some step by step, some read again."""
    state, found = player.start(len(tokens)), []
    found.append(player.read(tokens[:, :9], state, controls[:, :9]))
    for at in range(9, 12):
        found.append(player.step(tokens[:, at], state, controls[:, at]))
    found.append(player.read(tokens[:, 12:], state, controls[:, 12:]))
    return np.stack(found, 1)


@every
@pytest.mark.parametrize("batch", [1, 3])
def test_an_engine_gives_the_logits_of_its_model(config, width, batch):
    torch, models = pytest.importorskip("torch"), pytest.importorskip("espressivo.models")
    from espressivo.engines.torch_engine import TorchEngine  # noqa: PLC0415  # needs torch

    tokens, controls = some_tokens(batch, 300), some_controls(batch, 300, width)
    model = models.build(config, VOCABULARY).eval()
    model.load_state_dict({name: torch.from_numpy(x) for name, x in weights(config).items()})
    with torch.inference_mode():
        logits, _ = model(torch.from_numpy(tokens), None, torch.from_numpy(controls))
        unset, _ = model(torch.from_numpy(tokens))
    expected = logits[:, [8, 9, 10, 11, 299]].numpy()
    assert np.abs(expected - unset[:, [8, 9, 10, 11, 299]].numpy()).max() > 0.1
    for player in (engines.build(config, weights(config)), TorchEngine(model)):
        np.testing.assert_allclose(play(player, tokens, controls), expected, rtol=0, atol=1e-4)


@every
def test_nothing_is_zeros_and_the_flag_that_says_so(config, width):
    player, tokens = engines.build(config, weights(config)), some_tokens(2, 9)
    nothing = np.zeros((2, 9, width), np.float32)
    if getattr(config, "optional", False):
        nothing[..., 0] = 1
    told = player.read(tokens, player.start(2), nothing)
    np.testing.assert_allclose(player.read(tokens, player.start(2)), told, rtol=0, atol=1e-6)
    other = player.read(tokens, player.start(2), 1 - nothing)
    assert np.abs(other - told).max() > 0.01


@every
def test_controls_of_another_shape_are_refused(config, width):
    player, tokens = engines.build(config, weights(config)), some_tokens(2, 9)
    with pytest.raises(ValueError, match=rf"need \[2, 9, {width}\]"):
        player.read(tokens, player.start(2), np.zeros((2, 9, width + 1), np.float32))
    with pytest.raises(ValueError, match=rf"need \[2, {width}\]"):
        player.step(tokens[:, 0], player.start(2), np.zeros((1, width), np.float32))
