"""What one model is told beside the tokens, and what it is shown where nothing is said."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from espressivo.codecs import Codec
from espressivo.configs import LstmConfig, ModelConfig
from espressivo.controls.control import Rows, Values
from espressivo.controls.table import CONTROLS
from espressivo.performance import Performance

Unset = Literal["default", "zeros", "flag"]


@dataclass(frozen=True)
class Conditioning:
    """The controls of a model, and what it is shown where one is not set.

        default  the control's default value; such a model is always told something
        zeros    nothing but zeros
        flag     the same, and a first number that is one where no control is set at all, as in
                 Performance RNN's optional conditioning

    A model that knows more than defaults learns both: in half of its windows, control by
    control, it is told nothing.
    """

    names: tuple[str, ...] = ()
    unset: Unset = "default"

    @staticmethod
    def of(config: ModelConfig) -> Conditioning:
        """Tell what a model is told; one without controls is told nothing."""
        names: tuple[str, ...] = getattr(config, "controls", ())
        if not isinstance(config, LstmConfig):
            return Conditioning(names, "zeros")
        return Conditioning(names, "flag" if config.optional else "default")

    def __bool__(self) -> bool:
        """Tell whether there is anything to tell."""
        return bool(self.names)

    @property
    def horizon(self) -> float:
        """How many seconds ahead the controls look."""
        return max((CONTROLS[name].horizon for name in self.names), default=0.0)

    def rows(self, values: Mapping[str, Values], count: int) -> Rows:
        """Show values [count, k] of controls by name; those that are missing are unset."""
        columns = [self._shown(name, values.get(name), count) for name in self.names]
        if self.unset == "flag":
            columns.insert(0, np.full((count, 1), not values, dtype=np.float32))
        return np.concatenate(columns, axis=1)

    def measured(
        self,
        performance: Performance,
        times: Values,
        told: Collection[str] | None = None,
    ) -> Rows:
        """Show what a performance is from some times on; all controls, or those that are `told`."""
        wanted = [name for name in self.names if told is None or name in told]
        moments, of_each = np.unique(times, return_inverse=True)
        values = {name: CONTROLS[name].measure(performance, moments) for name in wanted}
        return self.rows(values, len(moments))[of_each]

    def drawn(self, rng: np.random.Generator) -> list[str]:
        """Choose the controls that one window of training is told."""
        if self.unset == "default":
            return list(self.names)
        return [name for name in self.names if rng.random() < 0.5]

    def _shown(self, name: str, values: Values | None, count: int) -> Rows:
        control = CONTROLS[name]
        if values is not None:
            return control.show(values)
        if self.unset == "default":
            return control.show(np.tile(control.default, (count, 1)))
        return np.zeros((count, control.width), dtype=np.float32)


def moments(codec: Codec, tokens: NDArray[np.int64]) -> Values:
    """Give the seconds, from the start of the first token, at which every token happens."""
    steps = _steps(codec)[tokens]  # type: ignore[arg-type]  # codecs are frozen dataclasses
    times: Values = (np.cumsum(steps) - steps) / codec.steps_per_second
    return times


@lru_cache(maxsize=16)
def _steps(codec: Codec) -> NDArray[np.int64]:
    """Give the steps that pass with every id."""
    return np.array([codec.steps_of(token) for token in range(len(codec.vocabulary))])
