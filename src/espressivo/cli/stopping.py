"""Ctrl-C as a wish: the step at hand is finished, what there is is saved, and we say where."""

from __future__ import annotations

import signal
from types import FrameType, TracebackType
from typing import Self

from espressivo.cli import printing


class Stop:
    """While entered, the first Ctrl-C or polite kill sets `requested`; a second Ctrl-C insists."""

    def __init__(self) -> None:
        """Begin without a wish."""
        self.requested = False

    def __enter__(self) -> Self:
        """Listen."""
        wished = (signal.SIGINT, signal.SIGTERM)
        self._before = {number: signal.signal(number, self._hear) for number in wished}
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Leave Ctrl-C as it was found."""
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _hear(self, number: int, frame: FrameType | None) -> None:
        if self.requested and number == signal.SIGINT:
            raise KeyboardInterrupt
        self.requested = True
        printing.note("\nstopping after this step; Ctrl-C again to stop at once")
