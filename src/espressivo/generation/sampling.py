"""From logits to the next token: temperatures, truncation and one draw per take.

For a row of logits x over the ids the grammar allows, with temperature T, every id has the weight
exp(x / T). The ids of one kind of event (note_on, note_off, shift, velocity) together have the
mass M = sum of exp(x / T) over the kind. If the kind has a temperature T' of its own, the mass
stays and only the choice within the kind changes:

    weight(i) = M * exp(x_i / T') / sum over the kind of exp(x_j / T')

so `time_temperature` makes rhythm steadier or freer without making the music denser. A pedal can
only be pressed or only be lifted, so there is nothing to choose within the kind; its temperature
tempers whether it moves at all: with M the mass of the pedal and R that of everything else, the
odds of moving it become (M / R) ** (T / T').

After that come `top_k`, `top_p` and `min_p`, in this order, each on what the one before it left.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from espressivo.codecs import Vocabulary
from espressivo.errors import CheckpointError, ConfigError

COLDEST = 1e-6
"""What temperature 0 means: cold enough that only the likeliest id is ever drawn."""

TEMPERATURES = {
    "pitch_temperature": ("note_on", "note_off"),
    "time_temperature": (
        "shift",
        "shift_major",
        "shift_minor",
        "duration_major",
        "duration_minor",
    ),
    "velocity_temperature": ("velocity",),
    "pedal_temperature": ("pedal",),
}
"""Which kinds of events each special temperature governs."""

Weights = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Sampling:
    """How freely to choose, and what never to do whatever the model wants.

    Temperatures divide logits: 1.0 plays as the model learnt, 0 always takes the likeliest event;
    those left None follow `temperature`. `top_k` keeps the k likeliest ids, `top_p` the smallest
    set of ids that holds this share of the probability (both also what is as likely as the last
    of them), `min_p` the ids at least this fraction as likely as the likeliest.

    `longest_note` ends keys held longer (seconds; Magenta cuts at 5), `longest_silence` is the
    longest time in seconds without any key down, `densest_second` the most onsets within any one
    second; None sets no limit. No key below `lowest_key` or above `highest_key` is struck; a piano
    has 21..108. `break_loops` makes the choice hotter while the music repeats
    itself exactly; see `loops`.

    `beam`, `branch` and `steps_per_iteration` ask for the likeliest of several: see
    `espressivo.generation.beam`.
    """

    temperature: float = 1.0
    pitch_temperature: float | None = None
    time_temperature: float | None = None
    velocity_temperature: float | None = None
    pedal_temperature: float | None = None
    top_k: int | None = None
    top_p: float | None = None
    min_p: float | None = None
    longest_note: float | None = 10.0
    longest_silence: float | None = 3.0
    densest_second: int | None = 100
    lowest_key: int = 21
    highest_key: int = 108
    break_loops: bool = True
    beam: int = 1
    branch: int = 1
    steps_per_iteration: int = 1

    def __post_init__(self) -> None:
        """Refuse values that cannot be drawn with."""
        for field in fields(self):
            value = getattr(self, field.name)
            if field.name == "break_loops":
                if not isinstance(value, bool):
                    raise ConfigError(f"break_loops={value!r} must be True or False")
            elif value is not None or field.default == 1.0:
                _check(field.name, value)
        if self.lowest_key > self.highest_key:
            raise ConfigError(
                f"lowest_key={self.lowest_key} is above highest_key={self.highest_key}"
            )


def _check(name: str, value: object) -> None:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        raise ConfigError(f"{name}={value!r} must be a finite number")
    if name.endswith("temperature"):
        if not 0 <= value <= 100:
            raise ConfigError(f"{name}={value} must lie in 0..100; 1.0 plays as the model learnt")
    elif name in ("top_k", "densest_second", "beam", "branch", "steps_per_iteration"):
        if not isinstance(value, int) or value < 1:
            raise ConfigError(f"{name}={value} must be a whole number of at least 1")
    elif name in ("lowest_key", "highest_key"):
        if not isinstance(value, int) or not 0 <= value <= 127:
            raise ConfigError(f"{name}={value} must be a MIDI pitch, 0..127")
    elif name in ("top_p", "min_p"):
        if not 0 < value <= 1:
            raise ConfigError(f"{name}={value} must lie above 0 and be at most 1; try {name}=0.95")
    elif not value > 0:
        raise ConfigError(f"{name}={value} seconds must be above 0, or None for no limit")


class Sampler:
    """One `Sampling` over one vocabulary: weights of the next token, for all takes at once."""

    def __init__(self, sampling: Sampling, vocabulary: Vocabulary) -> None:
        """Look up which ids have a temperature of their own."""
        self.sampling = sampling
        self._temperature = max(sampling.temperature, COLDEST)
        self._own: list[tuple[slice, float]] = []
        self._pedal: tuple[slice, float] | None = None
        for name, kinds in TEMPERATURES.items():
            own = getattr(sampling, name)
            for kind in kinds if own is not None and own != sampling.temperature else ():
                ids = vocabulary.ids(kind)
                if kind == "pedal" and ids:
                    self._pedal = slice(ids.start, ids.stop), max(own, COLDEST)
                elif ids:
                    self._own.append((slice(ids.start, ids.stop), max(own, COLDEST)))
        first, last = vocabulary.ids("velocity"), vocabulary.ids("note_on")
        self._striking = [slice(ids.start, ids.stop) for ids in (first, last) if ids]

    def weights(
        self,
        logits: NDArray[np.floating],
        allowed: NDArray[np.bool_],
        heat: NDArray[np.float64] | None = None,
        eagerness: NDArray[np.float64] | None = None,
    ) -> Weights:
        """Give what every id of every take weighs in the draw; zero for what is not allowed.

        Shapes: logits, allowed and result [takes, v]; heat and eagerness [takes]. Rows with heat
        above zero are drawn at (1 + heat) times the temperature, which is then at least 1, and
        without truncation. Onsets weigh `eagerness` times as much as the model wants. Raises
        CheckpointError for logits that are no finite numbers.
        """
        if np.count_nonzero(np.isfinite(logits)) != logits.size:
            raise CheckpointError(
                "the model gave logits that are not finite numbers; its weights are damaged "
                "or do not belong to its configuration"
            )
        x: Weights = np.full(logits.shape, -np.inf)
        np.copyto(x, logits, where=allowed)
        x -= np.maximum.reduce(x, axis=1, keepdims=True)
        weights = self._tempered(x)
        if eagerness is not None:
            for ids in self._striking:
                weights[:, ids] *= eagerness[:, None]
        self._truncate(weights)
        if heat is not None and np.count_nonzero(heat):
            heated = np.exp(x / (max(self._temperature, 1.0) * (1 + heat[:, None])))
            weights = np.where(heat[:, None] > 0, heated, weights)
        return weights

    def _tempered(self, x: Weights) -> Weights:
        """Apply the temperatures to logits whose largest is 0."""
        temperature = self._temperature
        weights: Weights = np.exp(x if temperature == 1 else x / temperature)
        for ids, own in self._own:
            inner = x[:, ids]
            inner = np.exp((inner - np.maximum(inner.max(axis=1, keepdims=True), -1e300)) / own)
            mass = weights[:, ids].sum(axis=1, keepdims=True)
            weights[:, ids] = inner * (mass / np.maximum(inner.sum(axis=1, keepdims=True), 1e-300))
        if self._pedal is not None:
            ids, own = self._pedal
            mass = weights[:, ids].sum(axis=1, keepdims=True)
            rest = weights.sum(axis=1, keepdims=True) - mass
            weights[:, ids] *= _odds(mass, rest, temperature / own)
        return weights

    def _truncate(self, weights: Weights) -> None:
        """Set to zero, in place, what top-k, top-p and min-p leave out."""
        sampling = self.sampling
        if sampling.top_k is not None and sampling.top_k < weights.shape[1]:
            place = weights.shape[1] - sampling.top_k
            least = np.partition(weights, place, axis=1)[:, place, None]
            weights[weights < least] = 0
        if sampling.top_p is not None and sampling.top_p < 1:
            rising = np.sort(weights, axis=1)
            share = np.add.accumulate(rising, axis=1)
            first = (share > (1 - max(sampling.top_p, 1e-9)) * share[:, -1:]).argmax(axis=1)
            weights[weights < np.take_along_axis(rising, first[:, None], axis=1)] = 0
        if sampling.min_p is not None:
            weights[weights < sampling.min_p * weights.max(axis=1, keepdims=True)] = 0


def _odds(mass: Weights, rest: Weights, power: float) -> Weights:
    """Give the factor on `mass` that turns the odds mass : rest into their power."""
    both = (mass > 0) & (rest > 0)
    ratio = np.log(np.where(both, mass, 1)) - np.log(np.where(both, rest, 1))
    return np.where(both, np.exp(np.clip(ratio * (power - 1), -700, 700)), 1.0)


def draw(weights: Weights, uniform: NDArray[np.float64]) -> NDArray[np.int64]:
    """Draw one id per row of weights [takes, v] by a number of each row in [0, 1)."""
    total = np.add.accumulate(weights, axis=1)
    drawn: NDArray[np.int64] = (total > (uniform * total[:, -1])[:, None]).argmax(axis=1)
    return drawn
