"""What a window holds beside its tokens reaches the model."""

import numpy as np
import pytest

from espressivo.corpora import Batch, Sample

torch = pytest.importorskip("torch")

from espressivo.training.batches import predict  # noqa: E402


class Listener(torch.nn.Module):
    """Gives back what it is shown."""

    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1))

    def start(self, batch, source=None):
        assert batch == len(source)
        return source

    def forward(self, tokens, state=None, controls=None):
        return (tokens, state, controls), state


def test_controls_and_source_reach_the_model():
    rows = [
        Sample(np.array([5, 6, 7]), np.ones((2, 4), np.float32), np.array([1, 2])),
        Sample(np.array([8, 9]), np.zeros((1, 4), np.float32), np.array([3])),
    ]
    (tokens, source, controls), targets = predict(Listener(), Batch.of(rows))
    assert tokens.tolist() == [[5, 6], [8, 9]]
    assert targets.tolist() == [[6, 7], [9, -1]]
    assert source.tolist() == [[1, 2], [3, -1]]
    assert controls.sum(-1).tolist() == [[4, 4], [0, 0]]


def test_tokens_alone_start_from_nothing():
    batch = Batch.of([Sample(np.array([5, 6, -1]))])
    shown, targets = predict(Listener(), batch)
    assert shown[0].tolist() == [[5, 6]]
    assert shown[1:] == (None, None)
    assert targets.tolist() == [[6, -1]]


def test_a_compiled_form_takes_the_models_place():
    batch = Batch.of([Sample(np.array([5, 6]))])
    assert predict(Listener(), batch, lambda *_: "compiled")[0] == "compiled"
