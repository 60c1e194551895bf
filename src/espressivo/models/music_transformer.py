"""Music Transformer: a decoder with relative global attention (Huang et al. 2018).

Layer order, scaling and sinusoids follow tensor2tensor, in which the paper's models were trained:
normalisation before each sub-layer and once at the end, embeddings times sqrt(width), input and
output embeddings untied.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from espressivo.configs import TransformerConfig, pattern
from espressivo.models.attention import BACKENDS
from espressivo.models.layers import Layer, initialise, sinusoids
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


class MusicTransformer(Model):
    """Events in, logits of the next event out, up to any length memory allows."""

    def __init__(
        self, config: TransformerConfig, vocabulary_size: int, backend: str = "auto"
    ) -> None:
        """Initialise so that the first loss is near log(vocabulary)."""
        super().__init__()
        if backend not in ("auto", *BACKENDS):
            raise ValueError(f"backend={backend!r} is none of auto, {', '.join(BACKENDS)}")
        self.config: TransformerConfig = config
        self.vocabulary_size = vocabulary_size
        halves = 2 if config.sinusoids == "concatenated" else 1
        self.embedding = nn.Embedding(vocabulary_size, config.width // halves)
        patterns = [pattern(text) for text in config.patterns]
        layers = [
            Layer(config, patterns[index % len(patterns)], backend)
            for index in range(config.layers)
        ]
        self.layers = nn.ModuleList(layers)
        self.norm = nn.LayerNorm(config.width)
        self.output = nn.Linear(config.width, vocabulary_size)
        self.dropout = nn.Dropout(config.dropout)
        if config.controls:
            self.controls = nn.Linear(config.told, config.width, bias=False)
        initialise(self)
        if config.controls:  # told of anything, it begins as one that is told nothing
            nn.init.zeros_(self.controls.weight)
        nn.init.normal_(self.embedding.weight, std=config.width**-0.5)
        nn.init.normal_(self.output.weight, std=0.02)

    def start(self, batch: int, source: Int[Tensor, "b s"] | None = None) -> TransformerState:
        """Give the memory of having read nothing."""
        refuse_source(self, source)
        config = self.config
        like = self.output.weight
        keys, values = (
            [like.new_zeros(batch, config.heads, 0, width // config.heads)] * config.layers
            for width in (config.attention, config.value_width)
        )
        return TransformerState(keys, values)

    def forward(
        self,
        tokens: Int[Tensor, "b t"],
        state: State | None = None,
        controls: Float[Tensor, "b t c"] | None = None,
    ) -> tuple[Float[Tensor, "b t v"], State]:
        """Give the logits after every token, and the keys and values of all tokens so far."""
        if not self.config.controls:
            refuse_controls(self, controls)
        if state is not None and not isinstance(state, TransformerState):
            raise TypeError(f"a transformer cannot continue from {type(state).__name__}")
        before = 0 if state is None else state.length
        x = self._embedded(tokens, before)
        if controls is not None:
            x = x + self.controls(controls.to(x.dtype))
        x = self.dropout(x)
        after = TransformerState([], [], before + tokens.shape[1])
        for index, layer in enumerate(self.layers):
            past = None if state is None else (state.keys[index], state.values[index])
            x, keys, values = layer(x, past)
            after.keys.append(keys)
            after.values.append(values)
        logits: Tensor = self.output(self.norm(x))
        return logits, after

    def _embedded(self, tokens: Int[Tensor, "b t"], before: int) -> Float[Tensor, "b t w"]:
        """Give what enters the first layer, for tokens that follow `before` others."""
        x: Tensor = self.embedding(tokens) * self.config.width**0.5
        if self.config.sinusoids == "none":
            return x
        positions = torch.arange(before, before + tokens.shape[1], device=tokens.device)
        signal = sinusoids(positions, x.shape[-1]).to(x.dtype)
        if self.config.sinusoids == "added":
            return x + signal
        return torch.cat([x, signal.expand_as(x)], -1)
