"""Small networks with random weights, made without torch."""

import numpy as np

from espressivo import engines
from espressivo.configs import (
    AttentionLstmConfig,
    LstmConfig,
    ModelConfig,
    NoteLstmConfig,
    TransformerConfig,
)

VOCABULARY = 40


def transformer(**changes) -> TransformerConfig:
    small = {"layers": 2, "width": 16, "attention": 24, "feed_forward": 32, "heads": 3}
    return TransformerConfig(**small | {"reach": 400, "context": 400} | changes)


SMALL: dict[str, ModelConfig] = {
    "lstm": LstmConfig(layers=3, width=16),
    "lstm of one layer": LstmConfig(layers=1, width=16),
    "lstm that is told": LstmConfig(
        layers=2, width=16, controls=("notes-per-second", "pitch-class-histogram"), optional=True
    ),
    "lstm of notes": NoteLstmConfig(slots=(5, 7, 10, 6, 4, 8), layers=2, width=16),
    "lstm that looks back": AttentionLstmConfig(layers=2, width=16, look_back=7),
    "lstm that looks at the latest": AttentionLstmConfig(
        layers=1, width=16, look_back=300, score="dot", focus="local-m", window=3
    ),
    "lstm that looks somewhere": AttentionLstmConfig(
        layers=2, width=16, look_back=20, score="general", focus="local-p", window=6
    ),
    "transformer": transformer(),
    "transformer with a short reach": transformer(reach=5, sinusoids="none"),
    "transformer with a long reach": transformer(reach=600, width=24),
}

VARIANTS: dict[str, ModelConfig] = {
    "transformer that clamps": transformer(
        reach=5, beyond="clamp", shared_heads=True, values=12, activation="relu2"
    ),
    "shaw in blocks": transformer(
        position="shaw", reach=7, value_table=True, values=12, patterns=("blocks:16", "causal")
    ),
    "shaw, shared": transformer(position="shaw", reach=500, value_table=True, shared_heads=True),
    "xl": transformer(position="xl", sinusoids="none", activation="gelu"),
    "xl of one length in a window": transformer(
        position="xl", qk_norm=True, shared_heads=True, patterns=("window:40",)
    ),
    "rotary": transformer(position="rotary", sinusoids="none", qk_norm=True, values=36),
    "rotary, sparse": transformer(
        position="rotary", patterns=("window:9|strided:9", "fixed:8:2"), sinusoids="concatenated"
    ),
    "alibi": transformer(position="alibi", sinusoids="none", patterns=("causal", "window:30")),
    "fourier": transformer(position="fourier", frequencies=5, reach=100),
    "no position": transformer(position="none"),
}


def shapes(config: ModelConfig, vocabulary: int) -> dict[str, tuple[int, ...]]:
    """The names and shapes of a checkpoint's tensors; a test compares them with the models'."""
    if not isinstance(config, TransformerConfig):
        return lstm_shapes(config, vocabulary)
    width, attention, hidden = config.width, config.attention, config.feed_forward
    one = {
        "attention_norm.weight": (width,),
        "attention_norm.bias": (width,),
        "attention.inputs.weight": (2 * attention + config.value_width, width),
        "attention.output.weight": (width, config.value_width),
        **order_shapes(config),
        "forward_norm.weight": (width,),
        "forward_norm.bias": (width,),
        "expand.weight": (hidden, width),
        "expand.bias": (hidden,),
        "contract.weight": (width, hidden),
        "contract.bias": (width,),
    }
    ends = {
        "embedding.weight": (vocabulary, width // (1 + (config.sinusoids == "concatenated"))),
        "norm.weight": (width,),
        "norm.bias": (width,),
        "output.weight": (vocabulary, width),
        "output.bias": (vocabulary,),
    }
    if config.controls:
        ends["controls.weight"] = (width, config.told)
    layers = range(config.layers)
    return ends | {f"layers.{n}.{name}": shape for n in layers for name, shape in one.items()}


def lstm_shapes(config: ModelConfig, vocabulary: int) -> dict[str, tuple[int, ...]]:
    width = config.width
    found = {"output.weight": (vocabulary, width), "output.bias": (vocabulary,)}
    shown = vocabulary + config.told if isinstance(config, LstmConfig) else vocabulary
    for layer in range(config.layers):
        found |= {
            f"lstm.weight_ih_l{layer}": (4 * width, width if layer else shown),
            f"lstm.weight_hh_l{layer}": (4 * width, width),
            f"lstm.bias_ih_l{layer}": (4 * width,),
            f"lstm.bias_hh_l{layer}": (4 * width,),
        }
    if isinstance(config, AttentionLstmConfig):
        square = (width, width)
        found["look_back.mix.weight"] = (width, 2 * width)
        if config.score != "dot":
            found["look_back.key.weight"] = square
        if config.score == "concat":
            found |= {"look_back.query.weight": square, "look_back.energy": (width,)}
        if config.focus == "local-p":
            found |= {"look_back.place.weight": square, "look_back.place_energy": (width,)}
    return found


def order_shapes(config: TransformerConfig) -> dict[str, tuple[int, ...]]:
    """What a layer learns about order, and the lengths of its queries."""
    tables = 1 if config.shared_heads else config.heads
    each, value = config.attention // config.heads, config.value_width // config.heads
    shapes = {"attention.gain": (config.heads,)} if config.qk_norm else {}
    match config.position:
        case "relative" | "shaw":
            shapes["attention.distances"] = (tables, config.reach, each)
            if config.value_table:
                shapes["attention.distance_values"] = (tables, config.reach, value)
        case "fourier":
            shapes["attention.waves"] = (tables, 2 * config.frequencies, each)
        case "xl":
            shapes["attention.waves"] = (tables, config.width, each)
            shapes |= {f"attention.{n}_bias": (config.heads, each) for n in ("key", "distance")}
    return shapes


def weights(config: ModelConfig, dtype=np.float32) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(3)
    drawn = {
        name: 0.4 * rng.standard_normal(shape) for name, shape in shapes(config, VOCABULARY).items()
    }
    return {name: weight.astype(dtype) for name, weight in drawn.items()}


def engine(config: ModelConfig) -> engines.Engine:
    return engines.build(config, weights(config))


def some_tokens(batch: int, time: int) -> np.ndarray:
    return np.random.default_rng(4).integers(VOCABULARY, size=(batch, time))
