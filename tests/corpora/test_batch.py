import numpy as np
import pytest

from espressivo.corpora import Batch, Sample


def sample(length, source):
    controls = np.arange(2 * (length - 1), dtype=np.float32).reshape(-1, 2) + 1
    return Sample(np.arange(length), controls, np.arange(source))


def test_windows_of_any_lengths_lie_side_by_side():
    batch = Batch.of([sample(4, 1), sample(2, 3)])
    assert batch.tokens.tolist() == [[0, 1, 2, 3], [0, 1, -1, -1]]
    assert batch.source.tolist() == [[0, -1, -1], [0, 1, 2]]
    assert batch.controls.tolist() == [[[1, 2], [3, 4], [5, 6]], [[1, 2], [0, 0], [0, 0]]]
    assert (len(batch), batch.counted) == (2, 4)
    assert batch.controls.dtype == np.float32


def test_tokens_alone_make_a_batch():
    batch = Batch.of([Sample(np.arange(3))])
    assert batch.controls is None
    assert batch.source is None


def test_parts_hold_the_rows_in_their_order():
    whole = Batch.of([sample(3 + i, 1 + i) for i in range(4)])
    parts = whole.split(2)
    for name in ("tokens", "controls", "source"):
        again = np.concatenate([getattr(part, name) for part in parts])
        np.testing.assert_array_equal(again, getattr(whole, name))
    with pytest.raises(ValueError, match="equal division"):
        whole.split(3)
