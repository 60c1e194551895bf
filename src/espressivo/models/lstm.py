"""A stack of LSTM layers over one-hot events (Oore et al. 2018; Performance RNN, 2017)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from espressivo.configs import LstmConfig
from espressivo.models.model import Model, State, refuse_controls, refuse_source


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
    """Events in as one-hot vectors, followed by what is told of the next one; its logits out."""

    def __init__(self, config: LstmConfig, vocabulary_size: int) -> None:
        """Initialise with Glorot weights, forget gates open and events that are heard at once.

        Glorot's range for the one-hot input, as Performance RNN has it, leaves the first few
        hundred steps on the plateau of predicting frequencies.
        """
        super().__init__()
        self.config: LstmConfig = config
        self.vocabulary_size = vocabulary_size
        between = config.dropout if config.layers > 1 else 0.0
        self.lstm = nn.LSTM(
            vocabulary_size + config.told,
            config.width,
            config.layers,
            batch_first=True,
            dropout=between,
        )
        self.dropout = nn.Dropout(config.dropout)
        self.output = nn.Linear(config.width, vocabulary_size)
        self._initialise()

    def _initialise(self) -> None:
        for name, parameter in self.lstm.named_parameters():
            if name.startswith("weight"):
                for gate in parameter.chunk(4):
                    nn.init.xavier_uniform_(gate)
            else:
                nn.init.zeros_(parameter)
                if name.startswith("bias_ih"):  # the forget gate starts open: BasicLSTMCell
                    parameter.data[self.config.width : 2 * self.config.width] = 1.0
        # One of the inputs is on at a time: its column is all that a cell hears of the event.
        nn.init.normal_(self.lstm.get_parameter("weight_ih_l0"), std=0.5)
        nn.init.xavier_uniform_(self.output.weight)
        nn.init.zeros_(self.output.bias)

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
        events = F.one_hot(tokens, self.vocabulary_size).to(self.output.weight.dtype)
        if self.config.controls:
            events = torch.cat([events, self._told(events, controls)], -1)
        else:
            refuse_controls(self, controls)
        read, (hidden, cell) = self.lstm(events, (memory.hidden, memory.cell))
        logits = self.output(self.dropout(read))
        return logits, LstmState(hidden, cell, memory.length + tokens.shape[1])

    def _told(
        self, events: Float[Tensor, "b t v"], controls: Float[Tensor, "b t c"] | None
    ) -> Float[Tensor, "b t c"]:
        """Give what is told beside every event; nothing is zeros, and the flag that says so."""
        if controls is not None:
            return controls.to(events.dtype)
        nothing = events.new_zeros(*events.shape[:2], self.config.told)
        if self.config.optional:
            nothing[..., 0] = 1
        return nothing
