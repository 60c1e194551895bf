import pytest

from tests.corpora.making import folder_of, music, prepared


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    """Five pieces of a few to many notes, all to be trained on."""
    path = tmp_path_factory.mktemp("music")
    pieces = {f"piece {n:04d}.mid": music(n, n) for n in (12, 90, 300, 700, 1500)}
    (path / "splits.csv").write_text("path,split\n" + "".join(f"{p},train\n" for p in pieces))
    return prepared(folder_of(path / "in", pieces), path / "out", splits=path / "splits.csv")
