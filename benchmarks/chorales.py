"""Do relative pitch and time help? Bach's chorales, by the rows of Music Transformer's table 2.

    python benchmarks/chorales.py --data DATA --out RUNS [--budget small|paper] [--rows baseline]

DATA holds `Jsb16thSeparated.json`. Every row is trained, or goes on where it was stopped; the best
model on validation is judged on validation and test. `results/chorales.json` and the tables of
`docs/chorales.md` are written anew after each row. `--sample FILE.mid` has the last row sing.

The loop is its own, with the project's optimisers and windows: `Trainer` trains on performances,
which chorales on a grid are not.
"""

from __future__ import annotations

import argparse
import json
import platform
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from espressivo.codecs.chorale import VOICES, Chorale
from espressivo.corpora import Window
from espressivo.corpora.batch import beside
from espressivo.corpora.chorales import ChoraleWindows, chorale_windows, read_chorales
from espressivo.midi import write_midi
from espressivo.models.chorale_transformer import ChoraleTransformer
from espressivo.models.model import cross_entropy
from espressivo.presets.chorales import CHORALES, DEVIATIONS, ChoraleRow, small
from espressivo.training.optim import factor, optimizers
from espressivo.training.record import hardware
from espressivo.training.train import drawing

HERE = Path(__file__).parent
RESULTS, PAGE = HERE / "results" / "chorales.json", HERE.parent / "docs" / "chorales.md"
BUDGETS = {"small": small, "paper": lambda row: row}
CODEC = Chorale()


def main() -> None:
    options = arguments()
    grids = read_chorales(options.data) if options.data else {}
    chosen = options.rows.split(",") if options.rows else list(CHORALES)
    for name in chosen if grids else ():
        row = BUDGETS[options.budget](CHORALES[name])
        folder = options.out / f"{options.budget}-{name}-{options.seed}"
        run = Run(row, folder, options.seed, torch.device(options.device))
        train(run, grids)
        keep(options.budget, name, result(run, grids, options), copying(grids))
    write_page()
    if options.sample:
        ids = sample(run, options.steps)
        write_midi(CODEC.performance(ids), options.sample)
        print(f"{options.sample}: {options.steps} sixteenths by {chosen[-1]}")


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, help="the folder; without it the page is written")
    parser.add_argument("--out", type=Path, default=Path("runs"), help="where runs are kept")
    parser.add_argument("--budget", choices=BUDGETS, default="small")
    parser.add_argument("--rows", help=f"some of {','.join(CHORALES)}; all if left out")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--sample", type=Path, metavar="FILE.mid", help="what the last row sings")
    parser.add_argument("--steps", type=int, default=128, help="sixteenths to sing")
    return parser.parse_args()


@dataclass
class Progress:
    """Where a run stands: updates, tokens heard, CPU seconds, and its best on validation."""

    step: int = 0
    tokens: int = 0
    seconds: float = 0.0
    best: float = float("inf")
    best_step: int = 0


class Run:
    """A model in training and its best weights, kept in one file from which it goes on."""

    def __init__(self, row: ChoraleRow, folder: Path, seed: int, device: torch.device) -> None:
        self.row, self.file, self.seed = row, folder / "state.safetensors", seed
        self.progress, self.device = Progress(), device
        with drawing(device, seed):
            self.model = ChoraleTransformer(row.model, len(CODEC.vocabulary)).to(device)
        self.optimizers = optimizers(self.model, row.training)
        self.peaks = [[group["lr"] for group in o.param_groups] for o in self.optimizers]
        self.best = {n: p.detach().clone() for n, p in self.model.named_parameters()}
        folder.mkdir(parents=True, exist_ok=True)
        if self.file.exists():
            self._resume()

    def update(self, batch: NDArray[np.int64]) -> float:
        """Change the weights once; give the loss."""
        config, step = self.row.training, self.progress.step
        self.model.train()
        self.model.zero_grad(set_to_none=True)
        tokens = torch.from_numpy(batch).to(self.device)
        with drawing(self.device, self.seed, step):
            logits, _ = self.model(tokens[:, :-1].clamp(min=0))
            loss = cross_entropy(logits, tokens[:, 1:])
            loss.backward()
        if config.clip_norm:
            nn.utils.clip_grad_norm_(self.model.parameters(), config.clip_norm)
        scale = factor(config.schedule, step, config.warmup, config.steps)
        for optimizer, peaks in zip(self.optimizers, self.peaks, strict=True):
            for group, peak in zip(optimizer.param_groups, peaks, strict=True):
                group["lr"] = peak * scale
            optimizer.step()
        self.progress.step += 1
        self.progress.tokens += int((batch[:, 1:] >= 0).sum())
        return loss.item()

    def remember(self, nats: float) -> None:
        """Keep the weights if they are the best so far."""
        if nats < self.progress.best:
            self.progress.best, self.progress.best_step = nats, self.progress.step
            self.best = {n: p.detach().clone() for n, p in self.model.named_parameters()}

    def save(self) -> None:
        """Write everything; a killed process leaves the file before."""
        tensors = {f"model.{n}": p.detach() for n, p in self.model.named_parameters()}
        tensors |= {f"best.{n}": p for n, p in self.best.items()}
        for index, optimizer in enumerate(self.optimizers):
            for number, values in optimizer.state_dict()["state"].items():
                tensors |= {f"{index}.{number}.{n}": torch.as_tensor(v) for n, v in values.items()}
        draft = self.file.with_suffix(".tmp")
        tensors = {name: tensor.contiguous() for name, tensor in tensors.items()}
        save_file(tensors, draft, {"progress": json.dumps(asdict(self.progress))})
        draft.replace(self.file)

    def _resume(self) -> None:
        with safe_open(self.file, "pt", str(self.device)) as stored:
            tensors = {name: stored.get_tensor(name) for name in stored.keys()}  # noqa: SIM118
            self.progress = Progress(**json.loads(stored.metadata()["progress"]))
        self.use(below(tensors, "model."))
        self.best = below(tensors, "best.")
        for index, optimizer in enumerate(self.optimizers):
            content, state = optimizer.state_dict(), {}
            for name, value in below(tensors, f"{index}.").items():
                number, key = name.split(".", 1)
                state.setdefault(int(number), {})[key] = value
            optimizer.load_state_dict(content | {"state": state})

    @torch.no_grad()
    def use(self, weights: dict[str, Tensor]) -> None:
        """Put weights into the model."""
        for name, parameter in self.model.named_parameters():
            parameter.copy_(weights[name])


def below(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {n.removeprefix(prefix): t for n, t in tensors.items() if n.startswith(prefix)}


def train(run: Run, grids: dict[str, list[NDArray[np.int64]]]) -> None:
    """Train to the end, or until validation has not improved for long; keep the best weights."""
    config, progress = run.row.training, run.progress
    windows = ChoraleWindows(
        grids["train"], CODEC, config.length, run.seed, config.augmentation.transpose
    )
    validation = chorale_windows(grids["validation"], CODEC, config.length)
    patience = config.patience * config.evaluate_every or config.steps
    while progress.step < config.steps and progress.step - progress.best_step < patience:
        began = time.process_time()
        loss = run.update(windows.batch(progress.step, config.batch))
        if progress.step % config.evaluate_every == 0 or progress.step == config.steps:
            spent, nats, tokens = time.process_time() - began, *judge(run.model, validation).sum(0)
            began = time.process_time() - spent
            run.remember(nats / tokens)
            print(f"{run.file.parent.name} {progress.step} {loss:.3f} {nats / tokens:.4f}", flush=1)
        progress.seconds += time.process_time() - began
        if progress.step % config.save_every == 0 or progress.step == config.steps:
            run.save()


@torch.no_grad()
def judge(model: ChoraleTransformer, windows: Sequence[Window]) -> NDArray[np.float64]:
    """Give [nats, tokens] of every chorale; each window is predicted from nothing before it."""
    model.eval()
    device = next(model.parameters()).device
    scores = np.zeros((1 + max(window.piece for window in windows), 2))
    alike = sorted(windows, key=lambda window: len(window.targets))
    for group in (alike[i : i + 8] for i in range(0, len(alike), 8)):
        inputs = torch.from_numpy(beside([window.inputs for window in group], 0)).to(device)
        targets = torch.from_numpy(beside([window.targets for window in group], -1)).to(device)
        nats = (
            cross_entropy(model(inputs)[0], targets, "none").reshape(targets.shape).double().sum(1)
        )
        for window, one in zip(group, nats.tolist(), strict=True):
            scores[window.piece] += one, len(window.targets)
    return scores


def nats_per_token(scores: NDArray[np.float64]) -> dict[str, Any]:
    """Give the mean over tokens and its 95 % interval over other chorales like these."""
    rng = np.random.default_rng(0)
    drawn = scores[rng.integers(len(scores), size=(2000, len(scores)))].sum(1)
    low, high = np.quantile(drawn[:, 0] / drawn[:, 1], [0.025, 0.975])
    nats, tokens = scores.sum(0)
    return {"nats_per_token": nats / tokens, "interval": [low, high], "tokens": int(tokens)}


def result(run: Run, grids: dict[str, Any], options: argparse.Namespace) -> dict[str, Any]:
    """Judge the best weights of a run on validation and test, and say how they came about."""
    run.use(run.best)
    length = run.row.training.length
    judged = {
        split: nats_per_token(judge(run.model, chorale_windows(grids[split], CODEC, length)))
        for split in ("validation", "test")
    }
    heard = sum(len(grid) * len(VOICES) for grid in grids["train"])
    return {
        "published": run.row.published,
        **judged,
        "parameters": sum(p.numel() for p in run.model.parameters()),
        **asdict(run.progress),
        "epochs": run.progress.tokens / heard,
        "seed": run.seed,
        "model": asdict(run.row.model),
        "training": asdict(run.row.training),
        "hardware": hardware(options.device, torch.get_num_threads()),
        "python": platform.python_version(),
        "torch": torch.__version__,
    }


def copying(grids: dict[str, list[NDArray[np.int64]]]) -> float:
    """Give the nats per token, on validation, of a rule that knows no music.

    A voice repeats its last pitch as often as in training, or sings any as often as in training.
    """
    told, heard = (
        [CODEC.encode(grid).reshape(-1, len(VOICES)) for grid in grids[split]]
        for split in ("train", "validation")
    )
    again = np.concatenate([voices[1:] == voices[:-1] for voices in told]).mean(0)
    counts = [np.bincount(c, minlength=len(CODEC.vocabulary)) + 1 for c in np.concatenate(told).T]
    share = np.array([count / count.sum() for count in counts])
    nats = 0.0
    for voices in heard:
        chances = share[np.arange(len(VOICES)), voices]
        chances[1:] = again * (voices[1:] == voices[:-1]) + (1 - again) * chances[1:]
        nats -= float(np.log(chances).sum())
    return nats / sum(voices.size for voices in heard)


@torch.no_grad()
def sample(run: Run, steps: int) -> NDArray[np.int64]:
    """Sing so many steps from nothing, drawing every token from what the model expects."""
    run.model.eval()
    drawn, state = [CODEC.start], run.model.start(1)
    rng = np.random.default_rng(run.seed)
    for _ in range(steps * len(VOICES)):
        logits, state = run.model(torch.tensor([drawn[-1:]], device=run.device), state)
        chances = logits[0, -1].double().softmax(-1).cpu().numpy()
        drawn.append(int(rng.choice(len(chances), p=chances)))
    return np.array(drawn[1:])


def keep(budget: str, name: str, content: dict[str, Any], yardstick: float) -> None:
    """Put a row's result into the file of results, beside what copying achieves."""
    results = json.loads(RESULTS.read_text()) if RESULTS.is_file() else {}
    results.setdefault(budget, {})[name] = content
    results["copying"] = yardstick
    RESULTS.write_text(json.dumps(results, indent=1) + "\n")


def write_page() -> None:
    """Put the tables between the marks of the page."""
    results = json.loads(RESULTS.read_text()) if RESULTS.is_file() else {}
    before, _, rest = PAGE.read_text().partition("<!-- tables -->\n")
    after = rest.partition("<!-- end -->\n")[2]
    tables = "\n".join(table(budget, results.get(budget, {})) for budget in BUDGETS)
    if "copying" in results:
        tables += (
            "\nA rule that only repeats each voice's last pitch, as often as training does, and "
            f"otherwise sings by frequency: {results['copying']:.3f} on validation.\n"
        )
    differs = "".join(f"- {deviation}\n" for deviation in DEVIATIONS)
    tables += f"\n### Where the rows depart from the paper\n\n{differs}"
    PAGE.write_text(f"{before}<!-- tables -->\n{tables}<!-- end -->\n{after}")


def table(budget: str, results: dict[str, Any]) -> str:
    lines = [
        f"### Budget `{budget}`",
        "",
        "| row | | published | ours, validation (95 %) | test | parameters | epochs | CPU min |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for name, row in CHORALES.items():
        ours = cells(results[name]) if name in results else "pending | | | | "
        lines.append(f"| `{name}` | {row.title} | {row.published:.3f} | {ours} |")
    return "\n".join([*lines, ""])


def cells(content: dict[str, Any]) -> str:
    validation, (low, high) = content["validation"], content["validation"]["interval"]
    return (
        f"{validation['nats_per_token']:.3f} ({low:.3f} to {high:.3f}) "
        f"| {content['test']['nats_per_token']:.3f} | {content['parameters'] / 1e6:.2f} M "
        f"| {content['epochs']:.1f} | {content['seconds'] / 60:.1f}"
    )


if __name__ == "__main__":
    main()
