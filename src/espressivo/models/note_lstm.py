"""LSTM layers over whole notes (Magenta, `performance_with_dynamics_and_note_encoding`).

The layers move once a note: what they read is one hot id in each slot, what they predict is every
slot of the next note, none knowing what the others chose. The model still speaks in tokens, as
all models do: which slot a token fills is seen from its id, and until a note is whole all of its
tokens are predicted from the same memory.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from espressivo.configs import NoteLstmConfig
from espressivo.models.model import Model, State, refuse_controls, refuse_source
from espressivo.models.recurrent import lstm_layers, output_layer

NEVER = -1e4
"""The logit of an id whose slot is not next: no chance at all, and still a finite loss."""


@dataclass
class NoteLstmState:
    """Hidden and cell values [l, b, w], and the tokens of the note to come, counted [b, v]."""

    hidden: Tensor
    cell: Tensor
    pending: Tensor
    length: int = 0

    def fork(self, count: int) -> NoteLstmState:
        """Give `count` independent copies of every batch entry."""
        rows = torch.arange(len(self.pending), device=self.pending.device)
        return self.select(rows.repeat_interleave(count))

    def select(self, rows: Int[Tensor, " n"]) -> NoteLstmState:
        """Give independent copies of some batch entries."""
        return NoteLstmState(
            self.hidden[:, rows], self.cell[:, rows], self.pending[rows], self.length
        )

    def detach(self) -> NoteLstmState:
        """Cut off the gradient history, keep the values."""
        return replace(self, hidden=self.hidden.detach(), cell=self.cell.detach())


class NoteLstm(Model):
    """Tokens of notes in, logits of the next token out; ids that cannot be next get `NEVER`.

    Sequences may begin with any slot. A last slot alone, as the start token is, moves the layers
    like a note with nothing else in it.
    """

    slot_of: Tensor
    closed: Tensor

    def __init__(self, config: NoteLstmConfig, vocabulary_size: int) -> None:
        """Initialise as `Lstm` does."""
        super().__init__()
        config.check_vocabulary(vocabulary_size)
        self.config: NoteLstmConfig = config
        self.vocabulary_size = vocabulary_size
        self.lstm = lstm_layers(vocabulary_size, config.width, config.layers, config.dropout)
        self.dropout = nn.Dropout(config.dropout)
        self.output = output_layer(config.width, vocabulary_size)
        slots = torch.arange(len(config.slots))
        slot_of = slots.repeat_interleave(torch.tensor(config.slots), output_size=vocabulary_size)
        self.register_buffer("slot_of", slot_of, persistent=False)
        closed = slot_of != slots[:, None].roll(-1, 0)  # for every slot, what it is not followed by
        self.register_buffer("closed", closed, persistent=False)

    def start(self, batch: int, source: Int[Tensor, "b s"] | None = None) -> NoteLstmState:
        """Give the memory of having read nothing."""
        refuse_source(self, source)
        like = self.output.weight
        zeros = like.new_zeros(self.config.layers, batch, self.config.width)
        return NoteLstmState(zeros, zeros, like.new_zeros(batch, self.vocabulary_size))

    def forward(
        self,
        tokens: Int[Tensor, "b t"],
        state: State | None = None,
        controls: Float[Tensor, "b t c"] | None = None,
    ) -> tuple[Float[Tensor, "b t v"], State]:
        """Give the logits after every token, and the memory after the last."""
        refuse_controls(self, controls)
        memory = self.start(len(tokens)) if state is None else state
        if not isinstance(memory, NoteLstmState):
            raise TypeError(f"an LSTM of notes cannot continue from {type(memory).__name__}")
        slot = self.slot_of[tokens]
        ends = slot == len(self.config.slots) - 1
        notes = self._notes(tokens, ends, memory.pending)
        count = ends.sum(1)
        heard, hidden, cell = self._hear(notes[:, :-1], count, memory)
        known = self.output(self.dropout(heard))  # b n v, before the first note and after each
        after = ends.cumsum(1)[:, :, None].expand(-1, -1, self.vocabulary_size)
        logits = known.gather(1, after).masked_fill(self.closed[slot], NEVER)
        pending = notes[torch.arange(len(notes), device=notes.device), count]
        return logits, NoteLstmState(hidden, cell, pending, memory.length + tokens.shape[1])

    def _notes(
        self, tokens: Int[Tensor, "b t"], ends: Bool[Tensor, "b t"], pending: Float[Tensor, "b v"]
    ) -> Float[Tensor, "b n v"]:
        """Count the ids of every note; after a row's last whole one comes what is pending."""
        place = ends.cumsum(1) - ends.long()  # the notes before each token's own
        most = int(ends.sum(1).max())
        notes = pending.new_zeros(len(tokens), most + 1, self.vocabulary_size)
        notes[:, 0] = pending
        rows = torch.arange(len(tokens), device=tokens.device)[:, None].expand_as(tokens)
        one = notes.new_ones(())
        return notes.index_put((rows, place, tokens), one, accumulate=True)

    def _hear(
        self, notes: Float[Tensor, "b n v"], count: Int[Tensor, " b"], memory: NoteLstmState
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Give what the last layer says before the notes and after each, and the new memory."""
        before = memory.hidden[-1][:, None]
        moved = count.nonzero()[:, 0]
        if not len(moved):
            return before, memory.hidden, memory.cell
        packed = pack_padded_sequence(
            notes[moved], count[moved].cpu(), batch_first=True, enforce_sorted=False
        )
        past = memory.hidden[:, moved].contiguous(), memory.cell[:, moved].contiguous()
        read, (hidden, cell) = self.lstm(packed, past)
        after, _ = pad_packed_sequence(read, batch_first=True, total_length=notes.shape[1])
        if len(moved) < len(count):
            after = after.new_zeros(len(count), *after.shape[1:]).index_copy(0, moved, after)
            hidden = memory.hidden.index_copy(1, moved, hidden.to(memory.hidden.dtype))
            cell = memory.cell.index_copy(1, moved, cell.to(memory.cell.dtype))
        return torch.cat([before, after], 1), hidden, cell
