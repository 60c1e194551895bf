import os
import subprocess
import sys

import pytest

from tests.training.made import write_corpus


@pytest.fixture(scope="session")
def corpus(tmp_path_factory):
    splits = ["train"] * 5 + ["validation"] * 3 + ["test"] * 2
    return write_corpus(tmp_path_factory.mktemp("corpora") / "small", splits)


@pytest.fixture
def process():
    """Run a command in a process of its own, which finds the package wherever it is."""

    def run(*command):
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
        words = [str(word) for word in command]
        return subprocess.run(words, env=environment, capture_output=True, text=True, timeout=300)

    return run
