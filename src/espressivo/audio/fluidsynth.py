"""FluidSynth as a second opinion, where the program is installed; its pedal is on or off."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from espressivo.audio import files
from espressivo.audio.piano import PIANO
from espressivo.errors import AudioError
from espressivo.performance import Event, Performance

Array = NDArray[Any]

_TICKS_PER_SECOND = 10_000
_STATUS = {"on": 0x90, "off": 0x80, "control": 0xB0}
_CHANNELS = [channel for channel in range(16) if channel != 9]


def fluidsynth(performance: Performance, rate: int, soundfont: Path = PIANO) -> Iterator[Array]:
    """Play with the FluidSynth program: dry float32 blocks [2, 65536].

    Raises AudioError if there is no such program or it fails.
    """
    program = shutil.which("fluidsynth")
    if program is None:
        raise AudioError(
            "engine='fluidsynth' needs the fluidsynth program, which is not on the PATH; install "
            "it (Debian: apt install fluidsynth, macOS: brew install fluid-synth) or use 'sampler'"
        )
    with tempfile.TemporaryDirectory() as folder:
        midi, audio = Path(folder, "played.mid"), Path(folder, "played.wav")
        midi.write_bytes(standard_midi(performance.select(drums=False)))
        command = [program, "-n", "-i", "-q", "-R", "0", "-C", "0", "-g", "0.6", "-r", str(rate)]
        command += ["-o", "synth.polyphony=4096", "-O", "float", "-T", "wav", "-F", str(audio)]
        done = subprocess.run([*command, str(soundfont), str(midi)], capture_output=True)
        if done.returncode or not audio.exists():
            said = done.stderr.decode(errors="replace").strip()[-300:]
            raise AudioError(f"fluidsynth failed with exit code {done.returncode}: {said}")
        for block in files.blocks(audio):
            missing = files.BLOCK - len(block)
            yield np.pad(block.T, ((0, 0), (0, missing)))


def standard_midi(performance: Performance) -> bytes:
    """Give the least MIDI file that FluidSynth needs: one track, 0.1 ms per tick."""
    messages, now = bytearray(), 0
    for event in performance.events():
        tick = round(event.time * _TICKS_PER_SECOND)
        messages += _variable_length(tick - now) + _message(event)
        now = tick
    messages += _variable_length(_TICKS_PER_SECOND) + b"\xff\x2f\x00"
    division = (_TICKS_PER_SECOND // 2).to_bytes(2, "big")
    header = b"MThd" + (6).to_bytes(4, "big") + bytes([0, 0, 0, 1]) + division
    return header + b"MTrk" + len(messages).to_bytes(4, "big") + bytes(messages)


def _message(event: Event) -> bytes:
    channel = _CHANNELS[event.track % len(_CHANNELS)]
    return bytes([_STATUS[event.kind] | channel, event.number, event.value])


def _variable_length(number: int) -> bytes:
    groups = [number & 0x7F]
    while number := number >> 7:
        groups.append(number & 0x7F | 0x80)
    return bytes(reversed(groups))
