"""Performance RNN told of the music to come: how dense it will be, and in which pitch classes.

Three of the original's configurations are always told; the fourth may be told nothing. The widths
of their inputs, 396, 400, 408 and 409, are those of the original.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from espressivo.configs import LstmConfig
from espressivo.presets.performance_rnn import performance_rnn
from espressivo.presets.preset import Preset

DENSITY, HISTOGRAM = "notes-per-second", "pitch-class-histogram"

MEASURED = (
    "controls are measured from the whole piece, where the original measures only as far as "
    "the 512 events it keeps",
    "a histogram looks exactly 5 seconds ahead, where the original counts the last shift that "
    "begins within them whole",
)
OPTIONALLY = (
    "in half of the windows, drawn afresh, the model is told nothing of a control, each control "
    "by itself, where the original trains on two copies of the data, with both and with neither; "
    "the flag is set where it is told of none"
)


def _told(name: str, original: str, controls: tuple[str, ...], *, optional: bool = False) -> Preset:
    like = performance_rnn()
    assert isinstance(like.model, LstmConfig)
    return replace(
        like,
        name=name,
        source=f"Magenta's released configuration {original} (Simon and Oore 2017)",
        model=replace(like.model, controls=controls, optional=optional),  # performance_model
        deviations=(*like.deviations, *MEASURED, *((OPTIONALLY,) if optional else ())),
    )


def density() -> Preset:
    """Performance RNN told how many notes a second it is to strike."""
    return _told(
        "performance-rnn-density", "density_conditioned_performance_with_dynamics", (DENSITY,)
    )


def pitch() -> Preset:
    """Performance RNN told which pitch classes are to sound."""
    return _told(
        "performance-rnn-pitch", "pitch_conditioned_performance_with_dynamics", (HISTOGRAM,)
    )


def multi() -> Preset:
    """Performance RNN told both."""
    return _told(
        "performance-rnn-multi", "multiconditioned_performance_with_dynamics", (DENSITY, HISTOGRAM)
    )


def optional() -> Preset:
    """Performance RNN told both, either or neither."""
    return _told(
        "performance-rnn-optional",
        "optional_multiconditioned_performance_with_dynamics",
        (DENSITY, HISTOGRAM),
        optional=True,
    )


CONDITIONED: dict[str, Callable[[], Preset]] = {
    "performance-rnn-density": density,
    "performance-rnn-pitch": pitch,
    "performance-rnn-multi": multi,
    "performance-rnn-optional": optional,
}
