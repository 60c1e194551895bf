import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from espressivo.midi import read_midi
from espressivo.performance import Performance, Track, infer_melody, is_melody

TUNE = [60, 60, 67, 67, 69, 69, 67, 65, 65, 64, 64, 62, 62, 60]


def tune(pitches=TUNE, beat=0.5, length=0.45, up=12):
    return Performance(
        [(i * beat, i * beat + length, p + up, 80 + i, 0) for i, p in enumerate(pitches)]
    )


def accompanied(melody):
    """Broken chords and a held bass below a melody, a little before or after it."""
    rows = list(map(tuple, melody.notes.tolist()))
    for i in range(0, 14, 2):
        rows.append((i * 0.5, i * 0.5 + 0.98, 36 + i, 60, 0))
        rows += [
            (i * 0.5 + 0.02 + k / 4, i * 0.5 + k / 4 + 0.3, 52 + 3 * k, 50, 0) for k in (0, 1, 2, 3)
        ]
    return Performance(rows)


def rows(performance):
    return [(round(n[0], 6), n[2], n[3]) for n in performance.notes.tolist()]


def test_a_melody_over_chords_and_bass_is_found_note_for_note():
    assert rows(infer_melody(accompanied(tune()))) == rows(tune())


def test_the_bass_is_not_the_melody_however_loud_and_long():
    bass = Performance([(0, 7, 40, 127, 0), (0, 7, 47, 127, 0)])
    together = Performance.merge([tune(), bass])
    assert rows(infer_melody(together)) == rows(tune())


def test_a_rest_of_all_is_a_rest_of_the_melody():
    later = tune().shift(10)
    found = infer_melody(Performance.merge([accompanied(tune()), accompanied(later)]))
    assert rows(found) == rows(tune()) + rows(later)
    assert found.notes["offset"][13] == pytest.approx(6.95)


def test_a_note_ends_where_the_next_begins_and_keeps_its_touch():
    legato = tune(length=0.6)
    found = infer_melody(legato)
    assert rows(found) == rows(legato)
    assert (found.notes["offset"][:-1] == found.notes["onset"][1:]).all()


def test_one_note_at_a_time_comes_back_as_it_is():
    assert infer_melody(tune()) == tune()
    assert is_melody(tune())
    assert is_melody(tune(length=0.6)), "fingers may overlap"


def test_chords_voices_and_arpeggios_are_no_melody():
    third = tune().transpose(4)
    assert not is_melody(Performance.merge([tune(), third]))
    assert not is_melody(tune(length=1.2)), "an arpeggio that rings"
    assert not is_melody(accompanied(tune()))
    assert not is_melody(Performance())


def test_drums_are_no_part_of_it_and_all_tracks_are():
    drums = Performance([(0.25, 0.3, 100, 90, 0)], tracks=[Track(is_drum=True)])
    high = Performance([(8, 9, 90, 70, 0)])
    both = Performance.merge([tune(), drums, high])
    assert rows(infer_melody(both)) == [*rows(tune()), (8.0, 90, 70)]
    assert is_melody(Performance.merge([tune(), drums]))
    assert infer_melody(drums) == Performance()


def test_most_of_a_ragtime_is_not_melody(samples):
    played = read_midi(samples / "giantmidi_joplin.mid").slice(30, 60)
    found = infer_melody(played)
    assert 40 < len(found) < len(played) / 3
    assert np.median(found.notes["pitch"]) > np.median(played.notes["pitch"]) + 7
    given_notes = {(n[0], n[2], n[3]) for n in played.notes.tolist()}
    assert {(n[0], n[2], n[3]) for n in found.notes.tolist()} <= given_notes


def likelihood(performance, melody):
    """The logarithm of the probability of some notes as a melody, by the book, rests as may be."""
    notes = performance.notes
    times = np.unique(np.concatenate([notes["onset"], notes["offset"]]))
    begins = {n[0]: n[2] for n in melody.notes.tolist()}
    ways = {None: 0.0}  # where the melody is, and how likely it got there
    for now, then in zip(times, [*times[1:], times[-1]], strict=True):
        down = notes[(notes["onset"] <= now) & (notes["offset"] > now)]["pitch"].astype(int)
        struck = notes[notes["onset"] == now]["pitch"]
        if now in begins:
            new = begins[now]
            found = [total + move(state, new) for state, total in ways.items()]
            ways = {new: max(found, default=-np.inf)}
        elif len(down):
            ways = {k: total for k, total in ways.items() if k is not None and k not in struck}
        else:
            ends = [total + (np.log(0.1) if k is not None else 0) for k, total in ways.items()]
            ways[None] = max(ends, default=-np.inf)
        for key in ways.keys() - {None}:
            wrong = int((down > key).any()) + int(key not in down)
            ways[key] += (then - now) * wrong * np.log(1e-15)
    return max(ways.values(), default=-np.inf)


def move(before, after):
    if before is None:
        return np.log(1 / 128)
    weights = 1 / (1 + ((np.arange(128) - before) / 2.0) ** 2)
    return np.log(0.9 * weights[after] / weights.sum())


@settings(max_examples=25)
@given(
    st.lists(
        st.tuples(st.integers(0, 7), st.integers(1, 5), st.integers(0, 9)), min_size=1, max_size=5
    )
)
def test_no_other_choice_of_notes_is_likelier(entries):
    unique = {
        (on, pitch): (on * 0.1, (on + length) * 0.1, 60 + pitch, 80, 0)
        for on, length, pitch in entries
    }
    played = Performance(list(unique.values()))
    best = likelihood(played, infer_melody(played))
    onsets = np.unique(played.notes["onset"])
    options = [
        [None, *played.notes[played.notes["onset"] == on]["pitch"].tolist()] for on in onsets
    ]
    grid = np.stack(np.meshgrid(*[np.arange(len(o)) for o in options], indexing="ij"), -1)
    for choice in grid.reshape(-1, len(options)):
        picked = [
            (on, options[i][c])
            for i, (on, c) in enumerate(zip(onsets, choice, strict=True))
            if options[i][c]
        ]
        other = Performance([(on, on + 0.01, pitch, 80, 0) for on, pitch in picked])
        assert likelihood(played, other) <= best + 1e-6
