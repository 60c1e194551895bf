"""What to play: each task is a function that builds a `Prompt`."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from espressivo.codecs import Codec
from espressivo.controls import Tracks, checked
from espressivo.errors import ConfigError
from espressivo.performance import (
    PEDAL_DOWN,
    SOFT,
    SOSTENUTO,
    SUSTAIN,
    Array,
    Event,
    Performance,
    Track,
)

LONGEST = 24 * 3600.0
"""The most seconds one performance may last."""

_PEDALS = (SUSTAIN, SOSTENUTO, SOFT)


@dataclass(frozen=True, eq=False)
class Melody:
    """A melody to be played around: what the codec says of it, and its notes as they were given.

    `notes` are rows of onset, offset, pitch and velocity, one for every onset of the tokens.
    """

    tokens: NDArray[np.int64]
    notes: tuple[tuple[float, float, int, int], ...]


@dataclass(frozen=True, eq=False)
class Prompt:
    """What a model reads first, how long it plays then, and how the result begins.

    `tokens` follow the codec's start token. Playing begins at `mark` seconds and lasts `seconds`.
    `opening` holds the events before the mark as the result keeps them; keys that are down at the
    mark have an "on" there and get their "off" from the player. `controls` are what is asked for
    from the mark on, each spread evenly over `seconds`. A `melody` is played in its time, and
    everything else around it. The result has the `tracks` that its events name, and is moved
    `begins` seconds later.
    """

    task: str
    codec: Codec
    seconds: float
    tokens: NDArray[np.int64]
    mark: float = 0.0
    opening: tuple[Event, ...] = ()
    controls: Tracks = field(default_factory=dict)
    melody: Melody | None = None
    begins: float = 0.0
    tracks: tuple[Track, ...] = (Track(),)

    def __post_init__(self) -> None:
        """Refuse a length that is none."""
        if not 0 < self.seconds < math.inf:
            raise ConfigError(f"seconds={self.seconds} must be above 0; try seconds=60")
        if self.mark + self.seconds > LONGEST:
            raise ConfigError(f"seconds={self.seconds} is more than a day; try seconds=60")
        if self.seconds < step_seconds(self.codec):
            raise ConfigError(
                f"seconds={self.seconds} is shorter than the codec's step of "
                f"{step_seconds(self.codec)} seconds"
            )

    def told(self, controls: Mapping[str, object]) -> Prompt:
        """Ask for the same, but for the values of some controls as well, by name.

        Several values follow each other evenly over the time to be played: three densities are
        one for each third of it. ConfigError for a control or values that cannot be.
        """
        return replace(self, controls={**self.controls, **checked(controls)})

    def gathered(self, events: Iterable[Event]) -> Performance:
        """Make the result of all events of a take, those of the opening included."""
        return Performance.from_events(events, self.tracks).shift(self.begins)


def step_seconds(codec: Codec) -> float:
    """Give the seconds that a shift of 1 takes."""
    return 1 / codec.steps_per_second


def unconditional(codec: Codec, seconds: float) -> Prompt:
    """Ask for a new performance of `seconds`, from nothing."""
    return Prompt("unconditional", codec, seconds, np.zeros(0, dtype=np.int64))


def continuation(
    codec: Codec, primer: Performance, primer_seconds: float | None, seconds: float
) -> Prompt:
    """Ask for `seconds` more after the first `primer_seconds` of a performance (None: all of it).

    The primer counts from its first onset; a shorter one is used whole. The result keeps the
    times and velocities of its notes exactly and its pedals as they moved, as one piano; what the
    codec cannot say (drums, keys outside its range) is left out. Keys that are down at the mark,
    or held by a pedal that the codec folds into the notes, sound on until the model releases
    them, so pedals that the codec does not know lift at the mark without a break.

    Raises ConfigError for a primer without notes.
    """
    if primer_seconds is not None and not 0 < primer_seconds < math.inf:
        raise ConfigError(f"primer_seconds={primer_seconds} must be above 0; try 20")
    piano = primer.select(drums=False).trimmed()
    tokens, mark = _until(codec, codec.encode(piano), primer_seconds)
    return resumed(codec, tokens, mark, seconds, piano)


def resumed(
    codec: Codec,
    tokens: NDArray[np.int64],
    mark: float,
    seconds: float,
    primer: Performance | None = None,
) -> Prompt:
    """Ask for `seconds` more after tokens already encoded, that end at or before `mark`.

    The result begins with the notes of `primer`, or without one as the tokens say. Raises
    ConfigError if the tokens hold no note or are not those of the primer.
    """
    heard = _events(codec, tokens, mark)
    if not any(event.kind == "on" for event in heard):
        raise ConfigError(
            f"the primer has no note of this codec in its first {mark:g} seconds; "
            "give a performance with piano notes, or more of it"
        )
    opening: Iterable[Event] = heard
    if primer is not None:
        opening = _as_played(codec, heard, primer.select(drums=False).trimmed(), mark)
    return Prompt("continuation", codec, seconds, tokens, mark, tuple(opening))


def _until(
    codec: Codec, tokens: NDArray[np.int64], seconds: float | None
) -> tuple[NDArray[np.int64], float]:
    """Cut tokens after `seconds` on the grid; give what is left and when it ends."""
    step = step_seconds(codec)
    decoder = codec.decoder()
    mark = math.inf if seconds is None else max(round(seconds / step), 1) / round(1 / step, 6)
    time = 0.0
    for count, token in enumerate(tokens.tolist()):
        decoder.push(token)
        if decoder.time > mark + step / 2:
            return tokens[: count - count % codec.stride], mark
        time = decoder.time
    ringing = decoder.close()
    return tokens, min(ringing[-1].time if ringing else time, mark)


def _events(codec: Codec, tokens: NDArray[np.int64], mark: float) -> list[Event]:
    decoder = codec.decoder()
    events = [event for token in tokens.tolist() for event in decoder.push(token)]
    return [*events, *decoder.ended(mark)]


def _as_played(codec: Codec, heard: list[Event], primer: Performance, mark: float) -> list[Event]:
    """Give the events a codec heard their exact times back, and the pedals as they moved."""
    onsets = [event for event in heard if event.kind == "on"]
    notes = originals(codec, onsets, primer)
    following: dict[int, float] = {}  # by key: when it was struck next
    sounding = _sounding(heard)
    played = []
    for event, (onset, offset, pitch, velocity) in zip(
        reversed(onsets), reversed(notes.tolist()), strict=True
    ):
        onset = min(onset, mark)
        played.append((onset, 2, Event(onset, "on", pitch, velocity)))
        if sounding.get(pitch) != event.time:
            end = min(offset, following.get(pitch, mark), mark)
            played.append((end, 1, Event(end, "off", pitch)))
        following[pitch] = onset
    keeps_sustain = "pedal" in codec.vocabulary.kinds
    for move in _pedal_moves(primer, mark, keeps_sustain=keeps_sustain):
        played.append((move.time, 0, move))
    played.sort(key=lambda entry: entry[:2])
    return [event for _, _, event in played]


def originals(codec: Codec, onsets: list[Event], primer: Performance) -> Array:
    """Find the note of the primer behind every onset that was heard."""
    notes = primer.notes[["onset", "offset", "pitch", "velocity"]]
    far = 2 * LONGEST  # keeps the keys apart on one line of numbers
    line = notes["pitch"] * far + notes["onset"]
    order = np.argsort(line, kind="stable")
    wanted = np.array([event.number * far + event.time for event in onsets])
    after = np.searchsorted(line[order], wanted).clip(0, len(line) - 1)
    before = (after - 1).clip(0)
    nearer = abs(line[order][before] - wanted) <= abs(line[order][after] - wanted)
    found = order[np.where(nearer, before, after)]
    if (abs(line[found] - wanted) > step_seconds(codec)).any():
        raise ConfigError(
            "the primer given is not the one the performance began with, or has a pause that the "
            "codec cannot say"
        )
    return notes[found]


def _sounding(heard: list[Event]) -> dict[int, float]:
    """Give the keys that are down after some events, and since when."""
    down: dict[int, float] = {}
    for event in heard:
        if event.kind == "on":
            down[event.number] = event.time
        elif event.kind == "off":
            del down[event.number]
    return down


def _pedal_moves(primer: Performance, mark: float, *, keeps_sustain: bool) -> list[Event]:
    """Give the moves of the pedals before the mark, and lifts at it where nobody else will."""
    moves, standing = [], dict.fromkeys(_PEDALS, 0)
    for time, number, value, _ in primer.controls.tolist():
        if time < mark and number in standing:
            moves.append(Event(time, "control", number, value))
            standing[number] = value
    for number, value in standing.items():
        if value and not (keeps_sustain and number == SUSTAIN and value >= PEDAL_DOWN):
            moves.append(Event(mark, "control", number, 0))
    return moves
