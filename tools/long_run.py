"""The long run: one folder, one command that begins it or goes on with it.

    tools/long_run FOLDER --data DATA       begin, with the archives or folders of DATA
    tools/long_run FOLDER                   go on
    tools/long_run FOLDER --status          core-hours, events, last validation
    tools/long_run FOLDER --decay 400       end a copy of it well: the rate falls to zero
    tools/long_run FOLDER --release OUT     write the averages of the newest checkpoint

FOLDER lies outside the checkout. It holds

    source/     the source the run was begun with, a worktree pinned at a commit
    corpora/    the prepared corpora
    recipe.json what is trained on what
    run/        the run itself, as `espressivo train` leaves it
    hours.jsonl a line at every checkpoint: CPU seconds, events, loss, validation

so that work on the source does not disturb it. It runs at the lowest priority on all cores, saves
every few minutes and goes on exactly where it saved. `--from CHECKPOINT` begins with the averages
of a release where the folder was lost; the rate then rises anew.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

HOME = Path(__file__).resolve().parents[1]
RECIPES: dict[str, dict[str, Any]] = {
    "default": {"corpora": ["human", "giantmidi", "supra"], "parts": [8, 3, 1]},
    "permissive": {"corpora": ["giantmidi"], "parts": [1]},
}
"""Which corpora a run is trained on, and how many of every sum of windows each gives."""
CORPORA = {
    "human": (["maestro", "asap"], "splits.csv"),
    "giantmidi": (["giantmidi"], "splits.csv"),
    "supra": (["supra"], "supra.csv"),
}
SETTINGS = [
    "training.schedule=constant",
    "training.steps=100000000",
    "training.batch=4",
    "training.grow=300,2000,16000",
    "training.short=0.000012",  # the first 1,200 steps are on windows of 128 events
    "training.ema=0.9995",
    "training.save_every=100",
    "training.evaluate_every=500",
]
CARD = ("name", "corpora", "parts", "commit")
LEAST_PIECES = 10
"""Training pieces a composer must have to be one that the model is conditioned on."""
ALIASES = {
    "Alexander Scriabin": "Aleksandr Scriabin",
    "Alexandre Scriabine": "Aleksandr Scriabin",
    "Sergei Prokofiev": "Sergey Prokofiev",
    "Sergei Lyapunov": "Sergey Lyapunov",
    "Sergey Rachmaninoff": "Sergei Rachmaninoff",
    "Serge Rachmaninoff": "Sergei Rachmaninoff",
    "Piotr Ilich Tchaikovsky": "Pyotr Tchaikovsky",
    "Pyotr Ilyich Tchaikovsky": "Pyotr Tchaikovsky",
    "Georg Friedrich Händel": "George Frideric Handel",
    "Felix Mendelssohn-Bartholdy": "Felix Mendelssohn",
    "Felix Mendelssohn Bartholdy": "Felix Mendelssohn",
}
"""Other spellings of a composer's name than the one conditioned on."""


def main() -> int:
    options = parsed()
    folder = options.folder.resolve()
    if options.worker:
        return train(folder, options)
    if options.status:
        print(json.dumps(status(folder), indent=1))
        return 0
    if options.release:
        return release(folder, options)
    if folder == HOME or HOME in folder.parents:
        sys.exit(f"{folder} lies in the checkout; the run needs a folder outside, such as ../run")
    if not (folder / "recipe.json").is_file():
        begin(folder, options)
    source = folder / "source"
    environment = {**os.environ, "PYTHONPATH": str(source / "src")}
    command = [sys.executable, str(source / "tools" / "long_run.py"), str(folder), "--worker"]
    for name in ("decay", "deadline", "init"):
        if getattr(options, name) is not None:
            command += [{"init": "--from"}.get(name, f"--{name}"), str(getattr(options, name))]
    process = subprocess.Popen(
        ["nice", "-n", "19", *command], env=environment, start_new_session=True
    )
    while True:
        try:
            return process.wait()
        except KeyboardInterrupt:
            process.send_signal(signal.SIGINT)  # it saves and ends


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("--data", type=Path, help="the data set: archives, or folders, and tables")
    parser.add_argument("--recipe", choices=RECIPES, default="default")
    parser.add_argument("--from", dest="init", type=Path, help="a checkpoint whose averages begin")
    parser.add_argument("--deadline", type=float, help="seconds after which to save and end")
    parser.add_argument("--decay", type=int, help="end a copy over so many steps")
    parser.add_argument(
        "--set", dest="settings", action="append", default=[], help="model.layers=4"
    )
    parser.add_argument("--status", action="store_true")
    parser.add_argument("--release", type=Path)
    parser.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)
    return parser.parse_args()


def begin(folder: Path, options: argparse.Namespace) -> None:
    """Make the folder: the pinned source, the corpora, and last the recipe."""
    if options.data is None:
        sys.exit(f"{folder} holds no run yet; begin it with --data DATA")
    if not options.data.is_dir():
        sys.exit(f"{options.data} is no folder of data; see --help")
    recipe = RECIPES[options.recipe]
    inputs = {name: found(options.data, name) for name in recipe["corpora"]}
    folder.mkdir(parents=True, exist_ok=True)
    if not (folder / "source").exists():
        subprocess.run(
            [
                "git",
                "-C",
                str(HOME),
                "worktree",
                "add",
                "--force",
                "--detach",
                str(folder / "source"),
            ],
            check=True,
        )
    for name, files in inputs.items():
        prepare(folder, name, files, options.data / CORPORA[name][1])
    commit = subprocess.run(
        ["git", "-C", str(folder / "source"), "rev-parse", "HEAD"],
        check=True, capture_output=True, text=True,
    ).stdout.strip()  # fmt: skip
    content = {
        **recipe,
        "name": options.recipe,
        "settings": SETTINGS + options.settings,
        "composers": composer_table(options.data),
        "commit": commit,
    }
    draft = folder / ".recipe.json"
    draft.write_text(json.dumps(content, indent=1) + "\n")
    draft.replace(folder / "recipe.json")


def found(data: Path, name: str) -> list[Path]:
    """Return the folders or archives of a corpus of the run."""
    parts, table = CORPORA[name]
    files = []
    for part in parts:
        there = [path for path in (data / part, data / f"{part}.tar.xz") if path.exists()]
        if not there:
            sys.exit(f"{data} holds neither {part}/ nor {part}.tar.xz, which the run learns from")
        files.append(there[0])
    if not (data / table).is_file():
        sys.exit(f"{data / table} is missing: it says which pieces are for training")
    return files


def prepare(folder: Path, name: str, files: list[Path], table: Path) -> None:
    """Prepare a corpus of the run unless it is there; it goes on where it was interrupted."""
    out = folder / "corpora" / name
    if (out / "corpus.json").is_file():
        return
    command = [sys.executable, "-m", "espressivo.cli", "prepare", *map(str, files)]
    command += ["-o", str(out), "--splits", str(table), "--name", name]
    environment = {**os.environ, "PYTHONPATH": str(folder / "source" / "src")}
    subprocess.run(command, check=True, env=environment)


def composer_table(data: Path) -> dict[str, str]:
    """Return composers by the path of their pieces, without the data set's own folder."""
    found: dict[str, str] = {}
    for table in ("splits.csv", "supra.csv"):
        if (data / table).is_file():
            with (data / table).open(encoding="utf-8-sig", newline="") as file:
                for row in csv.DictReader(file):
                    found[row["path"].replace("\\", "/")] = composer(row["composer"])
    return found


def composer(name: str) -> str:
    """Return "First Last" for "Last, First (dates)", in one spelling."""
    last, comma, first = name.partition(",")
    plain = f"{first.partition('(')[0].strip()} {last.strip()}" if comma else name.strip()
    return ALIASES.get(plain, plain)


def train(folder: Path, options: argparse.Namespace) -> int:
    """Train until interrupted, or to the end of a decay."""
    import torch

    from espressivo.corpora import Corpus
    from espressivo.corpora.note_windows import NoteWindows, composers
    from espressivo.presets import override, preset
    from espressivo.training.interruption import interruptible
    from espressivo.training.train import Trainer
    from espressivo.training.windows import labels_of

    yield_processor()
    recipe = json.loads((folder / "recipe.json").read_text())
    corpora = tuple(Corpus(folder / "corpora" / name) for name in recipe["corpora"])
    by_path = _by_stored_path(recipe["composers"], corpora)
    settings = list(recipe["settings"])
    chosen = override(preset("note-transformer"), settings)
    names = composers(corpora, by_path, LEAST_PIECES)
    model = replace(chosen.model, composers=names)
    config, run = chosen.training, folder / "run"
    if options.decay:
        run, step = copied(folder, options.decay)
        config = replace(config, steps=step + options.decay, decay=options.decay)
    windows = NoteWindows(
        corpora,
        chosen.codec,
        config.length,
        config.seed,
        tuple(recipe["parts"]),
        augmentation=config.augmentation,
        labels=labels_of(model, by_path),
    )
    trainer = Trainer(
        run,
        corpora[0],
        chosen.codec,
        model,
        config,
        card={
            **chosen.card,
            "recipe": {k: recipe[k] for k in ("name", "corpora", "parts", "commit")},
        },
        start=options.init,
        change=True,
        windows=windows,
    )
    print(f"going on from step {trainer.step}" if trainer.resumed else "begun", flush=True)
    recent: list[float] = []
    before, busy = 0.0, 1.0
    with interruptible() as asked:
        for step in trainer.steps(options.deadline or float("inf"), asked):
            busy = 0.8 * busy + 0.2 * (others_running() > 0)
            torch.set_num_threads(1 if busy > 0.5 else os.cpu_count() or 1)
            recent = [*recent[-99:], step.loss]
            if step.saved or step.evaluation:
                spent = _cpu_seconds()
                line = {
                    "time": int(time.time()),
                    "step": step.step,
                    "events": step.tokens,
                    "cpu_seconds": round(spent - before, 1),
                    "events_per_second": round(step.rate),
                    "loss": round(sum(recent) / len(recent), 4),
                }
                if step.evaluation:
                    line["validation_per_note_390"] = round(validation(trainer, corpora[0]), 4)
                before = spent
                with (run.parent / "hours.jsonl").open("a") as log:
                    log.write(json.dumps(line) + "\n")
    return 0


def yield_processor() -> None:
    """Let other sessions go first: where Linux groups processes by session, nice does not."""
    with suppress(OSError):
        Path("/proc/self/autogroup").write_text("19")


def validation(trainer: Any, corpus: Any) -> float:
    """Return nats per note of the averages, conditioned on nothing, at that of 390 events."""
    from espressivo.training.likelihood import likelihood, spread_windows

    model, codec, config = trainer.model_config, trainer.codec, trainer.config
    windows = spread_windows(
        corpus,
        "validation",
        codec,
        model.context,
        config.evaluation_windows,
        model,
        (),
        coarse=True,
    )
    with trainer.averaged():
        return likelihood(trainer.model, codec, windows).per_note_390


def others_running() -> int:
    """Return how many tasks of other processes run now; 0 where the system does not say.

    Threads that share a core with another process keep the others waiting at every product, so
    beside one a single thread is faster. Our own threads go on running for a while after each
    product, waiting for the next, and are not counted.
    """
    try:
        running = Path("/proc/loadavg").read_text().split()[3].partition("/")[0]
        states = [task.read_text() for task in Path("/proc/self/task").glob("*/stat")]
    except (OSError, IndexError):
        return 0
    ours = sum(state.rpartition(")")[2].split()[0] == "R" for state in states)
    return max(int(running) - ours, 0)


def copied(folder: Path, decay: int) -> tuple[Path, int]:
    """Copy the newest checkpoint into a folder of its own for a decay; return it and its step."""
    newest = sorted((folder / "run" / "checkpoints").glob("step-*"))[-1]
    step = int(newest.name.removeprefix("step-"))
    run = folder / f"decay-{step:08d}" / "run"
    if not run.exists():
        draft = run.with_name(".run")
        shutil.rmtree(draft, ignore_errors=True)
        shutil.copytree(newest, draft / "checkpoints" / newest.name)
        shutil.copy(folder / "run" / "run.json", draft / "run.json")
        draft.rename(run)
    return run, step


def release(folder: Path, options: argparse.Namespace) -> int:
    """Write the averages of the newest checkpoint, of a decay if there is one."""
    from espressivo import checkpoint

    ends = sorted(folder.glob("decay-*/run/checkpoints/step-*"))
    found = ends or sorted((folder / "run" / "checkpoints").glob("step-*"))
    if not found:
        sys.exit(f"{folder} holds no checkpoint yet")
    print(checkpoint.release(found[-1], options.release, dtype="int8"))
    return 0


def status(folder: Path) -> dict[str, Any]:
    """Sum up hours.jsonl."""
    try:
        lines = [json.loads(line) for line in (folder / "hours.jsonl").read_text().splitlines()]
    except FileNotFoundError:
        sys.exit(f"{folder} holds no run, or one that has not saved yet")
    found = [line for line in lines if "validation_per_note_390" in line]
    return {
        "core_hours": round(sum(line["cpu_seconds"] for line in lines) / 3600, 2),
        **{key: lines[-1][key] for key in ("step", "events", "events_per_second", "loss")},
        "validation_per_note_390": found[-1]["validation_per_note_390"] if found else None,
    }


def _by_stored_path(table: dict[str, str], corpora: tuple[Any, ...]) -> dict[str, str]:
    """Return composers by the paths pieces have in the corpora, which may lack the first folder."""
    short = {path.partition("/")[2]: name for path, name in table.items()}
    found = {}
    for corpus in corpora:
        for piece in corpus.pieces:
            name = table.get(piece.path) or short.get(piece.path)
            if name:
                found[piece.path] = name
    return found


def _cpu_seconds() -> float:
    spent = resource.getrusage(resource.RUSAGE_SELF)
    return spent.ru_utime + spent.ru_stime


if __name__ == "__main__":
    sys.exit(main())
