"""Where a take comes from, as a line of text that is enough to play it again."""

from __future__ import annotations

import base64
import hashlib
import json
import math
import zlib
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from espressivo import __version__
from espressivo.controls import checked
from espressivo.errors import ConfigError, EspressivoError
from espressivo.generation.sampling import Sampling
from espressivo.generation.tasks import Prompt
from espressivo.performance import Performance

FORMAT = 1
MARKER = "espressivo-provenance "
"""What the text begins with, so that it is found among the other texts of a file."""

MOST_PRIMER_TOKENS = 10_000_000


@dataclass(frozen=True, kw_only=True)
class Provenance:
    """Everything that decided a take: model, task, settings, seed.

    `digest` identifies the checkpoint and `vocabulary` the meaning of its tokens. `primer` holds
    the tokens the model heard before its own, so that no other file is needed. `sha256` is that
    of the tokens played: equal provenance means that equal tokens were played. `controls` are what
    was asked for, values over time by name.
    """

    model: str
    digest: str
    vocabulary: str
    task: str
    seconds: float
    mark: float
    primer: tuple[int, ...]
    sampling: Sampling
    seed: int
    take: int
    takes: int
    tokens: int
    sha256: str
    controls: dict[str, list[list[float]]] = field(default_factory=dict)
    espressivo: str = __version__

    @staticmethod
    def of(
        prompt: Prompt,
        sampling: Sampling,
        played: NDArray[np.int64],
        *,
        model: str,
        digest: str,
        seed: int,
        take: int,
        takes: int,
    ) -> Provenance:
        """Describe a take just played."""
        return Provenance(
            model=model,
            digest=digest,
            vocabulary=prompt.codec.vocabulary.fingerprint(),
            task=prompt.task,
            seconds=float(prompt.seconds),
            mark=prompt.mark + prompt.begins,
            primer=tuple((prompt.melody or prompt).tokens.tolist()),
            sampling=sampling,
            seed=seed,
            take=take,
            takes=takes,
            tokens=len(played),
            sha256=_digest(played),
            controls={name: values.tolist() for name, values in prompt.controls.items()},
        )

    def text(self) -> str:
        """Write one line for a MIDI file's text event."""
        primer = np.array(self.primer, dtype="<i4")
        packed = base64.b64encode(zlib.compress(primer.tobytes(), 9)).decode()
        entry = {"format": FORMAT, **asdict(self)}
        entry["primer"] = {"tokens": packed, "sha256": _digest(primer)} if self.primer else None
        if not self.controls:
            del entry["controls"]  # so that versions that know of none can read it
        return MARKER + json.dumps(entry, separators=(",", ":"))

    @staticmethod
    def find(texts: list[str]) -> Provenance | None:
        """Read the first provenance among the texts of a file; None if there is none.

        Raises ConfigError for one that is damaged or was written by a newer espressivo.
        """
        for text in texts:
            if text.startswith(MARKER):
                return _parsed(text.removeprefix(MARKER))
        return None


@dataclass(frozen=True, eq=False)
class Take:
    """One generated performance, the tokens the model played in it, and where it comes from.

    The model begins at `mark` seconds; before that is the primer.
    """

    performance: Performance
    tokens: NDArray[np.int64]
    provenance: Provenance
    mark: float = 0.0


def _digest(tokens: NDArray[Any]) -> str:
    return hashlib.sha256(tokens.astype("<i4").tobytes()).hexdigest()


def _parsed(text: str) -> Provenance:
    try:
        entry = json.loads(text)
        version = entry.pop("format")
        if version != FORMAT:
            raise ConfigError(
                f"the provenance has format {version!r}, this espressivo reads {FORMAT}; "
                "a newer one wrote it"
            )
        primer = entry.pop("primer")
        tokens = _unpacked(primer["tokens"], primer["sha256"]) if primer else ()
        sampling = Sampling(**entry.pop("sampling"))
        provenance = Provenance(**entry, primer=tokens, sampling=sampling)
        _check(provenance)
        checked(provenance.controls)
    except EspressivoError:
        raise
    except (ValueError, TypeError, KeyError, AttributeError, zlib.error) as error:
        raise ConfigError(f"the provenance is damaged: {error!r}") from error
    return provenance


def _unpacked(packed: str, sha256: str) -> tuple[int, ...]:
    inflate = zlib.decompressobj()
    content = inflate.decompress(base64.b64decode(packed), 4 * MOST_PRIMER_TOKENS)
    tokens = np.frombuffer(content, dtype="<i4")
    if _digest(tokens) != sha256:
        raise ValueError("its primer does not have the SHA-256 it names")
    return tuple(tokens.tolist())


def _check(provenance: Provenance) -> None:
    """Refuse values of the wrong type, which a text can hold."""
    for name in ("model", "digest", "vocabulary", "task", "sha256", "espressivo"):
        if not isinstance(getattr(provenance, name), str):
            raise ValueError(f"{name} is no text")
    for name in ("seed", "take", "takes", "tokens"):
        if type(getattr(provenance, name)) is not int or getattr(provenance, name) < 0:
            raise ValueError(f"{name} is no count")
    for name in ("seconds", "mark"):
        value = getattr(provenance, name)
        if not isinstance(value, (int, float)) or not 0 <= value < math.inf:
            raise ValueError(f"{name} is no time")
    if not isinstance(provenance.controls, dict):
        raise ValueError("controls are no values by name")
    if provenance.take >= provenance.takes:
        raise ValueError(f"take {provenance.take} is not among {provenance.takes}")
