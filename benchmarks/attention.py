"""What does relative attention cost beside attention without it?

    python benchmarks/attention.py [--lengths 1024,4096] [--rounds 5] [--json FILE]

Forward and backward, causal, one table per head, heads of 64. Beside our back ends stand torch's
own attention, which has no relative logits, and naive skewing, which holds all pairs.

On CUDA, in bfloat16 with 8 heads: errors against float64 at length 1024, times at 1k to 64k (CUDA
events, median), the most memory above the inputs, and a training step of the paper's model at
65,536 tokens in a process that may take 16 GB. A batch holds 16,384 tokens, or one sequence.

On a CPU, in float32 with 2 heads: CPU seconds, each back end in turn, medians over rounds; and
the most resident memory above the inputs, each in a process of its own.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.functional import scaled_dot_product_attention

from espressivo.configs import TransformerConfig
from espressivo.configs.patterns import Causal
from espressivo.models import MusicTransformer
from espressivo.models.attention.dense import skewed
from espressivo.models.attention.fused import fused
from espressivo.models.attention.position import Relative
from espressivo.models.attention.rows import rows

WIDTH = 64
REACH = 1024  # of the paper
LENGTHS = {"cuda": (1024, 2048, 4096, 8192, 16384, 32768, 65536), "cpu": (512, 1024, 2048)}
NAIVE = 16384  # no longer than this: 2 GB for the pairs of one head in bfloat16
CAP = 16e9
VOCABULARY = 388
Attention = Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]


def naive(q: Tensor, k: Tensor, v: Tensor, table: Tensor) -> Tensor:
    return skewed(q, k, v, Causal(), Relative(table))


def plain(q: Tensor, k: Tensor, v: Tensor, table: Tensor) -> Tensor:
    kernel = SDPBackend.FLASH_ATTENTION
    with sdpa_kernel(kernel):
        return scaled_dot_product_attention(q, k, v, is_causal=True)


def inputs(
    device: str, length: int, reach: int, batch: int, heads: int, dtype: torch.dtype
) -> list[Tensor]:
    """Queries, keys, values, a table, and the gradient from above."""
    draw = torch.Generator(device).manual_seed(0)
    shapes = [(batch, heads, length, WIDTH)] * 3 + [(heads, reach, WIDTH)]
    made = [torch.randn(s, generator=draw, device=device, dtype=dtype) for s in shapes]
    above = torch.randn(shapes[0], generator=draw, device=device, dtype=dtype)
    return [*(x.requires_grad_() for x in made), above]


def pass_back(attention: Attention, tensors: list[Tensor]) -> list[Tensor]:
    """Attend, and give what was heard and all gradients (none for a table that is not used)."""
    *leaves, above = tensors
    heard = attention(*leaves)
    gradients = torch.autograd.grad(heard, leaves, above, allow_unused=True)
    return [heard, *(x for x in gradients if x is not None)]


def errors(length: int = 1024) -> list[dict[str, Any]]:
    """The error of fused attention and its gradients, as shares, for every type and choice."""
    found = []
    for dtype in (torch.float32, torch.float16, torch.bfloat16):
        for turn in ("float32",) if dtype == torch.float32 else ("float16", "float32"):
            for ordered in (False, True):
                tensors = inputs("cuda", length, length // 2, 1, 2, dtype)
                wide = [x.detach().double().requires_grad_() for x in tensors]
                torch.use_deterministic_algorithms(ordered)
                ours = pass_back(partial(fused, turn=turn), tensors)
                torch.use_deterministic_algorithms(False)
                pairs = list(zip(ours, pass_back(naive, wide), strict=True))
                shares = [float((a.double() - b).norm() / b.norm()) for a, b in pairs]
                names = ("out", "dq", "dk", "dv", "dtable")
                case = {"type": str(dtype), "turn": turn, "ordered": ordered}
                found.append(case | dict(zip(names, shares, strict=True)))
                print(" ".join(f"{k}={v:.1e}" if isinstance(v, float) else f"{k}={v}"
                               for k, v in found[-1].items()))  # fmt: skip
    return found


def on_cuda(attention: Attention, tensors: list[Tensor], rounds: int) -> dict[str, Any]:
    """Milliseconds of the forward pass and of both, and the bytes both took above the inputs."""
    pass_back(attention, tensors)
    torch.cuda.synchronize()
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    pass_back(attention, tensors)
    peak = torch.cuda.max_memory_allocated() - before
    forward = milliseconds(lambda: attention(*tensors[:-1]), rounds)
    both = milliseconds(lambda: pass_back(attention, tensors), rounds)
    return {"forward_ms": forward, "both_ms": both, "peak_bytes": peak}


def milliseconds(run: Callable[[], Any], rounds: int) -> float:
    times = []
    for _ in range(rounds):
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        start.record()
        run()
        end.record()
        torch.cuda.synchronize()
        times.append(start.elapsed_time(end))
    return statistics.median(times)


def ordered(*tensors: Tensor) -> Tensor:
    """Sum the gradient of the table in a fixed order. (The choice is made going forward.)"""
    torch.use_deterministic_algorithms(True)
    heard = fused(*tensors)
    torch.use_deterministic_algorithms(False)
    return heard


def times_on_cuda(lengths: tuple[int, ...], rounds: int) -> list[dict[str, Any]]:
    found = []
    for length in lengths:
        batch = max(1, 16384 // length)
        players: dict[str, tuple[Attention, int]] = {
            "sdpa flash": (plain, REACH),
            "fused": (fused, length),
            f"fused, reach {REACH}": (fused, REACH),
            "fused, turned in float32": (partial(fused, turn="float32"), length),
            "fused, ordered": (ordered, length),
        }
        if length <= NAIVE:
            players |= {"skewed": (naive, length), "rows": (rows, length)}
        for name, (attention, reach) in players.items():
            tensors = inputs("cuda", length, reach, batch, 8, torch.bfloat16)
            case = {"length": length, "batch": batch, "back end": name}
            try:
                found.append(case | on_cuda(attention, tensors, rounds))
            except torch.OutOfMemoryError:
                found.append(case | {"out of memory": True})
            show(found)
            torch.cuda.empty_cache()
    return found


def show(found: list[dict[str, Any]]) -> None:
    """Print the last row, beside plain attention at the same length."""
    row = found[-1]
    if "both_ms" not in row:
        print(f"| {row['length']} | {row['batch']} | {row['back end']} | out of memory | | | |")
        return
    base = next(x for x in found if x["length"] == row["length"])
    times = row["both_ms"] / base["both_ms"]
    figures = f"{row['forward_ms']:.3f} | {row['both_ms']:.3f} | {times:.2f}"
    memory = row["peak_bytes"] / 2**20
    print(f"| {row['length']} | {row['batch']} | {row['back end']} | {figures} | {memory:.0f} |")


def training_step(reach: int, length: int = 65536) -> dict[str, Any]:
    """Two steps of the paper's model; `fits` says that 16 GB were enough."""
    total = torch.cuda.get_device_properties(0).total_memory
    torch.cuda.empty_cache()
    torch.cuda.set_per_process_memory_fraction(min(1.0, CAP / total))
    torch.cuda.reset_peak_memory_stats()
    case = {"tokens": length, "reach": reach, "cap_bytes": CAP}
    try:
        config = TransformerConfig(context=length, reach=reach)
        model = MusicTransformer(config, VOCABULARY, backend="fused").cuda()
        optimiser = torch.optim.AdamW(model.parameters(), fused=True)
        tokens = torch.randint(VOCABULARY, (1, length + 1), device="cuda")
        for _ in range(2):
            start = time.perf_counter()
            with torch.autocast("cuda", torch.bfloat16):
                logits, _ = model(tokens[:, :-1])
            torch.nn.functional.cross_entropy(logits[0], tokens[0, 1:]).backward()
            optimiser.step()
            optimiser.zero_grad()
            torch.cuda.synchronize()
            seconds = time.perf_counter() - start
    except torch.OutOfMemoryError:
        return case | {"fits": False}
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
    return case | {
        "fits": True, "seconds": seconds, "peak_bytes": torch.cuda.max_memory_allocated(),
    }  # fmt: skip


CPU_PLAYERS: dict[str, Attention] = {
    "sdpa": lambda q, k, v, table: scaled_dot_product_attention(q, k, v, is_causal=True),
    "rows": rows,
    "skewed": naive,
}


def on_cpu(lengths: tuple[int, ...], rounds: int) -> list[dict[str, Any]]:
    found = []
    for length in lengths:
        tensors = inputs("cpu", length, length, 1, 2, torch.float32)
        seconds: dict[str, list[float]] = {name: [] for name in CPU_PLAYERS}
        for turn in range(rounds + 1):
            for name, attention in CPU_PLAYERS.items():
                start = time.process_time()
                pass_back(attention, tensors)
                if turn:
                    seconds[name].append(time.process_time() - start)
        for name, times in seconds.items():
            ratios = [a / b for a, b in zip(times, seconds["sdpa"], strict=True)]
            row = {"length": length, "back end": name, "seconds": statistics.median(times)}
            row |= {"times_sdpa": statistics.median(ratios), "peak_bytes": resident(name, length)}
            found.append(row)
            print(
                f"| {length} | {name} | {row['seconds']:.3f} | {row['times_sdpa']:.1f} | "
                f"{row['peak_bytes'] / 2**20:.0f} |",
                flush=True,
            )
    return found


def resident(name: str, length: int) -> int:
    """Measure in a process of its own what a back end adds to the most memory it had before."""
    command = [sys.executable, __file__, "--alone", name, "--lengths", str(length)]
    said = subprocess.run(command, capture_output=True, text=True, check=True)
    return int(said.stdout)


def alone(name: str, length: int) -> None:
    pass_back(CPU_PLAYERS[name], inputs("cpu", 64, 64, 1, 2, torch.float32))  # load libraries
    tensors = inputs("cpu", length, length, 1, 2, torch.float32)
    Path("/proc/self/clear_refs").write_text("5")  # forget what importing took at its peak
    before = kilobytes("VmRSS")
    pass_back(CPU_PLAYERS[name], tensors)
    print(1024 * (kilobytes("VmHWM") - before))


def kilobytes(field: str) -> int:
    """Read from Linux what this process holds, or held at most."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(field))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--lengths", type=lambda text: tuple(map(int, text.split(","))))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--alone", choices=CPU_PLAYERS, help=argparse.SUPPRESS)
    options = parser.parse_args()
    device = "cuda" if torch.cuda.is_available() and not options.alone else "cpu"
    lengths = options.lengths or LENGTHS[device]
    if options.alone:
        alone(options.alone, lengths[0])
        return
    report: dict[str, Any] = {"torch": torch.__version__, "load": os.getloadavg()}
    if device == "cuda":
        report["machine"] = torch.cuda.get_device_name()
        report["errors"] = errors()
        print("| length | batch | back end | forward ms | both ms | times sdpa | peak MiB |")
        print("|---|---|---|---|---|---|---|")
        report["results"] = times_on_cuda(lengths, options.rounds)
        report["steps"] = [training_step(reach) for reach in (REACH, 65536)]
        print(*report["steps"], sep="\n")
    else:
        torch.set_num_threads(1)
        report["machine"] = platform.processor() or platform.machine()
        print("| length | back end | CPU seconds | times sdpa | peak MiB |\n|---|---|---|---|---|")
        report["results"] = on_cpu(lengths, options.rounds)
    if options.json:
        options.json.write_text(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    main()
