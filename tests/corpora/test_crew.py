import os
import signal
import subprocess
import sys
import time

import pytest

from espressivo.corpora.crew import run
from espressivo.corpora.layouts import entries
from espressivo.corpora.plan import SHARD
from espressivo.corpora.shards import Job
from espressivo.errors import CorpusError
from espressivo.midi import midi_bytes
from tests.corpora import poison
from tests.corpora.making import folder_of, music, prepared, quarantined, stored

PIECE = midi_bytes(music(1, 30))


def many(path, **special):
    """Two shards and a bit, mostly of files that are quickly refused."""
    files = {f"{n:03d}.mid": b"?" for n in range(2 * SHARD + 4)}
    return folder_of(path, files | special)


def contents(out):
    return {p.name: p.read_bytes() for p in out.iterdir() if not p.name.startswith(".")}


def test_the_number_of_workers_changes_nothing(tmp_path):
    many(tmp_path / "in", **{"000.mid": PIECE, "100.mid": midi_bytes(music(2, 30))})
    found = [
        contents(prepared(tmp_path / "in", tmp_path / str(n), name="c", workers=n).path)
        for n in (0, 1, 2)
    ]
    assert found[0] == found[1] == found[2]


def test_a_killed_worker_costs_nothing_and_a_poisonous_file_only_itself(tmp_path):
    special = {"020/unlucky.mid": PIECE, "100/poison.mid": PIECE, "100.mid": midi_bytes(music(2))}
    many(tmp_path / "in", **special)
    prepared(tmp_path / "in", tmp_path / "out", workers=2, read=poison.read)
    kept, refused = stored(tmp_path / "out"), quarantined(tmp_path / "out")
    assert sorted(kept) == ["020/unlucky.mid", "100.mid"]
    crashes = {path for path, row in refused.items() if row["reason"] == "crash"}
    assert crashes == {"100/poison.mid"}
    assert len(kept) + len(refused) == 2 * SHARD + 6


def test_a_killed_parent_takes_its_workers_along_and_can_be_followed(tmp_path):
    many(tmp_path / "in", **{"000.mid": PIECE, "110/slow.mid": midi_bytes(music(2))})
    program = (
        "from espressivo.corpora import prepare\n"
        "from tests.corpora import poison\n"
        "if __name__ == '__main__':\n"
        "    list(prepare('in', 'out', workers=1, read=poison.read))\n"
    )
    (tmp_path / "program.py").write_text(program)
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    parent = subprocess.Popen(
        [sys.executable, "program.py"], cwd=tmp_path, env=environment, start_new_session=True
    )
    marker = tmp_path / "out" / ".reading-00001"
    _until(lambda: marker.exists() and marker.read_text().strip() == "47")
    assert (tmp_path / "out" / "shard-00000.json").exists()
    os.kill(parent.pid, signal.SIGKILL)
    parent.wait()
    _until(lambda: not _alive(parent.pid))
    prepared(tmp_path / "in", tmp_path / "out", read=poison.read_at_once)
    prepared(tmp_path / "in", tmp_path / "new", name="out")
    assert contents(tmp_path / "out") == contents(tmp_path / "new")


def test_processes_that_always_die_are_an_error_not_a_loop(tmp_path, monkeypatch):
    folder = folder_of(tmp_path / "in", {"a.mid": PIECE})
    monkeypatch.setattr("espressivo.corpora.crew.fill", poison.die)
    job = Job(tmp_path, (folder,), "", 0, tuple(entries([folder], "")), poison.read)
    with pytest.raises(CorpusError, match="begin or store shard 0"):
        list(run([job], 1))


def _until(condition, seconds=60):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "this takes too long"
        time.sleep(0.02)


def _alive(session):
    """Whether any process of a session is left."""
    try:
        os.killpg(session, 0)
    except ProcessLookupError:
        return False
    return True
