"""The site's extension, tried on a little book: see little_book.py."""

import io
import json
import os
import re
import shutil
import subprocess
import sys
from types import SimpleNamespace
from xml.etree import ElementTree

import booksite
import booksite_execution as execution
import booksite_front as front
import booksite_nodes
import booksite_repository as repository
import booksite_search as search
import bs4
import matplotlib.pyplot as plt
import nbformat
import pytest
from book_files import CHAPTERS, ROOT, read_cells
from browser import axe_violations, fits_a_phone, missing, served
from docutils import core, nodes
from little_book import add_chinese, build, code, text, write_book, write_chapter

GITHUB = "https://github.com/someone/a-book"


# A little book ------------------------------------------------------------------


@pytest.fixture(scope="module")
def little(tmp_path_factory):
    """Build the little book; return its site, its pages and what the build said."""
    root = write_book(tmp_path_factory.mktemp("little"))
    add_chinese(root)
    done = build(root, BOOK_SITE_URL="https://b.org/")
    assert done.returncode == 0, done.stdout + done.stderr
    site = root / "_build" / "html"

    def page(name, folder="book"):
        text = site.joinpath(folder, name).read_text("utf-8")
        return bs4.BeautifulSoup(text, "html.parser")

    return SimpleNamespace(root=root, site=site, page=page, said=done.stderr)


@pytest.mark.parametrize("path", CHAPTERS, ids=lambda path: path.stem)
def test_the_readme_and_the_opening_say_how_long_a_chapter_takes(path):
    """To the nearest five minutes; a chapter of this length is read in one sitting."""
    readme = ROOT.joinpath("README.md").read_text(encoding="utf-8")
    said = re.search(rf"^\| {int(path.stem[:2])} [^|]+\| ([^|]+) \|", readme, re.M)[1]
    notebook = nbformat.read(path, as_version=4)
    facts = notebook.metadata["book"]
    if "time" in facts:
        assert facts["time"].startswith(said)
        return
    cells = [c for c in notebook.cells if "optional" not in c.metadata.get("tags", ())]
    minutes = booksite.reading_minutes(cells)
    opening = re.search(r"\*\*Time\*\* About (\d+) minutes", cells[0].source)[1]
    assert abs(int(said) - minutes) <= 5
    assert abs(int(opening) - minutes) <= 5
    assert minutes <= 45


def said(page, selector):
    return [part.get_text(" ", strip=True) for part in page.select(selector)]


def test_the_front_page_and_the_chapters_know_times_aims_and_needs(little):
    (facts,) = said(little.page("01-one.html"), ".facts")
    assert "About 2 min to read, + 3 min optional" in facts
    (facts,) = said(little.page("02-two.html"), ".facts")
    assert "To look things up in" in facts
    assert "min to read" not in facts
    first, second, _ = said(little.page("index.html"), ".chapters li li")
    assert "Count to one. Stop." in first
    assert "2 min to read + 3 min optional" in first
    assert "to look things up in" in second
    (words,) = said(little.page("index.html"), ".map figcaption")
    assert words == "Chapters 1 to 3 build on each other, in this order."


def test_what_is_optional_is_folded_under_its_heading(little):
    page = little.page("01-one.html")
    fold = page.select_one("#strides-optional > details.optional")
    assert fold.summary.h3.get_text() == "Strides (optional)"  # with no link in it
    assert "2" in fold.select_one(".cell_output").get_text()
    assert fold.select_one("#deeper form.explorer")
    assert len(page.select("details.optional")) == 1
    assert not fold.select("#quiz")


def test_figures_inside_outputs_become_files(little):
    solution = little.page("01-one.html").select_one("details.solution")
    assert "forty_two()" in solution.get_text()
    image = solution.img
    assert (image["width"], image["height"]) == ("96", "48")
    assert little.site.joinpath("book", image["src"]).resolve().is_file()
    assert "forty_two" not in little.site.joinpath("searchindex.js").read_text()


def test_links_and_old_addresses_in_a_browser(little, visit):
    base = (little.site / "book").as_uri()
    page = visit().page
    page.goto(f"{base}/01-one.html")
    assert not page.locator("#deeper").is_visible()
    for anchor in ("deeper", "strides-optional"):
        page.goto(f"{base}/01-one.html#{anchor}")
        page.reload()
        page.wait_for_function("document.querySelector('.optional[open]')")
    page.goto(f"{base}/02-two.html")
    page.get_by_role("link", name="one", exact=True).click()
    assert page.url == f"{base}/01-one.html#gpu-first"
    # a section that is on another page now, and one that is where it was
    page.goto(f"{base}/02-two.html#moved")
    page.wait_for_url(f"{base}/03-three.html#moved")
    page.goto(f"{base}/02-two.html#links")
    assert page.locator("h1").inner_text().startswith("Two")
    # a page that has another name now
    page.goto(f"{base}/09-gpu.html#moved", wait_until="commit")
    page.wait_for_url(f"{base}/03-three.html#moved")


def test_results_are_kept_and_a_failing_cell_fails_the_build(little, monkeypatch):
    assert little.said.count("Execution Successful") == 3, "each notebook once"
    helpers = little.root / "helpers"
    key = execution.execution_key(little.root)
    helpers.joinpath("doctor.py").write_text("a = 1\n")
    helpers.joinpath("classroom", "grade.py").write_text("a = 1\n")
    helpers.joinpath("__pycache__").mkdir()  # as an import leaves it
    helpers.joinpath("__pycache__", "models.pyc").write_text("")
    helpers.joinpath(".ipynb_checkpoints").mkdir()  # as JupyterLab leaves it
    helpers.joinpath(".ipynb_checkpoints", "models-checkpoint.py").write_text("a = 1\n")
    assert execution.execution_key(little.root) == key
    monkeypatch.setenv("CIFAR10_IMAGES", "photographs.zip")
    assert execution.execution_key(little.root) != key
    monkeypatch.undo()
    path = little.root / "book" / "03-three.ipynb"
    whole = path.read_text("utf-8")
    write_chapter(path, [text("# Three\n\nA."), code("print(1 / (3 - 3))")])
    done = build(little.root)
    path.write_text(whole, "utf-8")
    assert done.returncode != 0
    assert "Execution Successful" not in done.stderr, "of the others are kept"
    for said in ("03-three.ipynb", "ZeroDivisionError", "print(1 / (3 - 3))"):
        assert said in done.stderr
    helpers.joinpath("models.py").write_text("a = 1\n")
    assert execution.execution_key(little.root) != key


def test_no_chapter_reaches_what_the_cache_leaves_out():
    for path in ROOT.joinpath("book").glob("*.ipynb"):
        source = "\n".join(cell["source"] for cell in read_cells(path, "code"))
        for name in execution.OUT_OF_REACH:
            module = name.removesuffix(".py")
            assert not re.search(
                rf"helpers\.{module}\b|helpers import .*\b{module}\b", source
            )


def test_what_is_optional_ends_at_a_heading():
    cells = [text("# One\n\nA."), text("### B", "optional"), text("Not optional.")]
    fault = booksite_nodes.mark_optional(None, cells)
    assert "no heading parts what is optional" in fault


# The Chinese edition -----------------------------------------------------------


def test_a_chinese_page_has_the_same_results_and_sections(little):
    english = little.page("01-one.html")
    chinese = little.page("01-one.html", "zh/book")
    assert chinese.html["lang"] == "zh-Hans"
    assert chinese.h1.get_text().startswith("1. 一")
    for selector in ("section[id]", "div.cell_input", "details.optional"):
        assert len(chinese.select(selector)) == len(english.select(selector)) > 0
    anchors = [section["id"] for section in english.select("section[id]")]
    assert [section["id"] for section in chinese.select("section[id]")] == anchors
    assert chinese.select_one("td a")["href"] == "#strides-optional"
    facts = chinese.select_one(".facts").get_text(" ", strip=True)
    assert "阅读约 2 分钟，选读另需 3 分钟" in facts


def test_what_cells_show_is_in_chinese_too(little):
    page = little.page("01-one.html", "zh/book")
    alternatives = [image["alt"] for image in page.select("main img")]
    assert "一条上升的线。" in alternatives
    assert "第 a 步。" in alternatives
    assert page.select_one("label.slider").span.get_text() == "步骤"
    solution = page.select_one("details.solution")
    assert solution.summary.get_text() == "解答：点击展开"
    for image in page.select("main img"):
        file = little.site.joinpath("zh", "book", image["src"]).resolve()
        assert file.is_relative_to(little.site / "_images")
        assert file.is_file()


def test_a_page_without_a_translation_is_in_english(little):
    page = little.page("02-two.html", "zh/book")
    assert page.h1.get_text().startswith("2. Two")
    assert "About two." in page.get_text()
    assert page.select_one("a.language")["href"] == "../../book/02-two.html"
    page = little.page("01-one.html", "zh/book")
    numbers = [a.get_text() for a in page.select("nav#contents li.toctree-l1 > a")]
    assert numbers == ["1. 一", "2. Two", "3. Three"]
    assert page.select_one("#deeper p a")["href"] == "02-two.html#links"


def test_the_notebook_to_take_away_is_chinese(little):
    path = little.site / "zh" / "notebooks" / "01-one.ipynb"
    cells = nbformat.read(path, as_version=4).cells
    assert cells[0].source.startswith("## 运行之前")
    assert any(cell.source.startswith("# 一") for cell in cells)
    assert "(#步子（选读）)" in "".join(cell.source for cell in cells)
    assert not any(cell.get("outputs") for cell in cells)


def test_the_switch_and_the_search_in_a_browser(little, visit):
    base = little.site.as_uri()
    seen = visit(viewport={"width": 360, "height": 400})
    seen.page.goto(f"{base}/book/01-one.html#gpu-first")
    arrived = "document.querySelector('#gpu-first').getBoundingClientRect().top < 60"
    seen.page.wait_for_function(arrived)  # the page scrolls there smoothly
    # The mouse would scroll to the link first, and past the section that is read.
    seen.page.locator("a.language").evaluate("(link) => link.click()")
    seen.page.wait_for_url(f"{base}/zh/book/01-one.html#gpu-first")
    assert fits_a_phone(seen.page)
    seen.page.goto(f"{base}/zh/search.html?q=讲的是什么")
    hit = seen.page.locator("#search-results li a").first
    assert hit.inner_text() == "一"
    assert "在 1 节中找到" in seen.page.locator("[role=status]").inner_text()
    hit.click()
    seen.page.click("a.language")
    seen.page.wait_for_url(f"{base}/book/01-one.html")
    assert seen.faults(base) == []
    with served(little.site) as address:
        page = visit(color_scheme="dark").page
        page.goto(f"{address}zh/book/01-one.html")
        assert axe_violations(page) == []


# Where the book is published ------------------------------------------------------


def test_pages_tell_others_their_address_and_their_picture_in_full(little):
    page = little.page("01-one.html", "zh/book")
    address = page.find("link", rel="canonical")["href"]
    assert address == "https://b.org/zh/book/01-one.html"
    picture = page.find("meta", property="og:image")["content"]
    assert picture == "https://b.org/_static/card.png"
    assert little.site.joinpath("_static", "card.png").is_file()


@pytest.mark.parametrize(
    ("remote", "address"),
    [
        ("https://user:secret@github.com/someone/a-book.git?token=abc", GITHUB),
        ("https://github.com/someone/a-book/#readme", GITHUB),
        ("git@github.com:someone/a-book.git", GITHUB),
        ("git://github.com/someone/a-book", GITHUB),
        ("ssh://git@ssh.github.com:443/someone/a-book.git", GITHUB),
        ("http://localhost:3000/me/book.git", "http://localhost:3000/me/book"),
        ("git@git.example.org:a/b/book", "https://git.example.org/a/b/book"),
        ("git@unknown-alias:someone/a-book.git", ""),
        ("../book", ""),
        ("file:///srv/git/book.git", ""),
        ("C:\\books\\book", ""),
        ("", ""),
    ],
)
def test_web_address(remote, address):
    assert repository.web_address(remote) == address


@pytest.mark.parametrize("alias", ["github-work", "github.com-work"])
def test_ssh_knows_what_an_alias_stands_for(alias, tmp_path, monkeypatch):
    program = tmp_path / "ssh"
    program.write_text(f"#!/bin/sh\n[ $3 = {alias} ] && echo hostname ssh.github.com\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    assert repository.web_address(f"git@{alias}:someone/a-book.git") == GITHUB
    assert repository.web_address("git@nobody:someone/a-book.git") == ""


def test_the_address_is_that_of_the_books_own_repository(tmp_path, monkeypatch):
    if shutil.which("git") is None:
        missing("git")
    monkeypatch.delenv("BOOK_REPOSITORY_URL", raising=False)
    inside = tmp_path / "unpacked"
    inside.mkdir()
    for command in (["init", "-q"], ["remote", "add", "origin", f"{GITHUB}.git"]):
        subprocess.run(["git", *command], cwd=tmp_path, check=True)
    assert repository.repository_address(tmp_path) == GITHUB
    assert repository.repository_address(inside) == "", "a stranger's repository"
    monkeypatch.setenv("BOOK_REPOSITORY_URL", "https://git.example.org/me/book.git")
    assert repository.repository_address(inside) == "https://git.example.org/me/book"


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
def copied(tmp_path):
    """Return what writes copies of a chapter, and the cells of the one in a folder."""
    path = tmp_path / "01-tensors.ipynb"
    links = (
        "[data](03-data.ipynb#shuffle), [GPU](glossary.md#GPU), [there](https://x.y)"
    )
    write_chapter(path, [text(links)])

    def copy(folder, *places):
        repository.write_copies([path], tmp_path, *places)
        cells = nbformat.read(tmp_path / folder / path.name, as_version=4).cells
        return [cell.source for cell in cells]

    return copy


def test_a_copy_for_colab_installs_the_book(copied):
    note, install, keep, links = copied("colab", GITHUB, "https://b.org/")
    assert "Drive" in note
    assert f'"git+{GITHUB}"' in install
    assert "GPU" in install
    assert "drive.mount" in keep
    colab = "https://colab.research.google.com/github/someone/a-book/blob/gh-pages"
    assert f"({colab}/colab/03-data.ipynb#shuffle)" in links
    assert "(https://b.org/book/glossary.html#gpu), [there](https://x.y)" in links


@pytest.mark.parametrize(
    ("places", "link"),
    [
        (("", ""), "glossary.md#GPU"),
        (("", "https://b.org/"), "https://b.org/book/glossary.html#gpu"),
        (("https://h/me/book", ""), "https://h/me/book/blob/HEAD/book/glossary.md#gpu"),
    ],
)
def test_a_download_fetches_what_it_needs_or_says_what(copied, places, link, tmp_path):
    _, first, links = copied("notebooks", *places)
    assert f"[GPU]({link})" in links
    if places[0]:
        assert f'"git+{places[0]}"' in first
        return
    assert not tmp_path.joinpath("colab").exists()
    alone = [sys.executable, "-I", "-c", f"import sys; sys.path[:] = []\n{first}"]
    error = subprocess.run(alone, capture_output=True, text=True).stderr
    assert error.splitlines()[-1].startswith("ImportError: ")
    assert "requirements.txt" in error


# Formulas, tables, output ---------------------------------------------------------


def test_a_bar_may_not_grow():
    formula = booksite_nodes.formula
    for norm in (r"\lVert x \rVert^2", r"\lvert x \rvert^2", r"\|x\|^2"):
        assert formula(norm).count('stretchy="false"') == 2
    assert 'display="block"' in formula("x", "block")


@pytest.mark.parametrize(("corner", "headings"), [("", 2), ("name", 0)])
def test_rows_without_a_heading_above_have_their_own(corner, headings):
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
    booksite_nodes.name_rows(tree)
    html = core.publish_from_doctree(tree, writer_name="html5").decode()
    body = html.partition("<tbody>")[2]
    assert body.count("<th") == headings


def test_pieces_of_printed_text_are_joined():
    output = nodes.container()
    for kind, piece in [
        ("stream", "5 |#\r10 |"),
        ("stream", "##\n"),
        ("stderr", "!\n"),
    ]:
        output += nodes.literal_block(piece, piece, classes=["output", kind])
    booksite_nodes.join_streams(output)
    assert [block.astext() for block in output] == ["10 |##\n", "!\n"]


def test_faces_for_chinese_stand_behind_those_for_latin():
    css = ROOT.joinpath("book", "_static", "book.css").read_text("utf-8")
    stacks = re.findall(r"--(?:sans|serif): ([^;]+);", css.partition(":lang(zh)")[0])
    assert len(stacks) == 2
    for stack in stacks:
        before, generic, after = re.split(r"\b(serif|sans-serif)(?=[,;])", stack)
        assert "CJK" not in before
        assert "CJK SC" in after


# The front page ---------------------------------------------------------------


NEEDS = {n: set(range(1, n)) for n in range(1, 8)}
NEEDS |= {8: set(range(1, 7)), 9: set(range(1, 9)), 10: set(range(1, 8))}


def test_the_map_leaves_out_what_follows():
    direct = front.direct_needs(NEEDS)
    assert [direct[n] for n in (1, 6, 8, 9)] == [[], [5], [6], [7, 8]]
    assert front.layers(direct)[5:] == [[6], [7, 8], [10, 9]]
    assert front.direct_needs({1: set(), 3: {1, 2}}) == {1: [], 3: [1]}
    assert front.in_words(direct) == (
        "Chapters 1 to 6 build on each other, in this order. "
        "Chapters 7 and 8 build on chapter 6. "
        "Chapter 9 builds on chapters 7 and 8. Chapter 10 builds on chapter 7."
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
        assert 0 <= x <= x + w <= width
        assert 0 <= y <= y + h <= height
    corners = {(box.get("x"), box.get("y")) for box in boxes}
    assert len(corners) == len(boxes), "no two in one place"
    arrows = drawing.findall("path")
    assert len(arrows) == sum(map(len, direct.values()))


def test_thumbnail_shows_the_drawing_without_the_writing():
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
    assert float(small.get("viewBox").split()[0]) > 20, "the axis is cut off"
    assert (small.get("width"), small.get("height")) == ("160", "120")
    assert small.get("preserveAspectRatio").endswith("slice"), "it fills this"


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
    assert search.names_in(nodes.paragraph("", paragraph)) == names


@pytest.fixture
def sections(little):
    """Return what the search knows of the first chapter, by anchor."""
    text = little.site.joinpath("searchindex.js").read_text("utf-8")
    index = json.loads(text.removeprefix("const SEARCH_INDEX = ").rstrip(";\n"))
    link, title, found = next(page for page in index if page[1] == "One")
    assert link == "book/01-one.html"
    return {anchor: (title, names, text) for anchor, title, names, text in found}


def test_the_search_knows_sections_by_their_own_text(sections):
    title, names, text = sections["one"]
    assert (title, names) == ("One", [])
    assert text.startswith("About one.")
    assert "word" not in text, "it stands in a section of this one"
    assert "print(2)" in sections["strides-optional"][2]
    assert "task" in sections["exercise-1-count"][2]
    assert "forty_two" not in str(sections)


def test_a_table_row_names_the_section_that_it_links_to(sections):
    assert sections["strides-optional"][1] == ["the loss is nan"]
    assert sections["gpu-first"][1] == ["显卡"]
