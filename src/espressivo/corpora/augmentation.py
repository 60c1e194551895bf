"""Other performances a piece could have had: higher, slower, louder."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from espressivo.errors import ConfigError
from espressivo.performance import Array, Performance


class Change(NamedTuple):
    """One variation: semitones up, times longer, MIDI velocities louder and curved.

    `curve` is the exponent of velocity / 127: below one soft notes gain the most.
    """

    semitones: int = 0
    factor: float = 1.0
    louder: int = 0
    curve: float = 1.0

    def __call__(self, notes: Array, controls: Array) -> Performance:
        """Vary what one piano played; notes that leave 0..127 are dropped, velocities clipped."""
        notes, controls = notes.copy(), controls.copy()
        if self.factor != 1.0:
            for times in (notes["onset"], notes["offset"], controls["time"]):
                times *= self.factor
            notes = notes[notes["offset"] > notes["onset"]]
        if self.semitones:
            pitch = notes["pitch"].astype(np.int64) + self.semitones
            notes["pitch"] = pitch
            notes = notes[(pitch >= 0) & (pitch <= 127)]
        if self.louder:
            notes["velocity"] = np.clip(notes["velocity"].astype(int) + self.louder, 1, 127)
        if self.curve != 1.0:
            curved = np.rint(127 * (notes["velocity"] / 127) ** self.curve)
            notes["velocity"] = np.clip(curved, 1, 127)
        return Performance(notes, controls)


@dataclass(frozen=True, kw_only=True)
class Augmentation:
    """How far a window may be moved from what was played.

    Transposition in semitones and factors of stretching follow Performance RNN and Music
    Transformer (3 semitones, 5 %); `velocity` moves every velocity of a window by the same amount,
    up to that many MIDI units either way, and `curve` bends all of them by an exponent up to that
    factor either way (1 bends nothing).
    """

    transpose: int = 3
    stretch: tuple[float, ...] = (0.95, 0.975, 1.0, 1.025, 1.05)
    velocity: int = 0
    curve: float = 1.0

    def __post_init__(self) -> None:
        """Refuse what cannot be drawn."""
        if not self.stretch or min(self.stretch) <= 0:
            raise ConfigError(f"stretch={self.stretch} must be factors above zero; try (1.0,)")
        if not 1 <= self.curve < 10:
            raise ConfigError(f"curve={self.curve} must be a factor from 1 on; try 1.2")
        if self.transpose < 0 or self.velocity < 0:
            raise ConfigError(
                f"transpose={self.transpose} and velocity={self.velocity} must not be negative"
            )

    def draw(self, rng: np.random.Generator) -> Change:
        """Choose a variation."""
        return Change(
            int(rng.integers(-self.transpose, self.transpose + 1)),
            self.stretch[int(rng.integers(len(self.stretch)))],
            int(rng.integers(-self.velocity, self.velocity + 1)),
            self.curve ** rng.uniform(-1, 1) if self.curve > 1 else 1.0,
        )


NO_AUGMENTATION = Augmentation(transpose=0, stretch=(1.0,))
