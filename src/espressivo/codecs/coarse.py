"""The likelihood of note events at the information of a coarser vocabulary.

Models over different grids give nats of different things: a model that says 5 ms says more than
one that says 10. Made comparable, a performance is put on the coarser grid first, and what a model
gives to all the finer values that the grid rounds to the same is added up.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from espressivo.codecs.midi_like import MidiLike
from espressivo.codecs.note_events import KIND, VELOCITY, NoteEvents
from espressivo.performance import Performance

EVENTS_390 = MidiLike(pedal="events")
"""The 388 events of Performance RNN and two for the pedal: 10 ms, 32 velocities, pedal on/off."""


class Cells(NamedTuple):
    """For every coarse value the classes that belong to it, and the logarithm of their share.

    Both are [values, m]; where fewer than m classes belong the share is zero.
    """

    classes: NDArray[np.int64]
    log_share: NDArray[np.float32]


@dataclass(frozen=True)
class Coarse:
    """What a codec's classes are on a coarser grid; the cells of a field hold every class once."""

    codec: NoteEvents
    grid: MidiLike = EVENTS_390

    @property
    def exact(self) -> bool:
        """Whether the codec tells apart all that the grid does; else likelihoods do not compare."""
        steps = self.codec.steps_per_second % self.grid.steps_per_second
        return not steps and not self.grid.bin_size % self.codec.keyboard.bin_size

    def rows(self, performance: Performance) -> NDArray[np.int64]:
        """Return the codec's rows of a performance put on the coarse grid, Int[n, 6]."""
        return self.codec.encode(self.grid.quantize(performance))

    def values(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the coarse values of rows, Int[n, 4]; -1 where a field is not used."""
        kind = self._kinds[rows[:, KIND]]
        held = self._steps(self.codec.durations(rows), 1) - 1
        used = rows[:, VELOCITY] >= 0
        return np.stack(
            [
                self._steps(self.codec.shifts(rows), 0),
                kind,
                np.where(used, self._velocities[rows[:, VELOCITY]], -1),
                np.where(used, held, -1),
            ],
            axis=1,
        )

    @cached_property
    def cells(self) -> tuple[Cells, Cells, Cells, Cells]:
        """The cells of shift, kind, velocity and duration."""
        times = self.codec.times
        steps = np.arange(times.most + 1)
        classes, _ = times.split(steps)
        share = 1.0 / times.width[classes]
        of_shift = self._steps(steps, 0)
        of_duration = self._steps(steps + 1, 1) - 1
        kinds, velocities = self._kinds, self._velocities
        return (
            _cells(of_shift, classes, share),
            _cells(kinds, np.arange(len(kinds)), np.ones(len(kinds))),
            _cells(velocities, np.arange(len(velocities)), np.ones(len(velocities))),
            _cells(of_duration, classes, share),
        )

    def _steps(self, steps: NDArray[np.int64], least: int) -> NDArray[np.int64]:
        """Round steps of the codec to steps of the grid, halves up."""
        fine, coarse = self.codec.steps_per_second, self.grid.steps_per_second
        return np.maximum((2 * steps * coarse + fine) // (2 * fine), least)

    @cached_property
    def _kinds(self) -> NDArray[np.int64]:
        """The coarse value of every kind: keys, up, down, then whatever is not of the grid."""
        codec = self.codec
        kinds = np.arange(codec.sizes[KIND])
        levels = kinds[128 : 128 + codec.pedal_levels] - 128
        kinds[128 : 128 + codec.pedal_levels] = 128 + (2 * levels >= codec.pedal_levels)
        kinds[128 + codec.pedal_levels :] -= codec.pedal_levels - 2
        return kinds

    @cached_property
    def _velocities(self) -> NDArray[np.int64]:
        """The coarse bin of every velocity class."""
        played = np.arange(self.codec.sizes[VELOCITY]) * self.codec.keyboard.bin_size
        return played // self.grid.bin_size


def _cells(
    value: NDArray[np.int64], classes: NDArray[np.int64], share: NDArray[np.float64]
) -> Cells:
    """Gather what belongs to each coarse value; the values are 0 to their largest."""
    pair, inverse = np.unique(np.stack([value, classes], 1), axis=0, return_inverse=True)
    total = np.bincount(inverse.ravel(), share)
    first = np.searchsorted(pair[:, 0], pair[:, 0])
    place = np.arange(len(pair)) - first
    shape = (int(value.max()) + 1, int(place.max()) + 1)
    found = Cells(np.zeros(shape, dtype=np.int64), np.full(shape, -np.inf, dtype=np.float32))
    found.classes[pair[:, 0], place] = pair[:, 1]
    found.log_share[pair[:, 0], place] = np.log(total)
    return found
