"""Any model as an engine, on any device torch knows: for long batches, and to compare with."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from espressivo.engines.engine import Controls, Logits, State, Tokens, check_room, check_tokens
from espressivo.models import Model
from espressivo.models import State as Memory

CHUNK = 256
"""Tokens the model reads at once from a primer."""


class TorchState:
    """The memory of a model, and how many sequences it follows."""

    def __init__(self, memory: Memory, batch: int) -> None:
        """Hold what the model gave back last."""
        self.memory, self.batch = memory, batch

    @property
    def length(self) -> int:
        """How many tokens of each sequence it has read."""
        return self.memory.length

    def fork(self, count: int) -> TorchState:
        """Give `count` independent copies of every sequence."""
        return TorchState(self.memory.fork(count), self.batch * count)

    def select(self, rows: NDArray[np.integer]) -> TorchState:
        """Give independent copies of the sequences `rows`."""
        return TorchState(self.memory.select(torch.as_tensor(rows)), len(rows))


class TorchEngine:
    """Plays a model as it is, where it is."""

    def __init__(self, model: Model) -> None:
        """Take a model; dropout is switched off."""
        self.model = model.eval()
        self.vocabulary_size = model.vocabulary_size
        self.context: int | None = getattr(model.config, "context", None)

    def start(self, batch: int, source: Tokens | None = None) -> TorchState:
        """Give the memory of having read nothing."""
        device = next(self.model.parameters()).device
        given = None if source is None else torch.as_tensor(source, device=device)
        with torch.inference_mode():
            return TorchState(self.model.start(batch, given), batch)

    def step(self, tokens: Tokens, state: State, controls: Controls | None = None) -> Logits:
        """Read one token of each sequence; give the logits after it."""
        check_tokens(tokens, state, 1, self.vocabulary_size)
        return self.read(tokens[:, None], state, None if controls is None else controls[:, None])

    def read(self, tokens: Tokens, state: State, controls: Controls | None = None) -> Logits:
        """Read tokens many at a time; give the logits after the last."""
        check_tokens(tokens, state, 2, self.vocabulary_size)
        if not isinstance(state, TorchState):
            raise TypeError(f"a torch model cannot continue from {type(state).__name__}")
        check_room(state.length, tokens.shape[1], self.context)
        device = next(self.model.parameters()).device
        with torch.inference_mode():
            for first in range(0, tokens.shape[1], CHUNK):
                now = slice(first, first + CHUNK)
                piece = torch.as_tensor(tokens[:, now], device=device)
                told = None
                if controls is not None:
                    told = torch.as_tensor(controls[:, now], device=device)
                logits, state.memory = self.model(piece, state.memory, told)
        last: Logits = logits[:, -1].float().cpu().numpy()
        return last
