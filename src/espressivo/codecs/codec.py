"""What a codec promises.

Four laws, tested for every entry of `CODECS` without exceptions:

    decode(codec, codec.encode(p)) == codec.quantize(p)
    codec.quantize(codec.quantize(p)) == codec.quantize(p)
    decode(codec, any ids) is a valid Performance, and re-encoding it loses nothing
    every id describes itself uniquely

and one for every decoder: ids drawn under `allowed()` are what encoding their performance gives.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from espressivo.codecs.vocabulary import Vocabulary
from espressivo.performance import Event, Performance


class Decoder(Protocol):
    """A stream of tokens becoming a stream of events."""

    @property
    def time(self) -> float:
        """Seconds of music so far."""
        ...

    @property
    def sounding(self) -> dict[int, float]:
        """The keys that sound now and when they were struck, in seconds."""
        ...

    def push(self, token: int) -> list[Event]:
        """Take one token and give what it makes happen; every id is accepted, nonsense ignored."""
        ...

    def allowed(self) -> NDArray[np.bool_]:
        """Tell for every id whether it makes sense next; some id always does."""
        ...

    def ended(self, until: float) -> list[Event]:
        """Give what ends up to a time, in seconds, without any token; nothing in most codecs."""
        ...

    def close(self) -> list[Event]:
        """End what still sounds and lift what is still held.

        Now, or where notes say how long they are, when they said.
        """
        ...


class Codec(Protocol):
    """Notes to integers and back; its fields are its whole configuration."""

    @property
    def vocabulary(self) -> Vocabulary:
        """What every id means."""
        ...

    @property
    def start(self) -> int:
        """The token a model hears before the first one of a piece."""
        ...

    @property
    def steps_per_second(self) -> int:
        """How fine the grid of time is."""
        ...

    @property
    def stride(self) -> int:
        """How many tokens belong together: a window holds whole strides, after the start token."""
        ...

    @property
    def tokens_per_note(self) -> int:
        """What a note costs, about."""
        ...

    def steps_of(self, token: int) -> int:
        """Give the steps of the grid that pass with a token."""
        ...

    def onsets(self, tokens: NDArray[np.int64]) -> NDArray[np.int64]:
        """Give where in the tokens of a piece its notes begin; any is a place for a window."""
        ...

    def settled(self, tokens: NDArray[np.int64]) -> int:
        """Count the tokens of an excerpt that notes after its last one could not change."""
        ...

    def quantize(self, performance: Performance) -> Performance:
        """Give exactly what this codec can say of a performance."""
        ...

    def encode(self, performance: Performance) -> NDArray[np.int64]:
        """Turn a performance into ids."""
        ...

    def decoder(self, longest: float | None = None, keys: range | None = None) -> Decoder:
        """Start decoding a new stream.

        No note lasts more than `longest` seconds, and no key but those of `keys` is allowed.
        """
        ...


def decode(codec: Codec, tokens: Iterable[int]) -> Performance:
    """Turn ids back into a performance."""
    decoder = codec.decoder()
    events = [event for token in tokens for event in decoder.push(int(token))]
    return Performance.from_events([*events, *decoder.close()])
