"""Performances as streams of MIDI-like events (Oore et al. 2018; Performance RNN, 2017).

A note is an "on" and an "off"; time passes by shifts of whole steps; a velocity holds for the
notes that follow it. Times are rounded to the grid once, as absolute times, so an error never
exceeds half a step, at the first minute or the sixtieth.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from espressivo.codecs.midi_like_decoder import MidiLikeDecoder
from espressivo.codecs.vocabulary import Vocabulary
from espressivo.errors import CodecError
from espressivo.performance import CONTROL, NOTE, PEDAL_DOWN, SUSTAIN, Performance

PLAIN_VELOCITY = 100
"""The velocity of every note where the vocabulary has none (note-seq's default)."""

LAST_STEP = 2**31 - 1
"""The last step that can be said: 248 days at 100 steps a second."""

Array = NDArray[Any]


class Grid(NamedTuple):
    """A performance in steps: four columns of notes, rows of the pedal."""

    onset: Array
    offset: Array
    pitch: Array
    velocity: Array
    pedal: Array
    """Changes of the pedal as rows [step, down]; empty where it is folded."""


@dataclass(frozen=True)
class MidiLike:
    """One vocabulary of note-on, note-off, time-shift and, if wanted, velocity and pedal events.

    `pedal="fold"` lengthens notes by the sustain pedal before anything else; `"events"` keeps two
    events, pedal up and pedal down. `reserved` puts tensor2tensor's padding and end-of-piece ids
    first. Performance RNN and Music Transformer are the defaults; see `CODECS` for the others.

    At one step the pedal comes first, then releases in the order their notes began, then onsets.
    Onsets within one step are told apart by pitch, so that equal music has equal ids;
    `ties="played"` keeps the order in which they were struck, as note-seq does, which costs a
    model up to log(k!) nats for k such notes and tells a listener nothing.
    """

    steps_per_second: int = 100
    max_shift: int = 100
    velocity_bins: int = 32
    pedal: Literal["fold", "events"] = "fold"
    lowest: int = 0
    highest: int = 127
    reserved: bool = False
    ties: Literal["pitch", "played"] = "pitch"

    def __post_init__(self) -> None:
        """Refuse a vocabulary that cannot be."""
        if self.steps_per_second < 1 or self.max_shift < 1:
            raise CodecError(
                f"steps_per_second={self.steps_per_second} and max_shift={self.max_shift} "
                "must be at least 1"
            )
        if not 0 <= self.velocity_bins <= 127:
            raise CodecError(f"velocity_bins={self.velocity_bins} must lie in 0..127")
        if not 0 <= self.lowest <= self.highest <= 127:
            raise CodecError(f"lowest={self.lowest} and highest={self.highest} must lie in 0..127")
        if self.pedal not in ("fold", "events"):
            raise CodecError(f"pedal={self.pedal!r} must be 'fold' or 'events'")
        if self.ties not in ("pitch", "played"):
            raise CodecError(f"ties={self.ties!r} must be 'pitch' or 'played'")

    @cached_property
    def vocabulary(self) -> Vocabulary:
        """The published order: on, off, shift, velocity; pedal events last."""
        keys = range(self.lowest, self.highest + 1)
        kinds = {"pad": range(1), "eos": range(1)} if self.reserved else {}
        kinds |= {"note_on": keys, "note_off": keys, "shift": range(1, self.max_shift + 1)}
        if self.velocity_bins:
            kinds["velocity"] = range(1, self.bin_of(127) + 1)
        if self.pedal == "events":
            kinds["pedal"] = range(2)
        return Vocabulary(**kinds)

    @property
    def start(self) -> int:
        """One maximal time shift, from which Performance RNN begins to play."""
        return self.vocabulary.id("shift", self.max_shift)

    @property
    def stride(self) -> int:
        """A window may begin and end between any two tokens."""
        return 1

    @property
    def tokens_per_note(self) -> int:
        """What a note costs, about: 4.03 in MAESTRO at 388 events."""
        return 4

    def steps_of(self, token: int) -> int:
        """Give the steps that pass with a token."""
        kind, value = self.vocabulary.describe(token)
        return value if kind == "shift" else 0

    def onsets(self, tokens: NDArray[np.int64]) -> NDArray[np.int64]:
        """Give where in the tokens of a piece its notes are struck."""
        struck = self.vocabulary.ids("note_on")
        return np.flatnonzero((tokens >= struck.start) & (tokens < struck.stop))

    def settled(self, tokens: NDArray[np.int64]) -> int:
        """Count the tokens that notes after the last could not change.

        These are all before the step of the last onset: notes that follow, and releases nobody
        heard of, come at that step or after it.
        """
        onsets, shift = self.onsets(tokens), self.vocabulary.ids("shift")
        if not len(onsets):
            return 0
        before = tokens[: onsets[-1]]
        is_shift = (before >= shift.start) & (before < shift.stop)
        return len(before) - int(np.argmax(is_shift[::-1])) if is_shift.any() else 0

    @property
    def bin_size(self) -> int:
        """How many velocities share a bin: ceil(127 / bins), as in note-seq."""
        return -(-127 // max(self.velocity_bins, 1))

    def bin_of(self, velocity: int) -> int:
        """Give the bin, counted from 1, of a velocity 1..127."""
        return (int(velocity) - 1) // self.bin_size + 1

    def velocity_of(self, velocity_bin: int) -> int:
        """Give the velocity a bin is played at: its lowest."""
        return 1 + self.bin_size * (velocity_bin - 1) if self.velocity_bins else PLAIN_VELOCITY

    def seconds(self, steps: int) -> float:
        """Give the time of a step of the grid."""
        return steps / self.steps_per_second

    # -- notes to integers -------------------------------------------------------------------

    def quantize(self, performance: Performance) -> Performance:
        """Put everything on the grid, with one note per key at a time.

        Of equal onsets of a key the longest note stays; a note ends where the next one of its key
        begins. Drums, other pedals, beats and keys outside the range are lost, all instruments
        become one piano, and velocities become the lowest of their bin.
        """
        grid = self.on_grid(performance)
        notes = np.zeros(len(grid.onset), dtype=NOTE)
        notes["onset"] = grid.onset / self.steps_per_second
        notes["offset"] = grid.offset / self.steps_per_second
        notes["pitch"], notes["velocity"] = grid.pitch, grid.velocity
        moves = np.zeros(len(grid.pedal), dtype=CONTROL)
        moves["time"] = grid.pedal[:, 0] / self.steps_per_second
        moves["number"], moves["value"] = SUSTAIN, 127 * grid.pedal[:, 1]
        return Performance(notes, moves)

    def encode(self, performance: Performance) -> NDArray[np.int64]:
        """Turn a performance into ids; vectorised, equal to `reference.encode`."""
        grid = self.on_grid(performance)
        first = {kind: self.vocabulary.ids(kind).start for kind in ("note_on", "note_off", "pedal")}
        key = grid.pitch - self.lowest
        # In the order in which things at one step are told: pedal, releases, onsets.
        steps = np.concatenate([grid.pedal[:, 0], grid.offset, grid.onset])
        tokens = np.concatenate(
            [first["pedal"] + grid.pedal[:, 1], first["note_off"] + key, first["note_on"] + key]
        )
        step, which = _sort_with_index(steps)
        is_on = which >= len(tokens) - len(key)
        return self._spell(step, tokens[which], is_on, grid.velocity)

    def _spell(self, step: Array, token: Array, is_on: Array, velocity: Array) -> NDArray[np.int64]:
        """Write shifts and changes of velocity between the events."""
        gap = step.copy()
        gap[1:] -= step[:-1]
        late = np.flatnonzero(gap > 0)
        gap = gap[late]
        shifts = np.ones(len(late), dtype=np.int64)
        long = np.flatnonzero(gap > self.max_shift)
        shifts[long] = -(-gap[long] // self.max_shift)
        width = np.ones(len(token), dtype=np.int64)  # of an event and the tokens before it
        width[late] += shifts
        bins = (velocity - 1) // self.bin_size
        if self.velocity_bins:
            changed = np.flatnonzero(np.diff(bins, prepend=-1))
            louder = np.flatnonzero(is_on)[changed]
            width[louder] += 1
        place = np.cumsum(width) - 1  # where each event's own token goes
        longest = self.vocabulary.id("shift", self.max_shift)
        spelt = np.full(int(place[-1]) + 1 if len(place) else 0, longest, dtype=np.int64)
        spelt[place] = token
        remainder = gap - shifts * self.max_shift  # 0 is a whole maximal shift
        spelt[place[late] - width[late] + shifts] = longest + remainder
        if self.velocity_bins:
            spelt[place[louder] - 1] = self.vocabulary.ids("velocity").start + bins[changed]
        return spelt

    def on_grid(self, performance: Performance) -> Grid:
        """Round everything to steps, keeping one note per key at a time, in the order of notes."""
        played = performance.select(drums=False)
        notes = played.notes
        ending = played.sounding_until() if self.pedal == "fold" else notes["offset"]
        heard = ending > notes["onset"]
        if self.lowest > 0 or self.highest < 127:
            heard &= (notes["pitch"] >= self.lowest) & (notes["pitch"] <= self.highest)
        if not heard.all():
            notes, ending = notes[heard], ending[heard]
        onset = self._steps(notes["onset"])
        offset = np.maximum(self._steps(ending), onset + 1)
        pitch, velocity = notes["pitch"], notes["velocity"].astype(np.int64)
        by_key = _one_per_onset(onset, offset, pitch, velocity)
        following = np.append(onset[by_key][1:], 0)
        same_key = np.append(pitch[by_key][1:] == pitch[by_key][:-1], False)
        offset[by_key] = np.where(same_key, np.minimum(offset[by_key], following), offset[by_key])
        order = self._order(by_key, onset, pitch)
        onset, offset, pitch, velocity = (a[order] for a in (onset, offset, pitch, velocity))
        if self.velocity_bins:
            velocity = (velocity - 1) // self.bin_size * self.bin_size + 1
        else:
            velocity = np.full_like(velocity, PLAIN_VELOCITY)
        pedal = self._pedal_on_grid(played, int(offset.max(initial=0)))
        return Grid(onset, offset, pitch.astype(np.int64), velocity, pedal)

    def _order(self, kept: Array, onset: Array, pitch: Array) -> Array:
        """Put the notes that were kept in the order in which they are told."""
        kept = np.sort(kept) if len(kept) < len(onset) else np.arange(len(onset))
        if self.ties == "played":
            return kept
        tied = _with_neighbour(np.diff(onset[kept]) == 0)
        among = kept[tied]
        kept[tied] = among[_sort_with_index(onset[among] << 7 | pitch[among])[1]]
        return kept

    def _pedal_on_grid(self, played: Performance, last: int) -> Array:
        """Give the changes of the pedal as rows [step, down], closed where the music ends."""
        if self.pedal != "events":
            return np.zeros((0, 2), dtype=np.int64)
        moves = played.controls[played.controls["number"] == SUSTAIN]
        step = self._steps(moves["time"])
        down = (moves["value"] >= PEDAL_DOWN).astype(np.int64)
        final = np.append(step[1:] != step[:-1], True)[: len(step)]  # the state a step ends in
        step, down = step[final], down[final]
        changed = np.diff(down, prepend=0) != 0
        step, down = step[changed], down[changed]
        if len(down) and down[-1]:
            if step[-1] >= last:
                step, down = step[:-1], down[:-1]
            else:
                step, down = np.append(step, last), np.append(down, 0)
        return np.stack([step, down], axis=1)

    def _steps(self, seconds: Array) -> NDArray[np.int64]:
        """Round times to the grid, halves up, as note-seq does."""
        steps = np.floor(seconds * self.steps_per_second + 0.5)
        if len(steps) and steps.max() >= LAST_STEP:
            raise CodecError(
                f"{float(seconds.max())} s is too late for steps of 1/{self.steps_per_second} s; "
                f"the last moment is {self.seconds(LAST_STEP - 1)} s"
            )
        return steps.astype(np.int64)

    # -- integers to notes -------------------------------------------------------------------

    def decoder(self, longest: float | None = None, keys: range | None = None) -> MidiLikeDecoder:
        """Start decoding a new stream; notes end after `longest` seconds at the latest.

        The Performance RNN plays with `longest=5.0`. Only `keys` are allowed to be struck.
        """
        return MidiLikeDecoder(self, longest, keys)


def _sort_with_index(keys: Array) -> tuple[Array, Array]:
    """Sort numbers below 2**38, keeping the order of equal ones; give them and where they were.

    One sort of 64-bit numbers that carry their index is several times faster than `argsort`.
    """
    bits = len(keys).bit_length()
    packed = keys << bits | np.arange(len(keys))
    packed.sort(kind="stable")  # runs that are sorted already, as times are, merge fast
    return packed >> bits, packed & ((1 << bits) - 1)


def _one_per_onset(onset: Array, offset: Array, pitch: Array, velocity: Array) -> Array:
    """Give where notes are, key by key in order of onset, the longest of equal ones alone.

    The notes must come in order of onset. Of equally long ones the loudest stays.
    """
    order = np.argsort(pitch, kind="stable")
    key, start = pitch[order], onset[order]
    twin = (key[1:] == key[:-1]) & (start[1:] == start[:-1])
    if not twin.any():
        return order
    tied = _with_neighbour(twin)
    twins = order[tied]
    best = np.lexsort([-velocity[twins], -offset[twins], onset[twins], pitch[twins]])
    order[tied] = twins[best]  # sorting leaves the groups where they were
    kept: Array = order[np.append(True, ~twin)]
    return kept


def _with_neighbour(tied: NDArray[np.bool_]) -> Array:
    """Give where things are that are tied to the one before or after them."""
    return np.flatnonzero(np.append(tied, False) | np.append(False, tied))
