"""espressivo learns and generates expressive musical performances.

    performer = espressivo.load()                      a model that plays
    primer = espressivo.read_midi("primer.mid")        what was played: a Performance
    espressivo.write_midi(performance, "new.mid")

Everything public is named here and imported when it is first used, so that importing the package
costs nothing. Whatever is not named here may change.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

__version__ = "0.1.0"

if TYPE_CHECKING:
    from espressivo.audio import render
    from espressivo.checkpoint import Checkpoint
    from espressivo.codecs import CODECS, Codec, Decoder, Vocabulary, decode
    from espressivo.corpora import Corpus, prepare
    from espressivo.errors import EspressivoError
    from espressivo.generation import Performer, Sampling, Take, continuation, unconditional
    from espressivo.generation.accompaniment import accompaniment
    from espressivo.midi import read_midi, write_midi
    from espressivo.performance import Event, Performance, Track
    from espressivo.presets import PRESETS, preset
    from espressivo.recording import load
    from espressivo.roll import save as plot

_HOMES = {
    "CODECS": "codecs",
    "PRESETS": "presets",
    "Checkpoint": "checkpoint",
    "Codec": "codecs",
    "Corpus": "corpora",
    "Decoder": "codecs",
    "EspressivoError": "errors",
    "Event": "performance",
    "Performance": "performance",
    "Performer": "generation",
    "Sampling": "generation",
    "Take": "generation",
    "Track": "performance",
    "Vocabulary": "codecs",
    "accompaniment": "generation.accompaniment",
    "continuation": "generation",
    "decode": "codecs",
    "load": "recording",
    "plot": "roll:save",
    "prepare": "corpora",
    "preset": "presets",
    "read_midi": "midi",
    "render": "audio",
    "unconditional": "generation",
    "write_midi": "midi",
}

__all__ = [
    "CODECS",
    "PRESETS",
    "Checkpoint",
    "Codec",
    "Corpus",
    "Decoder",
    "EspressivoError",
    "Event",
    "Performance",
    "Performer",
    "Sampling",
    "Take",
    "Track",
    "Vocabulary",
    "accompaniment",
    "continuation",
    "decode",
    "load",
    "plot",
    "prepare",
    "preset",
    "read_midi",
    "render",
    "unconditional",
    "write_midi",
]


def __getattr__(name: str) -> object:
    """Import a public name when it is first used."""
    if name not in _HOMES:
        raise AttributeError(f"module 'espressivo' has no attribute {name!r}")
    module, _, other = _HOMES[name].partition(":")
    value: object = getattr(import_module(f"espressivo.{module}"), other or name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """List the public names before they are imported."""
    return sorted({*globals(), *__all__})
