"""How fast do engines play, how near is that to the speed of memory, and what do others reach?

    python benchmarks/decode.py [--rounds 15] [--json FILE]

Every player takes one token at a time, with random weights of the size of the presets and a
cache of random keys and values of the given length. Beside the transformer stands a GPT-2 of the
same layers, width, heads, feed-forward and vocabulary, from Hugging Face transformers with its own
cache; beside the LSTM, torch's nn.LSTM with oneDNN off and on, and an output layer. (GPT-2 has no
relative logits, so it reads fewer bytes.)

All run on one thread of one process, a few steps each in turn, and beside them a probe that reads
as many bytes as one of our steps must: the weights once and, of the table of distances and the
cache, what lies within the length. The probe adds up rows of 1024 numbers, or takes a scalar
product, whichever is faster. Times are CPU seconds, medians over the rounds; shares and ratios are
medians of what each round gave, so that a busy machine disturbs both sides alike.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import platform
import statistics
import sys
import time
import warnings
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import torch

from espressivo import engines, models
from espressivo.configs import LstmConfig, ModelConfig, TransformerConfig

try:
    import transformers
except ImportError:
    transformers = None

THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
VOCABULARY = 388
LENGTHS = (256, 1024, 2048)
BATCHES = (1, 8)
STEPS = 3  # in a row, of one player
TRANSFORMER = TransformerConfig(
    layers=8, width=512, attention=512, feed_forward=2048, heads=8, reach=1024, context=2048
)
LSTM = LstmConfig(layers=3, width=512)
Step = Callable[[], Any]


def weights(config: ModelConfig) -> dict[str, np.ndarray]:
    model = models.build(config, VOCABULARY)
    return {name: tensor.numpy() for name, tensor in model.state_dict().items()}


def our_transformer(engine: engines.TransformerEngine, batch: int, length: int) -> Step:
    tokens, state = np.zeros(batch, int), engine.start(batch)
    state.grow(length)
    state.cache[...] = np.random.default_rng(0).random(state.cache.shape[-1], np.float32)

    def step() -> None:
        state.length = length - 1
        engine.step(tokens, state)

    return step


def gpt2(model: Any, batch: int, length: int) -> Step:
    config = model.config
    tokens, cache = (
        torch.zeros(batch, 1, dtype=torch.long),
        transformers.DynamicCache(config=config),
    )
    for layer in range(config.n_layer):
        shape = (2, batch, config.n_head, length - 1, config.n_embd // config.n_head)
        cache.update(*torch.rand(shape), layer)

    def step() -> None:
        with torch.inference_mode():
            model(input_ids=tokens, past_key_values=cache, use_cache=True)
        cache.crop(-1)

    return step


def lstm(engine: engines.Engine, batch: int) -> Step:
    tokens, state = np.zeros(batch, int), engine.start(batch)
    return lambda: engine.step(tokens, state)


def torch_lstm(batch: int, onednn: bool) -> Step:
    layers = torch.nn.LSTM(VOCABULARY, LSTM.width, LSTM.layers, batch_first=True).eval()
    output = torch.nn.Linear(LSTM.width, VOCABULARY)
    event = torch.nn.functional.one_hot(torch.zeros(batch, 1, dtype=torch.long), VOCABULARY).float()
    memory = tuple(torch.zeros(LSTM.layers, batch, LSTM.width) for _ in range(2))

    def step() -> None:
        with torch.inference_mode(), torch.backends.mkldnn.flags(enabled=onednn):
            output(layers(event, memory)[0])

    return step


def transformer_bytes(batch: int, length: int) -> int:
    config = TRANSFORMER
    near = min(length, config.reach)
    per_layer = config.width * (4 * config.attention + 2 * config.feed_forward)
    per_layer += config.attention * (near + 2 * batch * length)
    return 4 * (config.layers * per_layer + config.width * VOCABULARY)


def lstm_bytes() -> int:
    per_layer = 4 * LSTM.width * LSTM.width
    return 4 * (per_layer * (2 * LSTM.layers - 1) + LSTM.width * VOCABULARY)


def probes(count: int) -> list[Step]:
    """Ways to read so many bytes, as fast as numpy can."""
    rows = np.ones((-(-count // 4096), 1024), np.float32)
    ones, total, flat = np.ones(len(rows), np.float32), np.empty(1024, np.float32), rows.ravel()
    return [lambda: np.dot(ones, rows, out=total), lambda: np.dot(flat, flat)]


def cpu_seconds(step: Step, times: int) -> float:
    start = time.process_time()
    for _ in range(times):
        step()
    return (time.process_time() - start) / times


def measure(players: dict[str, Step], count: int, rounds: int) -> dict[str, Any]:
    """Let all play in turn; give each one's seconds, and round by round what they say of ours."""
    reading = probes(count)
    for step in (*players.values(), *reading):
        step()
    seconds: dict[str, list[float]] = {name: [] for name in players}
    memory: list[list[float]] = [[] for _ in reading]
    names = list(players)
    for turn in range(rounds):
        for name in names[turn % len(names) :] + names[: turn % len(names)]:
            seconds[name].append(cpu_seconds(players[name], STEPS))
        for times, probe in zip(memory, reading, strict=True):
            times.append(cpu_seconds(probe, 1))
    limit = min(memory, key=statistics.median)
    ours = seconds[names[0]]
    return {
        "seconds": {name: statistics.median(times) for name, times in seconds.items()},
        "quartiles": {k: statistics.quantiles(times, n=4)[::2] for k, times in seconds.items()},
        "bytes": count,
        "gigabytes_per_second": count / statistics.median(limit) / 1e9,
        "share_of_limit": statistics.median(a / b for a, b in zip(limit, ours, strict=True)),
        "times": {
            name: statistics.median(a / b for a, b in zip(seconds[name], ours, strict=True))
            for name in names[1:]
        },
    }


def hugging_face() -> Any:
    if transformers is None:
        return None
    config = transformers.GPT2Config(
        vocab_size=VOCABULARY,
        n_positions=TRANSFORMER.context,
        n_embd=TRANSFORMER.width,
        n_layer=TRANSFORMER.layers,
        n_head=TRANSFORMER.heads,
        n_inner=TRANSFORMER.feed_forward,
        bos_token_id=0,
        eos_token_id=0,
    )
    return transformers.GPT2LMHeadModel(config).eval()


def run(rounds: int) -> list[dict[str, Any]]:
    torch.manual_seed(0)
    results = []
    ours, theirs = engines.TransformerEngine(TRANSFORMER, weights(TRANSFORMER)), hugging_face()
    for batch in BATCHES:
        for length in LENGTHS:
            players = {"espressivo": our_transformer(ours, batch, length)}
            if theirs is not None:
                players["GPT-2, Hugging Face"] = gpt2(theirs, batch, length)
            case = {"model": "music-transformer", "length": length, "batch": batch}
            results.append(case | measure(players, transformer_bytes(batch, length), rounds))
            show(results[-1])
    small = engines.build(LSTM, weights(LSTM))
    for batch in BATCHES:
        players = {
            "espressivo": lstm(small, batch),
            "nn.LSTM": torch_lstm(batch, onednn=False),
            "nn.LSTM, oneDNN": torch_lstm(batch, onednn=True),
        }
        case = {"model": "lstm", "length": None, "batch": batch}
        results.append(case | measure(players, lstm_bytes(), 3 * rounds))
        show(results[-1])
    return results


HEAD = """
| model | length | batch | player | tokens per CPU second (quartiles) | of limit | ours over it |
| --- | --- | --- | --- | --- | --- | --- |"""


def show(result: dict[str, Any]) -> None:
    batch = result["batch"]
    for name, seconds in result["seconds"].items():
        slow, fast = (batch / value for value in reversed(result["quartiles"][name]))
        share = f"{result['share_of_limit']:.0%}" if name == "espressivo" else ""
        times = f"{result['times'][name]:.1f}" if name in result["times"] else ""
        length = result["length"] or ""
        rate = f"{batch / seconds:.0f} ({slow:.0f} to {fast:.0f})"
        print(f"| {result['model']} | {length} | {batch} | {name} | {rate} | {share} | {times} |")


def processor() -> str:
    path = Path("/proc/cpuinfo")
    lines = path.read_text().splitlines() if path.exists() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    if any(os.environ.get(name) != "1" for name in THREADS):  # read when libraries are loaded
        environment = os.environ | dict.fromkeys(THREADS, "1")
        os.execve(sys.executable, [sys.executable, *sys.argv], environment)
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    print(HEAD.strip())
    results = run(options.rounds)
    packages = ("numpy", "torch", "transformers")
    report = {
        "results": results,
        "machine": processor(),
        "load": os.getloadavg(),
        "versions": {"python": platform.python_version()}
        | {name: metadata.version(name) for name in packages if importlib.util.find_spec(name)},
    }
    if options.json:
        options.json.write_text(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    main()
