"""Optimisers and schedules, as the papers had them."""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import nn

Schedule = Literal["constant", "noam", "linear", "cosine"]


def factor(schedule: Schedule, step: int, warmup: int, steps: int) -> float:
    """Give what the learning rate is multiplied by at step 0, 1, ...

    All but "constant" rise linearly over `warmup` steps. "noam" then falls with the square root
    of the step (Vaswani et al. 2017), so that the learning rate given is its peak; "linear" falls
    to zero at the last step, "cosine" to a tenth.
    """
    rising = min((step + 1) / warmup, 1.0) if warmup else 1.0
    if schedule == "constant":
        return rising
    if schedule == "noam":
        return min(rising, (max(warmup, 1) / (step + 1)) ** 0.5)
    done = min(max(step + 1 - warmup, 0) / max(steps - warmup, 1), 1.0)
    if schedule == "linear":
        return rising * (1 - done)
    return rising * (0.55 + 0.45 * math.cos(math.pi * done))


def optimizers(
    model: nn.Module,
    kind: Literal["adamw", "muon"],
    learning_rate: float,
    matrix_learning_rate: float,
    betas: tuple[float, float],
    eps: float,
    weight_decay: float,
) -> list[torch.optim.Optimizer]:
    """Give the optimisers of a model: AdamW, or Muon for matrices with AdamW for the rest.

    Muon (Jordan et al. 2024) orthogonalises the momentum of the hidden matrices; embeddings,
    output layer, relative tables, norms and biases stay with AdamW. Decay spares everything
    below two dimensions.
    """
    named = [(name, p) for name, p in model.named_parameters() if p.requires_grad]
    matrices = [
        p
        for name, p in named
        if kind == "muon" and p.ndim == 2 and not name.startswith(("embedding", "output"))
    ]
    chosen = {id(p) for p in matrices}
    rest = [p for _, p in named if id(p) not in chosen]
    groups = [
        {"params": [p for p in rest if p.ndim >= 2], "weight_decay": weight_decay},
        {"params": [p for p in rest if p.ndim < 2], "weight_decay": 0.0},
    ]
    adam = torch.optim.AdamW(
        [g for g in groups if g["params"]], lr=learning_rate, betas=betas, eps=eps
    )
    if not matrices:
        return [adam]
    muon = torch.optim.Muon(
        matrices, lr=matrix_learning_rate, weight_decay=weight_decay, momentum=0.95
    )
    return [adam, muon]
