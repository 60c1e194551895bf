"""What a model that accompanies must do beyond what every model must."""

import pytest

torch = pytest.importorskip("torch")

from espressivo import models  # noqa: E402
from espressivo.codecs.melody import MelodySteps  # noqa: E402
from espressivo.configs import MelodyTransformerConfig  # noqa: E402
from espressivo.models.melody_transformer import MELODY_TOKENS, turned  # noqa: E402

SIZES = {"layers": 2, "width": 16, "attention": 24, "feed_forward": 32, "heads": 3, "dropout": 0.0}
CONFIGS = {
    "relative": MelodyTransformerConfig(**SIZES, reach=6),
    "plain": MelodyTransformerConfig(**SIZES, position="none"),
    "with a clock": MelodyTransformerConfig(**SIZES, reach=6, sinusoids="none", clock=True),
    "waves": MelodyTransformerConfig(
        **SIZES, position="fourier", frequencies=3, sinusoids="none", qk_norm=True, clock=True
    ),
}
every_config = pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)


def lively(config, vocabulary=30):
    """A model in double precision whose every tensor matters."""
    torch.manual_seed(3)
    model = models.build(config, vocabulary).double().eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.2 * torch.randn_like(parameter))
    return model


def some(high, *shape):
    return torch.randint(high, shape, generator=torch.Generator().manual_seed(5))


def clock_of(config, *shape):
    return torch.rand(*shape, 1, dtype=torch.float64).cumsum(1) if config.clock else None


@every_config
def test_pieces_give_what_the_whole_gives_and_forks_hear_the_same_melody(config):
    model, tokens, source = lively(config), some(30, 2, 11), some(MELODY_TOKENS, 2, 7)
    clock = clock_of(config, 2, 11)
    whole, _ = model(tokens, model.start(2, source), clock)
    state, parts = model.start(2, source), []
    for piece in torch.arange(11).split([1, 5, 4, 1]):
        now = None if clock is None else clock[:, piece]
        logits, state = model(tokens[:, piece], state, now)
        parts.append(logits)
    torch.testing.assert_close(torch.cat(parts, 1), whole, rtol=0, atol=1e-9)
    rows = torch.tensor([0, 0, 1, 1])
    forked = model.start(2, source).fork(2)
    now = None if clock is None else clock[rows]
    again, _ = model(tokens[rows], forked, now)
    torch.testing.assert_close(again, whole[rows], rtol=0, atol=1e-9)
    swapped = model.start(2, source).select(torch.tensor([1, 0]))
    other, _ = model(tokens.flip(0), swapped, None if clock is None else clock.flip(0))
    torch.testing.assert_close(other.flip(0), whole, rtol=0, atol=1e-9)


@every_config
def test_everything_played_hears_every_step_of_the_melody(config):
    model, tokens, source = lively(config), some(30, 1, 4), some(MELODY_TOKENS, 1, 6)
    read = []

    def catch(_module, _args, out):
        read.append(out.detach().requires_grad_())
        return read[0]

    with model.encoder.embedding.register_forward_hook(catch):
        logits, _ = model(tokens, model.start(1, source), clock_of(config, 1, 4))
    logits[0, 0].square().sum().backward()
    assert (read[0].grad[0].abs().sum(-1) > 0).all()


@every_config
def test_padding_of_the_melody_is_not_heard(config):
    model, tokens, source = lively(config), some(30, 2, 5), some(MELODY_TOKENS, 2, 8)
    source[0, 5:] = -1
    clock = clock_of(config, 2, 5)
    both, _ = model(tokens, model.start(2, source), clock)
    now = None if clock is None else clock[:1]
    alone, _ = model(tokens[:1], model.start(1, source[:1, :5]), now)
    torch.testing.assert_close(both[:1], alone, rtol=0, atol=1e-9)
    with pytest.raises(ValueError, match="holds no token"):
        model.start(2, torch.full((2, 3), -1))


@every_config
def test_a_decoder_trained_without_melodies_goes_on_as_it_was(config):
    torch.manual_seed(1)
    plain = models.build(config.decoder, 30).double().eval()
    model = models.build(config, 30).double().eval()
    missing, unexpected = model.load_state_dict(plain.state_dict(), strict=False)
    assert not unexpected
    assert all(name.startswith("encoder.") or ".melody" in name for name in missing)
    tokens, source = some(30, 2, 9), some(MELODY_TOKENS, 2, 7)
    expected, _ = plain(tokens)
    torch.testing.assert_close(model(tokens)[0], expected, rtol=0, atol=0)
    told, _ = model(tokens, model.start(2, source), clock_of(config, 2, 9))
    torch.testing.assert_close(told, expected, rtol=0, atol=1e-12)


def test_the_clock_moves_the_place_in_the_melody_and_nothing_else():
    config = CONFIGS["with a clock"]
    model = lively(config)
    x = some(99, 1, 2, 3, 8).double()
    y, now = x.flip(2), torch.tensor([[0.0, 1.5, 70.0]], dtype=torch.float64)
    product = turned(x, now) @ turned(y, now + 2).mT
    later = turned(x, now + 40) @ turned(y, now + 42).mT
    torch.testing.assert_close(product, later, rtol=1e-9, atol=1e-9)
    tokens, source = some(30, 1, 4), some(MELODY_TOKENS, 1, 9)
    early, _ = model(tokens, model.start(1, source), torch.zeros(1, 4, 1, dtype=torch.float64))
    late, _ = model(tokens, model.start(1, source), torch.ones(1, 4, 1, dtype=torch.float64))
    assert (early - late).abs().max() > 1e-3
    with pytest.raises(ValueError, match="follows a clock"):
        model(tokens, model.start(1, source))
    with pytest.raises(TypeError, match="without controls"):
        lively(CONFIGS["plain"])(tokens, None, torch.zeros(1, 4, 1, dtype=torch.float64))


def test_the_encoder_reads_the_vocabulary_of_melodies():
    assert len(MelodySteps().vocabulary) == MELODY_TOKENS


def test_a_tiny_model_learns_to_play_what_the_melody_says():
    """Each event repeats the key that the melody has at that place: it can only be heard."""
    torch.manual_seed(0)
    config = MelodyTransformerConfig(
        layers=1, width=32, attention=32, feed_forward=64, heads=2, dropout=0.0, clock=True
    )
    model = models.build(config, 12)
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-2)
    draw = torch.Generator().manual_seed(1)
    for _ in range(60):
        source = torch.randint(12, (16, 6), generator=draw)
        tokens = torch.cat([torch.zeros(16, 1, dtype=torch.int64), source[:, :-1]], 1)
        now = torch.arange(6.0).expand(16, -1)[..., None]
        logits, _ = model(tokens, model.start(16, source), now)
        loss = torch.nn.functional.cross_entropy(logits.flatten(0, 1), source.flatten())
        if loss < 0.5:
            break
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss < 0.5, f"{loss:.2f} nats; without the melody no better than 2.48"
