"""Nats against a model whose answer is known: all events equally likely."""

import math

import numpy as np
import pytest

from espressivo.corpora import Window, evaluation_windows
from espressivo.errors import CorpusError
from tests.training.made import CODEC, LSTM, TRANSFORMER, write_corpus

judging = pytest.importorskip("espressivo.training.likelihood")
models = pytest.importorskip("espressivo.models")
torch = pytest.importorskip("torch")

SIZE = len(CODEC.vocabulary)


class Uniform(models.Model):
    """Finds every event equally likely, and remembers what it was shown."""

    def __init__(self):
        super().__init__()
        self.nothing = torch.nn.Parameter(torch.zeros(1))
        self.shown = []

    def forward(self, tokens, state=None, controls=None):
        assert not self.training
        self.shown.append(tokens)
        return torch.zeros(*tokens.shape, SIZE), state


def windows_of(corpus, length, split="validation"):
    performances = [corpus.performance(i) for i in corpus.split(split)]
    return performances, list(evaluation_windows(performances, CODEC, length))


@pytest.mark.parametrize("length", [7, 100, 100_000])
def test_every_token_of_every_piece_counts_once_tails_included(length, corpus):
    performances, windows = windows_of(corpus, length)
    result = judging.likelihood(Uniform(), CODEC, windows)
    tokens = [CODEC.encode(performance) for performance in performances]
    assert result.tokens == sum(map(len, tokens))
    assert result.windows == sum(-(-len(t) // length) for t in tokens)
    assert result.notes == sum(len(CODEC.quantize(p)) for p in performances)
    assert result.seconds == pytest.approx(sum(CODEC.quantize(p).duration for p in performances))
    assert result.per_token == pytest.approx(math.log(SIZE), rel=1e-6)
    assert result.nats == pytest.approx(result.tokens * math.log(SIZE), rel=1e-6)
    assert result.per_note == pytest.approx(result.nats / result.notes)
    assert result.per_second == pytest.approx(result.nats / result.seconds)


def test_each_window_begins_with_the_start_token_and_knows_nothing_before(corpus):
    _, windows = windows_of(corpus, 10)
    model = Uniform()
    judging.likelihood(model, CODEC, windows)
    for shown in model.shown:
        assert (shown[:, 0] == CODEC.start).all()
    assert sum(len(shown) for shown in model.shown) == len(windows)


@pytest.mark.parametrize("config", [LSTM, TRANSFORMER], ids=["lstm", "transformer"])
def test_batching_and_padding_change_nothing(config, corpus):
    torch.manual_seed(0)
    model = models.build(config, SIZE)
    _, windows = windows_of(corpus, 30)
    together = judging.likelihood(model, CODEC, windows)
    alone = [judging.likelihood(model, CODEC, [window]) for window in windows]
    assert together.nats == pytest.approx(sum(one.nats for one in alone), rel=1e-5)
    assert model.training


def test_memory_is_bounded_by_tokens_at_once(corpus, monkeypatch):
    monkeypatch.setitem(judging.TOKENS_AT_ONCE, "cpu", 50)
    model = Uniform()
    _, windows = windows_of(corpus, 20)
    judging.likelihood(model, CODEC, windows)
    assert max(shown.numel() for shown in model.shown) <= 50


def test_nothing_to_judge_is_an_error():
    with pytest.raises(CorpusError, match="no notes"):
        judging.likelihood(Uniform(), CODEC, [])


def test_windows_are_spread_over_pieces_and_within_them(corpus):
    pieces = corpus.split("validation")
    spread = judging.spread_windows(corpus, "validation", CODEC, 50, 9)
    assert {window.piece for window in spread} == set(pieces)
    for piece in pieces:
        whole = list(evaluation_windows([corpus.performance(piece)], CODEC, 50))
        chosen = [window for window in spread if window.piece == piece]
        places = [
            next(i for i, w in enumerate(whole) if np.array_equal(w.targets, window.targets))
            for window in chosen
        ]
        assert len(set(places)) == len(places) == 3
        assert places[0] < len(whole) / 3 < places[1] < 2 * len(whole) / 3 < places[2]


def test_chosen_windows_are_always_the_same_and_never_augmented(corpus):
    one = judging.spread_windows(corpus, "validation", CODEC, 40, 5)
    two = judging.spread_windows(corpus, "validation", CODEC, 40, 5)
    assert len(one) == 5
    for a, b in zip(one, two, strict=True):
        assert np.array_equal(a.targets, b.targets)
    tokens = {p: CODEC.encode(corpus.performance(p)) for p in corpus.split("validation")}
    for window in one:
        cut = [
            np.array_equal(window.targets, tokens[window.piece][at : at + len(window.targets)])
            for at in range(0, len(tokens[window.piece]), 40)
        ]
        assert any(cut)


def test_asking_for_more_windows_than_there_are_gives_each_once(tmp_path):
    corpus = write_corpus(tmp_path / "corpus", ["train", "validation"])
    _, windows = windows_of(corpus, 64)
    spread = judging.spread_windows(corpus, "validation", CODEC, 64, 500)
    assert len(spread) == len(windows)


def test_likelihoods_add_up():
    one = judging.Likelihood(10.0, 4, 2, 1.0, 1)
    two = judging.Likelihood(2.0, 2, 1, 0.5, 1)
    assert one + two == judging.Likelihood(12.0, 6, 3, 1.5, 2)
    assert (one + two).per_token == 2.0  # over all tokens, not the mean of 2.5 and 1
    assert (one + two).as_json()["per_note"] == 4.0


def test_a_window_of_one_token_is_judged():
    window = Window(np.array([CODEC.start]), np.array([3]), 0)
    assert judging.likelihood(Uniform(), CODEC, [window]).per_token == pytest.approx(math.log(SIZE))
