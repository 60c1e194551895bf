"""Six predictions at once, said one token at a time."""

import math

import numpy as np
import pytest

torch = pytest.importorskip("torch")
F = torch.nn.functional

from espressivo import models  # noqa: E402
from espressivo.codecs import NoteTuple  # noqa: E402
from espressivo.configs import NoteLstmConfig  # noqa: E402
from espressivo.errors import ConfigError  # noqa: E402
from espressivo.models.note_lstm import NEVER  # noqa: E402
from tests.models.nets import SMALL, lively, some_tokens  # noqa: E402
from tests.models.test_laws import eight_bars  # noqa: E402

CONFIG = SMALL["lstm of notes"]
FIRST = np.cumsum([0, *CONFIG.slots[:-1]])


def notes(batch, count, seed=0):
    """Whole notes: one id of every slot."""
    rng = np.random.default_rng(seed)
    ids = FIRST + rng.integers(0, CONFIG.slots, (batch, count, len(FIRST)))
    return torch.from_numpy(ids.reshape(batch, -1))


def test_only_the_next_slot_has_a_chance():
    logits, _ = lively(CONFIG)(notes(2, 3))
    for time in range(18):
        slot = (time + 1) % 6
        inside = range(FIRST[slot], FIRST[slot] + CONFIG.slots[slot])
        outside = [token for token in range(40) if token not in inside]
        assert (logits[:, time, outside] == NEVER).all()
        assert (logits[:, time, list(inside)].abs() < 100).all()


def test_the_tokens_of_a_note_do_not_know_each_other():
    model, tokens = lively(CONFIG), notes(1, 4)
    other = tokens.clone()
    other[0, 6:10] = notes(1, 4, seed=1)[0, 6:10]  # the first four tokens of the second note
    one, two = model(tokens)[0], model(other)[0]
    assert torch.equal(one[:, :11], two[:, :11])
    assert not torch.equal(one[:, 11:], two[:, 11:])


def test_no_output_depends_on_a_later_token():
    model, tokens, other = lively(CONFIG), some_tokens(2, 20), some_tokens(2, 40)[:, 20:]
    whole, _ = model(tokens)
    for cut in (1, 5, 6, 12, 19):
        changed, _ = model(torch.cat([tokens[:, :cut], other[:, cut:]], 1))
        torch.testing.assert_close(changed[:, :cut], whole[:, :cut], rtol=0, atol=1e-6)


def test_the_layers_hear_every_token_of_a_note():
    model, tokens = lively(CONFIG), notes(1, 2)
    _, before = model(tokens)
    for slot in range(6):
        other = tokens.clone()
        other[0, 6 + slot] = (
            FIRST[slot] + (other[0, 6 + slot] - FIRST[slot] + 1) % CONFIG.slots[slot]
        )
        _, after = model(other)
        assert (after.hidden - before.hidden).abs().max() > 1e-4


def test_sequences_may_stand_in_different_slots():
    model = lively(CONFIG)
    start = torch.tensor([[FIRST[-1]]])
    one, two = torch.cat([start, notes(1, 2)], 1), notes(1, 3, seed=1)[:, :13]
    together, state = model(torch.cat([one, two]))
    for row, alone in enumerate((one, two)):
        logits, own = model(alone)
        torch.testing.assert_close(together[row], logits[0], rtol=0, atol=1e-5)
        torch.testing.assert_close(state.hidden[:, row], own.hidden[:, 0], rtol=0, atol=1e-5)
        torch.testing.assert_close(state.pending[row], own.pending[0])


def test_an_untrained_model_expects_every_id_of_a_slot_equally():
    torch.manual_seed(0)
    codec = NoteTuple()
    model = models.build(NoteLstmConfig(width=128), len(codec.vocabulary)).eval()
    tokens = torch.from_numpy(codec.encode(eight_bars()))[None]
    logits, _ = model(tokens[:, :-1])
    loss = F.cross_entropy(logits[0], tokens[0, 1:], reduction="none")
    expected = [math.log(slot) for slot in (13, 77, 128, 32, 25, 40)]
    for slot, nats in enumerate(expected):
        assert loss[(slot - 1) % 6 :: 6].mean().item() == pytest.approx(nats, rel=0.1)


def test_a_tiny_model_learns_eight_bars_by_heart():
    torch.manual_seed(0)
    codec = NoteTuple()
    heard = [codec.start, *codec.encode(eight_bars()).tolist()]
    tokens = torch.tensor([heard])
    model = models.build(NoteLstmConfig(layers=1, width=64), len(codec.vocabulary))
    optimizer = torch.optim.Adam(model.parameters(), lr=0.03)
    for _ in range(150):
        logits, _ = model(tokens[:, :-1])
        loss = F.cross_entropy(logits[0], tokens[0, 1:])
        if loss < 0.3:
            break
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
    assert loss < 0.3, f"{loss:.3f} nats per token after 150 steps"


def test_slots_must_be_those_of_the_vocabulary():
    with pytest.raises(ConfigError, match="have 315 ids, the vocabulary has 388"):
        models.build(NoteLstmConfig(), 388)
    with pytest.raises(ConfigError, match="must be two or more"):
        NoteLstmConfig(slots=(4,))
    with pytest.raises(ConfigError, match="of at least one id each"):
        NoteLstmConfig(slots=(4, 0))
