"""What the ids mean and what real performances become, so that no checkpoint plays other notes."""

import pytest

from espressivo.codecs import CODECS
from espressivo.midi import read_midi


@pytest.mark.parametrize("name", CODECS)
def test_vocabulary(name, golden):
    vocabulary = CODECS[name].vocabulary
    golden(
        f"vocabulary-{name}",
        {
            "size": len(vocabulary),
            "kinds": {k: [v.start, v.stop - 1] for k, v in vocabulary.kinds.items()},
            "first_ids": {kind: vocabulary.ids(kind).start for kind in vocabulary.kinds},
            "start": CODECS[name].start,
            "fingerprint": vocabulary.fingerprint(),
        },
    )


@pytest.mark.parametrize("piece", ["giantmidi_field", "giantmidi_joplin"])
@pytest.mark.parametrize("name", CODECS)
def test_tokens_of_real_performances(name, piece, golden, samples):
    performance = read_midi(samples / f"{piece}.mid").slice(0, 15)
    words = [CODECS[name].vocabulary.describe(t) for t in CODECS[name].encode(performance)]
    golden(f"tokens-{name}-{piece}", [f"{kind} {value}" for kind, value in words])
