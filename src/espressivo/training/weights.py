"""Checkpoints into torch models."""

from __future__ import annotations

import torch

from espressivo.checkpoint import Checkpoint, Weights
from espressivo.errors import CheckpointError
from espressivo.models import Model, build
from espressivo.training.parallel import part_of


def model_of(checkpoint: Checkpoint, device: str = "cpu") -> Model:
    """Build the model of a checkpoint, ready to judge or to train on, in float32."""
    with torch.random.fork_rng(devices=[]):  # its random beginnings are overwritten
        model = build(checkpoint.config, len(checkpoint.codec.vocabulary))
    put(checkpoint.weights, model, "the checkpoint")
    return model.to(device).eval()


@torch.no_grad()
def put(weights: Weights, model: Model, source: str) -> None:
    """Copy weights into a model; CheckpointError names the first that does not fit."""
    parameters = dict(model.named_parameters())
    for name in [*parameters, *weights]:
        if name not in weights:
            raise CheckpointError(f"{source} has no tensor {name!r}")
        if name not in parameters:
            raise CheckpointError(f"{source} has a tensor {name!r} that this model has not")
        here, there = tuple(parameters[name].shape), weights[name].shape
        if here != there:
            raise CheckpointError(f"{source}: {name} has shape {there}; this model needs {here}")
    for name, parameter in parameters.items():
        parameter.copy_(part_of(torch.from_numpy(weights[name]), like=parameter))
