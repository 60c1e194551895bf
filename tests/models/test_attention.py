"""Relative attention: every back end against the definition, and the definition by hand."""

import math

import pytest

torch = pytest.importorskip("torch")

from torch.utils._python_dispatch import TorchDispatchMode  # noqa: E402

from espressivo.models.attention import BACKENDS, reference, rows, skew, skewed  # noqa: E402

LENGTHS = [(13, 13), (1, 13), (5, 13), (1, 1), (300, 300), (300, 700)]


def inputs(i, j, reach, heads=2, width=4):
    draw = torch.Generator().manual_seed(i + j + reach)
    shapes = [(2, heads, i, width), (2, heads, j, width), (2, heads, j, width)]
    shapes.append((heads, reach, width))
    return [
        torch.randn(shape, generator=draw, dtype=torch.float64).requires_grad_() for shape in shapes
    ]


@pytest.mark.parametrize("backend", [name for name in BACKENDS if name != "reference"])
@pytest.mark.parametrize(("i", "j"), LENGTHS)
@pytest.mark.parametrize("reach", ["below", "exact", "above"])
def test_every_back_end_computes_the_definition(backend, i, j, reach):
    tensors = inputs(i, j, {"below": max(1, j // 3), "exact": j, "above": j + 5}[reach])
    above = torch.randn(2, 2, i, 4, generator=torch.Generator().manual_seed(7)).double()
    outputs, gradients = [], []
    for attend in (reference, BACKENDS[backend]):
        outputs.append(attend(*tensors))
        gradients.append(torch.autograd.grad(outputs[-1], tensors, above))
    torch.testing.assert_close(outputs[1], outputs[0], rtol=0, atol=1e-9)
    for ours, defined in zip(gradients[1], gradients[0], strict=True):
        torch.testing.assert_close(ours, defined, rtol=0, atol=1e-7)


@pytest.mark.parametrize("block", [1, 7, 64, 400])
def test_the_size_of_a_block_changes_nothing(block):
    tensors = inputs(60, 90, 40)
    torch.testing.assert_close(rows(*tensors, block), reference(*tensors), rtol=0, atol=1e-9)


def test_skewing_three_by_three():
    # Column c is distance 2 - c; what lies in the future is not looked at.
    by_distance = torch.tensor([[-1.0, -1, 1], [-1, 2, 3], [4, 5, 6]])
    assert skew(by_distance).tril().tolist() == [[1, 0, 0], [2, 3, 0], [4, 5, 6]]


@pytest.mark.parametrize("backend", BACKENDS)
def test_three_by_three_by_hand(backend):
    # Keys of zero leave only the relative logits: weights 1, 2 and 4 at distances 0, 1 and 2.
    table = torch.tensor([[[math.log(4.0)], [math.log(2.0)], [0.0]]])
    ones, keys = torch.ones(1, 1, 3, 1), torch.zeros(1, 1, 3, 1)
    values = torch.tensor([7.0, 70, 700]).view(1, 1, 3, 1)
    heard = BACKENDS[backend](ones, keys, values, table)
    expected = [7, (2 * 7 + 70) / 3, (4 * 7 + 2 * 70 + 700) / 7]
    assert heard.flatten().tolist() == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("backend", BACKENDS)
def test_without_a_table_it_is_plain_attention(backend):
    q, k, v, table = inputs(13, 13, 13)
    plain = torch.nn.functional.scaled_dot_product_attention(q, k, v, is_causal=True)
    ours = BACKENDS[backend](q, k, v, torch.zeros_like(table))
    torch.testing.assert_close(ours, plain, rtol=0, atol=1e-9)


@pytest.mark.parametrize("backend", BACKENDS)
def test_beyond_its_reach_a_distance_adds_nothing(backend):
    q, k, v, table = inputs(13, 13, 4)
    padded = torch.cat([table.new_zeros(2, 9, 4), table], 1)  # zeros for distances 4 to 12
    ours, explicit = (BACKENDS[backend](q, k, v, each) for each in (table, padded))
    torch.testing.assert_close(ours, explicit, rtol=0, atol=1e-9)


class Largest(TorchDispatchMode):
    """How many numbers the largest tensor has that is made inside."""

    numbers = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        result = function(*args, **(kwargs or {}))
        for tensor in result if isinstance(result, tuple | list) else [result]:
            if isinstance(tensor, torch.Tensor):
                self.numbers = max(self.numbers, tensor.numel())
        return result


def largest_and_kept(attend, length):
    """Numbers in the largest tensor made, and in all that is kept for the backward pass."""
    tensors, kept = inputs(length, length, 64, heads=1), []
    keep = torch.autograd.graph.saved_tensors_hooks(
        lambda tensor: kept.append(tensor.numel()) or tensor, lambda tensor: tensor
    )
    with Largest() as largest, keep:
        torch.autograd.grad(attend(*tensors).sum(), tensors)
    return largest.numbers, sum(kept)


def test_the_memory_of_rows_is_linear_in_length():
    short, long = largest_and_kept(rows, 256), largest_and_kept(rows, 512)
    assert long[0] <= 2 * short[0]
    assert long[1] <= 2 * short[1]
    assert long[1] < 30 * 512 * 2  # q, k, v, the output and one number per query
    quadratic = largest_and_kept(skewed, 512)
    assert quadratic[0] > 2 * long[0]
    assert quadratic[1] > 25 * long[1]
