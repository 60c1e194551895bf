import ast
import subprocess
import sys
from pathlib import Path

import pytest

import espressivo

SOURCE = ast.parse(Path(espressivo.__file__).read_text())


@pytest.mark.parametrize("name", espressivo.__all__)
def test_every_public_name_is_there(name):
    assert getattr(espressivo, name) is not None
    assert name in dir(espressivo)


def test_type_checkers_see_the_same_names_from_the_same_places():
    (block,) = (node for node in SOURCE.body if isinstance(node, ast.If))
    seen = {}
    for node in block.body:
        for alias in node.names:
            home = node.module.removeprefix("espressivo.")
            seen[alias.asname or alias.name] = f"{home}:{alias.name}" if alias.asname else home
    assert seen == espressivo._HOMES
    assert sorted(seen) == sorted(espressivo.__all__)


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'sing'"):
        _ = espressivo.sing


def test_importing_the_package_imports_nothing_else():
    script = "import sys, espressivo; sys.exit('numpy' in sys.modules)"
    path = str(Path(espressivo.__file__).parents[1])
    done = subprocess.run([sys.executable, "-c", script], env={"PYTHONPATH": path})
    assert done.returncode == 0
