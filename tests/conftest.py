import json
import os
import socket
from importlib.util import find_spec
from pathlib import Path

# The networks of the tests are tiny: more threads would only wait for each other.
for library in ("OMP", "OPENBLAS"):
    os.environ.setdefault(f"{library}_NUM_THREADS", "1")

import hypothesis
import numpy as np
import pytest

from espressivo import checkpoint
from espressivo.codecs import CODECS
from espressivo.configs import LstmConfig

if find_spec("torch"):  # every shape a model's signature promises is checked while tests run
    from jaxtyping import install_import_hook

    install_import_hook("espressivo.models", "beartype.beartype")

hypothesis.settings.register_profile("here", deadline=None)
hypothesis.settings.register_profile("ci", deadline=None, derandomize=True, database=None)
hypothesis.settings.load_profile("ci" if os.environ.get("CI") else "here")

GOLDEN = Path(__file__).parent / "golden"
SAMPLES = Path(__file__).parent / "samples"
CODEC = CODECS["oore2018-pedal"]


def pytest_addoption(parser):
    parser.addoption("--update-golden", action="store_true", help="write what golden tests expect")
    parser.addoption(
        "--nothing-missing", action="store_true", help="fail if a test skips for want of a package"
    )


def pytest_collection_modifyitems(config, items):
    if config.option.markexpr:
        return
    slow = pytest.mark.skip(reason="slow; run with -m slow")
    gpu = pytest.mark.skip(reason="needs an accelerator; run with -m gpu")
    for item in items:
        if item.get_closest_marker("slow"):
            item.add_marker(slow)
        if item.get_closest_marker("gpu"):
            item.add_marker(gpu)


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session):
    """Where everything should be installed, a missing package is a failure, not a skip."""
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if not session.config.option.nothing_missing or reporter is None:
        return
    missing = [
        r for r in reporter.stats.get("skipped", []) if "could not import" in str(r.longrepr)
    ]
    if missing:
        reporter.write_line(f"{len(missing)} skipped for want of a package", red=True)
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


@pytest.fixture(autouse=True, scope="session")
def offline():
    """No test reaches the network; this machine may talk to itself."""
    connect = socket.socket.connect

    def only_here(self, address):
        if self.family in (socket.AF_INET, socket.AF_INET6):
            host = address[0]
            if host not in ("127.0.0.1", "::1", "localhost"):
                raise RuntimeError(f"a test tried to reach {host}; tests do without the network")
        return connect(self, address)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(socket.socket, "connect", only_here)
        yield


@pytest.fixture
def golden(request):
    """Compare a value with tests/golden/NAME.json, or write it there with --update-golden."""

    def check(name, value):
        path = GOLDEN / f"{name}.json"
        if request.config.option.update_golden:
            path.parent.mkdir(exist_ok=True)
            path.write_text(json.dumps(value, indent=1) + "\n")
        assert path.is_file(), f"{path.name} is missing; run pytest --update-golden"
        assert json.loads(path.read_text()) == json.loads(json.dumps(value))

    return check


@pytest.fixture(scope="session")
def samples():
    """The folder of committed performances."""
    return SAMPLES


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
