"""The parts of a leg that measure, each run in a process of its own by gpu_leg_run.py."""

from __future__ import annotations

import gc
import importlib.util
import json
import multiprocessing
import os
import platform
import shutil
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import torch
from gpu_leg_train import RUNS, train

from espressivo.codecs.coarse import EVENTS_390
from espressivo.configs import TransformerConfig
from espressivo.corpora import Corpus
from espressivo.models import Model, build
from espressivo.presets import override, preset
from espressivo.training.batches import Reading
from espressivo.training.config import TrainingConfig
from espressivo.training.optim import optimizers
from espressivo.training.train import Trainer

HOME = Path(__file__).resolve().parents[1]
Say = Callable[[dict[str, Any]], None]
Settings = dict[str, Any]


def work(part: str, settings: Settings) -> None:
    """Do one part and leave what it found in the file that the settings name, as it goes."""
    file = Path(settings["file"])

    def say(found: dict[str, Any]) -> None:
        draft = file.with_suffix(".draft")
        draft.write_text(json.dumps(found))
        draft.replace(file)

    if settings["rehearse"]:
        torch.set_num_threads(1)
    does = {"device": device, "errors": errors, "attention": attention}
    does |= {"training": training, "steps": steps, "losses": losses} | {
        name: partial(train, name) for name in RUNS
    }
    say(does[part](settings, say))


def device(settings: Settings, say: Say) -> dict[str, Any]:
    """Say what the machine is and how fast it multiplies and copies."""
    found: dict[str, Any] = {"python": platform.python_version(), "torch": torch.__version__}
    found |= {"cores": os.cpu_count(), "load": os.getloadavg()[0], "cuda": torch.version.cuda}
    for name in ("triton", "numpy", "safetensors", "jaxtyping", "xdist"):
        there = importlib.util.find_spec(name)
        found[name] = bool(there) and str(getattr(_imported(name), "__version__", "there"))
    if settings["device"] == "cpu":
        return found | {"device": "cpu"}
    about = torch.cuda.get_device_properties(0)
    found |= {"device": about.name, "memory_bytes": about.total_memory}
    found |= {"capability": list(torch.cuda.get_device_capability())}
    query = ["nvidia-smi", "--query-gpu=driver_version,clocks.sm,power.limit", "--format=csv"]
    if shutil.which(query[0]):
        found["nvidia_smi"] = subprocess.run(query, capture_output=True, text=True).stdout.strip()
    say(found)
    found["bf16_operations_per_second"] = _rate(torch.device("cuda"))
    big = torch.empty(2**31, dtype=torch.uint8, device="cuda")
    milliseconds = _bench("attention").milliseconds(lambda: big.clone(), 5)
    return found | {"copied_bytes_per_second": 2 * 2**31 / milliseconds * 1e3}


def errors(settings: Settings, say: Say) -> dict[str, Any]:
    """Compare fused attention with float64 in all types, both turns and both sums."""
    if settings["device"] == "cpu":
        return {"skipped": "errors are measured on cuda; the tests interpret the kernels here"}
    rows = _bench("attention").errors()
    names = ("out", "dq", "dk", "dv", "dtable")
    worst = {
        kind: max(row[n] for row in rows if row["type"].endswith(kind) for n in names)
        for kind in ("float32", "bfloat16", ".float16")
    }
    return {"worst": worst, "rows": rows}


def attention(settings: Settings, say: Say) -> dict[str, Any]:
    """Time attention length by length, 4096 first, and a step of the paper's model at 65,536."""
    bench = _bench("attention")
    rows: list[dict[str, Any]] = []
    found: dict[str, Any] = {"results": rows, "steps": []}
    if settings["device"] == "cpu":
        rows += bench.on_cpu((64,), 1)
        return found
    lengths = sorted(bench.LENGTHS["cuda"], key=lambda length: (length != 4096, length))
    for reach in (bench.REACH, 65536):
        found["steps"].append(_guarded(lambda reach=reach: bench.training_step(reach)))
        say(found)
    for length in lengths:
        if time.time() > settings["until"] - 8:
            found["not reached"] = [x for x in lengths if x not in {r["length"] for r in rows}]
            break
        try:
            rows += bench.times_on_cuda((length,), 3)
        except Exception as error:
            rows.append({"length": length, "error": _said(error)})
        say(found)
    return found


def training(settings: Settings, say: Say) -> dict[str, Any]:
    """Do what benchmarks/train.py does, size by size and kind by kind, in one process."""
    rehearsed = settings["rehearse"]
    options = SimpleNamespace(
        device=settings["device"], compile=False, rounds=1 if rehearsed else 3,
        steps=1 if rehearsed else 5, batch=1 if rehearsed else 8, length=64 if rehearsed else 2048,
    )  # fmt: skip
    kinds = ("plain", "relative") if rehearsed else ("plain", "relative", "naive", "fourier-16")
    cases = [(size, kind, False) for size in ("25m", "85m") for kind in kinds]
    cases += [("25m", "plain", True), ("25m", "relative", True)]
    if rehearsed:
        cases = [("paper", kind, False) for kind in kinds]
    turns: dict[tuple[str, bool], dict[str, Any]] = {}
    found: dict[str, Any] = {"results": []}
    for size, kind, options.compile in cases:
        together = turns.setdefault((size, options.compile), {})
        row = _guarded(partial(_trained_a_little, size, kind, together, options))
        found["results"].append({"size": size, "kind": kind, "compiled": options.compile} | row)
        say(found)
    return found


def _trained_a_little(size: str, kind: str, turns: dict[str, Any], options: Any) -> dict[str, Any]:
    """Let the benchmark's worker work in a thread, so that torch is not begun anew for each."""
    bench = _bench("train")
    here, there = multiprocessing.Pipe()
    config = replace(bench.SIZES[size], context=options.length, **bench.KINDS[kind])
    if options.device == "cuda":
        gc.collect()
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
    wrong: list[Exception] = []

    def works() -> None:
        try:
            bench.work(there, config, "skewed" if kind == "naive" else "auto", options)
        except Exception as error:
            wrong.append(error)
        finally:
            there.close()

    thread = threading.Thread(target=works)
    thread.start()
    try:
        about, turns[kind] = here.recv(), []
        for _ in range(options.rounds):
            here.send("train")
            turns[kind].append(here.recv())
    except (EOFError, OSError):
        turns.pop(kind, None)
        raise (wrong[0] if wrong else RuntimeError("the worker ended")) from None
    finally:
        here.close()
        thread.join()
    row: dict[str, Any] = bench.summary(size, kind, about, turns, options)
    return row


def steps(settings: Settings, say: Say) -> dict[str, Any]:
    """Time training steps of the note model beside the 390-event model of the same size."""
    rehearsed, kind = settings["rehearse"], torch.device(settings["device"])
    chosen = preset("note-transformer-tiny" if rehearsed else "note-transformer")
    notes: Any = chosen.model
    events = TransformerConfig(
        layers=notes.layers, width=notes.width, heads=4 if rehearsed else 6, context=2048,
        attention=notes.width, position="fourier",
        feed_forward=notes.feed_forward, frequencies=notes.frequencies, sinusoids="none",
        qk_norm=True, dropout=0.0,
    )  # fmt: skip
    per_note = _tokens_per_note(Path(settings["corpora"]), chosen.codec)
    rate, batch = _rate(kind), settings["batch"]
    found: dict[str, Any] = {"operations_per_second": rate, "tokens_per_note": per_note}
    found["rows"] = rows = []
    cases = [("notes", notes, len(chosen.codec.vocabulary), batch, 512)]
    cases += [("390 events", events, len(EVENTS_390.vocabulary), batch // 4, 2048)]
    if rehearsed:
        cases = [(name, config, size, 2, 64) for name, config, size, _, _ in cases]
    for compiled in (False, True)[: 1 if rehearsed else 2]:
        for name, config, size, windows, length in cases:
            row = {"model": name, "compiled": compiled, "batch": windows, "length": length}
            timed = partial(_step_time, config, size, windows, length, compiled, kind)
            row |= _guarded(timed)
            if "tokens_per_second" in row:
                speed = row["tokens_per_second"]
                row["notes_per_second"] = round(speed / per_note[name])
                row["share_of_rate"] = round(speed * row["operations_per_token"] / rate, 4)
            rows.append(row)
            say(found)
    return found


def losses(settings: Settings, say: Say) -> dict[str, Any]:
    """Train the same model on the same windows in several arithmetics; beside it another seed."""
    rehearsed = settings["rehearse"]
    name = "music-transformer"
    chosen = override(preset(f"{name}-tiny" if rehearsed else name), RUNS[name] * (not rehearsed))
    place = Path(settings["corpora"])
    corpus = Corpus(place / json.loads((place / "recipe.json").read_text())["corpora"][0])
    plain = replace(
        chosen.training, steps=3 if rehearsed else 40, schedule="constant", warmup=10,
        batch=2 if rehearsed else 8, length=64 if rehearsed else 1024, precision="float32",
        evaluate_every=10**9, save_every=10**9, evaluation_windows=1, patience=0,
    )  # fmt: skip
    model: Any = replace(chosen.model, dropout=0.0)
    bf16: dict[str, Any] = {"precision": "bfloat16"}
    cases: dict[str, dict[str, Any]] = {"bfloat16": bf16}
    if not rehearsed:
        cases |= {"bfloat16, compiled": bf16 | {"compile": True}, "float32": {}}
    cases |= {"bfloat16, another seed": bf16 | {"seed": 1}}
    found: dict[str, Any] = {"rows": []}
    for case, changes in cases.items():
        run, config = place / f"losses-{len(found['rows'])}", replace(plain, **changes)

        def mean(run: Path = run, config: TrainingConfig = config) -> dict[str, Any]:
            trainer = Trainer(run, corpus, chosen.codec, model, config, device=settings["device"])
            each = []
            for _ in range(config.steps):
                each.append(trainer._update()[0])
            return {"loss": statistics.mean(each[-len(each) // 2 :]), "last": each[-1]}

        found["rows"].append({"arithmetic": case} | _guarded(mean))
        shutil.rmtree(run, ignore_errors=True)
        say(found)
    return found


def _step_time(
    config: Any, size: int, batch: int, length: int, compiled: bool, kind: torch.device
) -> dict[str, Any]:
    """Time whole steps over random tokens: forward, loss, backward, clipping, Muon and AdamW."""
    torch.manual_seed(0)
    torch._dynamo.reset()
    cuda = kind.type == "cuda"
    model: Model = build(config, size).to(kind)
    training = TrainingConfig(optimizer="muon", precision="bfloat16", weight_decay=0.1)
    adam, forward = optimizers(model, training), Reading(model)
    classes = getattr(config, "classes", None)
    shape = (batch, length + 1)
    if classes:
        fields = [torch.randint(n, shape, device=kind) for n in classes]
        tokens = torch.stack(fields, -1)
    else:
        tokens = torch.randint(size, shape, device=kind)
    told = getattr(config, "condition_dim", 0)
    controls = torch.zeros(batch, length, told, device=kind) if told else None
    if compiled:
        forward.compile()

    def step() -> None:
        model.zero_grad(set_to_none=True)
        with torch.autocast(kind.type, torch.bfloat16, enabled=cuda):
            loss = forward(tokens, controls).sum() / tokens[:, 1:].numel()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for optimizer in adam:
            optimizer.step()
        loss.item()

    began = time.perf_counter()
    step()
    first = time.perf_counter() - began
    for _ in range(2 * cuda):
        step()
    if cuda:
        torch.cuda.reset_peak_memory_stats()
    times: list[float] = []
    while len(times) < (10 if cuda else 1) or (cuda and sum(times) < 1.5):
        began = time.perf_counter()
        step()
        times.append(time.perf_counter() - began)
    seconds = statistics.median(times)
    return {
        "parameters": sum(p.numel() for p in model.parameters()),
        "operations_per_token": _operations(model, config, length),
        "first_step_seconds": round(first, 2),
        "milliseconds": round(seconds * 1e3, 2),
        "tokens_per_second": round(batch * length / seconds),
        "peak_bytes": torch.cuda.max_memory_allocated() if cuda else 0,
    }


def _operations(model: Model, config: Any, length: int) -> float:
    """Return what a position of training asks for: 6 a weight, and of attention half the past."""
    linear = sum(m.weight.numel() for m in model.modules() if isinstance(m, torch.nn.Linear))
    if isinstance(config, TransformerConfig):
        keys = config.attention + 2 * config.heads * config.frequencies
    else:
        keys = config.heads * (config.key_dim + 2 * config.frequencies)
    return 6.0 * linear + 3.0 * config.layers * (keys + config.width) * length


def _tokens_per_note(corpora: Path, codec: Any) -> dict[str, float]:
    """Return the events a note costs in either codec, over a few training pieces."""
    corpus = Corpus(corpora / json.loads((corpora / "recipe.json").read_text())["corpora"][0])
    pieces = [corpus.performance(i) for i in corpus.split("train")[:8]]
    notes = sum(len(piece.notes) for piece in pieces)
    both = {"notes": codec, "390 events": EVENTS_390}
    return {name: sum(len(c.encode(p)) for p in pieces) / notes for name, c in both.items()}


def _rate(kind: torch.device) -> float:
    """Return the operations per second of a large product in bfloat16, the best of eight."""
    if kind.type == "cpu":
        return 1e11
    size, best = 8192, 0.0
    a, b = torch.rand(2, size, size, device=kind).bfloat16()
    for _ in range(8):
        torch.cuda.synchronize()
        began = time.perf_counter()
        a @ b
        torch.cuda.synchronize()
        best = max(best, 2 * size**3 / (time.perf_counter() - began))
    return best


def _guarded(measure: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """Return what was measured, or what went wrong."""
    try:
        return measure()
    except Exception as error:
        return {"error": _said(error)}
    finally:
        if torch.cuda.is_available():
            torch.cuda.empty_cache()


def _said(error: Exception) -> str:
    return f"{type(error).__name__}: {str(error)[:300]}"


def _bench(name: str) -> ModuleType:
    """Return benchmarks/NAME.py as a module."""
    known = f"gpu_leg_bench_{name}"
    if str(HOME / "benchmarks") not in sys.path:
        sys.path.append(str(HOME / "benchmarks"))  # they import each other
    if known not in sys.modules:
        spec = importlib.util.spec_from_file_location(known, HOME / "benchmarks" / f"{name}.py")
        assert spec is not None
        assert spec.loader is not None
        sys.modules[known] = importlib.util.module_from_spec(spec)
        try:
            spec.loader.exec_module(sys.modules[known])
        except BaseException:
            del sys.modules[known]
            raise
    return sys.modules[known]


def _imported(name: str) -> ModuleType:
    return importlib.import_module(name)
