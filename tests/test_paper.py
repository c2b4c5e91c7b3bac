"""The book as an EPUB and as a PDF, made of a little book: see little_book.py."""

import os
import re
import shutil
import subprocess
import sys
import zipfile
from html import unescape
from types import SimpleNamespace
from xml.etree import ElementTree

import booksite_pdf
import pypdf
import pytest
from browser import missing
from little_book import LONG_HEADING, build, write_book

XHTML = "{http://www.w3.org/1999/xhtml}"


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """Build the little book for an e-reader and as one page."""
    root = write_book(tmp_path_factory.mktemp("paper"))
    with open(root / "book" / "index.md", "a", encoding="utf-8") as file:
        file.write("\n## Drawn\n\n```{draw} wrong\n```\n\n### Below\n\nText.\n")
    for options in (["custom", "--custom-builder", "epub"], ["singlehtml"]):
        done = build(root, "--builder", *options)
        assert done.returncode == 0, done.stdout + done.stderr
    made = root / "_build"
    return SimpleNamespace(
        root=root,
        epub=made / "epub" / "pytorch-by-hand.epub",
        page=made / "singlehtml",
    )


@pytest.fixture(scope="module")
def chapters(built):
    """Read the e-book's pages."""
    with zipfile.ZipFile(built.epub) as archive:
        return {
            name: ElementTree.fromstring(archive.read(name))
            for name in archive.namelist()
            if name.endswith(".xhtml")
        }


def test_the_epub_passes_epubcheck(built):
    program = shutil.which("epubcheck")
    if program is None or shutil.which("java") is None:
        missing("epubcheck and java: apt-get install epubcheck")
    # Debian's is a Java archive, and not every system starts such a file itself.
    with open(program, "rb") as file:
        start = ["java", "-jar"] if file.read(2) == b"PK" else []
    command = [*start, program, built.epub]
    done = subprocess.run(command, capture_output=True, text=True)
    assert "0 fatals / 0 errors / 0 warnings" in done.stdout, done.stderr


def test_nothing_in_the_epub_waits_for_a_click(chapters):
    waits = r"script|form|input|button|details|summary|source"
    for name, page in chapters.items():
        for tag in page.iter():
            assert not re.fullmatch(XHTML + f"({waits})", tag.tag), name
    one = chapters["book/01-one.xhtml"]
    alts = [image.get("alt") for image in one.iter(f"{XHTML}img")]
    assert alts == ["A line that rises.", "Step b.", "A solved line."]
    assert one.find(f".//{XHTML}h1").text == "One"
    text = "".join(one.itertext())
    assert "Chapter 1" in text
    assert "Strides (optional)" in text
    assert chapters["book/02-two.xhtml"].find(".//{*}math") is not None
    drawn = "".join(chapters["book/index.xhtml"].itertext())
    assert "on the book's site computes while you draw." in drawn


def test_answers_stand_at_the_end_of_a_chapter(chapters):
    text = " ".join(" ".join(chapters["book/01-one.xhtml"].itertext()).split())
    task, answers = text.split(" Solutions ")
    assert "Exercise 1: Count The task. Solution" in task
    assert "forty_two()" in answers
    assert "forty_two()" not in task
    assert "1. Why? It is Chance Solution" in task
    assert "1. Why? It is No. It was. Chance Right. Always." in answers


def test_links_lead_somewhere_on_the_one_page(built):
    html = built.page.joinpath("book", "index.html").read_text("utf-8")
    anchors = re.findall(r'\bid="([^"]+)"', html)
    assert len(set(anchors)) == len(anchors)
    links = [unescape(link) for link in re.findall(r'href="#([^"]+)"', html)]
    assert "01-one--gpu-first" in links
    assert set(links) <= set(anchors)


def print_book(built, *browser, **variables):
    """Print the little book, in an encoding that lacks most letters."""
    return subprocess.run(
        [sys.executable, built.root / "book" / "_ext" / "booksite_pdf.py", *browser],
        env=os.environ | {"PYTHONIOENCODING": "ascii"} | variables,
        capture_output=True,
        text=True,
    )


def test_a_pdf_has_bookmarks_and_page_numbers(built):
    if not any(map(shutil.which, booksite_pdf.BROWSERS)):
        missing("Chromium or Chrome on the PATH")
    done = print_book(built)
    assert done.returncode == 0, done.stderr
    target = built.root / "_build" / "pytorch-by-hand.pdf"
    pdf = pypdf.PdfReader(target)

    def flat(items):
        for item in items:
            if isinstance(item, list):
                yield from flat(item)
            else:
                yield item.title, pdf.get_destination_page_number(item) + 1

    titles = dict(flat(pdf.outline))
    wanted = {"Contents", "Little", "One", "Quiz", "Solutions", "Three", "Moved"}
    assert wanted | {LONG_HEADING} <= set(titles), "each once, with all spaces"
    lines = pdf.pages[titles["Contents"] - 1].extract_text().splitlines()
    for line in ("1. One", "2. Two", "3. Three"):
        assert f"{line} {titles[line[3:]]}" in lines
    assert titles["One"] < titles["Two"] < titles["Three"] == len(pdf.pages)
    assert "/StructTreeRoot" in pdf.root_object, "for a screen reader"
    assert b"file:" not in target.read_bytes()
    assert f"{len(pdf.pages)} pages" in done.stdout


def test_a_pdf_wants_a_browser(built, tmp_path):
    done = print_book(built, PATH=str(tmp_path))
    assert done.returncode == 1
    assert "say where one is" in done.stderr
    assert "Traceback" not in done.stderr
