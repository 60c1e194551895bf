"""What is written of a take has a pedal: the model's own, or the one folded into the notes."""

import numpy as np

from espressivo.codecs import CODECS
from espressivo.generation import Performer, Sampling, unconditional
from espressivo.performance import SUSTAIN
from espressivo.recording import pedalled
from tests.generation.players import Stubborn, wanting

FREE = Sampling(break_loops=False, longest_note=2.0)


def take(codec, engine):
    (played,) = Performer(engine, codec).takes(unconditional(codec, 20), FREE, 1, 1)
    return played


def sustain(performance):
    return performance.controls[performance.controls["number"] == SUSTAIN]


def test_a_model_that_moves_the_pedal_is_left_its_moves():
    codec = CODECS["performance-rnn-pedal"]
    wish = wanting(codec, 6.0, note_on=range(48, 72), shift=range(20, 40), pedal=range(2))
    played = take(codec, Stubborn(wish))
    assert len(sustain(played.performance))
    assert pedalled(played) is played.performance


def test_where_notes_of_different_ages_end_together_a_pedal_is_found():
    codec = CODECS["performance-rnn"]
    wish = wanting(codec, 6.0, note_on=range(48, 72), shift=range(20, 40))
    played = take(codec, Stubborn(wish))
    found = pedalled(played)
    assert not len(sustain(played.performance))
    assert len(sustain(found))
    assert found.sustained() == played.performance.sustained()
    assert np.array_equal(found.notes["onset"], played.performance.notes["onset"])
