"""The site's extension: addresses, copies for Colab, the cache's key."""

import json
import sys

import pytest
from book_files import ROOT

sys.path.append(str(ROOT / "book" / "_ext"))

booksite = pytest.importorskip("booksite")
repository = pytest.importorskip("booksite_repository")

GITHUB = "https://github.com/someone/a-book"


@pytest.mark.parametrize(
    ("remote", "address"),
    [
        ("https://github.com/someone/a-book.git", GITHUB),
        ("https://github.com/someone/a-book/", GITHUB),
        ("https://user:secret@github.com/someone/a-book.git", GITHUB),
        ("git@github.com:someone/a-book.git", GITHUB),
        ("ssh://git@github.com:22/someone/a-book.git", GITHUB),
        ("git://github.com/someone/a-book", GITHUB),
        ("http://localhost:3000/me/book.git", "http://localhost:3000/me/book"),
        (
            "git@git.example.org:group/sub/book",
            "https://git.example.org/group/sub/book",
        ),
        ("/srv/git/book.git", ""),
        ("../book", ""),
        ("file:///srv/git/book.git", ""),
        ("C:\\books\\book", ""),
        ("", ""),
    ],
)
def test_web_address(remote, address):
    assert repository.web_address(remote) == address


def test_address_comes_from_the_environment_first(monkeypatch, tmp_path):
    monkeypatch.setenv("BOOK_REPOSITORY_URL", GITHUB + ".git")
    assert repository.repository_address(tmp_path) == GITHUB
    monkeypatch.delenv("BOOK_REPOSITORY_URL")
    assert repository.repository_address(tmp_path) == ""


def test_only_github_has_a_colab_button():
    address = repository.colab_address(GITHUB, "01-tensors")
    assert address.startswith("https://colab.research.google.com/github/someone/")
    assert address.endswith("/colab/01-tensors.ipynb")
    assert repository.colab_address("https://git.example.org/me/book", "x") == ""
    assert repository.colab_address("", "x") == ""


def test_site_address(monkeypatch):
    monkeypatch.delenv("BOOK_SITE_URL", raising=False)
    assert repository.site_address(GITHUB) == "https://someone.github.io/a-book/"
    assert repository.site_address("https://git.example.org/me/book") == ""
    monkeypatch.setenv("BOOK_SITE_URL", "https://book.example.org")
    assert repository.site_address("") == "https://book.example.org/"


@pytest.fixture
def notebook(tmp_path):
    text = "See [data](03-data.ipynb#shuffle) and [a logit](glossary.md#logit)."
    cells = [{"cell_type": "markdown", "id": "a", "metadata": {}, "source": text}]
    path = tmp_path / "01-tensors.ipynb"
    path.write_text(
        json.dumps({"cells": cells, "metadata": {}, "nbformat": 4, "nbformat_minor": 5})
    )
    return path


@pytest.mark.parametrize("address", [GITHUB, "https://git.example.org/me/book"])
def test_colab_copies_install_the_book(notebook, tmp_path, address):
    folder = tmp_path / "colab"
    repository.write_colab_copies([notebook], folder, address)
    first, second, text = json.loads((folder / notebook.name).read_text())["cells"]
    assert first["cell_type"] == "code"
    assert f'"git+{address}"' in "".join(first["source"])
    assert "torch.cuda.is_available()" in "".join(first["source"])
    assert "drive.mount" in "".join(second["source"])
    links = "".join(text["source"])
    assert f"({address}/blob/HEAD/book/glossary.md#logit)" in links
    assert "](03-data" not in links


def test_no_address_no_copies(notebook, tmp_path):
    folder = tmp_path / "colab"
    folder.mkdir()
    repository.write_colab_copies([notebook], folder, "")
    assert not folder.exists()


def test_cache_key_follows_helpers_and_data(tmp_path, monkeypatch):
    helper = tmp_path / "helpers" / "data" / "_loaders.py"
    helper.parent.mkdir(parents=True)
    helper.write_text("a = 1\n")
    monkeypatch.delenv("CIFAR10_IMAGES", raising=False)
    key = booksite.execution_key(tmp_path)
    assert booksite.execution_key(tmp_path) == key
    monkeypatch.setenv("CIFAR10_IMAGES", "photographs.zip")
    with_photographs = booksite.execution_key(tmp_path)
    monkeypatch.delenv("CIFAR10_IMAGES")
    helper.write_text("a = 2\n")
    assert len({key, with_photographs, booksite.execution_key(tmp_path)}) == 3


def test_duration():
    assert booksite.duration(0.2) == "1 s"
    assert booksite.duration(89.6) == "90 s"
    assert booksite.duration(100) == "2 min"


def test_pieces_of_printed_text_are_joined():
    nodes = pytest.importorskip("docutils.nodes")
    output = nodes.container()
    for kind, text in [("stream", "5 |#\r10 |"), ("stream", "##\n"), ("stderr", "!\n")]:
        output += nodes.literal_block(text, text, classes=["output", kind])
    pytest.importorskip("booksite_nodes").join_streams(output)
    assert [block.astext() for block in output] == ["10 |##\n", "!\n"]
