"""The built site: as files, and as a reader's browser shows it.

`jupyter-book build .` makes it. BOOK_SITE names another folder to test.
"""

import gzip
import json
import re
import subprocess
import sys
import zipfile
from functools import cache
from pathlib import Path
from urllib.parse import unquote, urlsplit

import bs4
import pytest
from book_files import CHAPTERS, glossary_entries, read_cells, tags
from browser import (
    PHONE,
    SITE,
    UNFOLD,
    Visit,
    axe_violations,
    axe_violations_in_both_themes,
    built,
    fits_a_phone,
    missing,
    visits,
)

FOLDERS = ("", "book/", "zh/", "zh/book/")
FILES = [path for folder in FOLDERS for path in sorted(SITE.glob(f"{folder}*.html"))]
# Doors lead elsewhere: the front door, and a page's old address.
DOORS = [path for path in FILES if 'http-equiv="refresh"' in path.read_text("utf-8")]
PAGES = [path for path in FILES if path not in DOORS]
BOOK_PAGES = [path for path in PAGES if path.parent == SITE / "book"]

# Of pages that have the same skeleton, axe looks at the colors of one. On these
# together, and on "train" and "draw", whose own tests look when they have been used,
# stands whatever the style sheet gives a color to.
EVERY_KIND = {"search.html", "zh/book/05-training.html"} | {
    f"book/{name}.html" for name in ("index", "05-training", "12-mistakes", "glossary")
}


def name(path):
    if not isinstance(path, Path):  # older pytest, where no page is built
        return "none"
    return path.relative_to(SITE).as_posix() if path.is_relative_to(SITE) else path.stem


every_file = pytest.mark.parametrize("path", FILES, ids=name)
every_page = pytest.mark.parametrize("path", PAGES, ids=name)
every_book_page = pytest.mark.parametrize(
    "path", [path for path in PAGES if path.parent.name == "book"], ids=name
)
every_chapter = pytest.mark.parametrize("chapter", CHAPTERS, ids=name)


@cache
def soup(path):
    return bs4.BeautifulSoup(path.read_text(encoding="utf-8"), "html.parser")


@cache
def anchors(path):
    return {tag["id"] for tag in soup(path).find_all(id=True)}


def test_site_is_built():
    assert built("book/index.html") in BOOK_PAGES


# As files ---------------------------------------------------------------------


@every_file
def test_head_and_links(path):
    page = soup(path)
    chinese = path.is_relative_to(SITE / "zh")
    assert page.html["lang"] == ("zh-Hans" if chinese else "en")
    assert page.title.get_text().strip()
    for script in ("draw", "train"):  # each is on its own page only
        loads = page.select(f'script[src$="/{script}.js"]')
        assert bool(loads) == (path.stem == script and path not in DOORS)
    for link in page.find_all("a", href=True):
        parts = urlsplit(link["href"])
        if parts.scheme or parts.netloc:
            continue
        target = path.parent.joinpath(unquote(parts.path)).resolve()
        target = target if parts.path else path
        assert target.is_file(), link["href"]
        if parts.fragment and target.suffix == ".html":
            assert unquote(parts.fragment) in anchors(target), link["href"]


def test_style_sheets_ask_no_other_host():
    """Not even for what only some readers see, as when they print."""
    elsewhere = r"(@import|url\()[\s'\"]*(https?:)?//"
    for sheet in SITE.glob("_static/*.css"):
        assert not re.search(elsewhere, sheet.read_text("utf-8"))


@every_book_page
def test_description(path):
    description = soup(path).find("meta", {"name": "description"})
    assert 40 <= len(description["content"]) <= 160
    assert soup(path).find("meta", property="og:title")


def test_titles_differ():
    titles = [soup(path).title.get_text() for path in BOOK_PAGES]
    assert len(set(titles)) == len(titles)


@every_page
def test_images_and_formulas(path):
    page = soup(path)
    for image in page.find_all("img"):
        alt = image["alt"]
        if image.find_parent(class_="chapters"):
            assert alt == "", "a thumbnail decorates a link that has a text"
        else:
            assert len(alt) > 10, image
        assert not re.search(r"\.(svg|png)$|^_build", alt), image
        assert int(image["width"]) > 0
        assert int(image["height"]) > 0
        assert image["loading"] == "lazy"
        assert path.parent.joinpath(image["src"]).resolve().is_file()
    for source in page.select("picture > source"):  # the colors of the page's theme
        light = source.find_next_sibling("img")["src"]
        assert source["media"] == "(prefers-color-scheme: dark)"
        assert source["srcset"] == light.replace("-light.svg", "-dark.svg") != light
        svg = path.parent.joinpath(source["srcset"]).resolve().read_text("utf-8")
        # a figure's ground is the first shape that matplotlib writes
        ground = re.search(r'<g id="patch_1">\s*<path [^>]*style="([^"]*)"', svg)
        assert ground is None or "fill: none" in ground[1], "no white ground"
    assert not page.select("span.math, merror"), "formulas are MathML"
    assert not re.search(r"\\\(|\\\[|\\frac", page.main.get_text())


@cache
def sent(path):
    """Return how many bytes a server sends for a file."""
    return len(gzip.compress(path.read_bytes()))


@every_book_page
def test_page_is_light(path):
    images = soup(path).select("img")
    files = {path.parent.joinpath(image["src"]).resolve() for image in images}
    assert sum(map(sent, {path, *files})) < 1_000_000, "with all its images"


@every_chapter
def test_chapter_is_complete(chapter):
    path = built(f"book/{chapter.stem}.html")
    page = soup(path)
    cells = read_cells(chapter, "code")
    hidden = {"remove-cell", "remove-input"}
    shown = [cell for cell in cells if not hidden & set(tags(cell))]
    assert len(page.select(".cell_input")) == len(shown)
    assert not page.select(".traceback, .highlight-ipythontb")
    solved = [cell for cell in cells if "solution" in tags(cell)]
    assert len(page.select("details.solution > summary")) == len(solved)
    about = json.loads(chapter.read_text("utf-8"))["metadata"]["book"]
    facts = page.select_one(".facts").get_text(" ", strip=True)
    assert re.search(r"Runs in \d+ (s|min) on one core", facts)
    if "time" in about:
        assert about["time"][1:] in facts
    else:
        assert int(re.search(r"About (\d+) min to read", facts)[1]) <= 45
    copy = path.parent.joinpath(page.select_one(".facts a[download]")["href"])
    assert copy.is_file()
    explorers = sum("interactive.explore(" in cell["source"] for cell in cells)
    assert len(page.select("form.explorer")) == explorers
    number = int(chapter.stem[:2])
    assert page.select_one(".eyebrow").get_text() == f"Chapter {number}"
    here = page.select_one("nav#contents a.current.reference")
    assert here.get_text().startswith(f"{number}. ")
    section = page.select_one("section#quiz")
    assert len(section.select(".quiz > fieldset")) == 5
    assert len(section.select("details > summary")) >= 15
    assert not section.select("details[open], script")
    assert "from helpers.exercises" not in section.get_text(), (
        "the cell's code is not shown"
    )


@every_book_page
def test_explorers_are_small_and_described(path):
    explorers = soup(path).select("form.explorer")
    for explorer in explorers:
        pictures = explorer.select(".frame img")
        texts = [image["alt"] for image in pictures]
        texts += [text.get_text() for text in explorer.select(".frame pre")]
        assert len(set(texts)) == len(texts) == len(explorer.select(".frame")) > 1
        assert len(str(explorer)) < 60_000, "what each reader of the page is sent"
        files = {path.parent.joinpath(image["src"]).resolve() for image in pictures}
        sizes = [file.stat().st_size for file in files]
        assert max(sizes, default=0) < 120_000
        assert sum(sizes) < 1_500_000, "what one who moves the explorer is sent"
        assert 1 <= len(explorer.select(".slider input, .choice")) <= 3
    ids = [explorer["id"] for explorer in explorers]
    assert len(set(ids)) == len(ids)


def front_page(selector):
    return soup(built("book/index.html")).select_one(selector)


def test_front_page_lists_the_chapters():
    table = front_page(".chapters")
    pages = {link["href"] for link in table.find_all("a")}
    assert pages == {path.name for path in BOOK_PAGES} - {"index.html"}
    for row in table.select("li li"):
        if row.select_one(".number").get_text():
            pictures = [row.picture.img["src"]]
            pictures += [source["srcset"] for source in row.select("source")]
            for picture in pictures:
                size = SITE.joinpath("book", picture).resolve().stat().st_size
                assert 500 < size < 100_000
            assert len(row.p.get_text()) > 40, "what one learns"
            assert row.select_one(".time").get_text(strip=True)


def test_front_page_has_a_map_of_the_chapters():
    figure = front_page("figure.map")
    chapters = {path.name for path in BOOK_PAGES if path.name[:2].isdigit()}
    for drawing in figure.find_all("svg"):
        assert {link["href"] for link in drawing.find_all("a")} == chapters
        # its text alternative stands below it, its links in the table
        assert drawing["aria-hidden"] == "true"
        assert {link["tabindex"] for link in drawing.find_all("a")} == {"-1"}
    words = figure.figcaption.get_text()
    for name in chapters - {min(chapters)}:
        assert re.search(rf"\b{int(name[:2])}\b|\bto \d", words)


@pytest.mark.parametrize(
    "old", [path for path in DOORS if path.parent == SITE / "book"], ids=name
)
def test_an_old_address_leads_to_the_page(old):
    """A section's name goes along: see test_booksite.py."""
    door = soup(old).find("meta", {"http-equiv": "refresh"})["content"]
    new = old.with_name(door.partition("url=")[2])
    assert new in PAGES
    assert new.stem.partition("-")[2] == old.stem.partition("-")[2]


# In a browser -----------------------------------------------------------------


@pytest.fixture(scope="module")
def reader(browser):
    """A browser's window in which one page is opened after the other."""
    context = browser.new_context(color_scheme="light")
    yield context
    context.close()


# Of each control of each explorer: whether moving it shows another frame, and says so.
MOVE = """() => [...document.querySelectorAll("form.explorer")].flatMap((explorer) =>
    [...explorer.querySelectorAll(".slider input, .choice")].map((control) => {
        const shown = () => [...explorer.querySelectorAll(".frame")].filter(
            (frame) => frame.checkVisibility());
        const before = shown();
        const radio = control.querySelector("input:not(:checked)");
        if (radio) radio.click();
        else {
            control.value = control.value === control.max ? control.min : control.max;
            control.dispatchEvent(new Event("input", { bubbles: true }));
        }
        const after = shown();
        const says = explorer.querySelector(".says");
        return before.length === 1 && after.length === 1 && after[0] !== before[0]
            && (!says || says.textContent === after[0].querySelector("img").alt);
    }))"""


@every_page
def test_page_in_a_browser(reader, address, path):
    seen = Visit(reader.new_page())
    page = seen.page
    page.goto(address + name(path))
    page.evaluate(UNFOLD)
    moved = page.evaluate(MOVE)
    assert all(moved)
    assert len(moved) >= len(soup(path).select("form.explorer"))
    # The editions share their skeleton, and all pages their colors.
    if name(path) in EVERY_KIND:
        assert axe_violations_in_both_themes(page) == []
    elif not name(path).startswith("zh/"):
        assert axe_violations(page, colors=False) == []
    assert fits_a_phone(page)
    assert seen.faults(address) == []
    page.close()


def test_front_page_on_a_phone(visit, address):
    page = visit(viewport=PHONE).page
    page.goto(address)
    page.wait_for_url(address + "book/index.html")  # the door leads there
    maps = page.locator("figure.map svg")
    shown = [maps.nth(i).bounding_box() for i in range(2) if maps.nth(i).is_visible()]
    assert len(shown) == 1
    assert shown[0]["width"] <= PHONE["width"]
    heights = page.evaluate(
        """() => [...document.querySelectorAll('figure.map text')]
            .map((text) => text.getBoundingClientRect().height)
            .filter((height) => height > 0)"""
    )
    assert min(heights) > 12
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    assert page.locator(".skip").bounding_box()["x"] >= 0
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "main"
    assert not page.locator("#contents").is_visible()
    page.focus("button.menu")
    page.keyboard.press("Enter")
    assert page.locator("#contents").is_visible()
    assert axe_violations(page) == []
    page.keyboard.press("Escape")
    assert not page.locator("#contents").is_visible()


def page_with(selector):
    for path in BOOK_PAGES:
        if soup(path).select(selector):
            return name(path)
    return missing(f"a page with {selector}")


def test_figures_follow_the_theme_and_the_button_is_remembered(visit, address):
    def loaded(seen, theme):
        return [url for url in seen.requests if url.endswith(f"-{theme}.svg")]

    for theme, other in [("dark", "light"), ("light", "dark")]:
        seen = visit(color_scheme=theme)
        seen.open(address + page_with("picture"))
        assert loaded(seen, theme)
        assert not loaded(seen, other)
    page = seen.page
    ground = "getComputedStyle(document.body).backgroundColor"
    light = page.evaluate(ground)
    is_dark = "document.querySelector('picture img').currentSrc.endsWith('-dark.svg')"
    page.click("button.theme")
    page.wait_for_function(is_dark)
    assert page.evaluate(ground) != light
    page.reload()
    page.wait_for_function(is_dark)
    assert page.locator("button.theme").inner_text() == "Light"
    other_tab = page.context.new_page()
    other_tab.goto(page.url)
    other_tab.click("button.theme")
    page.wait_for_function(f"!{is_dark}")
    assert page.locator("button.theme").inner_text() == "Dark"


def test_frames_wait_until_the_reader_moves(visit, address):
    seen = visit()
    page = seen.page
    page.goto(address + page_with(".frame img"))
    sources = "(images) => images.map((image) => image.src)"
    hidden = page.locator(".frame[hidden] img").evaluate_all(sources)
    assert hidden
    assert not set(hidden) & set(seen.requests)
    page.locator("form.explorer:has(img) input").first.focus()
    frames = page.locator("form.explorer:has(img) >> nth=0").locator("img")
    frames.evaluate_all("images => Promise.all(images.map((image) => image.decode()))")
    assert set(frames.evaluate_all(sources)) <= set(seen.requests)


both_ways = pytest.mark.parametrize(
    "from_folder", [False, True], ids=["server", "folder"]
)


@both_ways
def test_search_finds(visit, address, from_folder):
    seen = visit()
    base = SITE.as_uri() + "/" if from_folder else address
    seen.page.goto(f"{base}search.html?q=zzzz")
    assert "Nothing found for" in seen.page.locator("[role=status]").inner_text()
    seen.page.goto(base + "book/index.html")
    seen.page.fill("#contents input[name=q]", "卷积")
    seen.page.press("#contents input[name=q]", "Enter")
    hit = seen.page.locator("#search-results li a").first
    hit.wait_for()
    assert "卷积" in seen.page.locator("#search-results mark").first.inner_text()
    if not from_folder:  # axe reads the style sheet, which a folder's page may not
        assert axe_violations(seen.page) == []
    assert "Found in" in seen.page.locator("[role=status]").inner_text()
    hit.click()
    assert seen.page.url == base + "book/glossary.html#convolution"
    assert seen.faults(base) == []


@pytest.fixture(scope="module")
def look_up(browser, address):
    """Return a function from a query to the sections found, best first."""
    with visits(browser) as visit:
        page = visit().page
        page.goto(address + "search.html")
        command = "(query) => search(query).results.map(({ section }) => section.link)"
        yield lambda query: page.evaluate(command, query)


def test_search_finds_every_term_of_the_glossary(look_up):
    for english, entry in glossary_entries().items():
        anchor = f"book/glossary.html#{english.lower().replace(' ', '-')}"
        chinese = re.search(r"^中文：([^（、；\n]+)", entry, flags=re.M)[1].strip()
        assert look_up(english)[0] == anchor, english
        assert look_up(chinese)[0] == anchor, chinese
    assert look_up(english.upper())[0] == anchor


@pytest.mark.parametrize(
    ("symptom", "exhibits"),
    [
        ("stuck at 2.303", "an-optimizer relu a-flatten a-learning-rate"),
        ("stuck at 1.461", "softmax"),
        ("100 % on the test set", "a-test-loader"),
        ("accuracy drops after loading", "evaluation normalized"),
        ("memory grows", "evaluation a-total"),
        ("mat1 and mat2 shapes cannot be multiplied", "a-flatten"),
    ],
)
def test_search_leads_from_a_symptom_to_its_exhibits(look_up, symptom, exhibits):
    """Of each exhibit, the words stand with which its heading begins."""
    beginnings = exhibits.split()
    found = look_up(symptom)[: len(beginnings)]
    for words in beginnings:
        assert any(re.search(rf"#exhibit-\d+-{words}", link) for link in found), found


def test_search_knows_other_forms_of_a_word_and_what_is_not_there(look_up):
    assert look_up("overfitted")[0] == "book/glossary.html#overfitting"
    assert "book/05-training.html#the-learning-rate" in look_up("learning rates")[:4]
    assert "book/02-terminology.html#convolution" in look_up("卷积")
    assert "book/draw.html" in str(look_up("draw"))
    assert look_up("zzzz") == []
    assert look_up("[(*") == []


def test_solutions_are_not_in_the_search_index():
    index = built("searchindex.js").read_text("utf-8")
    cells = [cell for chapter in CHAPTERS for cell in read_cells(chapter, "code")]
    solved = [cell for cell in cells if "solution" in tags(cell)]
    elsewhere = "".join(cell["source"] for cell in cells if cell not in solved)
    assert "def train_one_epoch" in index, "other code is"
    for cell in solved:
        line = max(cell["source"].splitlines(), key=len).strip()
        if line not in elsewhere:
            assert json.dumps(line, ensure_ascii=False)[1:-1] not in index


def test_zip_opens_from_disk(visit, tmp_path):
    """Packed as the README says."""
    built("index.html")
    packed = tmp_path / "book.zip"
    command = [sys.executable, "-m", "zipfile", "-c", packed, SITE]
    subprocess.run(command, check=True)
    with zipfile.ZipFile(packed) as archive:
        archive.extractall(tmp_path)
    assert packed.stat().st_size < 30e6
    seen = visit()
    seen.page.goto((tmp_path / SITE.name / "index.html").as_uri())
    seen.page.wait_for_url("**/book/index.html")
    seen.page.locator(".chapters a .name").first.click()
    seen.page.wait_for_load_state()
    assert seen.faults(tmp_path.as_uri()) == []


@both_ways
def test_a_quiz_is_worked_by_keyboard(visit, address, from_folder):
    page = visit(java_script_enabled=not from_folder).page
    base = SITE.as_uri() + "/" if from_folder else address
    page.goto(base + "book/05-training.html")
    question = page.get_by_role("group", name=re.compile(r"^1\. ")).first
    summaries, feedback = question.locator("summary"), question.locator("p")
    summaries.first.focus()
    assert not feedback.first.is_visible()
    page.keyboard.press("Enter")
    assert re.match(r". (Right|No|Not quite)\. \w", feedback.first.inner_text())
    assert feedback.first.is_visible()
    page.keyboard.press("Tab")
    page.keyboard.press("Space")
    assert feedback.nth(1).is_visible()
    assert feedback.first.is_visible(), "answers can be compared"
    page.keyboard.press("Enter")
    assert not feedback.nth(1).is_visible()


def test_code_can_be_copied(visit, address):
    seen = visit(permissions=["clipboard-read", "clipboard-write"])
    seen.page.goto(address + "book/index.html")
    block = seen.page.locator("main div.highlight").first
    block.hover()
    block.locator("button").click()
    seen.page.wait_for_function("document.querySelector('.copy').innerText == 'Copied'")
    copied = seen.page.evaluate("navigator.clipboard.readText()")
    assert copied.strip() == block.locator("pre").inner_text().strip()
