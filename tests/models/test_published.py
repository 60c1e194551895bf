"""Sizes and names: what papers say, and what checkpoints rely on."""

import pytest

torch = pytest.importorskip("torch")

from jaxtyping import TypeCheckError  # noqa: E402

from espressivo import models  # noqa: E402
from espressivo.configs import LstmConfig, TransformerConfig  # noqa: E402
from tests.models.nets import SMALL  # noqa: E402


def sizes(config, vocabulary):
    with torch.device("meta"):
        model = models.build(config, vocabulary)
    return {name: parameter.numel() for name, parameter in model.named_parameters()}


def test_the_lstm_of_performance_rnn_has_6_24_million_parameters():
    count = sizes(LstmConfig(layers=3, width=512), 388)
    twice = sum(size for name, size in count.items() if "bias_hh" in name)  # torch has two biases
    assert sum(count.values()) - twice == 6_242_692


def test_the_published_transformer_has_12_million_parameters():
    config = TransformerConfig()
    count = sizes(config, 390)
    # The values of tensor2tensor's heads are as wide as the stream, ours as wide as the queries.
    wider = 2 * config.layers * config.width * (config.attention - config.width)
    relative = sum(size for name, size in count.items() if name.endswith("distances"))
    total = sum(count.values()) - wider
    assert total == pytest.approx(12.0e6, rel=0.005)
    assert total - relative == pytest.approx(8.9e6, rel=0.005)


def test_tensor_names_are_a_contract(golden):
    shapes = {
        kind: {name: list(x.shape) for name, x in models.build(SMALL[kind], 9).state_dict().items()}
        for kind in ("lstm", "transformer", "accompanist")
    }
    golden("tensors", shapes)


def test_the_shapes_in_signatures_are_checked_while_testing():
    model = models.build(SMALL["transformer"], 5)
    with pytest.raises(TypeCheckError, match="tokens"):
        model(torch.zeros(3, dtype=torch.long))


def test_an_unknown_way_to_attend_is_refused():
    with pytest.raises(ValueError, match=r"'flash' is none of auto, .*rows, .*reference"):
        models.MusicTransformer(SMALL["transformer"], 5, backend="flash")
