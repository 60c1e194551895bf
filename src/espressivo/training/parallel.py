"""One model trained by several processes; the only file that knows how.

"ddp" keeps the whole model in every process and exchanges gradients (Li et al. 2020), "fsdp" cuts
weights, gradients and optimiser state into one part per process (Zhao et al. 2023; torch's
`fully_shard`). What a step computes does not depend on the mode: every process takes its share of
the same windows, and the loss is the mean over the tokens of all of them.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass
from datetime import timedelta
from functools import cache, partial
from pathlib import Path
from typing import Any, Literal, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.checkpoint.hf_storage import (
    HuggingFaceStorageReader,
    HuggingFaceStorageWriter,
)
from torch.distributed.checkpoint.metadata import TensorStorageMetadata
from torch.distributed.checkpoint.state_dict_loader import load
from torch.distributed.checkpoint.state_dict_saver import save
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FSDPModule, fully_shard
from torch.distributed.rendezvous import rendezvous
from torch.distributed.tensor import DTensor, distribute_tensor
from torch.nn.parallel import DistributedDataParallel
from torch.utils.checkpoint import checkpoint

from espressivo.errors import ConfigError, TrainingError

Mode = Literal["none", "ddp", "fsdp"]
T = TypeVar("T")

TIMEOUT = timedelta(minutes=10)
"""How long a process waits for the others before it gives them up."""
ROLL_CALL = timedelta(seconds=5)
"""How long processes that lost one of them have to say that they are still there."""


@dataclass(frozen=True)
class Ensemble:
    """The processes that train one model, seen from one of them; a process alone is one of one."""

    device: torch.device
    mode: Mode = "none"
    rank: int = 0
    size: int = 1
    store: Any = None  # torch names no type for it

    @property
    def leads(self) -> bool:
        """Tell whether this is the process that writes and prints."""
        return self.rank == 0

    def share(self, whole: Sequence[T]) -> Sequence[T]:
        """Give what this process takes of something that all of them do together."""
        return whole[self.rank :: self.size]

    def total(self, number: float) -> float:
        """Add up a number over all processes."""
        if self.size == 1:
            return number
        added = torch.tensor(number, dtype=torch.float64, device=self.device)
        dist.all_reduce(added)
        return float(added)

    def any(self, here: bool) -> bool:
        """Tell whether something holds for at least one process, so that all decide alike."""
        return self.total(float(here)) > 0

    def gather(self, here: T) -> list[T]:
        """Give what every process has, in their order."""
        if self.size == 1:
            return [here]
        everyones: list[T | None] = [None] * self.size
        dist.all_gather_object(everyones, here)
        return everyones  # type: ignore[return-value]  # all are filled now

    def shard(self, model: nn.Module) -> None:
        """Leave this process its part of the weights, which are gathered block by block in use."""
        if self.mode == "fsdp":
            # keys and values come out of a layer as views, which nothing changes in place
            warnings.filterwarnings("ignore", "FSDP2-wrapped module .* returned a view tensor")
            mesh = init_device_mesh(self.device.type, (self.size,))
            for part in (*blocks(model), model):
                fully_shard(part, mesh=mesh)

    def exchanging(self, model: nn.Module) -> nn.Module:
        """Give what to call in place of a model so that gradients become the mean of everyone's."""
        return DistributedDataParallel(model) if self.mode == "ddp" else model

    @contextmanager
    def accumulating(self, forward: nn.Module) -> Iterator[None]:
        """Add up gradients without exchanging them yet."""
        if isinstance(forward, FSDPModule):
            forward.set_requires_gradient_sync(False)
            yield
            forward.set_requires_gradient_sync(True)
            return
        with forward.no_sync() if isinstance(forward, DistributedDataParallel) else nullcontext():
            yield

    @contextmanager
    def gathered(self, model: nn.Module) -> Iterator[None]:
        """Hold all weights everywhere for a while: processes may call the model unequally often."""
        parts = [part for part in model.modules() if isinstance(part, FSDPModule)]
        for part in parts:
            part.unshard()
            part.set_reshard_after_forward(False, recurse=False)
        try:
            yield
        finally:
            for part in parts:
                part.set_reshard_after_forward(part is not model, recurse=False)
                part.reshard()

    @contextmanager
    def watched(self, doing: str) -> Iterator[None]:
        """Turn the loss of another process into one error that names it."""
        try:
            yield
        except Exception as error:
            if self.store is None:
                raise
            with suppress(dist.DistError):  # the store may have gone with another process
                self.store.set(f"failed/{self.rank}", f"{type(error).__name__}: {error}"[:500])
            if not _lost(error):
                raise
            raise TrainingError(
                f"{doing}: process {self.rank} of {self.size} lost {self._missing()}; "
                "the run goes on from its last checkpoint"
            ) from error

    def _missing(self) -> str:
        """Call the roll: a process that failed has said why, one that is gone says nothing."""
        others = [rank for rank in range(self.size) if rank != self.rank]
        silent = []
        for rank in others:
            try:
                self.store.wait([f"failed/{rank}"], ROLL_CALL)
            except dist.DistError:
                silent.append(rank)
        if silent:
            return " and ".join(f"process {rank}, which is gone or hangs" for rank in silent)
        told = {rank: self.store.get(f"failed/{rank}").decode() for rank in others}
        return "; ".join(f"process {rank}, which failed ({words})" for rank, words in told.items())


def join(mode: Mode | None, device: str) -> Ensemble:
    """Take a place among the processes that torchrun, or who sets its variables, has started.

    Without a mode, several processes train by "ddp" and one trains alone.
    """
    size = int(os.environ.get("WORLD_SIZE", "1"))
    mode = mode or ("ddp" if size > 1 else "none")
    place = torch.device(device)
    if mode == "none":
        if size > 1:
            raise ConfigError(f"parallel=none, but {size} processes were started; try ddp or fsdp")
        return Ensemble(place)
    if place.type == "cuda":
        place = torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
        torch.cuda.set_device(place)
    store, rank = _joined(place.type)
    return Ensemble(place, mode, rank, size, store)


@cache
def _joined(kind: str) -> tuple[Any, int]:
    """Open the process group, once per process; give its store and the place in it."""
    store, rank, size = dist.HashStore(), 0, 1  # type: ignore[attr-defined]  # it is there
    if "WORLD_SIZE" in os.environ:
        store, rank, size = next(rendezvous("env://", timeout=TIMEOUT))
    backend = "nccl" if kind == "cuda" else "gloo"
    dist.init_process_group(backend, store=store, rank=rank, world_size=size, timeout=TIMEOUT)
    return store, rank


def _lost(error: Exception) -> bool:
    """Tell whether an error means that another process did not answer."""
    return isinstance(error, dist.DistError) or "gloo" in str(error)


def blocks(model: nn.Module) -> list[nn.Module]:
    """Give the layers of a model: the entries of its lists of modules."""
    children = model.children()
    found = []
    for child in children:
        found += list(child) if isinstance(child, nn.ModuleList) else blocks(child)
    return found


def checkpoint_activations(model: nn.Module) -> None:
    """Keep only what goes into every block, and compute the rest again on the way back.

    Chen et al. 2016: memory for time, the gradients are the same.
    """
    for block in blocks(model):
        block.forward = partial(checkpoint, block.forward, use_reentrant=False)


def whole(tensor: Tensor) -> Tensor:
    """Give all of a tensor, of which this process may hold a part; all must ask together."""
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


def part_of(tensor: Tensor, like: Tensor) -> Tensor:
    """Give what this process holds of a tensor that is cut as `like` is."""
    if not isinstance(like, DTensor):
        return tensor
    return distribute_tensor(tensor, like.device_mesh, like.placements, src_data_rank=None)


def write_parts(tensors: dict[str, Tensor], folder: Path) -> list[Path]:
    """Write tensors of which every process holds a part; give the files, one of each process."""
    writer = HuggingFaceStorageWriter(str(folder), save_distributed=True)
    save(tensors, storage_writer=writer)
    return sorted(folder.glob("*.safetensors"))


def read_parts(folder: Path, like: Callable[[str], Tensor]) -> dict[str, Tensor]:
    """Read the tensors in a folder, whole or in any number of parts, as this process needs them.

    A tensor comes cut as `like(name)` is, if that has its shape, or else whole.
    """
    reader = HuggingFaceStorageReader(str(folder))
    tensors = {}
    for name, stored in reader.read_metadata().state_dict_metadata.items():
        assert isinstance(stored, TensorStorageMetadata)  # safetensors holds nothing else
        target = like(name)
        if target.shape != stored.size:
            target = torch.empty(stored.size, dtype=stored.properties.dtype)
        tensors[name] = torch.empty_like(target)
    with warnings.catch_warnings():  # that nobody else is asked is meant
        warnings.simplefilter("ignore")
        load(tensors, storage_reader=reader, no_dist=True)
    return tensors
