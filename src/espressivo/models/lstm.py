"""A stack of LSTM layers over one-hot events (Oore et al. 2018; Performance RNN, 2017)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from espressivo.configs import LstmConfig, modulo
from espressivo.models.model import Model, State, refuse_controls, refuse_source
from espressivo.models.recurrent import lstm_layers, output_layer


@dataclass
class LstmState:
    """Hidden and cell values of every layer, [layer, batch, width]."""

    hidden: Tensor
    cell: Tensor
    length: int = 0

    def fork(self, count: int) -> LstmState:
        """Give `count` independent copies of every batch entry."""
        rows = torch.arange(self.hidden.shape[1], device=self.hidden.device)
        return self.select(rows.repeat_interleave(count))

    def select(self, rows: Int[Tensor, " n"]) -> LstmState:
        """Give independent copies of some batch entries."""
        return LstmState(self.hidden[:, rows], self.cell[:, rows], self.length)

    def detach(self) -> LstmState:
        """Cut off the gradient history, keep the values."""
        return LstmState(self.hidden.detach(), self.cell.detach(), self.length)


class Lstm(Model):
    """Events in, each followed by what is told of the next one; the logits of that one out."""

    features: Tensor

    def __init__(self, config: LstmConfig, vocabulary_size: int) -> None:
        """Initialise as Performance RNN does, but for the first layer: see `lstm_layers`."""
        super().__init__()
        config.check_vocabulary(vocabulary_size)
        self.config: LstmConfig = config
        self.vocabulary_size = vocabulary_size
        inputs = vocabulary_size
        if config.inputs == "modulo":
            table = torch.from_numpy(modulo.features())
            self.register_buffer("features", table, persistent=False)
            inputs = modulo.FEATURES
        self.lstm = lstm_layers(inputs + config.told, config.width, config.layers, config.dropout)
        self.dropout = nn.Dropout(config.dropout)
        self.output = output_layer(config.width, vocabulary_size)

    def start(self, batch: int, source: Int[Tensor, "b s"] | None = None) -> LstmState:
        """Give the memory of having read nothing."""
        refuse_source(self, source)
        like: Any = self.output.weight
        zeros = like.new_zeros(self.config.layers, batch, self.config.width)
        return LstmState(zeros, zeros)

    def forward(
        self,
        tokens: Int[Tensor, "b t"],
        state: State | None = None,
        controls: Float[Tensor, "b t c"] | None = None,
    ) -> tuple[Float[Tensor, "b t v"], State]:
        """Give the logits after every token, and the memory after the last."""
        memory = self.start(len(tokens)) if state is None else state
        if not isinstance(memory, LstmState):
            raise TypeError(f"an LSTM cannot continue from {type(memory).__name__}")
        events = self._shown(tokens).to(self.output.weight.dtype)
        if self.config.controls:
            events = torch.cat([events, self._told(events, controls)], -1)
        else:
            refuse_controls(self, controls)
        read, (hidden, cell) = self.lstm(events, (memory.hidden, memory.cell))
        logits = self.output(self.dropout(read))
        return logits, LstmState(hidden, cell, memory.length + tokens.shape[1])

    def _shown(self, tokens: Int[Tensor, "b t"]) -> Tensor:
        """Give the numbers that stand for events, [b, t, v] or [b, t, 16]."""
        if self.config.inputs == "modulo":
            return self.features[tokens]
        return F.one_hot(tokens, self.vocabulary_size)

    def _told(
        self, events: Float[Tensor, "b t i"], controls: Float[Tensor, "b t c"] | None
    ) -> Float[Tensor, "b t c"]:
        """Give what is told beside every event; nothing is zeros, and the flag that says so."""
        if controls is not None:
            return controls.to(events.dtype)
        nothing = events.new_zeros(*events.shape[:2], self.config.told)
        if self.config.optional:
            nothing[..., 0] = 1
        return nothing
