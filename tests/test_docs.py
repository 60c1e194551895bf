"""What the documentation says is true: its commands run, its links lead somewhere."""

import re
import shlex
import shutil
import tomllib
from pathlib import Path

import pytest

import espressivo
from espressivo import bundle
from espressivo.cli import main
from tools.reference import reference

HOME = Path(__file__).parents[1]
README = (HOME / "README.md").read_text()
PAGES = sorted([HOME / "README.md", HOME / "CHANGELOG.md", *(HOME / "docs").glob("*.md")])
PROJECT = tomllib.loads((HOME / "pyproject.toml").read_text())


def blocks(text, language):
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


def commands(text):
    return [line for block in blocks(text, "sh") for line in block.splitlines()]


PLAYING, LEARNING = (
    [line for line in block.splitlines() if line.startswith("espressivo")]
    for block in blocks(README, "sh")
    if "espressivo" in block
)


@pytest.fixture
def clone(tmp_path, monkeypatch, model):
    """A folder with the samples in it, and a checkpoint if none is bundled."""
    shutil.copytree(HOME / "tests" / "samples", tmp_path / "tests" / "samples")
    monkeypatch.chdir(tmp_path)
    if not bundle.names():
        shutil.copytree(model, tmp_path / "bundled" / "performance-rnn")
        monkeypatch.setattr(bundle, "BUNDLED", tmp_path / "bundled")
    return tmp_path


def run(lines):
    for line in lines:
        assert main(shlex.split(line)[1:]) == 0, line


def test_the_commands_that_play_run_as_they_stand(clone):
    run(PLAYING)
    made = {path.name for path in (clone / "out").iterdir()}
    assert made >= {"new.mid", "new.wav", "new.png", "take-3.mid", "next.mid", "next.mp3"}
    assert espressivo.read_midi("out/new.mid").duration == pytest.approx(60, abs=0.01)


def test_the_commands_that_learn_run_as_they_stand(clone):
    pytest.importorskip("torch")
    run(LEARNING)
    assert len(espressivo.read_midi("out/tiny.mid"))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_python_runs_as_it_stands(clone, page):
    (clone / "out").mkdir()
    for block in blocks(page.read_text(), "python"):
        exec(compile(block, page.name, "exec"), {})


def test_every_other_command_is_one_continuous_integration_runs():
    """Installing and testing cannot be tested from within; .ci/run does it."""
    made = set(re.findall(r"make ([\w-]+)", (HOME / ".ci" / "run").read_text()))
    for line in commands(README):
        program, *words = shlex.split(line)
        assert program in ("espressivo", "make"), line
        if program == "make":
            assert words[0] in made | {"bench"}, line
    targets = set(re.findall(r"^([\w-]+):", (HOME / "Makefile").read_text(), re.MULTILINE))
    assert made <= targets


def test_the_demo_is_a_command_of_the_readme_with_its_length_written_out():
    makefile = (HOME / "Makefile").read_text()
    assert "espressivo generate --seconds 60 -o out/performance.mid" in makefile
    for name in ("performance.mid", "performance.wav", "performance.png"):
        assert f"out/{name}" in makefile
        assert name in README


def test_the_readme_is_short():
    assert len(README.splitlines()) < 120


def test_the_python_and_the_extras_it_names_are_those_of_the_package():
    oldest = PROJECT["project"]["requires-python"].removeprefix(">=")
    assert set(re.findall(r"Python (\d\.\d+)", README)) == {oldest}
    extras = set(re.findall(r"\.\[(\w+)\]", README))
    assert extras <= set(PROJECT["project"]["optional-dependencies"])


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)#]+)\)", page.read_text()):
        if not target.startswith("https://"):
            assert (page.parent / target).exists(), target


def test_the_reference_is_what_the_code_says(request):
    path = HOME / "docs" / "reference.md"
    if request.config.option.update_golden:
        path.write_text(reference())
    assert path.read_text() == reference(), "run pytest tests/test_docs.py --update-golden"


def test_the_changelog_has_a_place_for_what_sounds_different():
    assert "### Sounds different" in (HOME / "CHANGELOG.md").read_text()
