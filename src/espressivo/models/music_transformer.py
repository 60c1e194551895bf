"""Music Transformer: a decoder with relative global attention (Huang et al. 2018).

Layer order, scaling and sinusoids follow tensor2tensor, in which the paper's models were trained:
normalisation before each sub-layer and once at the end, embeddings times sqrt(width), input and
output embeddings untied.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from espressivo.configs import TransformerConfig
from espressivo.models.attention import BACKENDS, Attend
from espressivo.models.model import Model, State, refuse_controls, refuse_source


@dataclass
class TransformerState:
    """Keys and values of every layer, each [b, h, length, d]."""

    keys: list[Tensor]
    values: list[Tensor]
    length: int = 0

    def fork(self, count: int) -> TransformerState:
        """Give `count` independent copies of every batch entry."""
        rows = torch.arange(len(self.keys[0]), device=self.keys[0].device)
        return self.select(rows.repeat_interleave(count))

    def select(self, rows: Int[Tensor, " n"]) -> TransformerState:
        """Give independent copies of some batch entries."""
        keys, values = ([x[rows] for x in cache] for cache in (self.keys, self.values))
        return TransformerState(keys, values, self.length)

    def detach(self) -> TransformerState:
        """Cut off the gradient history, keep the values."""
        keys, values = ([x.detach() for x in cache] for cache in (self.keys, self.values))
        return TransformerState(keys, values, self.length)


def _refuse_what_is_not_there(config: TransformerConfig) -> None:
    """Refuse choices that a configuration can name and this model cannot make yet."""
    made = {"position": "relative", "beyond": "zero", "shared_heads": False, "value_table": False}
    made |= {"patterns": ("causal",), "activation": "relu", "qk_norm": False, "controls": ()}
    made |= {"values": None, "sinusoids": config.sinusoids.replace("concatenated", "added")}
    for name, value in made.items():
        if getattr(config, name) != value:
            raise ValueError(f"{name}={getattr(config, name)!r} cannot be built; try {value!r}")


def sinusoids(positions: Int[Tensor, " t"], width: int) -> Float[Tensor, "t w"]:
    """Give tensor2tensor's timing signal: all sines, then all cosines, periods 2 pi to 20000 pi."""
    count = width // 2
    step = math.log(10_000) / max(count - 1, 1)
    rate = torch.exp(-step * torch.arange(count, device=positions.device))
    angle = positions[:, None] * rate
    return torch.cat([angle.sin(), angle.cos()], -1)


class RelativeAttention(nn.Module):
    """Heads that see the past, each with a learned vector per distance."""

    def __init__(self, config: TransformerConfig, attend: Attend) -> None:
        """Project width to `attention` and back without biases, as tensor2tensor does."""
        super().__init__()
        self.heads, self.attend = config.heads, attend
        self.inputs = nn.Linear(config.width, 3 * config.attention, bias=False)
        self.output = nn.Linear(config.attention, config.width, bias=False)
        head_width = config.attention // config.heads
        table = torch.randn(config.heads, config.reach, head_width) * head_width**-0.5
        self.distances = nn.Parameter(table)

    def forward(
        self,
        x: Float[Tensor, "b t w"],
        past: tuple[Tensor, Tensor] | None,
    ) -> tuple[Float[Tensor, "b t w"], Tensor, Tensor]:
        """Attend from every position to itself and the past; give back all keys and values."""
        b, t, _ = x.shape
        q, k, v = self.inputs(x).view(b, t, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        if past is not None:
            k, v = torch.cat([past[0], k], 2), torch.cat([past[1], v], 2)
        heard = self.attend(q, k, v, self.distances)  # b h t d
        return self.output(heard.transpose(1, 2).reshape(b, t, -1)), k, v


class Layer(nn.Module):
    """Attention and feed-forward, each on normalised input, each added to the stream."""

    def __init__(self, config: TransformerConfig, attend: Attend) -> None:
        """Build one layer."""
        super().__init__()
        self.attention_norm = nn.LayerNorm(config.width)
        self.attention = RelativeAttention(config, attend)
        self.forward_norm = nn.LayerNorm(config.width)
        self.expand = nn.Linear(config.width, config.feed_forward)
        self.contract = nn.Linear(config.feed_forward, config.width)
        self.dropout = nn.Dropout(config.dropout)

    def forward(
        self, x: Float[Tensor, "b t w"], past: tuple[Tensor, Tensor] | None
    ) -> tuple[Float[Tensor, "b t w"], Tensor, Tensor]:
        """Refine the stream."""
        heard, keys, values = self.attention(self.attention_norm(x), past)
        x = x + self.dropout(heard)
        hidden = self.dropout(self.expand(self.forward_norm(x)).relu())
        return x + self.dropout(self.contract(hidden)), keys, values


class MusicTransformer(Model):
    """Events in, logits of the next event out, up to any length memory allows."""

    def __init__(
        self, config: TransformerConfig, vocabulary_size: int, backend: str = "rows"
    ) -> None:
        """Initialise so that the first loss is near log(vocabulary)."""
        super().__init__()
        _refuse_what_is_not_there(config)
        if backend not in BACKENDS:
            raise ValueError(f"backend={backend!r} is none of {', '.join(BACKENDS)}")
        self.config: TransformerConfig = config
        self.vocabulary_size = vocabulary_size
        self.embedding = nn.Embedding(vocabulary_size, config.width)
        layers = [Layer(config, BACKENDS[backend]) for _ in range(config.layers)]
        self.layers = nn.ModuleList(layers)
        self.norm = nn.LayerNorm(config.width)
        self.output = nn.Linear(config.width, vocabulary_size)
        self.dropout = nn.Dropout(config.dropout)
        self._initialise()

    def _initialise(self) -> None:
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.xavier_uniform_(module.weight)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
        nn.init.normal_(self.embedding.weight, std=self.config.width**-0.5)
        nn.init.normal_(self.output.weight, std=0.02)

    def start(self, batch: int, source: Int[Tensor, "b s"] | None = None) -> TransformerState:
        """Give the memory of having read nothing."""
        refuse_source(self, source)
        config = self.config
        like = self.output.weight
        shape = (batch, config.heads, 0, config.attention // config.heads)
        empty = [like.new_zeros(shape) for _ in range(config.layers)]
        return TransformerState(empty, list(empty))

    def forward(
        self,
        tokens: Int[Tensor, "b t"],
        state: State | None = None,
        controls: Float[Tensor, "b t c"] | None = None,
    ) -> tuple[Float[Tensor, "b t v"], State]:
        """Give the logits after every token, and the keys and values of all tokens so far."""
        refuse_controls(self, controls)
        if state is not None and not isinstance(state, TransformerState):
            raise TypeError(f"a transformer cannot continue from {type(state).__name__}")
        before = 0 if state is None else state.length
        x = self.embedding(tokens) * self.config.width**0.5
        if self.config.sinusoids == "added":
            positions = torch.arange(before, before + tokens.shape[1], device=tokens.device)
            x = x + sinusoids(positions, self.config.width).to(x.dtype)
        x = self.dropout(x)
        after = TransformerState([], [], before + tokens.shape[1])
        for index, layer in enumerate(self.layers):
            past = None if state is None else (state.keys[index], state.values[index])
            x, keys, values = layer(x, past)
            after.keys.append(keys)
            after.values.append(values)
        logits: Tensor = self.output(self.norm(x))
        return logits, after
