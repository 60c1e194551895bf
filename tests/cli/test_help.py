import argparse
import os
import resource
import subprocess
import sys

import pytest

from espressivo.cli.parser import duration, parser

VERBS = [
    "generate", "continue", "accompany", "replay", "render", "plot", "prepare", "train",
    "evaluate", "inspect", "presets", "models", "doctor",
]  # fmt: skip

HEAVY = ("numpy", "torch", "symusic", "soundfile", "PIL", "safetensors")


def verbs():
    (action,) = (a for a in parser()._actions if isinstance(a, argparse._SubParsersAction))
    return action.choices


def test_every_verb_is_there():
    assert list(verbs()) == VERBS


def test_flags_change_only_on_purpose(golden):
    """New numbers go into configurations, reached as model.layers=4, not into flags."""
    flags = {
        name: [option for action in verb._actions for option in action.option_strings]
        for name, verb in verbs().items()
    }
    golden("flags", flags)


@pytest.mark.parametrize("verb", VERBS)
def test_help_of_a_verb_ends_with_an_example(verb, run):
    code, out, err = run(verb, "--help")
    assert (code, err) == (0, "")
    assert f"example: espressivo {verb}" in out


def test_an_example_is_a_command_that_can_be_typed():
    for verb in verbs().values():
        words = verb.epilog.removeprefix("example: espressivo ").split()
        assert parser().parse_known_args(words)[0].verb == words[0]


def test_help_comes_before_anything_is_imported():
    script = (
        "import sys\n"
        "from espressivo.cli import main\n"
        "try:\n    main(['generate', '--help'])\nexcept SystemExit:\n    pass\n"
        f"heavy = [name for name in {HEAVY} if name in sys.modules]\n"
        "sys.exit(', '.join(heavy) or None)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, env=environment()
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_help_takes_less_than_a_third_of_a_second_of_processor_time():
    assert min(seconds_of_help() for _ in range(3)) < 0.3


def seconds_of_help():
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    command = [sys.executable, "-m", "espressivo.cli", "--help"]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, env=environment())
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def environment():
    return {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90", 90), ("90s", 90), ("9m", 540), ("1h30m", 5400), ("0.5s", 0.5), ("1h1m1s", 3661)],
)
def test_a_length_of_time_is_read(text, seconds):
    assert duration(text) == seconds


@pytest.mark.parametrize("text", ["", "9x", "m", "-5", "1m1h", "1.5h"])
def test_anything_else_is_no_length_of_time(text):
    with pytest.raises(argparse.ArgumentTypeError, match="write 90s, 9m or 1h30m"):
        duration(text)
