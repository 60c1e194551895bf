"""From scores by distance to scores by key and back, by one reshape (Huang et al. 2018, 3.4.1).

Queries are the newest `i` of `j` keys; column c of what lies by distance is distance j - 1 - c.
"""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F


def skew(x: Float[Tensor, "*lead i j"]) -> Float[Tensor, "*lead i j"]:
    """Turn scores by distance into scores by key.

    Entries right of the diagonal of the result are meaningless; the pattern must remove them.
    """
    *lead, i, j = x.shape
    shifted = F.pad(x, (0, i)).flatten(-2)[..., :-i].reshape(*lead, i, j + i - 1)
    return shifted[..., i - 1 :]


def unskew(x: Float[Tensor, "*lead i j"]) -> Float[Tensor, "*lead i j"]:
    """Turn scores by key into scores by distance; those of the future are lost."""
    *lead, i, j = x.shape
    shifted = F.pad(F.pad(x, (i - 1, 0)).flatten(-2), (0, i)).reshape(*lead, i, j + i)
    return shifted[..., :j]
