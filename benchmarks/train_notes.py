"""How fast does the note-level model train, beside a model over 390 events of the same cost?

    python benchmarks/train.py --notes [--threads 2] [--rounds 5] [--json FILE]

One process per row, taking turns of whole training steps as the runs take them: autocast to
bfloat16 (or float32, `--precision`), Muon and AdamW, clipping. Random events; a step holds as much
music in every row: 8,192 events of the note-level model at 1.15 a note, as many notes at 4.79
tokens. Seconds are those of the clock, since two threads are what is measured; the share of the
matrix rate is 6 operations per parameter of a matrix and event, and what attention asks for, over
what products of 2048 x 2048 reach in the same process in the same round, in the faster of
bfloat16 and float32.
"""

from __future__ import annotations

import multiprocessing
import platform
import resource
import statistics
import time
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import torch

from espressivo.codecs import CODECS, EVENT_CODECS
from espressivo.configs import NoteTransformerConfig, TransformerConfig
from espressivo.models import build
from espressivo.training.config import TrainingConfig
from espressivo.training.optim import optimizers

EVENTS, EVENTS_PER_NOTE, TOKENS_PER_NOTE = 8192, 1.15, 4.79
NOTES = NoteTransformerConfig()
TOKENS = TransformerConfig(
    layers=8,
    width=384,
    attention=384,
    feed_forward=1536,
    heads=6,
    position="fourier",
    frequencies=16,
    sinusoids="none",
    qk_norm=True,
    dropout=0.0,
)
ROWS: dict[str, tuple[NoteTransformerConfig | TransformerConfig, int]] = {
    "notes, windows of 128": (NOTES, 128),
    "notes, windows of 512": (NOTES, 512),
    "390 events, windows of 2048": (TOKENS, 2048),
}


def resident(peak: bool) -> int:
    """Bytes of memory this process has, or at most had."""
    status = Path("/proc/self/status")
    if not status.exists():
        used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return used if platform.system() == "Darwin" else used * 1024
    name = "VmHWM:" if peak else "VmRSS:"
    lines = [line.split() for line in status.read_text().splitlines()]
    return next(int(words[1]) * 1024 for words in lines if words[0] == name)


def matrix_rate(size: int = 2048) -> float:
    """Operations per second of large products, in the faster arithmetic."""
    best = 0.0
    for dtype in (torch.bfloat16, torch.float32):
        a, b = torch.rand(2, size, size).to(dtype)
        a @ b
        for _ in range(5):
            began = time.perf_counter()
            a @ b
            best = max(best, 2 * size**3 / (time.perf_counter() - began))
    return best


def operations(config: NoteTransformerConfig | TransformerConfig, model: Any, length: int) -> float:
    """What one event of training asks for, forward and backward."""
    matrices = sum(m.weight.numel() for m in model.modules() if isinstance(m, torch.nn.Linear))
    if isinstance(config, NoteTransformerConfig):
        keys = config.heads * (config.key_dim + 2 * config.frequencies)
    else:
        keys = config.attention + 2 * config.heads * config.frequencies
    return 6 * matrices + 3 * config.layers * (keys + config.width) * length  # the past is half


def work(pipe: Connection, row: str, threads: int, precision: str) -> None:
    torch.set_num_threads(threads)
    torch.manual_seed(0)
    before = resident(peak=False)
    config, length = ROWS[row]
    notes = isinstance(config, NoteTransformerConfig)
    codec = EVENT_CODECS["note-events"] if notes else CODECS["performance-rnn-pedal"]
    model = build(config, len(codec.vocabulary))
    training = TrainingConfig(optimizer="muon", precision=precision)
    steppers = optimizers(model, training)
    total = EVENTS if notes else round(EVENTS / EVENTS_PER_NOTE * TOKENS_PER_NOTE)
    parts = 1 if notes else 4  # of a step go through the model one after another; one is timed
    batch = max(total // length // parts, 1)
    shape = (batch, length + 1)
    if isinstance(config, NoteTransformerConfig):
        tokens = torch.stack([torch.randint(n, shape) for n in config.classes], -1)
    else:
        tokens = torch.randint(len(codec.vocabulary), shape)

    def step() -> tuple[float, float]:
        began = time.perf_counter()
        model.zero_grad(set_to_none=True)
        with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bfloat16"):
            loss = model.nats(tokens).mean()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), training.clip_norm)
        middle = time.perf_counter()
        for optimizer in steppers:
            optimizer.step()
        return parts * (middle - began), time.perf_counter() - middle

    step()
    asked = operations(config, model, length)
    events = parts * batch * length
    per_note = EVENTS_PER_NOTE if notes else TOKENS_PER_NOTE
    pipe.send({"parameters": sum(p.numel() for p in model.parameters())})
    while pipe.recv() == "train":
        model_seconds, optimizer_seconds = step()
        seconds = model_seconds + optimizer_seconds
        rate = matrix_rate()
        pipe.send(
            {
                "notes_per_second": events / per_note / seconds,
                "share": events * asked / seconds / rate,
                "share_without_optimizer": events * asked / model_seconds / rate,
                "optimizer": optimizer_seconds / seconds,
                "matrix_rate": rate,
                "memory": resident(peak=True) - before,
            }
        )


def measure(options: Any) -> list[dict[str, Any]]:
    """Let every row take its turn in every round; return the medians, row by row."""
    context = multiprocessing.get_context("spawn")
    pipes, turns, about = {}, {}, {}
    processes = []
    for row in ROWS:
        here, there = context.Pipe()
        arguments = (there, row, options.threads, options.precision)
        processes.append(context.Process(target=work, args=arguments, daemon=True))
        processes[-1].start()
        pipes[row], turns[row], about[row] = here, [], here.recv()
    for _ in range(options.rounds):
        for row, pipe in pipes.items():
            pipe.send("train")
            turns[row].append(pipe.recv())
    for pipe in pipes.values():
        pipe.send("end")
    for process in processes:
        process.join()
    return [
        {
            "row": row,
            **about[row],
            **{key: statistics.median(turn[key] for turn in each) for key in each[0]},
        }
        for row, each in turns.items()
    ]


def table(results: list[dict[str, Any]]) -> str:
    lines = [
        "| model | parameters | notes per second | share of the matrix rate "
        "| without the optimiser | optimiser | matrix rate (GFLOP/s) | peak MiB |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    lines += [
        f"| {r['row']} | {r['parameters'] / 1e6:.1f} M | {r['notes_per_second']:,.0f} "
        f"| {r['share']:.0%} | {r['share_without_optimizer']:.0%} | {r['optimizer']:.0%} "
        f"| {r['matrix_rate'] / 1e9:,.0f} | {r['memory'] / 2**20:,.0f} |"
        for r in results
    ]
    return "\n".join(lines)
