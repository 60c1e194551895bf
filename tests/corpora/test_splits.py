from collections import Counter

from hypothesis import given, settings
from hypothesis import strategies as st

from espressivo.corpora import SPLITS
from espressivo.corpora.splits import Trace, assign, duplicates, straddling

WORKS = st.sampled_from("abcdefghij")
TRACES = st.lists(
    st.builds(Trace, WORKS, st.text("xyz", min_size=2), WORKS, st.sampled_from(["", *SPLITS])),
    max_size=12,
)


def works(count, split=""):
    return [Trace(f"work {n}", f"content {n}", f"exact {n}", split) for n in range(count)]


@given(st.sets(st.text(max_size=3), max_size=8))
def test_few_works_fill_as_many_splits_as_they_can(names):
    found = Counter(assign([Trace(name, name, name, "") for name in sorted(names)]))
    assert set(found) == set(SPLITS[: len(names)])


@given(st.sets(st.text(max_size=3), max_size=8), st.sampled_from(SPLITS))
def test_what_a_table_leaves_open_fills_the_other_splits(names, split):
    traces = [Trace(f"-{name}", f"-{name}", name, "") for name in sorted(names)]
    found = Counter(assign([*works(2, split), *traces]))
    assert {"train", split} & set(found) == ({"train", split} if names else {split})
    assert len(found) == min(len(names) + 1, 3)


def test_many_works_are_kept_back_in_tenths():
    found = Counter(assign(works(5000)))
    assert 450 < found["validation"] < 550
    assert 450 < found["test"] < 550


def test_a_growing_corpus_keeps_its_splits():
    before, after = assign(works(300)), assign(works(600))
    assert after[:300] == before


def test_order_changes_nothing():
    traces = works(50)
    assert assign(traces[::-1]) == assign(traces)[::-1]


@settings(max_examples=40)
@given(TRACES)
def test_a_table_is_followed_and_the_rest_lies_with_its_work(traces):
    splits = assign(traces)
    for trace, split in zip(traces, splits, strict=True):
        assert trace.split in ("", split)
    free = [(t, s) for t, s in zip(traces, splits, strict=True) if not t.split]
    for key in (lambda t: t.composition, lambda t: t.content):
        assert not straddling([key(t) for t, _ in free], [s for _, s in free])
    for trace, split in free:
        beside = {t.split for t in traces if t.composition == trace.composition and t.split}
        assert len(beside) != 1 or split in beside or SPLITS.index(split) > SPLITS.index(*beside)


def test_the_same_content_lies_together_under_any_name():
    traces = [Trace(f"work {n}", "same", f"{n}", "") for n in range(40)]
    assert len(set(assign(traces))) == 1


def test_what_is_kept_back_draws_its_copies_along():
    test, copy = Trace("a", "c", "1", "test"), Trace("b", "c", "2", "")
    assert assign([*works(9), copy, test])[-2:] == ["test", "test"]


def test_of_exact_copies_the_one_kept_back_most_stays():
    traces = [Trace("a", "c", "e", s) for s in ("train", "test", "validation", "test")]
    assert duplicates(traces, assign(traces)) == {0: 1, 2: 1, 3: 1}
    assert duplicates(works(5), ["train"] * 5) == {}


def test_what_straddles_splits_is_named():
    assert straddling("abca", ["train", "train", "test", "test"]) == ["a"]
