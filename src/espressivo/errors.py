"""Every error a user can cause, with one root.

A message says what is wrong, the value, and what would be right.
"""


class EspressivoError(Exception):
    """The root: catching it catches every mistake espressivo explains."""


class MidiError(EspressivoError):
    """A file that cannot be read as MIDI: which file, and why."""


class CodecError(EspressivoError):
    """Something that cannot be said in this vocabulary."""


class CorpusError(EspressivoError):
    """A corpus that is missing, damaged, or empty where it must not be."""


class CheckpointError(EspressivoError):
    """A checkpoint that is incomplete, damaged or does not fit."""


class ConfigError(EspressivoError):
    """A setting with a value it cannot have."""


class TrainingError(EspressivoError):
    """Training that cannot go on: at which step, and what is left."""


class AudioError(EspressivoError):
    """Sound that cannot be made or written: which file, and why."""
