"""The papers as data, and `model.layers=4`: a copy with other settings."""

from difflib import get_close_matches

from espressivo.errors import ConfigError
from espressivo.presets import papers
from espressivo.presets.conditioned import CONDITIONED
from espressivo.presets.overrides import override
from espressivo.presets.preset import Preset
from espressivo.presets.twins import with_twins

PRESETS = papers.PRESETS | with_twins(CONDITIONED)

__all__ = ["PRESETS", "Preset", "override", "preset"]


def preset(name: str) -> Preset:
    """Give a preset by name; ConfigError names the nearest ones."""
    if name not in PRESETS:
        close = get_close_matches(name, PRESETS, n=3, cutoff=0.5)
        raise ConfigError(
            f"no preset {name!r}; "
            + (
                f"did you mean {' or '.join(close)}?"
                if close
                else f"known are {', '.join(PRESETS)}"
            )
        )
    return PRESETS[name]()
