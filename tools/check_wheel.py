"""Does the wheel hold all that it needs and nothing that it should not, in a sensible size?

Run as `python tools/check_wheel.py dist/*.whl`; exits 1 naming what is wrong.
"""

import sys
import zipfile
from email import message_from_bytes
from pathlib import Path

MOST_BYTES = 75e6  # two checkpoints of 25 MB, the piano of 10 MB, and the rest
NEEDED = (
    "espressivo/py.typed",
    "espressivo/audio/data/salamander-compact.sf3",
    "espressivo/audio/data/LICENSE-salamander-compact.txt",
)
LIGHT = {"numpy", "pillow", "safetensors", "soundfile", "symusic"}
BUNDLED = "espressivo/bundled/"
CHECKPOINT = ("config.json", "manifest.json", "model.safetensors", "README.md")
ROOT = Path(__file__).parents[1]


def complaints(path: Path) -> list[str]:
    """Say everything that is wrong with a wheel."""
    with zipfile.ZipFile(path) as wheel:
        names = set(wheel.namelist())
        (metadata,) = (name for name in names if name.endswith(".dist-info/METADATA"))
        requirements = message_from_bytes(wheel.read(metadata)).get_all("Requires-Dist", [])
    found = [f"{name} is missing" for name in (*NEEDED, *sources()) if name not in names]
    found += [f"{name} does not belong here" for name in names if not belongs(name)]
    for folder in {
        name.split("/")[2] for name in names if name.startswith(("espressivo/bundled/",))
    }:
        found += [
            f"{BUNDLED}{folder}/{name} is missing"
            for name in CHECKPOINT
            if f"{BUNDLED}{folder}/{name}" not in names
        ]
    light = {r.split(">")[0].strip() for r in requirements if "extra ==" not in r}
    if light != LIGHT:
        found.append(f"it requires {sorted(light)}, not {sorted(LIGHT)}")
    if path.stat().st_size > MOST_BYTES:
        found.append(f"{path.stat().st_size / 1e6:.1f} MB is more than {MOST_BYTES / 1e6:.0f}")
    return found


def sources() -> list[str]:
    """Name every module as the wheel should."""
    return [str(path.relative_to(ROOT / "src")) for path in (ROOT / "src").rglob("*.py")]


def belongs(name: str) -> bool:
    """Tell the package and its description from anything else."""
    return name.startswith("espressivo") and "__pycache__" not in name and "/tests/" not in name


if __name__ == "__main__":
    problems = complaints(Path(sys.argv[1]))
    print("\n".join(problems) or f"{Path(sys.argv[1]).name} is complete")
    sys.exit(bool(problems))
