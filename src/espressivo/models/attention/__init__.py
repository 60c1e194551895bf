"""Attention: who hears whom, what order adds, one definition and faster twins of it."""

from espressivo.models.attention.attend import BACKENDS, Backend, Case, attend, chosen
from espressivo.models.attention.heads import Heads
from espressivo.models.attention.position import Alibi, Position, Relative, Rotary, Waves
from espressivo.models.attention.reference import reference
from espressivo.models.attention.rows import rows
from espressivo.models.attention.skewing import skew, unskew

__all__ = [
    "BACKENDS",
    "Alibi",
    "Backend",
    "Case",
    "Heads",
    "Position",
    "Relative",
    "Rotary",
    "Waves",
    "attend",
    "chosen",
    "reference",
    "rows",
    "skew",
    "unskew",
]
