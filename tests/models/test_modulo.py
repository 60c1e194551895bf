"""Events on circles: Magenta's sixteen numbers."""

import numpy as np
import pytest

from espressivo import engines
from espressivo.codecs import CODECS
from espressivo.configs import LstmConfig, modulo
from espressivo.errors import ConfigError

VOCABULARY = CODECS["performance-rnn"].vocabulary
CONFIG = LstmConfig(layers=2, width=24, inputs="modulo")


def shown(kind, value):
    return modulo.features()[VOCABULARY.id(kind, value)]


def turn(part):
    return [np.cos(2 * np.pi * part), np.sin(2 * np.pi * part)]


@pytest.mark.parametrize(
    ("kind", "value", "column", "numbers"),
    [
        ("note_on", 0, 0, [1, *turn(0), *turn(0)]),
        ("note_on", 61, 0, [1, *turn(61 / 144), *turn(1 / 12)]),
        ("note_off", 127, 5, [1, *turn(127 / 144), *turn(7 / 12)]),
        ("shift", 1, 10, [1, *turn(0)]),
        ("shift", 100, 10, [1, *turn(99 / 100)]),
        ("velocity", 9, 13, [1, *turn(8 / 32)]),
    ],
)
def test_an_event_is_a_bit_and_its_places_on_circles(kind, value, column, numbers):
    row = shown(kind, value)
    np.testing.assert_allclose(row[column : column + len(numbers)], numbers, atol=1e-6)
    assert np.count_nonzero(np.delete(row, range(column, column + len(numbers)))) == 0


def test_all_388_events_are_told_apart_by_16_numbers():
    table = modulo.features()
    assert table.shape == (len(VOCABULARY), 16)
    assert len(np.unique(table.round(4), axis=0)) == len(VOCABULARY)


def test_the_engine_plays_what_the_model_says():
    torch = pytest.importorskip("torch")
    models = pytest.importorskip("espressivo.models")
    torch.manual_seed(0)
    model = models.build(CONFIG, 388).eval()
    assert model.lstm.weight_ih_l0.shape == (96, 16)
    tokens = np.random.default_rng(0).integers(388, size=(2, 40))
    with torch.inference_mode():
        expected = model(torch.from_numpy(tokens))[0].numpy()
    engine = engines.build(CONFIG, {n: p.detach().numpy() for n, p in model.named_parameters()})
    state = engine.start(2)
    np.testing.assert_allclose(engine.read(tokens[:, :20], state), expected[:, 19], atol=1e-4)
    for at in range(20, 40):
        np.testing.assert_allclose(engine.step(tokens[:, at], state), expected[:, at], atol=1e-4)


def test_a_vocabulary_without_circles_is_refused():
    models = pytest.importorskip("espressivo.models")
    with pytest.raises(ConfigError, match=r"the 388 events of codec performance-rnn.* has 413"):
        models.build(CONFIG, 413)
