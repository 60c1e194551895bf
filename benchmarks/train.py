"""How fast does relative attention train, in how much memory, beside plain attention?

    python benchmarks/train.py [--device cuda] [--size paper] [--rounds 3] [--json FILE]

One process per kind of model, all of equal size, taking turns of whole training steps (forward,
loss, backward, clipping, AdamW) over random tokens:

    plain     torch's own attention (SDPA), no relative term
    relative  learned vectors per distance (Huang et al. 2018), the way `auto` chooses
    naive     the same by skewing whole matrices, which keeps several of length x length per head
    fourier   distances as learned sums of waves, 32 a head
    fourier-16  the same with 16 a head, as the bundled models have

With `--notes` it is the note-level model beside one over 390 events: see `train_notes.py`.

On a CPU time is CPU seconds of one thread, float32, one window of 2048 tokens; on CUDA it is
seconds, bfloat16, more windows. Rates are medians over the rounds; `of plain` is the median of what
each round gave. Memory is the highest the process took above what it had before the model was
built; on CUDA the most that was allocated.

MFU is the arithmetic that the model asks for, over what matrix products reach in the same process
in the same round: 6 per parameter of a matrix and token, and for attention 6 per layer, number of
width and token of length, of which a causal model needs half; 9 with a vector per distance.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import platform
import statistics
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import torch
import train_notes
from train_notes import resident

from espressivo.configs import TransformerConfig
from espressivo.models import MusicTransformer
from espressivo.models.model import cross_entropy
from espressivo.training.config import TrainingConfig
from espressivo.training.optim import optimizers

THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
VOCABULARY = 388
SIZES = {
    "paper": TransformerConfig(),  # Huang et al. 2018, table 3
    "25m": TransformerConfig(layers=8, width=512, attention=512, feed_forward=2048, heads=8),
    "85m": TransformerConfig(layers=12, width=768, attention=768, feed_forward=3072, heads=12),
}
KINDS: dict[str, dict[str, Any]] = {
    "plain": {"position": "none"},
    "relative": {"position": "relative"},
    "naive": {"position": "relative"},
    "fourier": {"position": "fourier"},
    "fourier-16": {"position": "fourier", "frequencies": 16},
}
MIB = 2**20


class Clock:
    """CPU seconds on a CPU, which neighbours disturb least; seconds elsewhere."""

    def __init__(self, device: torch.device) -> None:
        self.cuda = device.type == "cuda"

    def now(self) -> float:
        if not self.cuda:
            return time.process_time()
        torch.cuda.synchronize()
        return time.perf_counter()


def matmul_rate(device: torch.device, clock: Clock) -> float:
    """Operations per second of a large product of matrices, the best of five."""
    size, dtype = (8192, torch.bfloat16) if clock.cuda else (1024, torch.float32)
    a, b = torch.rand(2, size, size, device=device).to(dtype)
    seconds = []
    for _ in range(5):
        start = clock.now()
        a @ b
        seconds.append(clock.now() - start)
    return 2 * size**3 / min(seconds)


def operations(model: torch.nn.Module, config: TransformerConfig, length: int) -> float:
    """What a token of training asks for, forward and backward."""
    matrices = [m.weight for m in model.modules() if isinstance(m, torch.nn.Linear)]
    per_head = config.attention // config.heads
    asked = {"none": 0.0, "relative": 1.0, "fourier": 2 * config.frequencies / per_head}
    attention = (6 + 3 * asked[config.position]) * config.layers * config.attention * length
    return 6 * sum(m.numel() for m in matrices) + attention


def work(pipe: Connection, config: TransformerConfig, backend: str, options: Any) -> None:
    """Train a model a few steps whenever asked."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    device = torch.device(options.device)
    clock, before = Clock(device), resident(peak=False)
    model = MusicTransformer(config, VOCABULARY, backend).to(device)
    training = TrainingConfig(optimizer="adamw")
    adam = optimizers(model, training)
    forward = torch.compile(model) if options.compile else model
    tokens = torch.randint(VOCABULARY, (options.batch, options.length + 1), device=device)

    def step() -> None:
        model.zero_grad(set_to_none=True)
        with torch.autocast(device.type, torch.bfloat16, enabled=clock.cuda):
            logits, _ = forward(tokens[:, :-1])
        cross_entropy(logits, tokens[:, 1:]).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), training.clip_norm)
        for optimizer in adam:
            optimizer.step()

    step()
    pipe.send(
        {
            "parameters": sum(p.numel() for p in model.parameters()),
            "operations_per_token": operations(model, config, options.length),
        }
    )
    while asked_again(pipe):
        start = clock.now()
        for _ in range(options.steps):
            step()
        seconds = (clock.now() - start) / options.steps
        peak = torch.cuda.max_memory_allocated() if clock.cuda else resident(peak=True) - before
        rate = matmul_rate(device, clock)
        pipe.send({"seconds": seconds, "memory": peak, "matmul_rate": rate})


def asked_again(pipe: Connection) -> bool:
    try:
        return pipe.recv() == "train"
    except EOFError:
        return False


@contextmanager
def worker(config: TransformerConfig, backend: str, options: Any) -> Iterator[Connection]:
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe()
    process = context.Process(target=work, args=(there, config, backend, options))
    process.start()
    there.close()
    try:
        yield here
    finally:
        here.close()  # which ends its waiting for another round
        process.join()


def measure(size: str, options: Any) -> list[dict[str, Any]]:
    """Let every kind take its turn in every round; give what came out, kind by kind."""
    about: dict[str, dict[str, Any]] = {}
    turns: dict[str, list[dict[str, float]]] = {}
    with ExitStack() as stack:
        pipes = {}
        for kind in options.kinds:
            config = replace(SIZES[size], context=options.length, **KINDS[kind])
            backend = "skewed" if kind == "naive" else "auto"
            pipe = stack.enter_context(worker(config, backend, options))
            try:
                about[kind], pipes[kind], turns[kind] = pipe.recv(), pipe, []
            except EOFError:
                print(f"{kind} at {size} did not train: see above", file=sys.stderr)
        names = list(pipes)
        for turn in range(options.rounds):
            shift = turn % len(names)
            for kind in names[shift:] + names[:shift]:
                pipes[kind].send("train")
                turns[kind].append(pipes[kind].recv())
    return [summary(size, kind, about[kind], turns, options) for kind in names]


def summary(
    size: str, kind: str, about: dict[str, Any], turns: dict[str, Any], options: Any
) -> dict[str, Any]:
    tokens = options.batch * options.length
    ours, plain = turns[kind], turns.get("plain", [])
    rates = [tokens / turn["seconds"] for turn in ours]
    of_limit = [
        rate * about["operations_per_token"] / turn["matmul_rate"]
        for rate, turn in zip(rates, ours, strict=True)
    ]
    memory = max(turn["memory"] for turn in ours)
    result = {"size": size, "kind": kind, "batch": options.batch, "length": options.length, **about}
    result |= {
        "tokens_per_second": statistics.median(rates),
        "slowest_and_fastest": (min(rates), max(rates)),
        "mfu": statistics.median(of_limit),
        "matmul_rate": statistics.median(turn["matmul_rate"] for turn in ours),
        "memory": memory,
    }
    if plain:
        pairs = zip(plain, ours, strict=True)
        result["of_plain"] = statistics.median(a["seconds"] / b["seconds"] for a, b in pairs)
        result["memory_of_plain"] = memory / max(turn["memory"] for turn in plain)
    return result


HEAD = """
| size | attention | parameters | tokens per second (range) | of plain | MFU | MiB | of plain |
| --- | --- | --- | --- | --- | --- | --- | --- |"""


def row(result: dict[str, Any]) -> str:
    low, high = result["slowest_and_fastest"]
    cells = [
        result["size"],
        result["kind"],
        f"{result['parameters'] / 1e6:.1f} M",
        f"{result['tokens_per_second']:,.0f} ({low:,.0f} to {high:,.0f})",
        f"{result['of_plain']:.2f}" if "of_plain" in result else "",
        f"{result['mfu']:.0%}",
        f"{result['memory'] / MIB:,.0f}",
        f"{result['memory_of_plain']:.2f}" if "of_plain" in result else "",
    ]
    return f"| {' | '.join(cells)} |"


def processor(device: str) -> str:
    if device == "cuda":
        return torch.cuda.get_device_name()
    path = Path("/proc/cpuinfo")
    lines = path.read_text().splitlines() if path.exists() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def parsed() -> Any:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--size", dest="sizes", action="append", choices=SIZES)
    parser.add_argument("--kind", dest="kinds", action="append", choices=KINDS)
    parser.add_argument("--length", type=int, default=2048)
    parser.add_argument("--batch", type=int)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int)
    parser.add_argument("--compile", action="store_true")
    parser.add_argument("--notes", action="store_true", help="the note-level model instead")
    parser.add_argument("--threads", type=int, default=2, help="of each process, with --notes")
    parser.add_argument("--precision", choices=("bfloat16", "float32"), default="bfloat16")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    cuda = options.device == "cuda"
    options.sizes = options.sizes or (["25m", "85m"] if cuda else ["paper"])
    options.kinds = options.kinds or list(KINDS)
    options.batch = options.batch or (8 if cuda else 1)
    options.steps = options.steps or (10 if cuda else 1)
    return options


def main() -> None:
    options = parsed()
    threads = str(options.threads if options.notes else 1)
    if any(os.environ.get(name) != threads for name in THREADS):  # read when libraries are loaded
        environment = os.environ | dict.fromkeys(THREADS, threads)
        os.execve(sys.executable, [sys.executable, *sys.argv], environment)
    if options.notes:
        results = train_notes.measure(options)
        print(train_notes.table(results))
    else:
        print(HEAD.strip())
        results = []
        for size in options.sizes:
            for result in measure(size, options):
                results.append(result)
                print(row(result), flush=True)
    report = {
        "results": results,
        "device": processor(options.device),
        "load": os.getloadavg(),
        "versions": {"python": platform.python_version(), "torch": torch.__version__},
    }
    if options.json:
        options.json.write_text(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    main()
