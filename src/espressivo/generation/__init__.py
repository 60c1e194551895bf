"""A checkpoint plays: one sampling loop, a stream of events."""

from espressivo.generation.accompaniment import accompaniment, line_of
from espressivo.generation.melodies import MELODIES
from espressivo.generation.performer import Performer, Playing
from espressivo.generation.provenance import Provenance, Take
from espressivo.generation.replay import replay
from espressivo.generation.sampling import Sampling
from espressivo.generation.tasks import Prompt, continuation, unconditional

__all__ = [
    "MELODIES",
    "Performer",
    "Playing",
    "Prompt",
    "Provenance",
    "Sampling",
    "Take",
    "accompaniment",
    "continuation",
    "line_of",
    "replay",
    "unconditional",
]
