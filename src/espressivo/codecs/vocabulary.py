"""Named ranges of token ids: the only place where offsets exist."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping

from espressivo.errors import CodecError


class Vocabulary:
    """Contiguous ranges of ids, one per kind of event, in the order given.

    `Vocabulary(note_on=range(128), shift=range(1, 101))` has 228 ids; id 128 describes itself as
    ("shift", 1). Values are what a musician would count: pitches, steps, bins.
    """

    def __init__(self, **kinds: range) -> None:
        """Lay the kinds out one after another; every range steps by one."""
        self.kinds: Mapping[str, range] = dict(kinds)
        self._first: dict[str, int] = {}
        self._meanings: list[tuple[str, int]] = []
        for kind, values in kinds.items():
            if values.step != 1 or not len(values):
                raise CodecError(f"{kind}={values} must be a rising range of at least one value")
            self._first[kind] = len(self._meanings)
            self._meanings += [(kind, value) for value in values]

    def __len__(self) -> int:
        """Give the number of ids."""
        return len(self._meanings)

    def __contains__(self, kind: object) -> bool:
        """Tell whether this vocabulary has events of a kind."""
        return kind in self.kinds

    def __eq__(self, other: object) -> bool:
        """Two vocabularies are equal when every id means the same."""
        return isinstance(other, Vocabulary) and list(self.kinds.items()) == list(
            other.kinds.items()
        )

    def __hash__(self) -> int:
        """Hash by the meaning of the ids."""
        return hash(self.fingerprint())

    def __repr__(self) -> str:
        """Show the kinds and their values."""
        kinds = ", ".join(f"{kind}={values!r}" for kind, values in self.kinds.items())
        return f"Vocabulary({kinds})"

    def id(self, kind: str, value: int) -> int:
        """Give the id of an event; CodecError names what cannot be said."""
        if kind not in self.kinds:
            raise CodecError(f"no {kind!r} in this vocabulary; it has {', '.join(self.kinds)}")
        values = self.kinds[kind]
        if value not in values:
            raise CodecError(f"{kind}={value} is outside {values.start}..{values.stop - 1}")
        return self._first[kind] + value - values.start

    def ids(self, kind: str) -> range:
        """Give the ids of one kind, in the order of its values; empty if there are none."""
        if kind not in self.kinds:
            return range(0)
        return range(self._first[kind], self._first[kind] + len(self.kinds[kind]))

    def describe(self, token: int) -> tuple[str, int]:
        """Say what an id means, as (kind, value)."""
        if not 0 <= token < len(self._meanings):
            raise CodecError(f"token {token} is outside 0..{len(self) - 1}")
        return self._meanings[token]

    def fingerprint(self) -> str:
        """Give a SHA-256 that changes whenever the meaning of an id does."""
        spec = [[kind, values.start, values.stop] for kind, values in self.kinds.items()]
        return hashlib.sha256(json.dumps(spec).encode()).hexdigest()
