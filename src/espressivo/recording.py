"""A checkpoint plays, and what it plays is kept: as MIDI, as sound, as a picture."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np

from espressivo import audio, bundle, checkpoint, roll
from espressivo.errors import CheckpointError, ConfigError
from espressivo.generation import Performer, Playing, Provenance, Sampling, Take
from espressivo.generation import replay as play_again
from espressivo.midi import read_midi, read_texts, write_midi
from espressivo.performance import SUSTAIN, Event, Performance


@dataclass(frozen=True)
class Files:
    """Where a take goes: a MIDI file and, if wanted, its sound and its roll."""

    midi: Path | None = None
    audio: Path | None = None
    plot: Path | None = None

    def numbered(self, takes: int) -> list[Files]:
        """Give the files of each of several takes: out-1.mid, out-2.mid; one keeps its name."""
        if takes == 1:
            return [self]
        return [
            replace(self, **{name: _numbered(path, i + 1) for name, path in vars(self).items()})
            for i in range(takes)
        ]

    def existing(self) -> list[Path]:
        """Name those that are there already."""
        return [path for path in vars(self).values() if path is not None and path.exists()]


CAREFUL = Sampling(temperature=0.97, longest_note=6.0, densest_second=16)
"""How the bundled checkpoints play best: they are small, and drift into too many notes."""


@dataclass(frozen=True)
class Settings:
    """What may be set when a checkpoint plays: sampling.temperature=0.9.

    Left unset it is `CAREFUL`; `sampling.temperature=1 sampling.densest_second=100` plays as
    the model learnt.
    """

    sampling: Sampling = CAREFUL


class Recording(NamedTuple):
    """A take and the files it was written to."""

    take: Take
    files: Files


def load(model: str | Path | None = None) -> Performer:
    """Wake a checkpoint that can play: a bundled name, a folder, or a run; None for the default.

    Raises CheckpointError if there is none of that name, or if it is damaged.
    """
    name = bundle.default() if model is None else str(model)
    return Performer.of(checkpoint.load(bundle.path(model)), name)


def record(takes: Sequence[Take], files: Files) -> list[Recording]:
    """Write every take with its provenance; existing files are replaced.

    Several takes get numbered names. Raises MidiError, AudioError or ConfigError for what
    cannot be written.
    """
    places = files.numbered(len(takes))
    return [_record(take, place) for take, place in zip(takes, places, strict=True)]


def interrupted(playing: Playing) -> list[Take]:
    """Give what has been played so far, keys and pedals released; finished takes are whole.

    The provenance of a take broken off says how many tokens it had; played again it goes on.
    """
    return [
        playing.take(index) if keyboard.done else _broken_off(playing, index)
        for index, keyboard in enumerate(playing.keyboards)
    ]


def find_provenance(path: Path) -> Provenance:
    """Read where a take comes from; ConfigError if the file does not say."""
    found = Provenance.find(read_texts(path))
    if found is None:
        raise ConfigError(f"{path}: no provenance in it; only what espressivo played has one")
    return found


class Replay(NamedTuple):
    """A take played again, what its file says about the first time, and whether both agree."""

    take: Take
    provenance: Provenance

    @property
    def identical(self) -> bool:
        """Tell whether the tokens are those of the first time, as far as it went."""
        first = self.take.tokens[: self.provenance.tokens]
        return hashlib.sha256(first.astype("<i4").tobytes()).hexdigest() == self.provenance.sha256


def replay(path: Path, model: str | Path | None = None) -> Replay:
    """Play a take again from its file alone.

    The checkpoint is found by its digest among those bundled and by the name in the file, unless
    `model` names it. Raises CheckpointError if it is not at hand.
    """
    provenance = find_provenance(path)
    named = _checkpoint_of(provenance) if model is None else bundle.path(model)
    primer = read_midi(path) if provenance.primer else None
    return Replay(play_again(provenance, checkpoint.load(named), primer), provenance)


def pedalled(take: Take) -> Performance:
    """Give what was played with its pedal, found again where the codec folds it into the notes.

    A model that moved the pedal itself is left its moves, and a melody that was given stays.
    """
    played = take.performance
    moved = (played.controls["number"] == SUSTAIN) & (played.controls["time"] > take.mark)
    if moved.any():
        return played
    found = played.pedalled(since=take.mark)
    if take.provenance.task != "accompaniment":
        return found
    given, others = played.notes, found.notes
    notes = np.concatenate([given[given["track"] == 0], others[others["track"] > 0]])
    moves = found.controls[found.controls["track"] > 0]
    return found.replace(notes=notes, controls=moves)


def _record(take: Take, files: Files) -> Recording:
    """Write one take as a pianist would have played it."""
    title = files.midi.stem if files.midi else "performance"
    performance = pedalled(take)
    if files.midi:
        write_midi(performance, files.midi, text=take.provenance.text())
    if files.audio:
        words = f"played by {take.provenance.model}, seed {take.provenance.seed}"
        tags = audio.Tags(title=title, artist="espressivo", comment=words)
        audio.render(performance, files.audio, tags=tags)
    if files.plot:
        marks = [(take.mark, "from here on the model")] if take.mark else []
        roll.save(performance, files.plot, title=title, marks=marks)
    return Recording(take, files)


def _numbered(path: Path | None, number: int) -> Path | None:
    return path and path.with_name(f"{path.stem}-{number}{path.suffix}")


def _broken_off(playing: Playing, index: int) -> Take:
    """End a take where it stands."""
    keyboard, performer = playing.keyboards[index], playing.performer
    standing = {(e.number, e.track): e.value for e in keyboard.events if e.kind == "control"}
    end = max(keyboard.time, playing.prompt.mark)
    down = [pedal for pedal, value in standing.items() if value]
    lifts = [Event(end, "control", number, 0, track) for number, track in down]
    tokens = np.array(keyboard.tokens, dtype=np.int64)
    provenance = Provenance.of(
        playing.prompt,
        playing.sampling,
        tokens,
        model=performer.model,
        digest=performer.digest,
        seed=playing.seed,
        take=index,
        takes=len(playing.keyboards),
    )
    # A release of a key that is up changes nothing, but says when the others end.
    ended = [*keyboard.events, *lifts, Event(end, "off", 0, 0)]
    return Take(playing.prompt.gathered(ended), tokens, provenance, playing.prompt.mark)


def _checkpoint_of(provenance: Provenance) -> Path:
    """Find the checkpoint a take was played with, by its digest and by its name."""
    known = [bundle.BUNDLED / name for name in bundle.names()]
    if Path(provenance.model).is_dir():
        known.append(checkpoint.find(provenance.model))
    for path in known:
        manifest = (path / "manifest.json").read_bytes()
        if hashlib.sha256(manifest).hexdigest() == provenance.digest:
            return path
    raise CheckpointError(
        f"{provenance.model} {provenance.digest[:12]}, which played this, is not at hand; "
        "name its folder with --model"
    )
