"""The same training on the workers of a Ray cluster, begun again when one of them dies.

Needs the `cluster` extra. Whoever may talk to a Ray cluster may run code on it, so it belongs in a
network of its own.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Generic, TypeVar

import ray
from ray.exceptions import RayActorError, RayError, RayTaskError
from ray.util import get_node_ip_address

from espressivo.errors import TrainingError

T = TypeVar("T")

GRACE = 30.0
"""Seconds that workers have to end by themselves once one of them has failed."""
MEMORY = 100 * 2**20
"""Bytes Ray may keep for objects that workers exchange; training exchanges none that way."""


def on_ray(
    work: Callable[[], T], workers: int, *, gpus: bool = False, failures: int = 3
) -> list[T]:
    """Call work() in so many processes, which find each other as under torchrun.

    Give what each of them gives. When one dies, all are started again, at most `failures` times:
    work goes on from what it saved. An error that work raises is raised here. RAY_ADDRESS names
    a cluster; without it everything runs on this machine.
    """
    with _cluster(workers):
        for left in reversed(range(failures + 1)):
            try:
                return _together(work, workers, gpus)
            except RayActorError as error:
                if not left:
                    raise TrainingError(
                        f"a worker died {failures + 1} times, which is enough: {error}"
                    ) from error
    raise AssertionError("the loop returns or raises")


@contextmanager
def _cluster(workers: int) -> Iterator[None]:
    """Join the cluster, or make one of this machine alone."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    address = os.environ.get("RAY_ADDRESS", "local")
    alone: dict[str, Any] = {
        "num_cpus": max(workers, os.cpu_count() or 1),
        "object_store_memory": MEMORY,
        "include_dashboard": False,
        "_node_ip_address": "127.0.0.1",
    }
    ray.init(address, logging_level="WARNING", **(alone if address == "local" else {}))
    try:
        yield
    finally:
        ray.shutdown()


class Member(Generic[T]):
    """One process of an ensemble."""

    def place(self) -> dict[str, str]:
        """Give where the others find this process, if it is the first."""
        with socket.socket() as free:
            free.bind(("", 0))
            port = free.getsockname()[1]
        return {"MASTER_ADDR": get_node_ip_address(), "MASTER_PORT": str(port)}

    def work(self, work: Callable[[], T], place: dict[str, str]) -> T:
        """Do the work under the variables that torchrun would set."""
        os.environ |= place
        return work()


def _together(work: Callable[[], T], workers: int, gpus: bool) -> list[T]:
    """Call work() in every worker once; a worker that dies is a RayActorError."""
    kind = ray.remote(num_cpus=1, num_gpus=int(gpus))(Member)
    members = [kind.remote() for _ in range(workers)]
    try:
        place = ray.get(members[0].place.remote()) | {"WORLD_SIZE": str(workers), "LOCAL_RANK": "0"}
        answers = [
            member.work.remote(work, place | {"RANK": str(rank)})
            for rank, member in enumerate(members)
        ]
        _wait(answers)
        return [ray.get(answer) for answer in answers]
    finally:
        for member in members:
            ray.kill(member)


def _wait(answers: list[Any]) -> None:
    """Wait for all; raise what went wrong, the death of a worker before what it did to others."""
    errors: list[RayError] = []
    waiting = answers
    while waiting:
        done, waiting = ray.wait(waiting, timeout=GRACE if errors else None)
        if not done:
            break
        try:
            ray.get(done)
        except RayError as error:
            errors.append(error)
    errors.sort(key=lambda error: not isinstance(error, RayActorError))
    for first in errors:
        raise first.cause if isinstance(first, RayTaskError) else first
