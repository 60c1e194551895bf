"""A transformer whose positions are notes and pedal changes.

The decoder is that of Music Transformer (Huang et al. 2018) with learned Fourier features of the
distance and normalised queries and keys (Henry et al. 2020). What it puts out at an event
conditions a chain over the fields of the next one: shift, kind, velocity, duration, each
conditioned on those before it, as a small autoregressive decoder over compound tokens.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from espressivo.configs import NoteTransformerConfig
from espressivo.models.attention.position import spread, waves
from espressivo.models.model import Model, State, cross_entropy, refuse_source

NAMES = ("shift", "kind", "velocity", "duration")


@dataclass
class NoteTransformerState:
    """Keys and values of the events so far, layer by layer: [b, h, length, d]."""

    keys: list[Tensor]
    values: list[Tensor]
    length: int = 0

    def fork(self, count: int) -> NoteTransformerState:
        """Return `count` independent copies of every batch entry."""
        rows = torch.arange(len(self.keys[0]), device=self.keys[0].device)
        return self.select(rows.repeat_interleave(count))

    def select(self, rows: Int[Tensor, " n"]) -> NoteTransformerState:
        """Return independent copies of some batch entries."""
        return NoteTransformerState(
            [k[rows] for k in self.keys], [v[rows] for v in self.values], self.length
        )

    def detach(self) -> NoteTransformerState:
        """Cut off the gradient history, keep the values."""
        return NoteTransformerState(
            [k.detach() for k in self.keys], [v.detach() for v in self.values], self.length
        )


class NoteTransformer(Model):
    """Events in, a conditioning for the fields of the next event out.

    Tokens are Int[b, t, 4], the classes of the fields, -1 where an event has no use for one. The
    arithmetic is that of `dtype`, given by autocast; weights, their gradients and the losses stay
    in float32.
    """

    def __init__(self, config: NoteTransformerConfig, vocabulary_size: int) -> None:
        """Initialise so that at first every field is nearly uniform."""
        super().__init__()
        config.check_vocabulary(vocabulary_size)
        self.config: NoteTransformerConfig = config
        self.vocabulary_size = vocabulary_size
        width, sizes = config.width, dict(zip(NAMES, config.classes, strict=True))
        self.embedding = nn.ModuleDict(
            {name: nn.Embedding(size + 1, width, padding_idx=0) for name, size in sizes.items()}
        )
        if config.condition_dim:
            self.conditioning = Linear(config.condition_dim, width, bias=False)
        self.dropout = nn.Dropout(config.dropout)
        self.layers = nn.ModuleList(NoteLayer(config) for _ in range(config.layers))
        self.norm = Norm(width)
        self.head = nn.ModuleDict({name: Mlp(width, config.head_hidden) for name in NAMES})
        self.output_norm = nn.ModuleDict({name: Norm(width) for name in NAMES})
        self.output = nn.ModuleDict({name: Linear(width, n) for name, n in sizes.items()})
        self.embedding_of_field = nn.ModuleDict(
            {name: nn.Embedding(sizes[name], width) for name in NAMES[:-1]}
        )
        self._initialise()

    @torch.no_grad()
    def _initialise(self) -> None:
        for name, parameter in self.named_parameters():
            if name.startswith("embedding"):
                nn.init.normal_(parameter, std=0.5 * self.config.width**-0.5)
            elif name.startswith(("output.", "conditioning")) and parameter.ndim == 2:
                nn.init.normal_(parameter, std=0.02)
            elif "down_proj" in name or "out_proj" in name:
                nn.init.zeros_(parameter)
            elif parameter.ndim == 2:
                nn.init.normal_(parameter, std=parameter.shape[1] ** -0.5)
        for name in NAMES:
            self.get_parameter(f"embedding.{name}.weight")[0] = 0.0

    def start(self, batch: int, source: Int[Tensor, "b s"] | None = None) -> NoteTransformerState:
        """Return the memory of having read nothing."""
        refuse_source(self, source)
        config, like = self.config, self.norm.weight
        key_width = config.key_dim + 2 * config.frequencies
        keys = like.new_zeros(batch, config.heads, 0, key_width)
        values = like.new_zeros(batch, config.heads, 0, config.width // config.heads)
        return NoteTransformerState([keys] * config.layers, [values] * config.layers)

    def forward(
        self,
        tokens: Int[Tensor, "b t 4"],
        state: State | None = None,
        controls: Float[Tensor, "b t c"] | None = None,
    ) -> tuple[Float[Tensor, "b t w"], State]:
        """Return what the chain over the next event is conditioned on, and the memory.

        Row i of `controls` is what holds for the event after event i.
        """
        x = self._embedded(tokens, controls)
        length = tokens.shape[1]
        after = NoteTransformerState([], [], length)
        if state is not None:
            if not isinstance(state, NoteTransformerState):
                raise TypeError(f"a note transformer cannot continue from {type(state).__name__}")
            after.length += state.length
        dim = self.config.frequencies
        at = torch.arange(after.length, device=x.device)
        position = waves(at, spread(dim, 4.0 * self.config.context).to(x.device)).to(x.dtype)
        for index, layer in enumerate(self.layers):
            past = (state.keys[index], state.values[index]) if state is not None else None
            x, keys, values = layer(x, position, past)
            after.keys.append(keys)
            after.values.append(values)
        return self.norm(x), after

    def field_logits(
        self, hidden: Float[Tensor, "b t w"], events: Int[Tensor, "b t 4"]
    ) -> list[Float[Tensor, "b t n"]]:
        """Return the logits of every field of events, each conditioned on the fields before it."""
        logits = []
        for index, name in enumerate(NAMES):
            hidden = hidden + self.head[name](hidden)
            logits.append(self.output[name](self.output_norm[name](hidden)))
            if index < len(NAMES) - 1:
                given = self.embedding_of_field[name](events[..., index].clamp(min=0))
                hidden = hidden + given.to(hidden.dtype)
        return logits

    def nats(
        self,
        tokens: Int[Tensor, "b t1 4"],
        controls: Float[Tensor, "b t c"] | None = None,
        source: Int[Tensor, "b s"] | None = None,
    ) -> Float[Tensor, "b t"]:
        """Return the nats of every event but the first; 0 for events of -1."""
        refuse_source(self, source)
        hidden, _ = self.forward(tokens[:, :-1], None, controls)
        events = tokens[:, 1:]
        each = [
            cross_entropy(logits, events[..., index], "none")
            for index, logits in enumerate(self.field_logits(hidden, events))
        ]
        return torch.stack(each).sum(0).view(events.shape[:2])

    def _embedded(self, tokens: Tensor, controls: Tensor | None) -> Float[Tensor, "b t w"]:
        x: Any = sum(self.embedding[name](tokens[..., i] + 1) for i, name in enumerate(NAMES))
        if torch.is_autocast_enabled(x.device.type):
            x = x.to(torch.get_autocast_dtype(x.device.type))
        if controls is not None:
            if not self.config.condition_dim:
                raise TypeError("NoteTransformer was made without controls; give it none")
            x = x + self.conditioning(controls.to(x.dtype))
        dropped: Tensor = self.dropout(x)
        return dropped


class NoteLayer(nn.Module):
    """Attention and an MLP, each on normalised input, each added to the residual stream."""

    def __init__(self, config: NoteTransformerConfig) -> None:
        """Build one layer."""
        super().__init__()
        self.attention = NoteAttention(config)
        self.mlp = Mlp(config.width, config.feed_forward)
        self.dropout = nn.Dropout(config.dropout)

    def forward(
        self, x: Float[Tensor, "b t w"], position: Tensor, past: tuple[Tensor, Tensor] | None
    ) -> tuple[Float[Tensor, "b t w"], Tensor, Tensor]:
        """Refine the stream; return all keys and values too."""
        attended, keys, values = self.attention(x, position, past)
        x = x + self.dropout(attended)
        return x + self.dropout(self.mlp(x)), keys, values


class NoteAttention(nn.Module):
    """Causal attention over the index of events; positions are Fourier features of the distance."""

    def __init__(self, config: NoteTransformerConfig) -> None:
        """Project without biases."""
        super().__init__()
        self.heads, self.key_dim = config.heads, config.key_dim
        self.widths = [config.heads * config.key_dim] * 2 + [config.width]
        self.norm = Norm(config.width)
        self.qkv_proj = Linear(config.width, sum(self.widths), bias=False)
        self.out_proj = Linear(config.width, config.width, bias=False)
        self.gain = nn.Parameter(torch.ones(config.heads))
        count, size = config.frequencies, (config.key_dim * config.frequencies) ** -0.5
        self.fourier = nn.Parameter(size * torch.randn(config.heads, 2 * count, config.key_dim))

    def forward(
        self, x: Float[Tensor, "b t w"], position: Tensor, past: tuple[Tensor, Tensor] | None
    ) -> tuple[Float[Tensor, "b t w"], Tensor, Tensor]:
        """Attend to this event and those before it; return all keys and values too.

        The angle-sum identities turn the logit of a distance into a product of numbers of the
        query and of the key's own position, so queries and keys are extended by those.
        """
        q, k, v = (
            part.unflatten(-1, (self.heads, -1)).transpose(1, 2)
            for part in self.qkv_proj(self.norm(x)).split(self.widths, -1)
        )
        scale = self.gain * self.key_dim**-0.5
        q, k = _normalised(q) * scale.to(q.dtype)[:, None, None], _normalised(k)
        now = position[-q.shape[2] :]
        a, b = (q @ self.fourier.to(q.dtype).mT).chunk(2, -1)
        cos, sin = now.chunk(2, -1)
        q = torch.cat([q, a * cos + b * sin, a * sin - b * cos], -1)
        k = torch.cat([k, now.expand(*k.shape[:2], -1, -1)], -1)
        if past is not None:
            k, v = torch.cat([past[0].to(k.dtype), k], 2), torch.cat([past[1].to(v.dtype), v], 2)
        attended = _attend(q, k, v)
        out: Tensor = self.out_proj(attended.transpose(1, 2).flatten(2))
        return out, k, v


class Mlp(nn.Module):
    """Norm, up, ReLU, down."""

    def __init__(self, width: int, hidden: int) -> None:
        """Build it with biases."""
        super().__init__()
        self.norm = Norm(width)
        self.up_proj = Linear(width, hidden)
        self.down_proj = Linear(hidden, width)

    def forward(self, x: Float[Tensor, "b t w"]) -> Float[Tensor, "b t w"]:
        """Return what is added to the residual stream."""
        out: Tensor = self.down_proj(F.relu(self.up_proj(self.norm(x))))
        return out


class Linear(nn.Linear):
    """A linear map in the arithmetic of its input, whatever its weights are kept in."""

    def forward(self, input: Tensor) -> Tensor:
        """Map the last dimension."""
        bias = None if self.bias is None else self.bias.to(input.dtype)
        return F.linear(input, self.weight.to(input.dtype), bias)


class Norm(nn.Module):
    """Layer normalisation with a gain and no bias."""

    def __init__(self, width: int) -> None:
        """Begin with a gain of one."""
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))

    def forward(self, x: Tensor) -> Tensor:
        """Normalise the last dimension."""
        return F.layer_norm(x, self.weight.shape, self.weight.to(x.dtype), None, 1e-5)


def _normalised(x: Float[Tensor, "b h t d"]) -> Float[Tensor, "b h t d"]:
    """Scale vectors to the length sqrt(d)."""
    return x * torch.rsqrt(x.square().mean(-1, keepdim=True) + 1e-6)


def _attend(q: Tensor, k: Tensor, v: Tensor) -> Float[Tensor, "b h t d"]:
    """Attend causally, the newest queries to all keys."""
    i, j = q.shape[2], k.shape[2]
    if q.is_cuda and i == j:
        # the fused kernels want one width for all three; numbers of zero change nothing
        wide = max(k.shape[-1], v.shape[-1])
        q, k, padded = (F.pad(x, (0, wide - x.shape[-1])) for x in (q, k, v))
        attended = F.scaled_dot_product_attention(q, k, padded, is_causal=True, scale=1.0)
        return attended[..., : v.shape[-1]]
    mask = torch.full((i, j), float("-inf"), dtype=q.dtype, device=q.device).triu(j - i + 1)
    flat = [x.flatten(0, 1) for x in (q, k, v)]
    out: Tensor = _Attention.apply(*flat, mask)  # type: ignore[no-untyped-call]  # torch
    return out.view(*q.shape[:3], -1)


class _Attention(torch.autograd.Function):
    """Softmax attention in as few passes over the logits as eager kernels allow.

    On a processor reading and writing the logits is what attention costs; scale and mask are part
    of the product here, and only the probabilities are kept.
    """

    @staticmethod
    def forward(ctx: Any, q: Tensor, k: Tensor, v: Tensor, mask: Tensor) -> Tensor:
        logits = torch.baddbmm(mask.expand(len(q), -1, -1), q, k.mT)
        probabilities = torch.softmax(logits, -1)
        ctx.save_for_backward(q, k, v, probabilities)
        return probabilities @ v

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        q, k, v, p = ctx.saved_tensors
        inner = torch._softmax_backward_data(grad @ v.mT, p, -1, p.dtype)
        return inner @ k, inner.mT @ q, p.mT @ grad, None
