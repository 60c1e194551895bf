import pytest

from tests.training.made import write_corpus


@pytest.fixture(scope="session")
def corpus(tmp_path_factory):
    splits = ["train"] * 5 + ["validation"] * 3 + ["test"] * 2
    return write_corpus(tmp_path_factory.mktemp("corpora") / "small", splits)
