"""LSTM layers whose last output looks back (Huang et al. 2018, table 3: LSTM with attention)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from espressivo.configs import AttentionLstmConfig
from espressivo.models.attention.luong import LookBack
from espressivo.models.model import Model, State, refuse_controls, refuse_source
from espressivo.models.recurrent import lstm_layers, output_layer


@dataclass
class AttentionLstmState:
    """Hidden and cell values [l, b, w], and the last outputs, the latest last [b, n, w]."""

    hidden: Tensor
    cell: Tensor
    past: Tensor
    length: int = 0

    def fork(self, count: int) -> AttentionLstmState:
        """Give `count` independent copies of every batch entry."""
        rows = torch.arange(len(self.past), device=self.past.device)
        return self.select(rows.repeat_interleave(count))

    def select(self, rows: Int[Tensor, " n"]) -> AttentionLstmState:
        """Give independent copies of some batch entries."""
        hidden, cell = self.hidden[:, rows], self.cell[:, rows]
        return AttentionLstmState(hidden, cell, self.past[rows], self.length)

    def detach(self) -> AttentionLstmState:
        """Cut off the gradient history, keep the values."""
        kept = self.hidden.detach(), self.cell.detach(), self.past.detach()
        return AttentionLstmState(*kept, self.length)


class AttentionLstm(Model):
    """Events in as one-hot vectors, logits of the next event out."""

    def __init__(self, config: AttentionLstmConfig, vocabulary_size: int) -> None:
        """Initialise as `Lstm` does."""
        super().__init__()
        self.config: AttentionLstmConfig = config
        self.vocabulary_size = vocabulary_size
        self.lstm = lstm_layers(vocabulary_size, config.width, config.layers, config.dropout)
        self.look_back = LookBack(config)
        self.dropout = nn.Dropout(config.dropout)
        self.output = output_layer(config.width, vocabulary_size)

    def start(self, batch: int, source: Int[Tensor, "b s"] | None = None) -> AttentionLstmState:
        """Give the memory of having read nothing."""
        refuse_source(self, source)
        config, like = self.config, self.output.weight
        zeros = like.new_zeros(config.layers, batch, config.width)
        past = like.new_zeros(batch, config.look_back, config.width)
        return AttentionLstmState(zeros, zeros, past)

    def forward(
        self,
        tokens: Int[Tensor, "b t"],
        state: State | None = None,
        controls: Float[Tensor, "b t c"] | None = None,
    ) -> tuple[Float[Tensor, "b t v"], State]:
        """Give the logits after every token, and the memory after the last."""
        refuse_controls(self, controls)
        memory = self.start(len(tokens)) if state is None else state
        if not isinstance(memory, AttentionLstmState):
            raise TypeError(f"an LSTM that looks back cannot continue from {type(memory).__name__}")
        events = F.one_hot(tokens, self.vocabulary_size).to(self.output.weight.dtype)
        heard, (hidden, cell) = self.lstm(events, (memory.hidden, memory.cell))
        logits = self.output(self.dropout(self.look_back(heard, memory.past)))
        past = torch.cat([memory.past, heard], 1)[:, -self.config.look_back :]
        return logits, AttentionLstmState(hidden, cell, past, memory.length + tokens.shape[1])
