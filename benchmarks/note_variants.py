"""Variants of the note-level model that `note_ablations.py` tries beside it."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from espressivo.configs import NoteTransformerConfig
from espressivo.models.note_transformer import (
    NAMES,
    Linear,
    Norm,
    NoteTransformer,
    _attend,
    _normalised,
)


class NoChain(NoteTransformer):
    """Fields conditioned on those before them by the sum of embeddings alone."""

    def field_logits(self, hidden: Tensor, events: Tensor) -> list[Tensor]:
        logits = []
        for index, name in enumerate(NAMES):
            logits.append(self.output[name](self.output_norm[name](hidden)))
            if index < len(NAMES) - 1:
                given = self.embedding_of_field[name](events[..., index].clamp(min=0))
                hidden = hidden + given.to(hidden.dtype)
        return logits


class GruHead(NoteTransformer):
    """A gated recurrent unit over the fields in place of the chain of MLPs."""

    def __init__(self, config: NoteTransformerConfig, size: int) -> None:
        super().__init__(config, size)
        self.gru = nn.GRUCell(config.width, config.width)
        self.head = nn.ModuleDict()

    def field_logits(self, hidden: Tensor, events: Tensor) -> list[Tensor]:
        state, given, logits = hidden.flatten(0, 1), torch.zeros_like(hidden).flatten(0, 1), []
        for index, name in enumerate(NAMES):
            state = self.gru(given, state)
            out = self.output_norm[name](state.to(hidden.dtype))
            logits.append(self.output[name](out).view(*hidden.shape[:2], -1))
            if index < len(NAMES) - 1:
                given = self.embedding_of_field[name](events[..., index].clamp(min=0))
                given = given.flatten(0, 1).to(hidden.dtype)
        return logits


class TransformerHead(NoteTransformer):
    """A small transformer of one layer over the fields in place of the chain of MLPs."""

    def __init__(self, config: NoteTransformerConfig, size: int) -> None:
        super().__init__(config, size)
        width = config.width
        self.head = nn.ModuleDict()
        self.head_norm, self.head_qkv = Norm(width), Linear(width, 3 * width, bias=False)
        self.head_out = Linear(width, width, bias=False)
        self.head_mlp_norm = Norm(width)
        self.head_up, self.head_down = Linear(width, 2 * width), Linear(2 * width, width)
        self.embedding_of_place = nn.Embedding(len(NAMES), width)

    def field_logits(self, hidden: Tensor, events: Tensor) -> list[Tensor]:
        given = [
            self.embedding_of_field[name](events[..., i].clamp(min=0)).to(hidden.dtype)
            for i, name in enumerate(NAMES[:-1])
        ]
        x = torch.stack([hidden, *(hidden + g for g in given)], 2).flatten(0, 1)  # bt 4 w
        x = x + self.embedding_of_place.weight.to(x.dtype)
        q, k, v = (
            p.unflatten(-1, (4, -1)).transpose(1, 2)
            for p in self.head_qkv(self.head_norm(x)).chunk(3, -1)
        )
        scores = (q @ k.mT) * q.shape[-1] ** -0.5
        mask = torch.full((4, 4), float("-inf"), dtype=x.dtype).triu(1)
        x = x + self.head_out((torch.softmax(scores + mask, -1) @ v).transpose(1, 2).flatten(2))
        x = x + self.head_down(F.relu(self.head_up(self.head_mlp_norm(x))))
        x = x.view(*hidden.shape[:2], len(NAMES), -1)
        return [self.output[n](self.output_norm[n](x[:, :, i])) for i, n in enumerate(NAMES)]


class SquaredRelu(NoteTransformer):
    """ReLU squared (So et al. 2021) in all MLPs."""

    def __init__(self, config: NoteTransformerConfig, size: int) -> None:
        super().__init__(config, size)
        for mlp in [layer.mlp for layer in self.layers] + list(self.head.values()):
            mlp.forward = _squared(mlp)


def _squared(mlp: Any) -> Any:
    return lambda x: mlp.down_proj(F.relu(mlp.up_proj(mlp.norm(x))).square())


class ValueEmbeddings(NoteTransformer):
    """An embedding of the kind of every event added to the values of the outer layers."""

    def __init__(self, config: NoteTransformerConfig, size: int) -> None:
        super().__init__(config, size)
        outer = sorted({0, 1, config.layers - 2, config.layers - 1})
        self.embedding_of_value = nn.ModuleDict(
            {str(i): nn.Embedding(config.classes[1] + 1, config.width) for i in outer}
        )
        for table in self.embedding_of_value.values():
            nn.init.normal_(table.weight, std=0.02)
        self._kinds: Tensor | None = None
        for i in outer:
            attention = self.layers[i].attention
            attention.forward = self._with_values(attention, str(i))

    def forward(self, tokens: Tensor, state: Any = None, controls: Any = None) -> Any:
        self._kinds = tokens[..., 1] + 1
        return super().forward(tokens, state, controls)

    def _with_values(self, attention: Any, index: str) -> Any:
        def forward(x: Tensor, position: Tensor, past: Any) -> Any:
            q, k, v = (
                part.unflatten(-1, (attention.heads, -1)).transpose(1, 2)
                for part in attention.qkv_proj(attention.norm(x)).split(attention.widths, -1)
            )
            added = self.embedding_of_value[index](self._kinds).to(v.dtype)
            v = v + added.unflatten(-1, (attention.heads, -1)).transpose(1, 2)
            return _attended(attention, q, k, v, position)

        return forward


class SharedKeys(NoteTransformer):
    """One head of keys and values for all heads of queries (Shazeer 2019)."""

    def __init__(self, config: NoteTransformerConfig, size: int) -> None:
        super().__init__(config, size)
        for layer in self.layers:
            attention = layer.attention
            value = config.width // config.heads
            attention.widths = [config.heads * config.key_dim, config.key_dim, value]
            attention.qkv_proj = Linear(config.width, sum(attention.widths), bias=False)
            nn.init.normal_(attention.qkv_proj.weight, std=config.width**-0.5)
            attention.forward = _shared(attention)


def _shared(attention: Any) -> Any:
    def forward(x: Tensor, position: Tensor, past: Any) -> Any:
        q, k, v = attention.qkv_proj(attention.norm(x)).split(attention.widths, -1)
        q = q.unflatten(-1, (attention.heads, -1)).transpose(1, 2)
        k, v = (y[:, None].expand(-1, attention.heads, -1, -1) for y in (k, v))
        return _attended(attention, q, k, v, position)

    return forward


def _attended(attention: Any, q: Tensor, k: Tensor, v: Tensor, position: Tensor) -> Any:
    scale = attention.gain * attention.key_dim**-0.5
    q, k = _normalised(q) * scale.to(q.dtype)[:, None, None], _normalised(k)
    a, b = (q @ attention.fourier.to(q.dtype).mT).chunk(2, -1)
    cos, sin = position.chunk(2, -1)
    q = torch.cat([q, a * cos + b * sin, a * sin - b * cos], -1)
    k = torch.cat([k, position.expand(*k.shape[:2], -1, -1)], -1)
    attended = _attend(q, k, v.contiguous())
    return attention.out_proj(attended.transpose(1, 2).flatten(2)), k, v


VARIANTS = {
    "no chain": NoChain,
    "gru": GruHead,
    "transformer": TransformerHead,
    "squared relu": SquaredRelu,
    "value embeddings": ValueEmbeddings,
    "shared keys": SharedKeys,
}
