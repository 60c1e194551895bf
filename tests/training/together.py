"""Several processes that train together, for tests: forked, so that torch is imported once."""

import hashlib
import multiprocessing
import os
import socket
import traceback

import pytest

parallel = pytest.importorskip("espressivo.training.parallel")

CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(
    ["espressivo.training.train", "torch._dynamo", "tests.training.together"]
)


def together(task, size, *arguments):
    """Run task(*arguments) in `size` processes; give what each of them gives, in their order."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    queue = CONTEXT.SimpleQueue()
    processes = [
        CONTEXT.Process(target=_member, args=(queue, rank, size, port, task, arguments))
        for rank in range(size)
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join(120)
        process.kill()
    answers = {}
    while not queue.empty():
        rank, answer = queue.get()
        answers[rank] = answer
    return [answers.get(rank) for rank in range(size)]


def _member(queue, rank, size, port, task, arguments):
    os.environ |= {
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
        "RANK": str(rank),
        "WORLD_SIZE": str(size),
    }
    try:
        queue.put((rank, task(*arguments)))
    except Exception as error:
        traceback.print_exc()
        queue.put((rank, f"{type(error).__name__}: {error}"))


def digest(tensors):
    """Give the SHA-256 of tensors, all of which are gathered."""
    hashed = hashlib.sha256()
    for tensor in tensors:
        hashed.update(parallel.whole(tensor.detach()).numpy().tobytes())
    return hashed.hexdigest()
