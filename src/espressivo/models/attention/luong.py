"""Attention over the last outputs of a recurrent network (Luong et al. 2015).

The paper attends from a decoder to an encoder; here a network attends to its own past, so the
source is always the last `look_back` outputs and a place in it is a distance, 1 for the latest.
Before the first output lie zeros, which take their share of attention as in TensorFlow's wrapper.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn

from espressivo.configs import AttentionLstmConfig


class LookBack(nn.Module):
    """Outputs in, outputs that know what they resemble out."""

    def __init__(self, config: AttentionLstmConfig) -> None:
        """Make what the way of scoring and the focus need."""
        super().__init__()
        self.config = config
        width = config.width
        if config.score != "dot":
            self.key = nn.Linear(width, width, bias=False)
        if config.score == "concat":
            self.query = nn.Linear(width, width, bias=False)
            self.energy = nn.Parameter(torch.randn(width) * width**-0.5)
        if config.focus == "local-p":
            self.place = nn.Linear(width, width, bias=False)
            self.place_energy = nn.Parameter(torch.randn(width) * width**-0.5)
        self.mix = nn.Linear(2 * width, width, bias=False)
        for layer in self.children():
            if isinstance(layer, nn.Linear):
                nn.init.xavier_uniform_(layer.weight)

    def forward(
        self, heard: Float[Tensor, "b t w"], past: Float[Tensor, "b n w"]
    ) -> Float[Tensor, "b t w"]:
        """Mix every output with what is found in the `n` before it."""
        before = torch.cat([past, heard[:, :-1]], 1)  # b n+t-1 w
        t, n = heard.shape[1], past.shape[1]
        places = torch.arange(t, device=heard.device)[:, None]
        places = places + torch.arange(n, device=heard.device)  # t n, of what each looks at
        places = places.expand(len(heard), t, n)
        weights = self._focused(self._scores(heard, before, places), heard)
        spread = weights.new_zeros(len(heard), t, before.shape[1])
        found = spread.scatter(2, places, weights) @ before
        mixed: Tensor = self.mix(torch.cat([found, heard], -1))
        return mixed.tanh()

    def _scores(
        self, heard: Float[Tensor, "b t w"], before: Float[Tensor, "b m w"], places: Tensor
    ) -> Float[Tensor, "b t n"]:
        """Compare every output with the `n` before it (section 3.1)."""
        keys = before if self.config.score == "dot" else self.key(before)
        if self.config.score != "concat":
            products: Tensor = heard @ keys.mT
            return products.gather(2, places)
        near = keys.unfold(1, places.shape[2], 1).mT  # b t n w
        both: Tensor = self.query(heard)[:, :, None] + near
        return both.tanh() @ self.energy

    def _focused(
        self, scores: Float[Tensor, "b t n"], heard: Float[Tensor, "b t w"]
    ) -> Float[Tensor, "b t n"]:
        """Turn scores into weights (section 3.2)."""
        n, window = scores.shape[2], self.config.window
        distance = torch.arange(n, 0, -1, device=scores.device)
        if self.config.focus == "all":
            return scores.softmax(-1)
        if self.config.focus == "local-m":
            return scores.masked_fill(distance > window, -torch.inf).softmax(-1)
        place: Tensor = n * (self.place(heard).tanh() @ self.place_energy).sigmoid()
        off = distance - place[:, :, None]
        weights = scores.masked_fill(off.abs() > window, -torch.inf).softmax(-1)
        return weights * (-2 * (off / window) ** 2).exp()  # sigma is half the window
