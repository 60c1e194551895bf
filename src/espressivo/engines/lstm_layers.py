"""LSTM layers by hand: one product for the first, one for each other.

The sigmoid is written as (1 + tanh(x / 2)) / 2 and the halves are put into the weights, so one
tanh serves all four gates. Gates lie in the order input, forget, output, candidate. What goes into
the first layer is the caller's: usually the column of an event.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from espressivo.engines.engine import Logits, Weights

Matrices = Mapping[str, NDArray[np.float32]]


class LayersState:
    """Hidden values beside the input they are multiplied with, and the cells, per layer."""

    def __init__(self, joined: Logits, cells: Logits) -> None:
        """Hold `joined` [l, b, 2w], the input and hidden values of each layer, and `cells`."""
        self.joined, self.cells = joined, cells
        _, batch, width = cells.shape
        self.gates = np.empty((batch, 4 * width), np.float32)
        self.scratch = np.empty((batch, width), np.float32)

    @staticmethod
    def start(layers: int, batch: int, width: int) -> LayersState:
        """Give the memory of having read nothing."""
        joined = np.zeros((layers, batch, 2 * width), np.float32)
        return LayersState(joined, np.zeros((layers, batch, width), np.float32))

    @property
    def batch(self) -> int:
        """How many sequences it follows."""
        return int(self.cells.shape[1])

    @property
    def hidden(self) -> Logits:
        """What the last layer says, [b, w]; a view that the next step overwrites."""
        return self.joined[-1, :, self.cells.shape[2] :]

    def select(self, rows: NDArray[np.integer]) -> LayersState:
        """Give independent copies of the sequences `rows`."""
        return LayersState(self.joined[:, rows], self.cells[:, rows])

    def put(self, rows: NDArray[np.integer], moved: LayersState) -> None:
        """Take back the sequences `rows` from a copy that went on."""
        self.joined[:, rows], self.cells[:, rows] = moved.joined, moved.cells


def laid_out(weights: Weights, layers: int) -> Weights:
    """Arrange the weights of torch's layers: inputs0 and bias0, joined0, joined1, bias1 ..."""
    arrays: Weights = {}
    for layer in range(layers):
        inputs, hidden = (_gates(weights[f"lstm.weight_{way}_l{layer}"]).T for way in ("ih", "hh"))
        ih, hh = (_gates(weights[f"lstm.bias_{way}_l{layer}"]) for way in ("ih", "hh"))
        arrays[f"bias{layer}"] = ih + hh
        if layer:
            arrays[f"joined{layer}"] = np.concatenate([inputs, hidden])
        else:
            arrays["inputs0"], arrays["joined0"] = inputs, hidden
    return arrays


def step(weights: Matrices, state: LayersState, inputs: Logits) -> Logits:
    """Move all layers once by what goes into the first, bias included, [b, 4w]."""
    width = state.cells.shape[2]
    for layer, joined in enumerate(state.joined):
        if layer:
            np.matmul(joined, weights[f"joined{layer}"], out=state.gates)
            state.gates += weights[f"bias{layer}"]
        else:
            np.matmul(joined[:, width:], weights["joined0"], out=state.gates)
            state.gates += inputs
        _cell(state.gates, state.cells[layer], joined[:, width:], state.scratch)
        if layer + 1 < len(state.joined):
            state.joined[layer + 1, :, :width] = joined[:, width:]
    return state.hidden


def read(weights: Matrices, state: LayersState, inputs: Logits) -> Logits:
    """Move layer by layer, so that inputs [t, b, 4w], which are used up, are multiplied at once.

    Gives what the last layer says after each, [t, b, w].
    """
    width = state.cells.shape[2]
    gates = inputs
    for layer, joined in enumerate(state.joined):
        hidden = np.empty((*gates.shape[:2], width), np.float32)
        weight = weights[f"joined{layer}"][-width:]
        latest = joined[:, width:]
        for now, at in zip(gates, hidden, strict=True):
            np.matmul(latest, weight, out=state.gates)
            now += state.gates
            _cell(now, state.cells[layer], at, state.scratch)
            latest = at
        joined[:, width:] = latest
        if layer + 1 < len(state.joined):
            state.joined[layer + 1, :, :width] = latest
            gates = hidden @ weights[f"joined{layer + 1}"][:width]
            gates += weights[f"bias{layer + 1}"]
    return hidden


def _gates(array: NDArray[np.floating]) -> Logits:
    """Reorder i, f, g, o to i, f, o, g, and halve what goes into a sigmoid."""
    i, f, g, o = np.split(array.astype(np.float32), 4)
    return np.concatenate([i / 2, f / 2, o / 2, g])


def _cell(gates: Logits, cell: Logits, hidden: Logits, scratch: Logits) -> None:
    """Turn the four sums of a layer into its next cell and hidden values, all in place."""
    width = cell.shape[-1]
    np.tanh(gates, out=gates)
    sigmoid, candidate = gates[:, : 3 * width], gates[:, 3 * width :]
    sigmoid *= 0.5
    sigmoid += 0.5
    cell *= gates[:, width : 2 * width]
    np.multiply(gates[:, :width], candidate, out=scratch)
    cell += scratch
    np.tanh(cell, out=scratch)
    np.multiply(scratch, gates[:, 2 * width : 3 * width], out=hidden)
