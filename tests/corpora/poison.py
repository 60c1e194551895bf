"""Readers that kill their process, as a fault in a MIDI library would."""

import os
import signal
import time
from pathlib import Path

from espressivo.midi import read_midi
from espressivo.performance import Performance


def read(path: Path) -> Performance:
    """Die of "poison", of "unlucky" the first time, and take long over "slow"."""
    if path.stem == "poison":
        os.kill(os.getpid(), signal.SIGKILL)
    if path.stem == "unlucky" and not (seen := path.with_suffix(".seen")).exists():
        seen.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    if path.stem == "slow":
        time.sleep(60)
    return read_midi(path)


def read_at_once(path: Path) -> Performance:
    """Read even "slow" without waiting."""
    return read_midi(path)


def die(job: object) -> None:
    """Do no work at all."""
    os.kill(os.getpid(), signal.SIGKILL)
