"""Events as places on circles (Magenta, `performance_with_dynamics_and_modulo_encoding`).

Instead of one-hot, an event is shown as sixteen numbers: for each kind of event a bit that says
that it is one, and the cosine and sine of its place. Keys lie on a circle of 144, of which 128 are
there, and on the circle of twelve pitch classes; shifts and velocities on a circle each.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

CIRCLES = (
    (128, (144, 12)),  # note on
    (128, (144, 12)),  # note off
    (100, (100,)),  # shift
    (32, (32,)),  # velocity
)
"""The kinds of events in the order of their ids: how many, and the sizes of their circles."""

EVENTS = sum(count for count, _ in CIRCLES)
FEATURES = sum(1 + 2 * len(circles) for _, circles in CIRCLES)


def features() -> NDArray[np.float32]:
    """Give the sixteen numbers of all 388 events."""
    table = np.zeros((EVENTS, FEATURES), np.float32)
    row = column = 0
    for count, circles in CIRCLES:
        rows = slice(row, row + count)
        table[rows, column] = 1
        for place, size in enumerate(circles):
            angle = 2 * np.pi * np.arange(count) / size
            table[rows, column + 1 + 2 * place] = np.cos(angle)
            table[rows, column + 2 + 2 * place] = np.sin(angle)
        row, column = row + count, column + 1 + 2 * len(circles)
    return table
