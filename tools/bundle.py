"""Ship a checkpoint in the package: `python tools/bundle.py RUN NAME CARD.md [LICENCE]`.

The best of a run becomes `src/espressivo/bundled/NAME` in float16, with CARD.md as its README and
licence card. A checkpoint of that name that was there before is replaced.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

from espressivo import bundle, checkpoint

LARGEST = 25_000_000
"""Bytes a bundled checkpoint may have."""


def main(run: str, name: str, card: str, licence: str = "CC BY-NC-SA 4.0") -> None:
    """Release the best of a run into the package."""
    draft = bundle.BUNDLED / f".{name}"
    shutil.rmtree(draft, ignore_errors=True)
    text = Path(card).read_bytes()
    checkpoint.release(run, draft, card={"licence": licence}, extra={"README.md": text})
    size = sum(file.stat().st_size for file in draft.iterdir())
    if size > LARGEST:
        shutil.rmtree(draft)
        sys.exit(f"{name} has {size} bytes; at most {LARGEST} may ship")
    shutil.rmtree(bundle.BUNDLED / name, ignore_errors=True)
    draft.rename(bundle.BUNDLED / name)
    print(f"{bundle.BUNDLED / name}: {size} bytes, {checkpoint.load(bundle.BUNDLED / name).digest}")


if __name__ == "__main__":
    main(*sys.argv[1:])
