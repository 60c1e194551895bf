"""Performance RNN's conditioned configurations, as wide as the original says."""

from dataclasses import replace

import pytest

from espressivo.controls import Conditioning
from espressivo.presets import preset


@pytest.mark.parametrize(
    ("name", "original", "inputs"),
    [
        ("density", "density_conditioned_performance_with_dynamics", 396),
        ("pitch", "pitch_conditioned_performance_with_dynamics", 400),
        ("multi", "multiconditioned_performance_with_dynamics", 408),
        ("optional", "optional_multiconditioned_performance_with_dynamics", 409),
    ],
)
def test_inputs_are_as_wide_as_the_original_says(name, original, inputs):
    models, torch = pytest.importorskip("espressivo.models"), pytest.importorskip("torch")
    for found in (preset(f"performance-rnn-{name}"), preset(f"performance-rnn-{name}-tiny")):
        with torch.device("meta"):
            model = models.build(found.model, len(found.codec.vocabulary))
        assert model.lstm.weight_ih_l0.shape == (4 * found.model.width, inputs)
        assert f" {original} " in found.source
        unset = "flag" if name == "optional" else "default"
        assert Conditioning.of(found.model).unset == unset
    plain = replace(preset(f"performance-rnn-{name}").model, controls=(), optional=False)
    assert plain == preset("performance-rnn").model
