"""How fast do engines play, how near is that to the speed of memory, and what do others reach?

    python benchmarks/decode.py [--rounds 15] [--json FILE]

Every player takes one token at a time, with random weights of the size of the presets and a
cache of random keys and values of the given length. Beside the transformer stands a GPT-2 of the
same layers, width, heads, feed-forward and vocabulary, from Hugging Face transformers with its own
cache; beside the LSTM, torch's nn.LSTM with oneDNN off and on, and an output layer. (GPT-2 has no
relative logits, so it reads fewer bytes.)

All run on one thread of one process, a few steps each in turn, and after them a probe that reads
as many bytes as one of our steps must: the weights once and, of the table of distances and the
cache, what lies within the length. It reads the engine's own weights and cache, since memory
elsewhere may be faster or slower, by adding up rows of 1024 numbers in one product, which was
faster than a sum, a maximum or a scalar product. Times are CPU seconds, medians over the rounds;
shares and ratios are medians of what each round gave, so that a busy machine disturbs both sides
alike.
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
Memory = tuple[np.ndarray, int]  # and how many bytes of it a step reads


def weights(config: ModelConfig) -> dict[str, np.ndarray]:
    model = models.build(config, VOCABULARY)
    return {name: tensor.numpy() for name, tensor in model.state_dict().items()}


def our_transformer(engine: engines.TransformerEngine, state: Any, length: int) -> Step:
    tokens = np.zeros(state.batch, int)
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


def transformer_bytes(length: int) -> int:
    """What a step reads of the weights."""
    config = TRANSFORMER
    per_layer = config.width * (4 * config.attention + 2 * config.feed_forward)
    per_layer += config.attention * min(length, config.reach)
    return 4 * (config.layers * per_layer + config.width * VOCABULARY)


def lstm_bytes() -> int:
    per_layer = 4 * LSTM.width * LSTM.width
    return 4 * (per_layer * (2 * LSTM.layers - 1) + LSTM.width * VOCABULARY)


def probe(memory: np.ndarray, count: int) -> Callable[[], float]:
    """Give what measures the CPU seconds it takes to read `count` bytes of an array's memory."""
    while isinstance(memory.base, np.ndarray):
        memory = memory.base
    flat = memory.reshape(-1)
    rows = flat[: flat.size // 1024 * 1024].reshape(-1, 1024)
    ones, total = np.ones(len(rows), np.float32), np.empty(1024, np.float32)
    return lambda: cpu_seconds(lambda: np.dot(ones, rows, out=total), 1) * count / rows.nbytes


def cpu_seconds(step: Step, times: int) -> float:
    start = time.process_time()
    for _ in range(times):
        step()
    return (time.process_time() - start) / times


def measure(players: dict[str, Step], memory: dict[str, Memory], rounds: int) -> dict[str, Any]:
    """Let all play in turn; give each one's seconds, and round by round what they say of ours."""
    probes = [probe(array, count) for array, count in memory.values()]
    for step in (*players.values(), *probes):
        step()
    seconds: dict[str, list[float]] = {name: [] for name in players}
    limit: list[float] = []
    names = list(players)
    for turn in range(rounds):
        for name in names[turn % len(names) :] + names[: turn % len(names)]:
            seconds[name].append(cpu_seconds(players[name], STEPS))
        limit.append(sum(seconds_of() for seconds_of in probes))
    count = sum(count for _, count in memory.values())
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
            state = ours.start(batch)
            players = {"espressivo": our_transformer(ours, state, length)}
            cached = 8 * batch * TRANSFORMER.layers * TRANSFORMER.attention * length
            memory = {
                "weights": (ours.weights.output, transformer_bytes(length)),
                "cache": (state.cache, cached),
            }
            if theirs is not None:
                players["GPT-2, Hugging Face"] = gpt2(theirs, batch, length)
            case = {"model": "music-transformer", "length": length, "batch": batch}
            results.append(case | measure(players, memory, rounds))
            show(results[-1])
    small = engines.LstmEngine(LSTM, weights(LSTM))
    for batch in BATCHES:
        players = {
            "espressivo": lstm(small, batch),
            "nn.LSTM": torch_lstm(batch, onednn=False),
            "nn.LSTM, oneDNN": torch_lstm(batch, onednn=True),
        }
        memory = {"weights": (small.weights["output"], lstm_bytes())}
        case = {"model": "lstm", "length": None, "batch": batch}
        results.append(case | measure(players, memory, 3 * rounds))
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
