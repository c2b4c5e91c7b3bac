"""The book as a PDF and as an EPUB: see book/_ext/booksite_pages.py.

A small site of the same make shows every rule; the built site, if it is there,
that nothing is lost.
"""

import os
import re
import shutil
import sys
import zipfile
from pathlib import Path
from types import SimpleNamespace
from xml.etree import ElementTree

import pytest
from book_files import CHAPTERS, ROOT
from browser import BROWSERS, chromium, missing, visits

sys.path.append(str(ROOT / "book" / "_ext"))

pages = pytest.importorskip("booksite_pages")
epub = pytest.importorskip("booksite_epub")
pdf = pytest.importorskip("booksite_pdf")

SITE = Path(os.environ.get("BOOK_SITE", ROOT / "_build" / "html")).resolve()
XHTML = "{http://www.w3.org/1999/xhtml}"

FRAME = """<!DOCTYPE html><html lang="en"><head>
<meta property="og:site_name" content="A &amp; B"><script src="book.js"></script>
</head><body><header class="top"><button>Dark</button></header>
<nav id="contents">
<p class="caption">First</p>
<ul><li><a href="01-one.html">1. One</a></li>
<li><a href="02-two.html">2. Two</a></li></ul>
<p class="caption">Try</p><ul><li><a href="draw.html">Draw</a></li></ul>
</nav><main id="main">%s</main>
<footer><p class="colophon">A &amp; B, © 2026 us. Computed.</p></footer>
</body></html>"""

INDEX = """<div class="digit"><svg viewBox="0 0 9 9"><path d="M0 0h9v9z"/></svg></div>
<section id="a"><h1>A &amp; B<a class="headerlink" href="#a">#</a></h1>
<p>The lead.</p><p><a class="start" href="01-one.html">Start</a></p>
<section id="the-chapters"><h2>Chapters</h2><a href="draw.html">Draw</a></section>
</section>"""

CHAPTER = """<p class="eyebrow">Chapter {n}</p><section id="top">
<h1><span class="section-number">{n}. </span>Title {n}<a class="headerlink">#</a></h1>
<ul class="facts"><li><a href="../_sources/book/x.ipynb" download>Get it</a></li></ul>
<p>See <a href="02-two.html#part">two</a>, <a href="#part">here</a>,
<a href="https://example.org/">there</a>, and <a href="draw.html">draw</a>.</p>
<section id="part"><h2>A part</h2>
<picture><source srcset="../_images/{n}-dark.svg" media="(prefers-color-scheme: dark)">
<img src="../_images/{n}-light.svg" alt="A curve." loading="lazy"></picture>
<math xmlns="http://www.w3.org/1998/Math/MathML"><mi>x</mi><mo>&lt;</mo></math>
<form class="explorer" id="e" autocomplete="off"><figure>
<div class="controls" hidden><input type="range" value="1"></div>
<div class="frames">{frames}</div><p class="says">Frame 1.</p>
<figcaption>Frames.</figcaption></figure></form>
<div class="cell"><details class="fold"><summary>Show the code</summary>
<pre>shown()</pre></details></div></section>
<section id="exercise-1-count"><h3>Exercise 1: Count</h3><p>The task.</p>
<div class="cell tag_solution"><details class="fold"><summary>Solution</summary>
<pre id="i">answer_{n}()</pre><a href="#part">part</a></details></div></section>
<section id="quiz"><h2>Quiz</h2>
<div class="cell"><div class="output text_html"><div class="quiz">
<fieldset style="border: 0"><legend>1. Why {n}?</legend>
<details><summary>It is</summary><p style="color: red">No.</p></details>
<details><summary>Chance</summary><p style="color: red">Yes.</p></details></fieldset>
<fieldset><legend>2. How?</legend>
<details><summary>So</summary><p>Always.</p></details></fieldset>
</div></div></div></section></section>"""

FRAME_OF_4 = """<div class="frame"{hidden}>
<img src="../_images/{n}-light.svg" alt="Frame {i}." loading="lazy"></div>"""


def chapter(n):
    frames = "".join(
        FRAME_OF_4.format(n=n, i=i, hidden="" if i == 1 else " hidden")
        for i in range(4)
    )
    return CHAPTER.format(n=n, frames=frames)


@pytest.fixture
def site(tmp_path):
    """Write a site of two chapters and a Draw page."""
    root = tmp_path / "html"
    for folder in ("book", "_images", "_static"):
        root.joinpath(folder).mkdir(parents=True)
    for folder in ("_static/book.css", "_static/card.png"):
        shutil.copy(ROOT / "book" / folder, root / folder)
    root.joinpath("index.html").write_text("door")
    texts = {"index": INDEX, "draw": "<h1>Draw</h1><canvas></canvas>"}
    for n, name in [(1, "01-one"), (2, "02-two")]:
        texts[name] = chapter(n)
        root.joinpath(f"_images/{n}-light.svg").write_text(
            '<?xml version="1.0"?>\n<!DOCTYPE svg PUBLIC "x"\n "http://x.org/x.dtd">\n'
            '<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9">'
            '<path id="space"/><path d="M0 0h9v9z"/>'
            '<image id="a"/><image id="a"/></svg>'
        )
    for name, text in texts.items():
        root.joinpath("book", f"{name}.html").write_text(FRAME % text, "utf-8")
    return root


def test_pages_are_laid_out(site):
    book = pages.read_book(site)
    assert [page.name for page in book.pages] == [
        "index",
        "01-one",
        "02-two",
        "solutions",
    ]
    assert [part.caption for part in book.parts] == ["", "First", ""]
    assert (book.title, book.copyright) == ("A & B", "© 2026 us")
    front, one, _, solutions = (page.body for page in book.pages)
    assert front.get_text(" ", strip=True) == "About this book The lead."
    assert [page.title for page in book.pages[1:3]] == ["Title 1", "Title 2"]
    for body in (front, one, solutions):
        assert not body.select(
            "button, form, input, details, fieldset, [style], .headerlink, source"
        )
    assert "shown()" in one.get_text()
    texts = [text.get_text() for text in one.select(".says")]
    assert texts == ["Frame 0.", "Frame 1.", "Frame 3."]
    assert [image["alt"] for image in one.select(".frame img")] == texts
    assert "3 of the 4 drawings" in one.figcaption.get_text()


def test_answers_stand_at_the_end(site):
    *_, solutions = pages.read_book(site).pages
    one = pages.read_book(site).pages[1].body.get_text()
    assert "answer_1" not in one
    assert re.search(r"Quiz\s+1. Why 1\?\s+It is\s+Chance\s+2. How\?\s+So\s+Sol", one)
    assert one.count("Solution") == 2, "one for the exercise, one for the quiz"
    titles = [title.get_text() for title in solutions.body.select("h2, h3")]
    first = ["1. Title 1", "Exercise 1.1: Count", "Quiz"]
    assert titles == [*first, "2. Title 2", "Exercise 2.1: Count", "Quiz"]
    quiz = solutions.body.select("section")[3].get_text(" ", strip=True)
    told = "1. Why 1? It is No. Chance Yes. 2. How? So Always."
    assert quiz == f"Quiz Back to the task {told}"
    anchors = [element["id"] for element in solutions.body.select("[id]")]
    assert len(set(anchors)) == len(anchors)


def test_links_lead_somewhere_in_one_file(site):
    book = pages.read_book(site)
    pdf.put_together(book)
    soup = pages.BeautifulSoup(pdf.one_page(book, site / "book.css", {}), "html.parser")
    anchors = {element["id"] for element in soup.select("[id]")}
    links = {link["href"] for link in soup.select("a[href]")}
    assert "#page-02-two--part" in links
    assert {link for link in links if link[1:] not in anchors} == {
        "https://example.org/"
    }
    assert "draw" in soup.get_text(), "a link that leads nowhere is still a word"


def test_a_known_site_is_linked(site):
    path = site / "book" / "index.html"
    canonical = '<link rel="canonical" href="https://b.org/book/index.html"></head>'
    path.write_text(path.read_text("utf-8").replace("</head>", canonical), "utf-8")
    book = pages.read_book(site)
    book.link(lambda name, anchor: "inside")
    links = {link["href"] for link in book.pages[1].body.select("a[href]")}
    assert links == {"inside", "https://example.org/", "https://b.org/book/draw.html"}


def require_sound(path):
    """Check an EPUB's structure; return its XHTML pages by name."""
    with zipfile.ZipFile(path) as archive:
        first, *_ = archive.infolist()
        assert (first.filename, first.compress_type) == ("mimetype", zipfile.ZIP_STORED)
        files = {
            name.removeprefix("book/"): archive.read(name)
            for name in archive.namelist()
        }
    package = ElementTree.fromstring(files["package.opf"])
    items = [i for i in package.iter() if i.tag.endswith("}item")]
    listed = {item.get("href"): item for item in items}
    assert set(listed) | {"mimetype", "META-INF/container.xml", "package.opf"} == set(
        files
    )
    order = [i.get("idref") for i in package.iter() if i.tag.endswith("}itemref")]
    trees = {}
    for name, item in listed.items():
        if name.endswith(".xhtml"):
            trees[name] = ElementTree.fromstring(files[name])
            assert item.get("id") in order
            has_math = any(tag.tag.endswith("}math") for tag in trees[name].iter())
            assert has_math == (item.get("properties") == "mathml"), name
        if name.endswith(".svg"):
            ElementTree.fromstring(files[name])
            assert b"<!DOCTYPE" not in files[name]
    anchors = {n: {e.get("id") for e in t.iter()} for n, t in trees.items()}
    for name, tree in trees.items():
        ids = [e.get("id") for e in tree.iter() if e.get("id")]
        assert len(set(ids)) == len(ids), name
        for link in tree.iter(f"{XHTML}a"):
            target, _, anchor = link.get("href", "").partition("#")
            if not re.match(r"\w+:", target):
                assert not anchor or anchor in anchors[target or name], link.get("href")
        for image in tree.iter(f"{XHTML}img"):
            assert image.get("src") in listed
            assert len(image.get("alt")) > 5
        for tag in ("script", "form", "input", "button", "details", "source", "iframe"):
            assert tree.find(f".//{XHTML}{tag}") is None, (name, tag)
    return trees


def test_epub(site, tmp_path):
    target = tmp_path / "book.epub"
    epub.main([str(site), "--to", str(target)])
    trees = require_sound(target)
    assert set(trees) == {
        f"{name}.xhtml"
        for name in ("title", "nav", "index", "01-one", "02-two", "solutions")
    }
    contents = "".join(trees["nav.xhtml"].itertext())
    assert re.search(r"First\s+1\. Title 1\s+A part\s+Quiz\s+2\. Title 2", contents)
    again = tmp_path / "again.epub"
    epub.make_epub(site, again)
    assert again.read_bytes() == target.read_bytes()


@pytest.mark.parametrize("program", [epub, pdf])
def test_a_built_site_is_wanted(program, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(pdf, "find_browser", lambda: "chromium")
    with pytest.raises(SystemExit) as stopped:
        program.main([str(tmp_path), "--to", str(tmp_path / "x")])
    assert stopped.value.code == 1
    assert "jupyter-book build" in capsys.readouterr().err


def test_a_pdf_wants_a_browser(site, tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(SystemExit):
        pdf.main([str(site), "--to", str(tmp_path / "book.pdf")])
    assert "--browser" in capsys.readouterr().err


def test_a_browser_that_prints_nothing(site, tmp_path, capsys):
    with pytest.raises(SystemExit):
        pdf.main(
            [str(site), "--to", str(tmp_path / "x.pdf"), "--browser", sys.executable]
        )
    assert "wrote no PDF" in capsys.readouterr().err


def test_page_numbers_follow_the_tree_of_pages():
    written = (
        b"\n4 0 obj\n<</Type /Pages\n/Count 3\n/Kids [7 0 R 5 0 R]>>\nendobj"
        b"\n5 0 obj\n<</Type /Pages\n/Parent 4 0 R\n/Kids [3 0 R 2 0 R]>>\nendobj"
        b"\n9 0 obj\n<</page-a [2 0 R /XYZ 0 1 0]"
        b"\n/page-b--c [7 0 R /XYZ 0 1 0]>>\nendobj"
        b"\n1 0 obj\n<</Type /Catalog\n/Pages 4 0 R>>\nendobj"
    )
    assert pdf.page_numbers(written) == {"page-a": 3, "page-b--c": 1}


def test_pdf(site, tmp_path):
    if not any(map(shutil.which, BROWSERS)):
        missing("Chromium or Chrome on the PATH")
    target = tmp_path / "book.pdf"
    pdf.main([str(site), "--to", str(target)])
    written = target.read_bytes()
    numbers = pdf.page_numbers(written)
    found = [
        numbers[f"page-{name}"] for name in ("index", "01-one", "02-two", "solutions")
    ]
    assert found[0] == 3, "after the title and the contents"
    assert found == sorted(set(found)), "each begins a page"
    assert b"/StructTreeRoot" in written
    for title in (b"Title 1", b"Exercise 1.1: Count", b"Solutions"):
        assert b"/Title (" + title + b")" in written, "a bookmark"
    assert b"/Alt (Frame 3.)" in written, "for a screen reader"
    assert b"file:" not in written


# The built site ----------------------------------------------------------------


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    if not SITE.joinpath("book", "index.html").is_file():
        missing(f"the built site in {SITE}: jupyter-book build .")
    target = tmp_path_factory.mktemp("epub") / "book.epub"
    epub.make_epub(SITE, target)
    return SimpleNamespace(trees=require_sound(target), book=pages.read_book(SITE))


def test_nothing_of_the_built_site_is_lost(built):
    names = [page.name for page in built.book.pages]
    assert names[1 : len(CHAPTERS) + 1] == [path.stem for path in CHAPTERS]
    assert names[-1] == "solutions"
    for page in built.book.pages[:-1]:
        path = SITE / "book" / f"{page.name}.html"
        main = pages.BeautifulSoup(path.read_text("utf-8"), "html.parser").main
        solved = len(main.select(".tag_solution math"))
        assert len(page.body.select("math")) == len(main.select("math")) - solved
        for cell in main.select(".tag_solution"):
            cell.decompose()
        figures = {
            image["alt"] for image in main.select("figure img, .cell_output > img")
        }
        shown = {image["alt"] for image in page.body.select("img")}
        hidden = {image["alt"] for image in main.select("[hidden] img")}
        assert figures - shown <= hidden
        assert "\\(" not in page.body.get_text()


def test_a_page_prints_in_light_colors_and_unfolded(built):
    with chromium() as program, visits(program) as visit:
        page = visit(color_scheme="dark").page
        page.goto((SITE / "book" / f"{CHAPTERS[0].stem}.html").as_uri())
        image = "document.querySelector('picture img').currentSrc"
        page.evaluate("document.querySelector('picture img').loading = 'eager'")
        page.wait_for_function(f"{image}.endsWith('-dark.svg')")
        page.evaluate("dispatchEvent(new Event('beforeprint'))")
        page.emulate_media(media="print")
        page.wait_for_function(f"{image}.endsWith('-light.svg')")
        for frame in ("header", "nav#contents", ".facts", ".turn"):
            assert not page.locator(frame).is_visible()
        assert page.locator(".tag_solution pre").first.is_visible()
        ground = "getComputedStyle(document.body).backgroundColor"
        assert page.evaluate(ground) == "rgb(255, 255, 255)"
        page.evaluate("dispatchEvent(new Event('afterprint'))")
        page.emulate_media(media="screen", color_scheme="dark")
        page.wait_for_function(f"{image}.endsWith('-dark.svg')")
