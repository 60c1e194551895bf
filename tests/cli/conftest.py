import os
import subprocess
import sys

import numpy as np
import pytest

from espressivo import checkpoint
from espressivo.cli import main
from espressivo.codecs import CODECS
from espressivo.configs import LstmConfig

CODEC = CODECS["oore2018-pedal"]


def random_weights(seed=0, layers=1, width=16):
    """An LSTM that has learnt nothing."""
    rng = np.random.default_rng(seed)
    size = len(CODEC.vocabulary)
    shapes = {"output.weight": (size, width), "output.bias": (size,)}
    for layer in range(layers):
        shapes[f"lstm.weight_ih_l{layer}"] = (4 * width, width if layer else size)
        shapes[f"lstm.weight_hh_l{layer}"] = (4 * width, width)
        shapes[f"lstm.bias_ih_l{layer}"] = shapes[f"lstm.bias_hh_l{layer}"] = (4 * width,)
    return {n: rng.normal(0, 0.3, s).astype(np.float32) for n, s in shapes.items()}


@pytest.fixture(scope="session")
def model(tmp_path_factory):
    """A checkpoint folder."""
    path = tmp_path_factory.mktemp("models") / "untaught"
    card = {"licence": "CC0-1.0", "trained_on": "nothing"}
    config = LstmConfig(layers=1, width=16)
    checkpoint.save(path, checkpoint.Checkpoint(random_weights(), config, CODEC, card))
    return path


@pytest.fixture
def run(capsys, monkeypatch, tmp_path):
    """Run a command in an empty folder; give exit code, standard output and standard error."""
    monkeypatch.chdir(tmp_path)

    def command(*arguments):
        capsys.readouterr()
        try:
            code = main([str(argument) for argument in arguments])
        except SystemExit as left:
            code = left.code
        printed = capsys.readouterr()
        return code, printed.out, printed.err

    return command


@pytest.fixture
def process():
    """Start a command in a process of its own; PYTHONPATH reaches the package wherever it is."""
    started = []

    def start(*arguments, **options):
        command = [sys.executable, "-m", "espressivo.cli", *map(str, arguments)]
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
        started.append(subprocess.Popen(command, env=environment, **{**pipes, **options}))
        return started[-1]

    yield start
    for one in started:
        if one.poll() is None:
            one.kill()
        one.communicate()
