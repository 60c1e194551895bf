"""What every model must do, whatever it is."""

import itertools
import math

import pytest

torch = pytest.importorskip("torch")
F = torch.nn.functional

from espressivo import models  # noqa: E402
from espressivo.codecs import CODECS  # noqa: E402
from espressivo.configs import LstmConfig, TransformerConfig, pattern  # noqa: E402
from espressivo.performance import Performance  # noqa: E402
from tests.models.nets import SMALL, lively, some_tokens  # noqa: E402

NOTES = SMALL["lstm of notes"]  # its layers hear a note at a time: see test_note_lstm.py
every_model = pytest.mark.parametrize("config", SMALL.values(), ids=SMALL)


def felt(model, tokens, position):
    """Which inputs the output at one position has a gradient with respect to."""
    inputs = []

    def catch(x):
        inputs.append(x.detach().requires_grad_())
        return inputs[0]

    if isinstance(model, models.Lstm | models.AttentionLstm):
        hook = model.lstm.register_forward_pre_hook(lambda _, args: (catch(args[0]), *args[1:]))
    else:
        hook = model.embedding.register_forward_hook(lambda _module, _args, out: catch(out))
    with hook:
        model(tokens)[0][0, position].square().sum().backward()
    return (inputs[0].grad[0].abs().sum(-1) > 0).tolist()


def heard(config, time):
    """Who hears whom, [time, time]: through all layers of a transformer, or all of the past."""
    at = torch.arange(time)
    if not isinstance(config, TransformerConfig):
        return at[:, None] >= at
    through = torch.eye(time)
    for layer in range(config.layers):
        text = config.patterns[layer % len(config.patterns)]
        through = pattern(text)(at[:, None], at).float() @ through
    return through > 0


@pytest.mark.parametrize("name", [name for name, config in SMALL.items() if config != NOTES])
def test_an_output_depends_on_what_it_hears_and_on_nothing_later(name):
    config = SMALL[name]
    model, tokens = lively(config).double(), some_tokens(1, 9)
    for position, past in enumerate(heard(config, 9).tolist()):
        assert felt(model, tokens, position) == past
        assert not any(past[position + 1 :])


@every_model
@pytest.mark.parametrize("cuts", [[1] * 13, [5, 1, 7], [4, 4, 5], [12, 1]], ids=str)
def test_pieces_give_what_the_whole_gives(config, cuts):
    model = lively(config).double()
    tokens = some_tokens(3, 13)
    whole, _ = model(tokens)
    state, parts = model.start(3), []
    for piece in tokens.split(cuts, dim=1):
        logits, state = model(piece, state)
        parts.append(logits)
    assert state.length == 13
    torch.testing.assert_close(torch.cat(parts, 1), whole, rtol=0, atol=1e-9)


@every_model
def test_forks_go_their_own_ways(config):
    model = lively(config).double()
    tokens = some_tokens(2, 6)
    ways = some_tokens(4, 5)
    _, state = model(tokens)
    forked, _ = model(ways, state.fork(2))
    for row, way in enumerate(ways):
        alone, _ = model(torch.cat([tokens[row // 2], way])[None])
        torch.testing.assert_close(forked[row], alone[0, 6:], rtol=0, atol=1e-9)
    assert state.length == 6
    again, _ = model(ways[::2], state)  # the first state is as it was
    torch.testing.assert_close(again, forked[::2], rtol=0, atol=1e-9)


@every_model
def test_a_detached_state_holds_no_history(config):
    model = lively(config)
    _, state = model(some_tokens(1, 3))
    logits, _ = model(some_tokens(1, 3), state.detach())
    logits.sum().backward()
    kept = [v for v in vars(state.detach()).values() if isinstance(v, list | torch.Tensor)]
    tensors = itertools.chain.from_iterable(v if isinstance(v, list) else [v] for v in kept)
    assert not any(tensor.requires_grad for tensor in tensors)


@pytest.mark.parametrize(
    "config",
    [
        LstmConfig(layers=3, width=128),
        TransformerConfig(layers=3, width=128, attention=128, feed_forward=256, reach=128),
    ],
    ids=["lstm", "transformer"],
)
def test_an_untrained_model_expects_everything_equally(config):
    torch.manual_seed(0)
    model = models.build(config, 388).eval()
    tokens = some_tokens(4, 65, 388)
    logits, _ = model(tokens[:, :-1])
    loss = F.cross_entropy(logits.flatten(0, 1), tokens[:, 1:].flatten())
    assert loss.item() == pytest.approx(math.log(388), rel=0.05)


def eight_bars() -> Performance:
    """A left hand in broken chords under a slow melody, played a little unevenly."""
    chords = [(48, 55, 52), (48, 57, 53), (47, 55, 50), (48, 55, 52)] * 2
    notes = []
    for bar, (low, high, middle) in enumerate(chords):
        for beat, pitch in enumerate((low, high, middle, high)):
            onset = 2 * bar + beat / 2 + 0.01 * (beat % 3)
            notes.append((onset, onset + 0.45, pitch, 50 + 4 * beat, 0))
        notes.append((2 * bar, 2 * bar + 1.8, 72 + bar, 80, 0))
    return Performance(notes)


LEARNERS = {
    "lstm": (LstmConfig(layers=1, width=128), 0.03),
    "transformer": (
        TransformerConfig(
            layers=2, width=48, attention=48, feed_forward=96, heads=3, reach=64, dropout=0.0
        ),
        0.008,
    ),
}


@pytest.mark.parametrize(("config", "rate"), LEARNERS.values(), ids=LEARNERS)
def test_a_tiny_model_learns_eight_bars_by_heart(config, rate):
    torch.manual_seed(0)
    codec = CODECS["performance-rnn"]
    tokens = torch.from_numpy(codec.encode(eight_bars()))[None]
    assert 150 < tokens.shape[1] < 400
    model = models.build(config, len(codec.vocabulary))
    optimizer = torch.optim.Adam(model.parameters(), lr=rate)
    for _ in range(150):
        logits, _ = model(tokens[:, :-1])
        loss = F.cross_entropy(logits[0], tokens[0, 1:])
        if loss < 0.1:
            break
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
    assert loss < 0.1, f"{loss:.3f} nats per token after 150 steps"


@pytest.mark.parametrize("config", [SMALL["lstm"], SMALL["transformer"]], ids=["lstm", "other"])
def test_a_model_that_has_no_use_for_more_than_tokens_refuses_it(config):
    model = lively(config)
    with pytest.raises(TypeError, match="has no encoder"):
        model.start(1, some_tokens(1, 4))
    with pytest.raises(TypeError, match="made without controls"):
        model(some_tokens(1, 4), None, torch.zeros(1, 4, 8))


@pytest.mark.parametrize("config", [SMALL["lstm"], SMALL["transformer"]], ids=["lstm", "other"])
def test_a_model_refuses_the_memory_of_another_kind(config):
    other = SMALL["transformer" if isinstance(config, LstmConfig) else "lstm"]
    with pytest.raises(TypeError, match="cannot continue from"):
        models.build(config, 5)(some_tokens(1, 2, 5), models.build(other, 5).start(1))
