"""Nats of note events against cells worked out by hand, and beside those of other vocabularies."""

import json
import math
from dataclasses import replace

import numpy as np
import pytest

from espressivo import checkpoint
from espressivo.checkpoint import Checkpoint
from espressivo.codecs import CODECS, NoteEvents
from espressivo.configs import NoteTransformerConfig
from espressivo.corpora.note_windows import note_windows
from espressivo.midi import write_midi
from espressivo.performance import SUSTAIN, Performance
from tests.corpora.making import music
from tests.training.made import CODEC, LSTM

judging = pytest.importorskip("espressivo.training.likelihood")
evaluating = pytest.importorskip("espressivo.training.evaluate")
events = pytest.importorskip("espressivo.training.event_likelihood")
models = pytest.importorskip("espressivo.models")
torch = pytest.importorskip("torch")

FINE = NoteEvents(steps_per_second=200)
GRID = NoteEvents(steps_per_second=100, velocity_bins=32)
SIZES = {
    "layers": 1, "width": 16, "heads": 2, "key_dim": 8, "feed_forward": 16, "head_hidden": 16,
    "frequencies": 2, "context": 64,
}  # fmt: skip


def lively(codec, **changes):
    """A model that finds nothing as likely as anything else."""
    torch.manual_seed(0)
    config = NoteTransformerConfig(classes=codec.sizes, **{**SIZES, **changes})
    model = models.build(config, len(codec.vocabulary))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 0.2 * torch.randn_like(parameter)
    return model


def uniform(codec):
    """A model that finds every class of a field equally likely."""
    model = lively(codec)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.startswith("output."):
                parameter.zero_()
    return model.eval()


def each_nats(model, codec, performance, coarse):
    (window,) = note_windows([performance], codec, 10_000, coarse=coarse)
    with torch.no_grad():
        return events.event_nats(model, codec, [window])[0].tolist()


PHRASE = Performance(
    [(0.0, 0.01, 60, 5, 0), (0.03, 0.33, 64, 64, 0), (2.03, 3.0, 67, 127, 0)],
    [(0.03, SUSTAIN, 100, 0), (2.03, SUSTAIN, 0, 0)],
)


def test_coarse_nats_of_a_uniform_model_are_those_of_the_classes_of_a_cell():
    times, kinds, velocities, _ = FINE.sizes
    note = -math.log(1 / kinds) - math.log(2 / velocities)  # two of 64 bins are one of 32
    cells = [
        note - math.log(1 / times) - math.log(2 / times),  # shift 0 is one class, 10 ms are two
        -math.log(2 / times) - math.log(1 / kinds),
        note - math.log(1 / times) - math.log(2 / times),
        -math.log(2 / 16 / times) - math.log(1 / kinds),  # in classes of 16 steps
        # held for 97 steps: of 192 and 193 steps less one, both in a class of 8
        note - math.log(1 / times) - math.log(2 / 8 / times),
    ]
    assert each_nats(uniform(FINE), FINE, PHRASE, coarse=True) == pytest.approx(cells, rel=1e-5)


def test_nats_are_those_of_the_model_and_of_the_residuals():
    times, kinds, velocities, _ = FINE.sizes
    note = math.log(times) * 2 + math.log(kinds) + math.log(velocities)
    pedal = math.log(times) + math.log(kinds)
    expected = [note, pedal, note, pedal + math.log(16), note + math.log(8)]
    assert each_nats(uniform(FINE), FINE, PHRASE, coarse=False) == pytest.approx(expected, rel=1e-5)
    model = lively(FINE).eval()
    (window,) = note_windows([PHRASE], FINE, 100)
    tokens = torch.from_numpy(window.sample.tokens[None, :, :4])
    with torch.no_grad():
        said = model.nats(tokens)[0].numpy() + FINE.residual_nats(window.targets)
    assert each_nats(model, FINE, PHRASE, coarse=False) == pytest.approx(said.tolist(), rel=1e-5)


@pytest.mark.parametrize("seed", [1, 2])
def test_on_its_own_grid_a_codec_has_the_same_nats_coarse_and_not(seed):
    played = GRID.quantize(music(seed, 150))
    model = lively(GRID).eval()
    plain, coarse = (each_nats(model, GRID, played, coarse) for coarse in (False, True))
    assert plain == pytest.approx(coarse, rel=1e-5)
    assert len(plain) > 150


def test_less_information_costs_less():
    played, model = music(3, 120), lively(FINE).eval()
    windows = list(note_windows([played], FINE, 50))
    coarse = list(note_windows([played], FINE, 50, coarse=True))
    both = judging.likelihood(model, FINE, [*windows, *coarse])
    assert both.per_note_390 < both.per_note - 1


def test_windows_that_are_coarse_and_those_that_are_not_are_never_together(monkeypatch):
    groups, nats = [], judging._nats
    monkeypatch.setattr(judging, "_nats", lambda *a: groups.append(a[2]) or nats(*a))
    model, played = lively(FINE), [music(n, 60) for n in range(3)]
    plain, coarse = (list(note_windows(played, FINE, 17, coarse=c)) for c in (False, True))
    mixed = [window for pair in zip(plain, coarse, strict=False) for window in pair]
    total = judging.likelihood(model, FINE, mixed)
    assert all(len({window.coarse for window in group}) == 1 for group in groups)
    assert sum(map(len, groups)) == len(mixed)
    assert max(map(len, groups)) > 5
    apart = [
        judging.likelihood(model, FINE, [window for window in mixed if window.coarse == coarse])
        for coarse in (False, True)
    ]
    assert total.nats == pytest.approx(apart[0].nats, rel=1e-5)
    assert total.nats_390 == pytest.approx(apart[1].nats_390, rel=1e-5)
    assert (apart[0].nats_390, apart[0].per_note_390) == (0, None)
    assert (apart[1].nats, apart[1].tokens) == (0, 0)


@pytest.mark.parametrize("coarse", [False, True])
def test_batching_and_padding_change_nothing(coarse):
    model = lively(FINE, controls=("mean-velocity",), sources=("human",))
    labels = evaluating.windows_of  # as a checkpoint is judged
    played = [music(4, 100), music(5, 31)]
    windows = list(labels(played, FINE, 23, model.config, coarse=coarse))
    assert windows[0].controls.shape == (23, 11)
    together = judging.likelihood(model, FINE, windows)
    alone = sum((judging.likelihood(model, FINE, [w]) for w in windows), judging.Likelihood())
    assert together.nats == pytest.approx(alone.nats, rel=1e-5)
    assert together.nats_390 == pytest.approx(alone.nats_390, rel=1e-5)
    assert model.training


def test_every_row_note_and_second_counts_once():
    played = [music(6, 80), music(7, 50)]
    total = judging.likelihood(uniform(FINE), FINE, note_windows(played, FINE, 30))
    rows = [FINE.encode(one.trimmed()) for one in played]
    said = [FINE.quantize(one.trimmed()) for one in played]
    assert total.tokens == sum(map(len, rows))
    assert total.notes == sum(map(len, said))
    assert total.seconds == pytest.approx(sum(float(FINE.shifts(r).sum()) / 200 for r in rows))


# -- whole checkpoints -----------------------------------------------------------------------


@pytest.fixture
def saved(tmp_path):
    def save(model, codec):
        weights = {n: p.detach().numpy() for n, p in model.named_parameters()}
        path = tmp_path / "checkpoint"
        checkpoint.save(path, Checkpoint(weights, model.config, codec, {}))
        return path

    return save


def test_a_checkpoint_is_judged_at_the_information_of_390_events_too(saved, corpus, tmp_path):
    path = saved(uniform(FINE), FINE)
    verdict = evaluating.evaluate(path, corpus=corpus.path, split="test")
    assert verdict.length == SIZES["context"]
    total, asked = verdict.total, ("test", FINE, SIZES["context"])
    for piece, number in zip(sorted(verdict.pieces), corpus.split("test"), strict=True):
        notes = len(corpus.notes(number))
        assert (piece.likelihood.notes, piece.likelihood.notes_390) == (notes, notes)
    windows = list(note_windows((corpus.performance(i) for i in corpus.split("test")), *asked[1:],
                                coarse=True))  # fmt: skip
    again = judging.likelihood(uniform(FINE), FINE, windows)
    assert total.per_note_390 == pytest.approx(again.per_note_390, rel=1e-6)
    assert total.per_note_390 < total.per_note
    assert verdict.as_json()["per_note_390"] == total.per_note_390
    assert json.loads(json.dumps(verdict.as_json()))["pieces"][0]["per_note_390"] > 0

    (tmp_path / "midi").mkdir()
    for number in corpus.split("test"):
        write_midi(corpus.performance(number), tmp_path / "midi" / f"{number}.mid")
    folder = evaluating.evaluate(path, midi=tmp_path / "midi").total
    assert folder.notes_390 == total.notes_390
    assert folder.per_note_390 == pytest.approx(total.per_note_390, rel=1e-2)


def test_controls_are_told_as_measured_or_unset_in_both(saved, corpus):
    model = lively(FINE, controls=("notes-per-second",), composers=("Bach",))
    path, asked = saved(model, FINE), {"corpus": corpus.path, "split": "test"}
    told, unset = (evaluating.evaluate(path, **asked, unset=unset) for unset in (False, True))
    assert (told.told, unset.told) == (("notes-per-second",), ())
    assert abs(told.total.nats - unset.total.nats) > 1e-3
    assert abs(told.total.nats_390 - unset.total.nats_390) > 1e-3


def test_390_events_are_measured_by_themselves_and_other_tokens_cannot_be(saved, corpus):
    codec = CODECS["performance-rnn-pedal"]
    model = models.build(LSTM, len(codec.vocabulary))
    total = evaluating.evaluate(saved(model, codec), corpus=corpus.path).total
    assert total.per_note_390 == total.per_note > 0
    for other in (CODEC, CODECS["performance-rnn"], replace(codec, velocity_bins=64)):
        model = models.build(LSTM, len(other.vocabulary))
        windows = list(evaluating.windows_of([corpus.performance(0)], other, 200))
        found = judging.likelihood(model, other, windows)
        assert found.per_note > 0
        assert found.per_note_390 is None
        assert json.loads(json.dumps(found.as_json()))["per_note_390"] is None


def test_a_coarser_codec_is_not_compared(saved, corpus):
    codec = NoteEvents(steps_per_second=50)
    total = evaluating.evaluate(saved(uniform(codec), codec), corpus=corpus.path).total
    assert total.per_note > 0
    assert total.per_note_390 is None


def test_likelihoods_of_both_kinds_add_up():
    one = judging.Likelihood(10.0, 4, 2, 1.0, 1)
    two = judging.Likelihood(nats_390=6.0, notes_390=3)
    assert (one + two + two).per_note_390 == 2.0
    assert (one + two).per_note == 5.0
    assert np.isclose((one + two).per_token, 2.5)
