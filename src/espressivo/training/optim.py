"""Optimisers and schedules, as the papers had them."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from espressivo.training.config import Schedule, TrainingConfig
from espressivo.training.parallel import part_of, whole


def factor(schedule: Schedule, step: int, warmup: int, steps: int, decay: int = 0) -> float:
    """Give what the learning rate is multiplied by at step 0, 1, ...

    All rise linearly over `warmup` steps. "constant" then stays until the last `decay` steps, over
    which it falls linearly to zero (Hagele et al. 2024). "noam" then falls with the square root
    of the step (Vaswani et al. 2017), so that the learning rate given is its peak; "linear" falls
    to zero at the last step, "cosine" to a tenth.
    """
    rising = min((step + 1) / warmup, 1.0) if warmup else 1.0
    if schedule == "constant":
        return rising * min((steps - step) / decay, 1.0) if decay else rising
    if schedule == "noam":
        return min(rising, math.sqrt(max(warmup, 1) / (step + 1)))
    done = min(max(step + 1 - warmup, 0) / max(steps - warmup, 1), 1.0)
    if schedule == "linear":
        return rising * (1 - done)
    return rising * (0.55 + 0.45 * math.cos(math.pi * done))


def optimizers(model: nn.Module, config: TrainingConfig) -> list[torch.optim.Optimizer]:
    """Give the optimisers of a model: AdamW, or Muon for matrices with AdamW for the rest.

    Muon takes the hidden matrices; embeddings, output layer, relative tables, norms and biases
    stay with AdamW. Decay spares everything below two dimensions.
    """
    named = [(name, p) for name, p in model.named_parameters() if p.requires_grad]
    outer = ("embedding", "encoder.embedding", "controls", "conditioning", "output")
    matrices = [p for name, p in named if p.ndim == 2 and not name.startswith(outer)]
    if config.optimizer == "adamw":
        matrices = []
    chosen = {id(p) for p in matrices}
    rest = [p for _, p in named if id(p) not in chosen]
    groups = [
        {"params": [p for p in rest if p.ndim >= 2], "weight_decay": config.weight_decay},
        {"params": [p for p in rest if p.ndim < 2], "weight_decay": 0.0},
    ]
    adam = torch.optim.AdamW(
        [g for g in groups if g["params"]],
        lr=config.learning_rate,
        betas=config.betas,
        eps=config.eps,
        fused=rest[0].is_cuda,  # one kernel for all of it
        foreach=not rest[0].is_cuda,
    )
    if not matrices:
        return [adam]
    bfloat16 = config.precision == "bfloat16"
    return [
        adam,
        Muon(matrices, config.matrix_learning_rate, config.weight_decay, bfloat16=bfloat16),
    ]


class Muon(torch.optim.Optimizer):
    """Momentum, made orthogonal: every direction of a matrix moves equally far.

    Jordan et al. 2024, with Nesterov momentum and updates scaled by sqrt(rows / columns) where
    a matrix is tall. With `bfloat16` and on a GPU it iterates in that arithmetic, as torch's own
    Muon always does; on a CPU without it that is slow, and float32 stays float32. A matrix that is
    cut into parts is gathered for it, and every process computes the same.
    """

    def __init__(
        self,
        params: list[nn.Parameter],
        lr: float,
        weight_decay: float = 0.0,
        momentum: float = 0.95,
        bfloat16: bool = False,
    ) -> None:
        """Take matrices only."""
        self.bfloat16 = bfloat16
        super().__init__(params, {"lr": lr, "weight_decay": weight_decay, "momentum": momentum})

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        """Move every matrix that has a gradient."""
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    self._move(parameter, group)

    def _move(self, parameter: nn.Parameter, group: dict[str, Any]) -> None:
        state, gradient = self.state[parameter], parameter.grad
        assert gradient is not None
        if "momentum" not in state:
            state["momentum"] = torch.zeros_like(parameter)
        momentum = state["momentum"].lerp_(gradient, 1 - group["momentum"])
        update = orthogonal(
            whole(gradient.lerp(momentum, group["momentum"])), bfloat16=self.bfloat16
        )
        parameter.mul_(1 - group["lr"] * group["weight_decay"])
        scale = max(1.0, parameter.shape[0] / parameter.shape[1]) ** 0.5
        parameter.add_(part_of(update, like=parameter), alpha=-group["lr"] * scale)


def orthogonal(matrix: Tensor, iterations: int = 5, bfloat16: bool = False) -> Tensor:
    """Bring the singular values of a matrix near one, by a quintic Newton-Schulz iteration.

    They end between about 0.7 and 1.2: as good for Muon as exactly one, and much cheaper.
    """
    x = matrix.bfloat16() if matrix.is_cuda or bfloat16 else matrix.float()
    wide = x.shape[0] <= x.shape[1]
    x = x if wide else x.mT
    x = x / (x.norm() + 1e-7)
    if x.dtype == torch.float32 and x.shape[1] >= 2 * x.shape[0]:
        x = _all_at_once(x @ x.mT, iterations) @ x
    else:
        for _ in range(iterations):
            x = _quintic(x @ x.mT) @ x
    turned: Tensor = x if wide else x.mT
    return turned.to(matrix.dtype)


def _quintic(gram: Tensor) -> Tensor:
    """Give what one iteration multiplies a matrix by, from the products of its rows."""
    a, b, c = 3.4445, -4.7750, 2.0315  # Jordan et al. 2024
    factor = torch.addmm(gram, gram, gram, beta=b, alpha=c)
    factor.diagonal().add_(a)
    return factor


def _all_at_once(gram: Tensor, iterations: int) -> Tensor:
    """Give the product of all iterations' factors, without the matrix in between.

    The products of rows change with the factors alone. Where rows are long that is half the
    work, but small singular values drown in the rounding of 16 bits.
    """
    factors = factor = _quintic(gram)
    for _ in range(iterations - 1):
        gram = factor @ gram @ factor
        factor = _quintic(gram)
        factors = factor @ factors
    return factors
