"""What a window holds beside its tokens reaches the model."""

import numpy as np
import pytest

from espressivo.corpora import Batch, Sample

torch = pytest.importorskip("torch")

from espressivo.models import Model  # noqa: E402
from espressivo.training.batches import nats_of  # noqa: E402


class Listener(Model):
    """Keeps what it is shown, and finds one token of eight as likely as another."""

    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1))

    def start(self, batch, source=None):
        assert batch == len(source)
        return source

    def forward(self, tokens, state=None, controls=None):
        self.shown = tokens, state, controls
        return torch.zeros(*tokens.shape, 8), state


def test_controls_and_source_reach_the_model():
    rows = [
        Sample(np.array([5, 6, 7]), np.ones((2, 4), np.float32), np.array([1, 2])),
        Sample(np.array([4, 3]), np.zeros((1, 4), np.float32), np.array([3])),
    ]
    listener = Listener()
    nats_of(listener, Batch.of(rows))
    tokens, source, controls = listener.shown
    assert tokens.tolist() == [[5, 6], [4, 3]]
    assert source.tolist() == [[1, 2], [3, -1]]
    assert controls.sum(-1).tolist() == [[4, 4], [0, 0]]


def test_tokens_alone_start_from_nothing_and_what_is_missing_costs_nothing():
    listener = Listener()
    nats = nats_of(listener, Batch.of([Sample(np.array([5, 6, -1]))]))
    tokens, *beside = listener.shown
    assert tokens.tolist() == [[5, 6]]
    assert beside == [None, None]
    assert nats.tolist() == [pytest.approx([np.log(8), 0])]


def test_a_compiled_form_takes_the_models_place():
    batch = Batch.of([Sample(np.array([5, 6]))])
    assert nats_of(Listener(), batch, lambda *_: "compiled") == "compiled"
