"""Rows of queries: what a table may be, what they may ask, and how little room they take."""

from importlib import import_module

import pytest

torch = pytest.importorskip("torch")

from torch.utils._python_dispatch import TorchDispatchMode  # noqa: E402

from espressivo.models.attention.rows import rows  # noqa: E402

LENGTHS = [(13, 13), (1, 13), (5, 13), (1, 1), (20, 29)]


def defined(q, k, v, table, p, beyond):
    """Every pair's vector, looked up."""
    i, j, reach = q.shape[2], k.shape[2], table.shape[1]
    distance = torch.arange(j - i, j)[:, None] - torch.arange(j)
    vectors = table.expand(q.shape[1], -1, -1)[:, (reach - 1 - distance).clamp(0, reach - 1)]
    relative = torch.einsum("b h i d, h i j d -> b h i j", q if p is None else p, vectors)
    if beyond == "zero":
        relative = relative.masked_fill(distance >= reach, 0.0)
    logits = (q @ k.mT + relative) * q.shape[-1] ** -0.5
    return logits.masked_fill(distance < 0, -torch.inf).softmax(-1) @ v


def drawn(*shapes):
    draw = torch.Generator().manual_seed(len(shapes))
    return [torch.randn(s, generator=draw, dtype=torch.float64).requires_grad_() for s in shapes]


@pytest.mark.parametrize("beyond", ["zero", "clamp"])
@pytest.mark.parametrize("tables", [1, 3], ids=["shared", "per head"])
@pytest.mark.parametrize("reach", [1, 4, 13, 100])
def test_tables_short_and_long_shared_and_not(beyond, tables, reach):
    for i, j in LENGTHS:
        tensors = drawn((2, 3, i, 4), (2, 3, j, 4), (2, 3, j, 6), (tables, reach, 4))
        (above,) = drawn((2, 3, i, 6))
        expected = defined(*tensors, None, beyond)
        gradients = torch.autograd.grad(expected, tensors, above)
        for block in (1, 7, 64):
            ours = rows(*tensors, block, beyond=beyond)
            torch.testing.assert_close(ours, expected, rtol=0, atol=1e-10)
            for mine, theirs in zip(
                torch.autograd.grad(ours, tensors, above), gradients, strict=True
            ):
                torch.testing.assert_close(mine, theirs, rtol=0, atol=1e-10)


def test_without_a_table_order_adds_nothing():
    for i, j in LENGTHS:
        q, k, v, above = drawn((2, 3, i, 4), (2, 3, j, 4), (2, 3, j, 6), (2, 3, i, 6))
        nothing = torch.zeros(1, 1, 4, dtype=torch.float64)
        expected = defined(q, k, v, nothing, None, "zero")
        ours = rows(q, k, v, None, 7)
        torch.testing.assert_close(ours, expected, rtol=0, atol=1e-10)
        for mine, theirs in zip(
            *(torch.autograd.grad(x, [q, k, v], above) for x in (ours, expected)), strict=True
        ):
            torch.testing.assert_close(mine, theirs, rtol=0, atol=1e-10)


@pytest.mark.parametrize("beyond", ["zero", "clamp"])
def test_distances_may_be_asked_otherwise_than_keys(beyond):
    q, k, v, table, p = drawn((2, 3, 9, 4), (2, 3, 20, 4), (2, 3, 20, 4), (3, 7, 4), (2, 3, 9, 4))
    ours = rows(q, k, v, table, 4, p=p, beyond=beyond)
    expected = defined(q, k, v, table, p, beyond)
    torch.testing.assert_close(ours, expected, rtol=0, atol=1e-10)
    tensors = [q, k, v, table, p]
    for mine, theirs in zip(
        *(torch.autograd.grad(x.square().sum(), tensors) for x in (ours, expected)), strict=True
    ):
        torch.testing.assert_close(mine, theirs, rtol=0, atol=1e-10)


def test_a_head_is_the_same_alone_and_among_many(monkeypatch):
    q, k, v, table = drawn((2, 5, 40, 4), (2, 5, 40, 4), (2, 5, 40, 4), (5, 30, 4))
    together = rows(q, k, v, table, 16)
    module = import_module("espressivo.models.attention.rows")
    monkeypatch.setitem(module.AT_ONCE, "cpu", 1)
    torch.testing.assert_close(rows(q, k, v, table, 16), together, rtol=0, atol=1e-12)


def test_what_a_buffer_held_before_is_not_seen(monkeypatch):
    tensors = drawn((1, 2, 20, 4), (1, 2, 33, 4), (1, 2, 33, 4), (2, 9, 4))
    (above,) = drawn((1, 2, 20, 4))
    expected = torch.autograd.grad(rows(*tensors, 8), tensors, above)
    new_empty = torch.Tensor.new_empty
    monkeypatch.setattr(
        torch.Tensor,
        "new_empty",
        lambda *shape, **kinds: new_empty(*shape, **kinds).fill_(torch.nan),
    )
    ours = torch.autograd.grad(rows(*tensors, 8), tensors, above)
    for mine, theirs in zip(ours, expected, strict=True):
        torch.testing.assert_close(mine, theirs, rtol=0, atol=1e-12)


def test_logits_far_apart_stay_exact():
    q, k, v, table = drawn((1, 1, 12, 4), (1, 1, 12, 4), (1, 1, 12, 4), (1, 12, 4))
    loud = rows(300 * q, k, v, 5 * table, 5)
    torch.testing.assert_close(loud, defined(300 * q, k, v, 5 * table, None, "zero"))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_sixteen_bits_come_back_as_they_went(dtype):
    tensors = [x.detach().to(dtype) for x in drawn((1, 2, 9, 4), (1, 2, 9, 4), (1, 2, 9, 4))]
    (table,) = (x.detach() for x in drawn((2, 9, 4)))
    out = rows(*tensors, table)
    assert out.dtype == dtype
    expected = defined(*(x.double() for x in (*tensors, table)), None, "zero")
    torch.testing.assert_close(out.double(), expected, rtol=0, atol=0.02)


class Made(TorchDispatchMode):
    """How many numbers the tensors have that are made inside and lie in memory of their own."""

    def __init__(self):
        super().__init__()
        self.seen, self.numbers = [], []

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        result = function(*args, **(kwargs or {}))
        if isinstance(result, torch.Tensor):
            place = result.untyped_storage()
            if place.data_ptr() not in {old.data_ptr() for old in self.seen}:
                self.seen.append(place)
                self.numbers.append(place.nbytes() // result.itemsize)
        return result


def test_logits_take_two_small_buffers():
    length, block = 128, 16
    tensors = drawn((1, 2, length, 4), (1, 2, length, 4), (1, 2, length, 4), (2, 64, 4))
    with Made() as made:
        torch.autograd.grad(rows(*tensors, block).sum(), tensors)
    large = [n for n in made.numbers if n > 2 * length * 4]  # all but q, k, v and their like
    assert len(large) == 3  # one forward, two backward
    assert max(large) <= 2 * block * (length + 1)
