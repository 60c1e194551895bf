"""A model that is told more - of the music, a melody, the pedal - out of one told less."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from espressivo.checkpoint import Weights
from espressivo.codecs import Codec, MidiLike, NoteEvents
from espressivo.configs import MelodyTransformerConfig, ModelConfig, TransformerConfig
from espressivo.models import Model
from espressivo.models.melody_transformer import MelodyTransformer
from espressivo.training.parallel import whole

TOLD = ("lstm.weight_ih_l0", "controls.weight")
"""The tensors whose last columns read what a model is told."""

EVENTS = ("embedding.weight", "output.weight", "output.bias")
"""The tensors with a row for every event."""


def tells_more(codec: Codec | NoteEvents, other: Codec | NoteEvents) -> bool:
    """Say whether a codec has the events of the other, each with its id, and then the pedal's."""
    return (
        isinstance(codec, MidiLike)
        and isinstance(other, MidiLike)
        and codec.pedal == "events"
        and replace(codec, pedal="fold") == other
    )


def told_alike(config: ModelConfig, other: ModelConfig) -> ModelConfig:
    """Give a plain configuration the controls of another one of its kind; others stay.

    That of the decoder of a model that reads melodies becomes that model's; controls it had are
    forgotten, and it goes on as if nothing were asked.
    """
    if isinstance(other, MelodyTransformerConfig):
        return other if _is_decoder(config, other) else config
    if type(config) is not type(other) or bool(getattr(config, "controls", ())):
        return config
    names = [name for name in ("controls", "optional") if hasattr(config, name)]
    alike: Any = config
    widened: ModelConfig = replace(alike, **{name: getattr(other, name) for name in names})
    return widened


def _is_decoder(config: ModelConfig, model: MelodyTransformerConfig) -> bool:
    """Tell whether a model is the decoder of another one, but for what changes no tensor."""
    if not isinstance(config, TransformerConfig) or config.value_width != config.attention:
        return False
    decoder = model.decoder
    return replace(config, controls=()) == replace(
        decoder, dropout=config.dropout, context=config.context, values=config.values
    )


def widened(weights: Weights, model: Model) -> Weights:
    """Give weights what they lack to be those of `model`.

    What reads that which the model is told begins as zeros: whatever it is told, it expects what
    it did before. Events that are new stay as they were initialised. Of a model that reads
    melodies, what only reads them stays as it was initialised, silent.
    """
    found = dict(weights)
    if isinstance(model, MelodyTransformer):
        found.pop("controls.weight", None)  # which was shown zeros where nothing was asked
    for name, parameter in model.named_parameters():
        if name in EVENTS and name in found and len(found[name]) < parameter.shape[0]:
            fresh = whole(parameter.detach()).cpu().numpy()
            found[name] = np.concatenate([found[name], fresh[len(found[name]) :]])
        if name not in found and (name.startswith("encoder.") or ".melody" in name):
            found[name] = whole(parameter.detach()).cpu().numpy()
        if name in TOLD:
            rows, columns = parameter.shape
            before = found.get(name, np.zeros((rows, 0), dtype=np.float32))
            missing = columns - before.shape[-1]
            found[name] = np.pad(before, ((0, 0), (0, max(missing, 0))))
    return found
