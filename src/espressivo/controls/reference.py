"""The controls, one event at a time: what `CONTROLS` must give for a stream of tokens.

This is how Performance RNN's authors define them, on events. It differs in one thing: there, a
shift that begins within the window of a histogram counts whole, here as far as the window goes.
"""

from __future__ import annotations

from collections.abc import Sequence

from espressivo.codecs import Vocabulary


def notes_per_second(
    tokens: Sequence[int], vocabulary: Vocabulary, steps_per_second: int
) -> list[float]:
    """Give the value that holds for every token; it changes only after time has passed."""
    window, values = 3 * steps_per_second, list[float]()
    for first in range(len(tokens)):
        if first and vocabulary.describe(tokens[first - 1])[0] != "shift":
            values.append(values[-1])
            continue
        steps = notes = 0
        for token in tokens[first:]:
            kind, value = vocabulary.describe(token)
            notes += kind == "note_on"
            steps += value if kind == "shift" else 0
            if steps >= window:
                break
        values.append(notes * steps_per_second / min(steps, window) if steps else 0.0)
    return values


def pitch_class_histogram(
    tokens: Sequence[int], vocabulary: Vocabulary, steps_per_second: int
) -> list[list[float]]:
    """Give the twelve shares that hold for every token; they change only after time has passed."""
    window, values = 5 * steps_per_second, list[list[float]]()
    down: set[int] = set()
    for first in range(len(tokens)):
        if first and vocabulary.describe(tokens[first - 1])[0] != "shift":
            values.append(values[-1])
        else:
            ahead = _sounding(tokens[first:], vocabulary, set(down), window)
            seconds = [0.01 + steps / steps_per_second for steps in ahead]
            values.append([each / sum(seconds) for each in seconds])
        _hear(down, *vocabulary.describe(tokens[first]))
    return values


def _sounding(
    tokens: Sequence[int], vocabulary: Vocabulary, down: set[int], window: int
) -> list[int]:
    """Count the steps each pitch class sounds, every key by itself, until the window ends."""
    steps, passed = [0] * 12, 0
    for token in tokens:
        kind, value = vocabulary.describe(token)
        _hear(down, kind, value)
        if kind == "shift":
            for pitch in down:
                steps[pitch % 12] += min(value, window - passed)
            passed += value
            if passed >= window:
                break
    return steps


def _hear(down: set[int], kind: str, pitch: int) -> None:
    if kind == "note_on":
        down.add(pitch)
    elif kind == "note_off":
        down.discard(pitch)
