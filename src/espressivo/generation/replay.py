"""Playing a take again from its provenance."""

from __future__ import annotations

import numpy as np

from espressivo.checkpoint import Checkpoint
from espressivo.codecs import Codec
from espressivo.errors import CheckpointError, ConfigError
from espressivo.generation.accompaniment import led, line_of
from espressivo.generation.performer import Performer
from espressivo.generation.provenance import Provenance, Take
from espressivo.generation.tasks import Prompt, resumed, unconditional
from espressivo.performance import Performance


def replay(
    provenance: Provenance, checkpoint: Checkpoint, primer: Performance | None = None
) -> Take:
    """Play a take again, token for token.

    The whole batch is played up to the end of the take, as the size of a batch changes the last
    bits of its sums. A continuation begins with the notes of `primer` (the original, or the
    generated performance itself), or without one with the primer as the codec heard it.

    On the same machine the provenance of the result equals the one given. Another machine may
    sum in another order, and now and then draws another token: `sha256` then differs. Raises
    CheckpointError if the checkpoint is not the one the take was played with.
    """
    if provenance.digest != checkpoint.digest:
        raise CheckpointError(
            f"this checkpoint is {checkpoint.digest[:12] or 'unnamed'}, the take was played with "
            f"{provenance.model or 'a model'} {provenance.digest[:12] or 'unnamed'}; "
            "only the same weights repeat it"
        )
    if provenance.vocabulary != checkpoint.codec.vocabulary.fingerprint():
        raise CheckpointError("the checkpoint's tokens do not mean what they meant in the take")
    performer = Performer.of(checkpoint, provenance.model)
    playing = performer.perform(
        _prompt(provenance, performer.codec, primer).told(provenance.controls),
        provenance.sampling,
        provenance.seed,
        provenance.takes,
    )
    return playing.take(provenance.take)


def _prompt(provenance: Provenance, codec: Codec, primer: Performance | None) -> Prompt:
    if provenance.task == "unconditional":
        return unconditional(codec, provenance.seconds)
    tokens = np.array(provenance.primer, dtype=np.int64)
    if provenance.task == "accompaniment":
        return led(codec, tokens, provenance.mark, primer and line_of(primer))
    if provenance.task != "continuation":
        raise ConfigError(
            f"unknown task {provenance.task!r}; known: unconditional, continuation, accompaniment"
        )
    return resumed(codec, tokens, provenance.mark, provenance.seconds, primer)
