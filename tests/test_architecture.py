"""The map, enforced: who may import whom, and how long a file may be."""

import ast
import sys
import tomllib
from collections import defaultdict
from pathlib import Path

import pytest

HOME = Path(__file__).parents[1]
ROOT = HOME / "src" / "espressivo"
LAYERS = [
    "errors",
    "performance score configs",
    "midi codecs features audio roll",
    "controls",
    "corpora models evaluation checkpoint notebook",
    "engines bundle",
    "training generation",
    "presets recording inspection",
    "studio",
    "cli",
]
LEVEL = {unit: level for level, units in enumerate(LAYERS) for unit in units.split()}
TORCH = {"models", "training"}  # and engines/torch_engine.py
EVERYWHERE = {"numpy", "torch", "jaxtyping", "espressivo", *sys.stdlib_module_names}
LONGEST = 400

FILES = sorted(ROOT.rglob("*.py"))
every_file = pytest.mark.parametrize(
    "path", FILES, ids=[str(path.relative_to(ROOT)) for path in FILES]
)


def unit(path):
    return path.relative_to(ROOT).parts[0].removesuffix(".py")


def imports(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "write absolute imports"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


@every_file
def test_imports_point_down(path):
    here = unit(path)
    if here == "__init__":
        return
    assert here in LEVEL, f"{here} has no place in the layers"
    for name in imports(path):
        top, *rest = name.split(".")
        if top == "torch":
            assert here in TORCH or path.name == "torch_engine.py", f"{here} must not import torch"
        if top == "espressivo" and rest[0] in LEVEL and rest[0] != here:
            assert LEVEL[rest[0]] < LEVEL[here], f"{here} must not import {rest[0]}"
            assert here != "models" or rest[0] == "configs", f"models must not import {rest[0]}"


def test_an_outside_library_has_one_home():
    homes = defaultdict(set)
    for path in FILES:
        for name in imports(path):
            if (top := name.split(".")[0]) not in EVERYWHERE:
                homes[top].add(unit(path))
    homes["safetensors"] -= {"training"}  # the state of a run is stored beside its checkpoint
    assert {name: units for name, units in homes.items() if len(units) > 1} == {}


@every_file
def test_only_the_command_line_imports_late(path):
    if unit(path) not in ("cli", "__init__"):
        assert late_imports(path) == []


def late_imports(path):
    functions = (
        node
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    )
    return [
        ast.unparse(node)
        for function in functions
        for node in ast.walk(function)
        if isinstance(node, ast.Import | ast.ImportFrom)
    ]


@pytest.mark.parametrize(
    "path",
    sorted(p for folder in ("src", "tests", "benchmarks") for p in (HOME / folder).rglob("*.py")),
    ids=lambda path: str(path.relative_to(HOME)),
)
def test_no_file_is_too_long_to_read(path):
    assert len(path.read_text().splitlines()) <= LONGEST


def test_tools_target_the_oldest_python_that_is_promised():
    project = tomllib.loads((HOME / "pyproject.toml").read_text())
    oldest = project["project"]["requires-python"].removeprefix(">=")
    assert project["tool"]["ruff"]["target-version"] == "py" + oldest.replace(".", "")
    assert project["tool"]["mypy"]["python_version"] == oldest


def test_every_requirement_has_an_exact_version_for_the_tests():
    project = tomllib.loads((HOME / "pyproject.toml").read_text())
    asked = [
        *project["project"]["dependencies"],
        *(p for extra in project["project"]["optional-dependencies"].values() for p in extra),
        *(p for group in project["dependency-groups"].values() for p in group if type(p) is str),
    ]
    lines = (HOME / "constraints.txt").read_text().splitlines()
    pinned = {line.split("==")[0].lower() for line in lines if "==" in line}
    assert {requirement.split(">=")[0] for requirement in asked} <= pinned
