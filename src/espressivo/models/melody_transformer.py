"""A transformer that accompanies: an encoder of melodies and a decoder of performances.

Huang et al. 2018, section 4.2.2. The decoder is a Music Transformer that also attends, in every
layer, to what the encoder has made of the melody; only its attention to itself is relative.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from espressivo.configs import MelodyTransformerConfig, Pattern, pattern
from espressivo.models.layers import Layer, initialise, sinusoids
from espressivo.models.model import Model, State, refuse_controls

MELODY_TOKENS = 92
"""The size of the encoder's vocabulary: 88 keys, hold, off, padding and end."""

ATTENTION = 2.0
"""How sharply a model with a clock begins to hear the steps of a melody around the present one."""


@dataclass
class Melody:
    """What the decoder hears of a melody: keys and values of every layer, each [b, h, s, d]."""

    keys: list[Tensor]
    values: list[Tensor]
    present: Bool[Tensor, "b s"]

    def of(self, layer: int) -> tuple[Tensor, Tensor, Tensor]:
        """Give the keys and values of a layer, and which steps are present."""
        return self.keys[layer], self.values[layer], self.present

    def select(self, rows: Int[Tensor, " n"]) -> Melody:
        """Give independent copies of some batch entries."""
        keys, values = ([x[rows] for x in cache] for cache in (self.keys, self.values))
        return Melody(keys, values, self.present[rows])

    def detach(self) -> Melody:
        """Cut off the gradient history, keep the values."""
        keys, values = ([x.detach() for x in cache] for cache in (self.keys, self.values))
        return Melody(keys, values, self.present)


@dataclass
class MelodyState:
    """Keys and values of the decoder's layers, each [b, h, length, d], and the melody if any."""

    keys: list[Tensor]
    values: list[Tensor]
    melody: Melody | None = None
    length: int = 0

    def fork(self, count: int) -> MelodyState:
        """Give `count` independent copies of every batch entry."""
        rows = torch.arange(len(self.keys[0]), device=self.keys[0].device)
        return self.select(rows.repeat_interleave(count))

    def select(self, rows: Int[Tensor, " n"]) -> MelodyState:
        """Give independent copies of some batch entries."""
        keys, values = ([x[rows] for x in cache] for cache in (self.keys, self.values))
        melody = None if self.melody is None else self.melody.select(rows)
        return MelodyState(keys, values, melody, self.length)

    def detach(self) -> MelodyState:
        """Cut off the gradient history, keep the values."""
        keys, values = ([x.detach() for x in cache] for cache in (self.keys, self.values))
        melody = None if self.melody is None else self.melody.detach()
        return MelodyState(keys, values, melody, self.length)


def rates(count: int) -> Float[Tensor, " d"]:
    """Give the radians by which pairs of numbers turn in a unit of time."""
    return 10_000.0 ** (-torch.arange(count) / count)


def turned(x: Float[Tensor, "b h t d"], now: Float[Tensor, "b t"]) -> Float[Tensor, "b h t d"]:
    """Turn vectors by the time, so that their products depend on differences of time alone.

    The first half of a vector and the second are pairs (Su et al. 2021); the first turns by one
    radian in a unit of time, the last by almost 1/10000.
    """
    rate = rates(x.shape[-1] // 2).to(x.device)
    angle = (now[:, None, :, None] * rate).to(x.dtype)  # b 1 t half
    one, other = x.chunk(2, -1)
    cosine, sine = angle.cos(), angle.sin()
    return torch.cat([one * cosine - other * sine, one * sine + other * cosine], -1)


class MelodyHeads(nn.Module):
    """Heads of the decoder that hear the melody."""

    def __init__(self, config: MelodyTransformerConfig) -> None:
        """Project without biases, as tensor2tensor does; only a clock needs them."""
        super().__init__()
        self.heads, self.clock = config.heads, config.clock
        self.queries = nn.Linear(config.width, config.attention, bias=config.clock)
        self.memory = nn.Linear(config.width, 2 * config.attention, bias=config.clock)
        self.output = nn.Linear(config.attention, config.width, bias=False)

    @torch.no_grad()
    def listen_now(self, steps: int) -> None:
        """Begin by hearing nothing, but attentively: the steps around the present one.

        What turns at least once in so many steps begins at one angle in queries and keys.
        """
        nn.init.zeros_(self.output.weight)
        if self.clock:
            one = rates(self.queries.out_features // self.heads // 2)
            angle = torch.where(one * steps >= math.tau, ATTENTION, 0.0)
            bias = torch.cat([angle, torch.zeros_like(angle)]).repeat(self.heads)
            self.queries.bias.copy_(bias)
            self.memory.bias[: len(bias)] = bias

    def remember(self, read: Float[Tensor, "b s w"]) -> tuple[Tensor, Tensor]:
        """Give keys and values, [b, h, s, d], of what the encoder has read."""
        keys, values = (
            part.unflatten(-1, (self.heads, -1)).transpose(1, 2)
            for part in self.memory(read).chunk(2, -1)
        )
        if self.clock:
            steps = torch.arange(read.shape[1], device=read.device, dtype=torch.float32)
            keys = turned(keys, steps.expand(len(read), -1))
        return keys, values

    def forward(
        self,
        x: Float[Tensor, "b t w"],
        keys: Float[Tensor, "b h s d"],
        values: Float[Tensor, "b h s d"],
        present: Bool[Tensor, "b s"],
        now: Float[Tensor, "b t"] | None = None,
    ) -> Float[Tensor, "b t w"]:
        """Attend from every place of the decoder to all of the melody."""
        queries = self.queries(x).unflatten(-1, (self.heads, -1)).transpose(1, 2)
        if now is not None:
            queries = turned(queries, now)
        heard = F.scaled_dot_product_attention(
            queries, keys, values, attn_mask=present[:, None, None, :]
        )
        told: Tensor = self.output(heard.transpose(1, 2).flatten(2))
        return told


class AccompanyingLayer(Layer):
    """A layer that attends to itself, then to the melody, then feeds forward."""

    def __init__(self, config: MelodyTransformerConfig, causal: Pattern) -> None:
        """Build one layer."""
        super().__init__(config.decoder, causal)
        self.melody_norm = nn.LayerNorm(config.width)
        self.melody = MelodyHeads(config)

    def forward(
        self,
        x: Float[Tensor, "b t w"],
        past: tuple[Tensor, Tensor] | None,
        *beside: Tensor,
    ) -> tuple[Float[Tensor, "b t w"], Tensor, Tensor]:
        """Refine the stream; what stands beside it, if anything does, is the melody."""
        heard, keys, values = self.attention(self.attention_norm(x), past)
        x = x + self.dropout(heard)
        if beside:
            x = x + self.dropout(self.melody(self.melody_norm(x), *beside))
        hidden = self.dropout(self.activation(self.expand(self.forward_norm(x))))
        return x + self.dropout(self.contract(hidden)), keys, values


class EncoderLayer(nn.Module):
    """Attention in both directions and feed-forward."""

    def __init__(self, config: MelodyTransformerConfig) -> None:
        """Build one layer."""
        super().__init__()
        self.heads = config.heads
        self.attention_norm = nn.LayerNorm(config.width)
        self.inputs = nn.Linear(config.width, 3 * config.attention, bias=False)
        self.output = nn.Linear(config.attention, config.width, bias=False)
        self.forward_norm = nn.LayerNorm(config.width)
        self.expand = nn.Linear(config.width, config.feed_forward)
        self.contract = nn.Linear(config.feed_forward, config.width)
        self.dropout = nn.Dropout(config.dropout)

    def forward(
        self, x: Float[Tensor, "b s w"], present: Bool[Tensor, "b s"]
    ) -> Float[Tensor, "b s w"]:
        """Refine what has been read; nobody hears what is not present."""
        q, k, v = (
            part.unflatten(-1, (self.heads, -1)).transpose(1, 2)
            for part in self.inputs(self.attention_norm(x)).chunk(3, -1)
        )
        heard = F.scaled_dot_product_attention(q, k, v, attn_mask=present[:, None, None, :])
        x = x + self.dropout(self.output(heard.transpose(1, 2).flatten(2)))
        hidden = self.dropout(self.expand(self.forward_norm(x)).relu())
        refined: Tensor = x + self.dropout(self.contract(hidden))
        return refined


class Encoder(nn.Module):
    """Reads a melody in both directions, with sinusoids for its order."""

    def __init__(self, config: MelodyTransformerConfig) -> None:
        """Build the layers."""
        super().__init__()
        self.embedding = nn.Embedding(MELODY_TOKENS, config.width)
        self.layers = nn.ModuleList(EncoderLayer(config) for _ in range(config.layers))
        self.norm = nn.LayerNorm(config.width)
        self.dropout = nn.Dropout(config.dropout)

    def forward(
        self, source: Int[Tensor, "b s"], present: Bool[Tensor, "b s"]
    ) -> Float[Tensor, "b s w"]:
        """Give what has been understood at every step."""
        width = self.embedding.embedding_dim
        x = self.embedding(source.clamp(min=0)) * width**0.5
        places = torch.arange(source.shape[1], device=source.device)
        x = self.dropout(x + sinusoids(places, width).to(x.dtype))
        for layer in self.layers:
            x = layer(x, present)
        read: Tensor = self.norm(x)
        return read


class MelodyTransformer(Model):
    """Events in, logits of the next event out, for a melody read beforehand.

    The decoder's tensors are named as in `MusicTransformer`, and what is heard of the melody is
    silent at first: a decoder trained without melodies goes on as it was. Without a source the
    model is that decoder.
    """

    def __init__(self, config: MelodyTransformerConfig, vocabulary_size: int) -> None:
        """Initialise so that the first loss is near log(vocabulary)."""
        super().__init__()
        self.config: MelodyTransformerConfig = config
        self.vocabulary_size = vocabulary_size
        self.embedding = nn.Embedding(vocabulary_size, config.width)
        causal = pattern("causal")
        layers = [AccompanyingLayer(config, causal) for _ in range(config.layers)]
        self.layers = nn.ModuleList(layers)
        self.norm = nn.LayerNorm(config.width)
        self.output = nn.Linear(config.width, vocabulary_size)
        self.dropout = nn.Dropout(config.dropout)
        self.encoder = Encoder(config)
        initialise(self)
        for embedding in (self.embedding, self.encoder.embedding):
            nn.init.normal_(embedding.weight, std=config.width**-0.5)
        nn.init.normal_(self.output.weight, std=0.02)
        for layer in layers:
            layer.melody.listen_now(config.melody_steps)

    def start(self, batch: int, source: Int[Tensor, "b s"] | None = None) -> MelodyState:
        """Read the melody; every row of the source must hold a token."""
        config, like = self.config, self.output.weight
        width = config.attention // config.heads
        empty = [like.new_zeros(batch, config.heads, 0, width)] * config.layers
        return MelodyState(empty, empty, None if source is None else self._read(source))

    def _read(self, source: Int[Tensor, "b s"]) -> Melody:
        present = source >= 0
        if not bool(present.any(1).all()):
            raise ValueError("a row of the source holds no token; write at least its end")
        read = self.encoder(source, present)
        melody = Melody([], [], present)
        for layer in self.layers:
            assert isinstance(layer, AccompanyingLayer)
            keys, values = layer.melody.remember(read)
            melody.keys.append(keys)
            melody.values.append(values)
        return melody

    def forward(
        self,
        tokens: Int[Tensor, "b t"],
        state: State | None = None,
        controls: Float[Tensor, "b t c"] | None = None,
    ) -> tuple[Float[Tensor, "b t v"], State]:
        """Give the logits after every token, and the memory after the last.

        With `clock`, the one control is the number of steps of the melody that have passed.
        """
        memory = self.start(len(tokens)) if state is None else state
        if not isinstance(memory, MelodyState):
            raise TypeError(f"a melody transformer cannot continue from {type(memory).__name__}")
        now = self._now(memory, controls)
        x = self.dropout(self._embedded(tokens, memory.length))
        after = MelodyState([], [], memory.melody, memory.length + tokens.shape[1])
        for index, layer in enumerate(self.layers):
            past = memory.keys[index], memory.values[index]
            told = () if memory.melody is None else memory.melody.of(index)
            x, keys, values = layer(x, past, *told, *now)
            after.keys.append(keys)
            after.values.append(values)
        logits: Tensor = self.output(self.norm(x))
        return logits, after

    def _now(
        self, memory: MelodyState, controls: Float[Tensor, "b t c"] | None
    ) -> tuple[()] | tuple[Float[Tensor, "b t"]]:
        """Give the time at every token, if the melody is to be heard by it."""
        if not self.config.clock or memory.melody is None:
            refuse_controls(self, controls)
            return ()
        if controls is None:
            raise ValueError("this model follows a clock; give the steps of the melody that passed")
        return (controls[..., 0],)

    def _embedded(self, tokens: Int[Tensor, "b t"], before: int) -> Float[Tensor, "b t w"]:
        """Give what enters the first layer, for tokens that follow `before` others."""
        x: Tensor = self.embedding(tokens) * self.config.width**0.5
        if self.config.sinusoids == "none":
            return x
        places = torch.arange(before, before + tokens.shape[1], device=tokens.device)
        return x + sinusoids(places, self.config.width).to(x.dtype)
