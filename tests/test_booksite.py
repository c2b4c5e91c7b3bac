"""The site's extension: addresses, copies for Colab, the cache's key."""

import io
import json
import sys
from xml.etree import ElementTree

import pytest
from book_files import ROOT

sys.path.append(str(ROOT / "book" / "_ext"))

booksite = pytest.importorskip("booksite")
front = pytest.importorskip("booksite_front")
search = pytest.importorskip("booksite_search")
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
    cells = json.loads((folder / notebook.name).read_text())["cells"]
    note, install, keep, text = ("".join(cell["source"]) for cell in cells)
    assert "Drive" in note
    assert f'"git+{address}"' in install
    assert "GPU" in install
    assert "drive.mount" in keep
    assert f"({address}/blob/HEAD/book/glossary.md#logit)" in text
    assert "](03-data" not in text


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


def test_a_bar_may_not_grow():
    formula = pytest.importorskip("booksite_nodes").formula
    for norm in (r"\lVert x \rVert^2", r"\lvert x \rvert^2", r"\|x\|^2"):
        assert formula(norm).count('stretchy="false"') == 2
    assert 'display="block"' in formula("x", "block")


@pytest.mark.parametrize(("corner", "headings"), [("", 2), ("name", 0)])
def test_rows_without_a_heading_above_have_their_own(corner, headings):
    core = pytest.importorskip("docutils.core")
    text = f"""
.. list-table::
   :header-rows: 1

   * - {corner}
     - value
   * - a
     - 1
   * - b
     - 2
"""
    tree = core.publish_doctree(text)
    pytest.importorskip("booksite_nodes").name_rows(tree)
    html = core.publish_from_doctree(tree, writer_name="html5").decode()
    body = html.partition("<tbody>")[2]
    assert body.count("<th") == headings


def test_pieces_of_printed_text_are_joined():
    nodes = pytest.importorskip("docutils.nodes")
    output = nodes.container()
    for kind, text in [("stream", "5 |#\r10 |"), ("stream", "##\n"), ("stderr", "!\n")]:
        output += nodes.literal_block(text, text, classes=["output", kind])
    pytest.importorskip("booksite_nodes").join_streams(output)
    assert [block.astext() for block in output] == ["10 |##\n", "!\n"]


# The front page ---------------------------------------------------------------


@pytest.mark.parametrize(
    ("sentence", "chapters"),
    [
        ("You need Python: lists, functions, loops.", set()),
        ("You need Chapter 1: shapes, and the line at its end.", {1}),
        ("You need Chapter 1 and Chapter 2.", {1, 2}),
        ("You need chapters 1 to 3: tensors, and 10 digits.", {1, 2, 3}),
        ("You need chapters 2, 4 and 5.", {2, 4, 5}),
        ("You need chapters 1 to 3, and chapter 8 for exhibit 4.", {1, 2, 3, 8}),
    ],
)
def test_needed_chapters(sentence, chapters):
    assert front.needed_chapters(sentence) == chapters


NEEDS = {n: set(range(1, n)) for n in range(1, 8)} | {
    8: set(range(1, 7)),
    9: set(range(1, 9)),
    10: set(range(1, 8)),
}


def test_the_map_leaves_out_what_follows():
    direct = front.direct_needs(NEEDS)
    assert direct[1] == []
    assert direct[6] == [5]
    assert direct[8] == [6]
    assert direct[9] == [7, 8]
    assert front.layers(direct)[5:] == [[6], [7, 8], [10, 9]]
    assert front.direct_needs({1: set(), 3: {1, 2}}) == {1: [], 3: [1]}


def test_the_map_in_words():
    assert front.in_words(front.direct_needs(NEEDS)) == (
        "Chapters 1 to 6 build on each other, in this order. "
        "Chapters 8 and 9 build on chapter 6. "
        "Chapter 10 builds on chapters 8 and 9. Chapter 12 builds on chapter 8."
    )


@pytest.mark.parametrize("down", [False, True])
def test_the_map_is_drawn_inside_its_frame(down):
    direct = front.direct_needs(NEEDS)
    pages = {n: {"title": f"A & {n}", "link": f"{n}.html"} for n in direct}
    drawing = ElementTree.fromstring(front.draw_map(pages, direct, down))
    width, height = float(drawing.get("width")), float(drawing.get("height"))
    assert (width < 330) if down else (width < 930)
    boxes = drawing.findall(".//rect")
    assert len(boxes) == len(direct)
    for box in boxes:
        x, y, w, h = (float(box.get(key)) for key in ("x", "y", "width", "height"))
        assert x >= 0
        assert y >= 0
        assert x + w <= width
        assert y + h <= height
    corners = {(box.get("x"), box.get("y")) for box in boxes}
    assert len(corners) == len(boxes), "no two in one place"
    arrows = drawing.findall("path")
    assert len(arrows) == sum(map(len, direct.values()))


def test_thumbnail_shows_the_drawing_without_the_writing():
    plt = pytest.importorskip("matplotlib.pyplot")
    figure, axes = plt.subplots(1, 2, figsize=(6, 3))
    for ax in axes:
        ax.plot([0, 1], [0, 1], label="a line")
        ax.set_title("Title")
        ax.legend()
    text = io.StringIO()
    figure.savefig(text, format="svg")
    plt.close(figure)
    small = ElementTree.fromstring(front.thumbnail(text.getvalue()))
    names = [element.get("id", "") for element in small.iter()]
    assert any(name.startswith("line2d") for name in names)
    assert not [n for n in names if n.startswith(("text", "legend", "matplotlib."))]
    x, y, width, height = map(float, small.get("viewBox").split())
    assert width / height == pytest.approx(4 / 3, rel=0.01)
    assert x > 20, "the axis and its numbers are cut off"
    assert (small.get("width"), small.get("height")) == ("160", "120")


# The search index ---------------------------------------------------------------


@pytest.mark.parametrize(
    ("paragraph", "names"),
    [
        ("中文：卷积", ["卷积"]),
        ("中文：轮次（也作：轮、周期）", ["轮次", "轮", "周期"]),
        ("中文：正则化（注意：不是“归一化”或“标准化”）", ["正则化"]),
        ("本书术语中英对照：每个词条", []),
    ],
)
def test_chinese_names(paragraph, names):
    nodes = pytest.importorskip("docutils.nodes")
    assert search.chinese(nodes.paragraph("", paragraph)) == names


def doctree(html_like):
    """Make a page: nested sections from (title, children) pairs."""
    nodes = pytest.importorskip("docutils.nodes")
    title, *children = html_like
    section = nodes.section(ids=[title.lower().replace(" ", "-")])
    section += nodes.title("", title)
    for child in children:
        section += doctree(child) if isinstance(child, tuple) else child
    return section


def test_sections_hold_their_own_text_only():
    nodes = pytest.importorskip("docutils.nodes")
    solution = nodes.container(classes=["cell", "tag_solution"])
    solution += nodes.literal_block("", "the_answer = 42")
    output = nodes.literal_block("", "x" * 5_000, classes=["output", "stream"])
    page = doctree(
        (
            "Top",
            nodes.paragraph("", "Above all."),
            ("Part one", nodes.paragraph("", "Below."), solution, output),
        )
    )
    top, part = search.page_sections(page)
    assert top == {"anchor": "top", "title": "Top", "names": [], "text": "Above all."}
    assert part["anchor"] == "part-one"
    assert part["text"].startswith("Below. xxx")
    assert len(part["text"]) < 1_000
    assert "42" not in part["text"]


def test_a_table_row_names_the_section_it_links_to():
    nodes = pytest.importorskip("docutils.nodes")
    row = nodes.row()
    row += nodes.entry("", nodes.paragraph("", "loss is nan"))
    link = nodes.reference("", "exhibit 1", refuri="#exhibit-1")
    row += nodes.entry("", nodes.paragraph("", "", link))
    page = doctree(("Museum", nodes.table("", row), ("Exhibit 1",), ("Exhibit 2",)))
    _, first, second = search.page_sections(page)
    assert first["names"] == ["loss is nan"]
    assert second["names"] == []


def test_search_index_is_a_script(tmp_path):
    path = tmp_path / "searchindex.js"
    section = {"anchor": "a", "title": "卷积 </script>", "names": ["n"], "text": "t"}
    page = {"link": "book/a.html", "title": "A", "sections": [section]}
    search.write_search_index([page], path)
    text = path.read_text("utf-8")
    found = json.loads(text.removeprefix("const SEARCH_INDEX = ").rstrip(";\n"))
    assert found == [["book/a.html", "A", [["a", "卷积 </script>", ["n"], "t"]]]]
