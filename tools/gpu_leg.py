"""A leg of training, and every number that waits for a GPU, in one command on a rented machine.

    python tools/gpu_leg.py pack CORPUS... -o FOLDER [--recipe RECIPE] [--start CHECKPOINT]
    python tools/gpu_leg.py run FOLDER --out $OUT --minutes 9        there
    python tools/gpu_leg.py join OUT -o CHECKPOINT                   here again
    python tools/gpu_leg.py unpack FOLDER -o CORPORA                 what `run` does first

`pack` puts the training parts of prepared corpora, a few validation pieces of the first and the
weights to begin with into one folder of at most `--most` MB, leaving out pieces evenly where they
do not fit; what is lost on the way is said in gpu_leg_files.py and gpu_leg_weights.py. The folder
must lie in the checkout and be ignored there, such as runs/leg, to be carried. `run` measures and
trains part by part, each in a process of its own with a limit, and writes report.json and
report.md after each; `--only music-transformer,performance-rnn` and `--skip` choose parts, which
share the time; `--rehearse` does all of it on a CPU in sizes that say nothing.
`join` restores the checkpoint from the parts it came back in, and compares digests.

There only Python, numpy, torch, safetensors and jaxtyping are needed; the last two are carried as
wheels for where they are missing. Reading MIDI is not needed: symusic is stood in for.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import zipfile
from importlib import import_module, invalidate_caches
from pathlib import Path
from typing import Any

HOME = Path(__file__).resolve().parents[1]
NEEDED = ("numpy", "torch", "safetensors", "jaxtyping")
WHEELS = ("safetensors", "jaxtyping", "wadler-lindig")
SPARE = 16_000
"""Bytes of a pack that are kept for pack.json."""
CARRIED = 64 * 2**20
"""Bytes that travel to the machine: the checkout and what is carried with it."""


def main() -> int:
    options = parsed()
    ready(getattr(options, "folder", None))
    try:
        return int(globals()[f"_{options.verb}"](options) or 0)
    except (ValueError, OSError, import_module("espressivo.errors").EspressivoError) as error:
        sys.exit(str(error))


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    verbs = parser.add_subparsers(dest="verb", required=True)
    one = verbs.add_parser("pack", help="put corpora and weights into a small folder")
    one.add_argument("corpora", nargs="+", type=Path)
    one.add_argument("-o", "--output", type=Path, required=True)
    one.add_argument("--start", type=Path, help="the checkpoint or run to begin with")
    one.add_argument("--bits", type=int, choices=(8, 16), default=8, help="of its weights")
    one.add_argument("--recipe", type=Path, help="recipe.json of a long run: composers, parts")
    one.add_argument("--parts", type=_numbers, help="windows of each corpus, such as 5,4,1")
    one.add_argument("--most", type=float, default=55.0, help="MB of the folder")
    one.add_argument("--windows", type=int, default=24, help="of validation")
    one.add_argument("--no-wheels", action="store_true", help="without a package index")
    one = verbs.add_parser("unpack", help="restore the corpora")
    one.add_argument("folder", type=Path)
    one.add_argument("-o", "--output", type=Path, required=True)
    one = verbs.add_parser("run", help="measure and train, on the machine")
    one.add_argument("folder", type=Path)
    one.add_argument("--out", type=Path, required=True)
    one.add_argument("--minutes", type=float, default=9.0)
    one.add_argument("--leg", type=float, default=0.4, help="share of the time kept for training")
    one.add_argument("--only", type=_names, default=())
    one.add_argument("--skip", type=_names, default=())
    one.add_argument("--batch", type=int, default=128, help="windows of 512 events in a step")
    one.add_argument("--rate", type=float, default=1.0, help="times the preset's learning rates")
    one.add_argument("--rehearse", action="store_true")
    one = verbs.add_parser("join", help="restore the checkpoint that came back")
    one.add_argument("out", type=Path)
    one.add_argument("-o", "--output", type=Path, required=True)
    one = verbs.add_parser("work")  # what `run` starts
    one.add_argument("part")
    one.add_argument("settings", type=json.loads)
    return parser.parse_args()


def ready(folder: Path | None) -> None:
    """Find the package, what it needs and what stands in for the rest; sys.exit names a lack.

    Processes begun by this one find the same.
    """
    found = [str(HOME / "src"), str(HOME / "tools")]
    sys.path[:0] = [place for place in found if place not in sys.path]
    missing = [name for name in NEEDED if not _importable(name)]
    carried = sorted((folder / "wheels").glob("*.whl")) if folder else []
    if missing and carried:
        place = Path(tempfile.gettempdir()) / "gpu-leg-wheels"
        for wheel in carried:
            with zipfile.ZipFile(wheel) as archive:
                archive.extractall(place)
        found.append(str(place))
        sys.path.append(str(place))
        invalidate_caches()
        missing = [name for name in missing if not _importable(name)]
    if missing:
        sys.exit(f"missing on this machine: {', '.join(missing)}; a leg cannot do without")
    if not _importable("symusic.core"):
        place = Path(tempfile.gettempdir()) / "gpu-leg-stand-ins"
        (place / "symusic").mkdir(parents=True, exist_ok=True)
        (place / "symusic" / "__init__.py").write_text('"""Stands in; it reads nothing."""\n')
        (place / "symusic" / "core.py").write_text("ScoreTick = TrackTick = None\n")
        for name in [name for name in sys.modules if name.split(".")[0] == "symusic"]:
            del sys.modules[name]
        found.insert(0, str(place))
        sys.path.insert(0, str(place))
        invalidate_caches()
    before = os.environ.get("PYTHONPATH", "")
    os.environ["PYTHONPATH"] = os.pathsep.join([*found, *([before] if before else [])])


def pack(
    paths: list[Path],
    out: Path,
    *,
    most: float,
    start: Path | None = None,
    bits: int = 8,
    recipe: dict[str, Any] | None = None,
    parts: tuple[int, ...] | None = None,
    windows: int = 24,
    wheels: bool = True,
) -> dict[str, Any]:
    """Write the folder; give what pack.json says. `most` are bytes."""
    files, weights = import_module("gpu_leg_files"), import_module("gpu_leg_weights")
    corpora = [import_module("espressivo.corpora").Corpus(path) for path in paths]
    recipe = recipe or {}
    given = parts or tuple(recipe.get("parts", ())) or (5, 4, 1)[: len(paths)]
    if len(given) != len(paths) or len({path.name for path in paths}) != len(paths):
        raise ValueError(f"parts {given} and {len(paths)} corpora of different names are needed")
    if out.exists() and any(out.iterdir()):
        raise ValueError(f"{out} holds something; pack into a new folder")
    out.mkdir(parents=True, exist_ok=True)
    if wheels:
        _download(out / "wheels")
    about: dict[str, Any] = {"format": 1, "parts": list(given), "corpora": [], "start": None}
    if start:
        about["start"] = weights.pack_start(start, out / "start", bits)
    room = most - files.size_of(out) - SPARE
    short = {path.partition("/")[2]: name for path, name in recipe.get("composers", {}).items()}
    composer_of = short | recipe.get("composers", {})
    judged = files.spread(corpora[0], "validation", windows)
    share = 1.0
    while True:
        about["corpora"] = []
        for number, (path, corpus) in enumerate(zip(paths, corpora, strict=True)):
            chosen = files.thinned(corpus.split("train"), share)
            entry = {"name": path.name, "left_out": len(corpus.split("train")) - len(chosen)}
            also = judged if number == 0 else []
            place = out / "corpora" / path.name
            entry |= files.pack_corpus(corpus, chosen + also, composer_of, place)
            entry["validation_pieces"] = len(also)
            card = {"packed_from": corpus.card.get("sha256"), "pieces": entry["pieces"]}
            about["corpora"].append(entry | {"card": {**corpus.card, **card}})
        taken = sum(entry["bytes"] for entry in about["corpora"])
        if taken <= room:
            break
        share *= 0.99 * room / taken
        if share < 0.01:
            raise ValueError(f"there is no room for corpora in {most / 1e6:.0f} MB")
        import_module("shutil").rmtree(out / "corpora")
    about["training_share"] = round(share, 4)
    (out / "pack.json").write_text(json.dumps(about, indent=1) + "\n")
    return about


def unpack(folder: Path, out: Path) -> list[Path]:
    """Restore corpora, and beside them recipe.json; and the checkpoint to begin with."""
    files, weights = import_module("gpu_leg_files"), import_module("gpu_leg_weights")
    about = json.loads((folder / "pack.json").read_text())
    composers: dict[str, str] = {}
    paths = [out / entry["name"] for entry in about["corpora"]]
    for entry, path in zip(about["corpora"], paths, strict=True):
        composers |= files.unpack_corpus(folder / "corpora" / entry["name"], entry["card"], path)
    if about["start"]:
        weights.unpack_start(folder / "start", out / "start")
    names = [path.name for path in paths]
    recipe = {"corpora": names, "parts": about["parts"], "composers": composers}
    (out / "recipe.json").write_text(json.dumps(recipe) + "\n")
    return paths


def _pack(options: argparse.Namespace) -> None:
    recipe = json.loads(options.recipe.read_text()) if options.recipe else None
    about = pack(
        options.corpora, options.output, most=options.most * 1e6, start=options.start,
        bits=options.bits, recipe=recipe, parts=options.parts, windows=options.windows,
        wheels=not options.no_wheels,
    )  # fmt: skip
    for entry in about["corpora"]:
        print(
            f"{entry['name']}: {entry['notes']:,} notes of {entry['pieces']} pieces in "
            f"{entry['bytes'] / 1e6:.1f} MB; {entry['left_out']} training pieces left out"
        )
    total, checkout = import_module("gpu_leg_files").size_of(options.output), _checkout()
    print(f"{total / 1e6:.1f} MB in all, beside a checkout of {checkout / 1e6:.1f} MB")
    if total + checkout > CARRIED:
        print(
            f"together they are more than the {CARRIED / 1e6:.1f} MB that travel: pack with --most "
            f"{(CARRIED - checkout) / 1e6 - 0.5:.0f}, or move the largest files (bundled weights, "
            "the sound font) out of the checkout for the call"
        )


def _unpack(options: argparse.Namespace) -> None:
    for path in unpack(options.folder, options.output):
        print(path)


def _run(options: argparse.Namespace) -> int:
    return int(import_module("gpu_leg_run").run(options))


def _join(options: argparse.Namespace) -> None:
    digest = import_module("gpu_leg_weights").join(options.out, options.output)
    print(f"{options.output}: {digest}")


def _work(options: argparse.Namespace) -> None:
    import_module("gpu_leg_work").work(options.part, options.settings)


def _download(out: Path) -> None:
    """Fetch wheels of what may be missing there, for Python 3.12 on x86-64."""
    platforms = [f"--platform=manylinux{x}_x86_64" for x in ("2014", "_2_17", "_2_28")]
    target = ["--only-binary=:all:", "--python-version=3.12", "--implementation=cp", *platforms]
    command = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "-d", str(out)]
    done = subprocess.run([*command, *target, *WHEELS], capture_output=True, text=True)
    if done.returncode:
        raise ValueError(f"wheels cannot be fetched; try --no-wheels: {done.stderr.strip()[-300:]}")


def _checkout() -> int:
    """Return the bytes of the files that git tracks or does not ignore."""
    command = ["git", "-C", str(HOME), "ls-files", "-co", "--exclude-standard", "-z"]
    listed = subprocess.run(command, capture_output=True, text=True).stdout.split("\0")
    files = [HOME / name for name in listed if name]
    return sum(file.stat().st_size for file in files if file.is_file())


def _importable(name: str) -> bool:
    try:
        import_module(name)
    except ImportError:
        return False
    return True


def _numbers(text: str) -> tuple[int, ...]:
    return tuple(map(int, text.split(",")))


def _names(text: str) -> tuple[str, ...]:
    return tuple(text.split(","))


if __name__ == "__main__":
    sys.exit(main())
