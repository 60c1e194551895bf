"""Fused attention against its definition in float64, and its place among torch's operators.

On a machine with CUDA the kernels are compiled. `make test-kernels` interprets them on the CPU,
where tiles are 16 wide: a length of 40 is three tiles, the last one ragged. (The interpreter
cannot multiply bfloat16; float16 takes the same path.)
"""

import os

import pytest

torch = pytest.importorskip("torch")

INTERPRETED = os.environ.get("TRITON_INTERPRET") == "1"
if not INTERPRETED and not torch.cuda.is_available():
    pytest.skip("kernels are compiled on cuda, or interpreted by make test-kernels", True)

from torch.utils._python_dispatch import TorchDispatchMode  # noqa: E402

from espressivo.models.attention.fused import attend, fused, layout  # noqa: E402

DEVICE = "cpu" if INTERPRETED else "cuda"
B = layout("forward", torch.float32, 16)["B"]

CASES = {
    "a table longer than the sequence": ((40, 40, 50), {}),
    "one shorter": ((40, 40, 18), {}),
    "one of a whole tile": ((32, 32, 16), {}),
    "a single note": ((1, 1, 1), {}),
    "one query": ((1, 37, 40), {}),
    "memory before the queries": ((21, 50, 20), {}),
    "memory of whole tiles": ((20, 36, 12), {}),
    "clamped": ((35, 60, 18), {"beyond": "clamp"}),
    "masked": ((40, 40, 18), {"beyond": "mask"}),
    "a window, clamped, with its own queries": (
        (40, 40, 20),
        {"window": 23, "beyond": "clamp", "own": True, "width": 24},
    ),
    "local blocks": ((40, 40, 50), {"blocks": 13}),
    "local blocks that began earlier": ((30, 45, 20), {"blocks": 11, "first_key": 5}),
    "tables per head, clamped, with their own queries": (
        (20, 26, 12),
        {"batch": 2, "heads": 2, "tables": 2, "own": True, "beyond": "clamp"},
    ),
    "a table for all heads": ((20, 20, 12), {"batch": 2, "heads": 2}),
}


def define(q, k, v, table, p=None, beyond="zero", window=None, blocks=None, first_key=0):
    """Attend as the docstring of `fused` says, pair by pair."""
    (i, width), j, reach = q.shape[2:], k.shape[2], table.shape[1]
    key = torch.arange(j, device=q.device) + first_key
    query = key[j - i :, None]
    distance = query - key
    vectors = table[:, (reach - 1 - distance).clamp(0, reach - 1)].expand(q.shape[1], -1, -1, -1)
    relative = torch.einsum("bhid,hijd->bhij", q if p is None else p, vectors)
    if beyond == "zero":
        relative = relative.masked_fill(distance >= reach, 0)
    heard = distance >= 0
    if beyond == "mask":
        heard = heard & (distance < reach)
    if window:
        heard = heard & (distance < window)
    if blocks:
        heard = heard & (query // blocks - key // blocks <= 1)
    logits = (q @ k.mT + relative) * width**-0.5
    return logits.masked_fill(~heard, -torch.inf).softmax(-1) @ v


def inputs(i, j, reach, batch=1, heads=1, tables=1, width=16, own=False, dtype=torch.float32):
    draw = torch.Generator().manual_seed(i + j + reach)
    shapes = [(batch, heads, length, width) for length in (i, j, j)]
    shapes += [(tables, reach, width), *([(batch, heads, i, width)] * own)]
    tensors = [torch.randn(shape, generator=draw, dtype=torch.float64) for shape in shapes]
    above = torch.randn(shapes[0], generator=draw, dtype=torch.float64)
    return [x.to(DEVICE, dtype) for x in tensors], above.to(DEVICE, dtype)


def outcome(attention, tensors, above, dtype, **how):
    """What is heard, and the gradients of all inputs."""
    tensors = [x.to(dtype).requires_grad_() for x in tensors]
    heard = attention(*tensors[:4], **how | dict(zip(["p"], tensors[4:], strict=False)))
    return [heard, *torch.autograd.grad(heard, tensors, above.to(dtype))]


def errors(lengths, dtype=torch.float32, turn=None, **case):
    """The error of every result as a share of what float64 gives, or of 1."""
    made = {
        name: case.pop(name)
        for name in ("batch", "heads", "tables", "width", "own")
        if name in case
    }
    tensors, above = inputs(*lengths, **made, dtype=dtype)
    defined = outcome(define, tensors, above, torch.float64, **case)
    ours = outcome(fused, tensors, above, dtype, turn=turn, **case)
    pairs = zip(ours, defined, strict=True)
    return [
        float((a.double() - b).detach().norm() / b.detach().norm().clamp(min=1)) for a, b in pairs
    ]


class Made(TorchDispatchMode):
    """Counts the numbers in all tensors that are made inside."""

    numbers = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        result = function(*args, **(kwargs or {}))
        for tensor in result if isinstance(result, tuple | list) else [result]:
            self.numbers += tensor.numel() if isinstance(tensor, torch.Tensor) else 0
        return result


@pytest.fixture
def ordered():
    torch.use_deterministic_algorithms(True)
    yield
    torch.use_deterministic_algorithms(False)


@pytest.mark.parametrize("name", CASES)
def test_fused_attention_and_its_gradients_are_those_of_the_definition(name):
    lengths, case = CASES[name]
    assert max(errors(lengths, **case)) < 2e-6


@pytest.mark.parametrize(
    ("lengths", "case"),
    [((35, 60, 18), {"beyond": "clamp", "own": True}), ((35, 40, 50), {"window": 20})],
)
@pytest.mark.usefixtures("ordered")
def test_so_are_they_where_sums_have_an_order(lengths, case):
    assert max(errors(lengths, **case)) < 2e-6


@pytest.mark.usefixtures("ordered")
def test_an_ordered_sum_is_the_same_every_time():
    tensors, above = inputs(40, 40, 30, batch=2)
    one, other = (outcome(fused, tensors, above, torch.float32)[4] for _ in range(2))
    assert torch.equal(one, other)


@pytest.mark.parametrize("turn", ["float16", "float32"])
def test_sixteen_bits_lose_no_more_than_they_must(turn):
    assert max(errors((35, 40, 20), torch.float16, turn=turn)) < 1e-3


def test_keys_that_are_not_heard_do_not_matter():
    (q, k, v, table), _ = inputs(40, 40, 50)
    before = fused(q, k, v, table, window=9)
    k[:, :, :20] += 1e3
    v[:, :, :20] -= 1e3
    assert torch.equal(fused(q, k, v, table, window=9)[:, :, 28:], before[:, :, 28:])


def test_what_is_made_and_kept_grows_with_length_alone():
    made = {}
    for length in (4 * B, 8 * B):
        tensors, above = inputs(length, length, 5)
        with Made() as mode:
            outcome(fused, tensors, above, torch.float32)
        made[length] = mode.numbers
    assert made[8 * B] <= 2 * made[4 * B]


def test_torch_takes_it_as_its_own():
    (q, k, v, table), _ = inputs(18, 20, 12, heads=2, tables=2)
    tensors = [x.requires_grad_() for x in (q, q.detach().clone(), k, v, table)]
    torch.library.opcheck(attend, (*tensors, [1 << 29, 1 << 29, 0], True, "float32", True))


@pytest.mark.parametrize(
    ("shapes", "message"),
    [
        ([(1, 1, 4, 160)] * 3 + [(1, 4, 160)], "160 is more than 128"),
        ([(1, 1, 4, 16), (1, 1, 3, 16), (1, 1, 3, 16), (1, 4, 16)], "4 queries are more than 3"),
        ([(1, 3, 4, 16)] * 3 + [(2, 4, 16)], "2 tables are neither one nor one for each of 3"),
        ([(1, 1, 4, 16), (1, 1, 4, 16), (1, 1, 4, 8), (1, 4, 16)], "values are 8 wide"),
    ],
)
def test_what_it_cannot_do_it_refuses(shapes, message):
    with pytest.raises(ValueError, match=message):
        fused(*(torch.zeros(shape, device=DEVICE) for shape in shapes))
