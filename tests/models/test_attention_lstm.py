"""Looking back, against the formulas of Luong et al. 2015 spelt out for one place."""

import math

import pytest

torch = pytest.importorskip("torch")
F = torch.nn.functional

from espressivo import models  # noqa: E402
from espressivo.codecs import CODECS  # noqa: E402
from espressivo.configs import AttentionLstmConfig  # noqa: E402
from espressivo.errors import ConfigError  # noqa: E402
from espressivo.models.attention.luong import LookBack  # noqa: E402
from tests.models.nets import some_tokens  # noqa: E402
from tests.models.test_laws import eight_bars  # noqa: E402

N, D = 7, 2
SCORES, FOCI = ("concat", "dot", "general"), ("all", "local-m", "local-p")


def config(score="dot", focus="all"):
    return AttentionLstmConfig(layers=1, width=8, look_back=N, score=score, focus=focus, window=D)


def by_hand(look, h, before):
    """One output `h` [w] and the N before it, the latest last [n, w]."""
    score, focus = look.config.score, look.config.focus
    scores = []
    for s in before:
        if score == "dot":
            scores.append(h @ s)
        elif score == "general":
            scores.append(h @ look.key.weight @ s)
        else:
            scores.append(look.energy @ torch.tanh(look.query.weight @ h + look.key.weight @ s))
    place = 0.0
    if focus == "local-p":
        wish = look.place_energy @ torch.tanh(look.place.weight @ h)
        place = N * torch.sigmoid(wish).item()
    weights = [score.exp() for score in scores]
    for index in range(N):
        distance = N - index
        off = distance - place
        if (focus == "local-m" and distance > D) or (focus == "local-p" and abs(off) > D):
            weights[index] = torch.tensor(0.0, dtype=h.dtype)
    total = sum(weights)
    context = torch.zeros_like(h)
    for index in range(N):
        weight = weights[index] / total
        if focus == "local-p":
            weight = weight * math.exp(-((N - index - place) ** 2) / (2 * (D / 2) ** 2))
        context = context + weight * before[index]
    return torch.tanh(look.mix.weight @ torch.cat([context, h]))


@pytest.mark.parametrize("score", SCORES)
@pytest.mark.parametrize("focus", FOCI)
def test_every_way_of_looking_is_its_formula(score, focus):
    torch.manual_seed(3)
    look = LookBack(config(score, focus)).double()
    heard, past = torch.randn(2, 5, 8).double(), torch.randn(2, N, 8).double()
    found = look(heard, past)
    line = torch.cat([past, heard], 1)
    for row in range(2):
        for time in range(5):
            expected = by_hand(look, heard[row, time], line[row, time : time + N])
            torch.testing.assert_close(found[row, time], expected, rtol=0, atol=1e-9)


@pytest.mark.parametrize(("focus", "reach"), [("all", N), ("local-m", D)])
def test_it_looks_as_far_as_it_says(focus, reach):
    look = LookBack(config("dot", focus))
    heard = torch.randn(1, 12, 8, requires_grad=True)
    look(heard, torch.zeros(1, N, 8))[0, 10].sum().backward()
    seen = (heard.grad[0].abs().sum(-1) > 0).nonzero()[:, 0].tolist()
    assert seen == list(range(10 - reach, 11))


def test_an_untrained_model_expects_everything_equally():
    torch.manual_seed(0)
    model = models.build(AttentionLstmConfig(layers=2, width=128), 388).eval()
    tokens = some_tokens(4, 65, 388)
    logits, _ = model(tokens[:, :-1])
    loss = F.cross_entropy(logits.flatten(0, 1), tokens[:, 1:].flatten())
    assert loss.item() == pytest.approx(math.log(388), rel=0.05)


def test_a_tiny_model_learns_eight_bars_by_heart():
    torch.manual_seed(0)
    codec = CODECS["performance-rnn"]
    tokens = torch.from_numpy(codec.encode(eight_bars()))[None]
    model = models.build(AttentionLstmConfig(layers=1, width=64, look_back=10), 388)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.02)
    for _ in range(150):
        logits, _ = model(tokens[:, :-1])
        loss = F.cross_entropy(logits[0], tokens[0, 1:])
        if loss < 0.4:
            break
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
    assert loss < 0.4, f"{loss:.3f} nats per token after 150 steps"


def test_impossible_settings_are_named():
    with pytest.raises(ConfigError, match="window=50 must be at most look_back=40"):
        AttentionLstmConfig(focus="local-m", window=50)
    with pytest.raises(ConfigError, match="look_back=0 must be at least 1"):
        AttentionLstmConfig(look_back=0)
