"""Attention: every back end against the definition, and the definition by hand."""

import math

import pytest

torch = pytest.importorskip("torch")
F = torch.nn.functional

from torch.utils._python_dispatch import TorchDispatchMode  # noqa: E402

from espressivo.configs import TransformerConfig, pattern  # noqa: E402
from espressivo.models.attention import (  # noqa: E402
    BACKENDS,
    Alibi,
    Case,
    Position,
    Relative,
    Rotary,
    Waves,
    attend,
    chosen,
    reference,
    skew,
    unskew,
)
from espressivo.models.attention.learned import first_values, position  # noqa: E402

HEADS, WIDTH, VALUES = 2, 4, 2
PATTERNS = ["causal", "window:4", "blocks:4", "strided:3", "fixed:4:2", "window:2|strided:3"]
LENGTHS = [(13, 13, 0), (1, 13, 0), (5, 13, 0), (1, 1, 0), (13, 13, 6)]
"""Queries, keys, and the absolute position of the first key."""

CHOICES = {
    "none": {},
    "rotary": {},
    "alibi": {},
    "relative": {"reach": 20},
    "relative, short": {"reach": 5},
    "relative, clamped": {"reach": 5, "beyond": "clamp", "shared_heads": True},
    "relative with values": {"reach": 5, "value_table": True},
    "shaw": {"reach": 3},
    "shaw with values": {"reach": 3, "value_table": True, "shared_heads": True},
    "xl": {},
    "fourier": {"frequencies": 3, "reach": 8},
}
NAMES = [name for name in BACKENDS if name != "reference"]


def choice(name):
    """A configuration, and the parameters of its position, none at a first value."""
    config = TransformerConfig(
        width=6, attention=HEADS * WIDTH, values=HEADS * VALUES, heads=HEADS,
        position=name.split()[0].strip(","), **CHOICES[name],
    )  # fmt: skip
    draw = torch.Generator().manual_seed(5)
    first = first_values(config)
    learned = {n: torch.randn(x.shape, generator=draw).double() for n, x in first.items()}
    return config, {name: x.requires_grad_() for name, x in learned.items()}


def inputs(i, j):
    draw = torch.Generator().manual_seed(i + j)
    shapes = [(1, HEADS, i, WIDTH), (1, HEADS, j, WIDTH), (1, HEADS, j, VALUES)]
    return [torch.randn(s, generator=draw).double().requires_grad_() for s in shapes]


def computed(backend, tensors, heard, order, learned, first_key):
    """The output of a back end and the gradients of a sum of it, weighed at random."""
    out = BACKENDS[backend].run(*tensors, heard, order, first_key)
    above = torch.randn(out.shape, generator=torch.Generator().manual_seed(7)).double()
    leaves = [*tensors, *learned.values()]
    return out, torch.autograd.grad(out, leaves, above, allow_unused=True, retain_graph=True)


@pytest.mark.parametrize("lengths", LENGTHS, ids=str)
@pytest.mark.parametrize("name", CHOICES)
def test_every_back_end_computes_the_definition(name, lengths):
    i, j, first_key = lengths
    config, learned = choice(name)
    tensors, order, tried = inputs(i, j), position(config, learned, j), set()
    for heard in map(pattern, PATTERNS if j > 1 else ["causal"]):
        defined, slopes = computed("reference", tensors, heard, order, learned, first_key)
        for backend in NAMES:
            if BACKENDS[backend].supports(Case(*tensors, heard, order)) is None:
                out, gradients = computed(backend, tensors, heard, order, learned, first_key)
                torch.testing.assert_close(out, defined, rtol=0, atol=1e-9)
                for ours, slope in zip(gradients, slopes, strict=True):
                    slope = torch.zeros_like(ours) if slope is None else slope
                    torch.testing.assert_close(ours, slope, rtol=0, atol=1e-7)
                tried.add(backend)
    assert "skewed" in tried


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("none", "causal", ["sdpa", "skewed", "reference"]),
        ("fourier", "causal", ["rows", "sdpa", "skewed", "reference"]),
        ("alibi", "strided:3", ["sdpa", "skewed", "reference"]),
        ("relative", "causal", ["rows", "skewed", "reference"]),
        ("shaw", "causal", ["rows", "skewed", "reference"]),
        ("xl", "causal", ["rows", "skewed", "reference"]),
        ("shaw with values", "causal", ["skewed", "reference"]),
        ("relative", "blocks:4", ["blocked", "skewed", "reference"]),
        ("shaw with values", "window:4", ["blocked", "skewed", "reference"]),
        ("rotary", "blocks:4", ["blocked", "sdpa", "skewed", "reference"]),
        ("relative", "blocks:40", ["skewed", "reference"]),
        ("relative", "fixed:4:2", ["skewed", "reference"]),
    ],
)
def test_who_can_compute_what_on_a_processor(name, text, expected):
    config, learned = choice(name)
    case = Case(*inputs(13, 13), pattern(text), position(config, learned, 13))
    able = [backend for backend in BACKENDS if BACKENDS[backend].supports(case) is None]
    assert [one for one in able if one != "fused"] == expected
    assert chosen(case) == able[0]


def test_what_cannot_be_computed_as_asked_is_refused():
    for backend, order, text, reason in [
        ("rows", Rotary(), "causal", "rows cannot: Rotary is no table of distances"),
        ("rows", Relative(torch.ones(1, 3, WIDTH)), "window:3", r"Window.* is not plainly causal"),
        ("sdpa", Relative(torch.ones(1, 3, WIDTH)), "causal", "has a product per distance"),
        ("blocked", Position(), "causal", r"Causal\(\) hears further than two blocks"),
        ("blocked", Position(), "blocks:14", "13 queries are less than a block of 14"),
    ]:
        with pytest.raises(ValueError, match=reason):
            attend(*inputs(13, 13), pattern(text), order, backend=backend)


# -- the definition ------------------------------------------------------------------------------


@pytest.mark.parametrize("name", CHOICES)
@pytest.mark.parametrize("text", ["causal", "blocks:4", "window:2|strided:3"])
def test_a_query_feels_what_its_pattern_says(name, text):
    config, learned = choice(name)
    heard = pattern(text)
    q, k, v = inputs(5, 13)
    out = reference(q, k, v, heard, position(config, learned, 13), 3)
    for query in range(5):
        for felt in torch.autograd.grad(out[0, 0, query].square().sum(), (k, v), retain_graph=True):
            reached = felt[0, 0].abs().sum(-1) > 0
            expected = heard(3 + 8 + query, 3 + torch.arange(13))
            if felt.shape == k.shape and expected.sum() == 1:  # certain of the only one, as it is
                expected = torch.zeros_like(expected)
            assert reached.tolist() == expected.tolist()


@pytest.mark.parametrize("name", CHOICES)
@pytest.mark.parametrize("cuts", [[1] * 13, [5, 1, 7], [4, 4, 5]], ids=str)
def test_pieces_give_what_the_whole_gives(name, cuts):
    config, learned = choice(name)
    q, k, v = (x.detach() for x in inputs(13, 13))
    for text in PATTERNS if cuts[0] == 5 else ("causal", "blocks:4"):
        whole = attend(q, k, v, pattern(text), position(config, learned, 13))
        parts, end = [], 0
        for size in cuts:
            part, end = q[:, :, end : end + size], end + size
            order = position(config, learned, end)
            parts.append(attend(part, k[:, :, :end], v[:, :, :end], pattern(text), order))
        torch.testing.assert_close(torch.cat(parts, 2), whole, rtol=0, atol=1e-9)


@pytest.mark.parametrize("name", CHOICES)
def test_a_plain_past_sounds_the_same_at_any_time(name):
    config, learned = choice(name)
    q, k, v = inputs(9, 13)
    order = position(config, learned, 13)
    early, late = (reference(q, k, v, pattern("causal"), order, at) for at in (0, 1000))
    torch.testing.assert_close(late, early, rtol=0, atol=1e-9)


def test_it_is_torchs_own_attention_where_torch_has_it():
    q, k, v = inputs(13, 13)
    plain = F.scaled_dot_product_attention(q, k, v, is_causal=True)
    torch.testing.assert_close(reference(q, k, v), plain, rtol=0, atol=1e-9)
    order = Relative(torch.zeros(HEADS, 4, WIDTH).double())
    torch.testing.assert_close(reference(q, k, v, position=order), plain, rtol=0, atol=1e-9)
    mask = torch.ones(13, 13).tril() - torch.ones(13, 13).tril(-4) > 0
    near = F.scaled_dot_product_attention(q, k, v, mask)
    torch.testing.assert_close(reference(q, k, v, pattern("window:4")), near, rtol=0, atol=1e-9)


@pytest.mark.parametrize("backend", ["reference", "rows", "skewed"])
def test_three_by_three_by_hand(backend):
    # Keys of zero leave only the relative logits: weights 1, 2 and 4 at distances 0, 1 and 2.
    table = torch.tensor([[[math.log(4.0)], [math.log(2.0)], [0.0]]])
    ones, keys = torch.ones(1, 1, 3, 1), torch.zeros(1, 1, 3, 1)
    values = torch.tensor([7.0, 70, 700]).view(1, 1, 3, 1)

    def heard(order):
        return attend(ones, keys, values, pattern("causal"), order, 0, backend).flatten().tolist()

    expected = [7, (2 * 7 + 70) / 3, (4 * 7 + 2 * 70 + 700) / 7]
    assert heard(Relative(table)) == pytest.approx(expected, rel=1e-6)
    zero = [7, (2 * 7 + 70) / 3, (7 + 2 * 70 + 700) / 4]  # distance 2 has weight 1
    assert heard(Relative(table[:, 1:])) == pytest.approx(zero, rel=1e-6)
    clamped = [7, (2 * 7 + 70) / 3, (2 * 7 + 2 * 70 + 700) / 5]  # distance 2 has weight 2
    assert heard(Relative(table[:, 1:], "clamp")) == pytest.approx(clamped, rel=1e-6)


def test_values_by_hand():
    zeros = torch.zeros(1, 1, 3, 1)
    order = Relative(torch.zeros(1, 2, 1), "clamp", values=torch.tensor([[[6.0], [60.0]]]))
    heard = reference(zeros, zeros, zeros, position=order).flatten().tolist()
    assert heard == pytest.approx([60, (60 + 6) / 2, (60 + 6 + 6) / 3])


def test_the_penalty_of_the_eighth_head_of_eight_is_a_256th_a_step():
    zeros = torch.zeros(1, 8, 3, 2)
    bias = Alibi().bias(zeros, zeros, torch.tensor([[3, 2, 1]]))
    assert bias[7].flatten().tolist() == [-3 / 256, -2 / 256, -1 / 256]
    assert bias[0].flatten().tolist() == [-1.5, -1.0, -0.5]


def test_rotation_makes_products_depend_on_the_distance_alone():
    x, y = (torch.randn(1, 1, 1, 8, generator=torch.Generator().manual_seed(n)) for n in (1, 2))

    def product(i, j):
        one, other = (Rotary().rotate(z.double(), torch.tensor([at])) for z, at in ((x, i), (y, j)))
        return (one * other).sum().item()

    assert product(70, 40) == pytest.approx(product(30, 0), abs=1e-12)
    assert abs(product(70, 40) - product(70, 41)) > 1e-3
    turned = Rotary().rotate(torch.tensor([1.0, 0.0]).view(1, 1, 1, 2), torch.tensor([1]))
    assert turned.flatten().tolist() == pytest.approx([math.cos(1), math.sin(1)])


def test_waves_agree_with_their_table_far_away():
    draw = torch.Generator().manual_seed(3)
    q, k, v = (torch.randn(1, 2, 300, 4, generator=draw) for _ in range(3))
    weights = torch.randn(2, 6, 4, generator=draw)
    order = Waves(weights, torch.tensor([1.5, 0.3, 0.01]).double())
    exact = reference(*(x.double() for x in (q, k, v)), position=order.to(torch.float64))
    for backend, within in (("sdpa", 2e-5), ("skewed", 2e-5)):
        ours = attend(q, k, v, pattern("causal"), order, 0, backend)
        torch.testing.assert_close(ours.double(), exact, rtol=0, atol=within)


# -- skewing, precision, memory ------------------------------------------------------------------


def test_skewing_three_by_three():
    # Column c is distance 2 - c; what lies in the future is not looked at.
    by_distance = torch.tensor([[-1.0, -1, 1], [-1, 2, 3], [4, 5, 6]])
    assert skew(by_distance).tril().tolist() == [[1, 0, 0], [2, 3, 0], [4, 5, 6]]
    by_key = torch.tensor([[1.0, 0, 0], [2, 3, 0], [4, 5, 6]])
    assert unskew(by_key).tolist() == [[0, 0, 1], [0, 2, 3], [4, 5, 6]]


@pytest.mark.parametrize("name", CHOICES)
def test_sixteen_bits_lose_little(name):
    config, learned = choice(name)
    tensors = [x.detach() for x in inputs(13, 13)]
    halves = {n: x.detach().bfloat16() for n, x in learned.items()}
    for text in ("causal", "blocks:4"):
        exact = reference(*tensors, pattern(text), position(config, learned, 13))
        small = [x.bfloat16() for x in tensors]
        ours = attend(*small, pattern(text), position(config, halves, 13))
        assert ours.dtype == torch.bfloat16
        assert (ours.double() - exact).norm() < 0.02 * exact.norm()


class Largest(TorchDispatchMode):
    """How many numbers the largest tensor has that is made inside."""

    numbers = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        result = function(*args, **(kwargs or {}))
        for tensor in result if isinstance(result, tuple | list) else [result]:
            if isinstance(tensor, torch.Tensor):
                self.numbers = max(self.numbers, tensor.numel())
        return result


@pytest.mark.parametrize("text", ["blocks:16", "window:16"])
def test_memory_of_blocks_is_linear_in_length(text):
    order = Relative(torch.ones(HEADS, 40, WIDTH).double())
    sizes = []
    for length in (128, 256):
        tensors = inputs(length, length)
        with Largest() as largest:
            heard = attend(*tensors, pattern(text), order, 0, "blocked")
            torch.autograd.grad(heard.sum(), tensors)
        sizes.append(largest.numbers)
    assert sizes[1] <= 2 * sizes[0]
    assert sizes[1] < HEADS * 256 * 256 / 3
