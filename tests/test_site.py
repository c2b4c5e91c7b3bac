"""The built site: as files, and as a reader's browser shows it.

`jupyter-book build .` makes it. BOOK_SITE names another folder to test.
"""

import os
import re
from functools import cache
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
from book_files import CHAPTERS, ROOT, read_cells
from browser import Visit, axe_violations, chromium, missing, served

SITE = Path(os.environ.get("BOOK_SITE", ROOT / "_build" / "html")).resolve()
PAGES = sorted(SITE.glob("*.html")) + sorted(SITE.glob("book/*.html"))
BOOK_PAGES = [path for path in PAGES if path.parent != SITE]
DOOR = SITE / "index.html"  # leads to book/index.html

# Attributes whose address a browser fetches without being asked.
FETCHED = {
    "script": "src",
    "img": "src",
    "iframe": "src",
    "video": "src",
    "audio": "src",
    "source": "srcset",
    "embed": "src",
    "object": "data",
}
FETCHED_LINKS = {"stylesheet", "icon", "preload", "modulepreload", "manifest"}
PHONE = {"width": 360, "height": 740}


def name(path):
    return path.relative_to(SITE).as_posix() if path.is_relative_to(SITE) else path.stem


every_page = pytest.mark.parametrize("path", PAGES, ids=name)
every_book_page = pytest.mark.parametrize("path", BOOK_PAGES, ids=name)
every_seen_page = pytest.mark.parametrize(
    "path", [path for path in PAGES if path != DOOR], ids=name
)


@cache
def soup(path):
    bs4 = pytest.importorskip("bs4")
    return bs4.BeautifulSoup(path.read_text(encoding="utf-8"), "html.parser")


def test_site_is_built():
    if not PAGES:
        missing(f"the built site in {SITE}: jupyter-book build .")
    assert SITE.joinpath("book", "index.html") in BOOK_PAGES


# As files ---------------------------------------------------------------------


@every_page
def test_language_and_title(path):
    assert soup(path).html["lang"] == "en"
    assert soup(path).title.get_text().strip()


@every_book_page
def test_description(path):
    description = soup(path).find("meta", {"name": "description"})
    assert 40 <= len(description["content"]) <= 160
    assert soup(path).find("meta", property="og:title")
    if soup(path).find("link", rel="canonical"):
        picture = soup(path).find("meta", property="og:image")["content"]
        assert picture.startswith("https://"), "other programs need it in full"


def test_titles_differ():
    titles = [soup(path).title.get_text() for path in BOOK_PAGES]
    assert len(set(titles)) == len(titles)


@every_page
def test_images_have_a_text_alternative(path):
    for image in soup(path).find_all("img"):
        alt = image.get("alt", "")
        assert len(alt) > 10, image
        assert not re.search(r"\.(svg|png)$|^_build", alt), image
        assert int(image["width"]) > 0
        assert int(image["height"]) > 0
        assert image["loading"] == "lazy"


@every_page
def test_nothing_is_fetched_from_another_host(path):
    addresses = [
        tag.get(attribute, "")
        for element, attribute in FETCHED.items()
        for tag in soup(path).find_all(element)
    ]
    addresses += [
        tag["href"]
        for tag in soup(path).find_all("link")
        if FETCHED_LINKS & set(tag["rel"])
    ]
    for address in addresses:
        assert not re.match(r"(https?:)?//", address), address
    for style in soup(path).find_all("style"):
        assert not re.search(r"@import|url\(", style.get_text())


def test_style_sheet_is_complete():
    if not PAGES:
        pytest.skip("the site is not built")
    css = SITE.joinpath("_static", "book.css").read_text("utf-8")
    assert not re.search(r"@import|url\(", css)


@every_page
def test_links_lead_somewhere(path):
    for link in soup(path).find_all("a", href=True):
        parts = urlsplit(link["href"])
        if parts.scheme or parts.netloc:
            continue
        target = path.parent.joinpath(unquote(parts.path)).resolve()
        target = target if parts.path else path
        assert target.is_file(), link["href"]
        if parts.fragment and target.suffix == ".html":
            found = soup(target).find(id=unquote(parts.fragment))
            assert found is not None, link["href"]


@every_page
def test_formulas_are_mathml(path):
    assert not soup(path).select("span.math, merror")
    assert not re.search(r"\\\(|\\\[|\\frac", soup(path).main.get_text())


@pytest.mark.parametrize("chapter", CHAPTERS, ids=name)
def test_chapter_is_complete(chapter):
    path = SITE / "book" / f"{chapter.stem}.html"
    if path not in PAGES:
        pytest.skip("not in the built site")
    page = soup(path)
    cells = read_cells(chapter, "code")
    shown = [c for c in cells if "remove-cell" not in c["metadata"].get("tags", ())]
    assert len(page.select(".cell_input")) == len(shown)
    assert not page.select(".traceback, .highlight-ipythontb")
    if any("solution" in cell["metadata"].get("tags", ()) for cell in cells):
        summaries = [fold.summary.get_text() for fold in page.select("details.fold")]
        assert any(text.startswith("Show the solution") for text in summaries)
    facts = page.select_one(".facts").get_text()
    assert re.search(r"\d min to read\s+Runs in \d+ (s|min)", facts)
    assert page.select_one(".facts a[download]")


def test_front_page_lists_the_chapters():
    if not PAGES:
        pytest.skip("the site is not built")
    table = soup(SITE / "book" / "index.html").select_one(".chapters")
    pages = {link["href"] for link in table.find_all("a")}
    assert pages == {path.name for path in BOOK_PAGES} - {"index.html"}


# In a browser -----------------------------------------------------------------


@pytest.fixture(scope="module")
def browser():
    if not PAGES:
        missing("the built site")
    with chromium() as program:
        yield program


@pytest.fixture(scope="module")
def address():
    with served(SITE) as url:
        yield url


@pytest.fixture
def visit(browser):
    """Make a `Visit` with options such as color_scheme="dark"."""
    contexts = []

    def make(**options):
        contexts.append(browser.new_context(**options))
        return Visit(contexts[-1].new_page())

    yield make
    for context in contexts:
        context.close()


def unfold(page):
    page.evaluate("document.querySelectorAll('details').forEach(d => d.open = true)")
    page.wait_for_timeout(100)


@pytest.mark.parametrize("scheme", ["light", "dark"])
@every_seen_page
def test_page_in_a_browser(visit, address, path, scheme):
    seen = visit(color_scheme=scheme)
    seen.open(address + name(path))
    assert axe_violations(seen.page) == []
    if seen.page.locator("details").count():
        unfold(seen.page)
        assert axe_violations(seen.page) == []
    assert seen.requests_elsewhere(address) == []
    assert seen.complaints == []
    shown = seen.page.evaluate("[...document.images].map((i) => i.currentSrc)")
    other = {"light": "-dark.svg", "dark": "-light.svg"}[scheme]
    assert not [source for source in shown if source.endswith(other)]
    unused = [url for url in seen.requests if url.endswith(other)]
    assert unused == [], "only the figures that show are loaded"


@every_seen_page
def test_no_sideways_scrolling_on_a_phone(visit, address, path):
    page = visit(viewport=PHONE).page
    page.goto(address + name(path))
    unfold(page)
    width = page.evaluate("document.documentElement.scrollWidth")
    assert width <= PHONE["width"]


def test_the_door_leads_to_the_book(visit, address):
    page = visit().page
    page.goto(address)
    page.wait_for_url(address + "book/index.html")


def chapter_with_figures():
    for path in BOOK_PAGES:
        if soup(path).find("picture"):
            return name(path)
    return pytest.skip("no page has a figure")


def test_theme_button_changes_figures_and_is_remembered(visit, address):
    seen = visit(color_scheme="light")
    seen.open(address + chapter_with_figures())
    figure = "document.querySelector('picture img').currentSrc"
    ground = "getComputedStyle(document.body).backgroundColor"
    light = seen.page.evaluate(ground)
    assert seen.page.evaluate(figure).endswith("-light.svg")

    seen.page.click("button.theme")
    seen.page.wait_for_function(f"{figure}.endsWith('-dark.svg')")
    assert seen.page.evaluate(ground) != light

    seen.page.reload()
    seen.page.wait_for_function(f"{figure}.endsWith('-dark.svg')")
    assert seen.page.locator("button.theme").inner_text() == "Light"


def test_figures_have_no_white_ground(visit, address):
    path = SITE / chapter_with_figures()
    for source in soup(path).select("picture source"):
        svg = path.parent.joinpath(source["srcset"]).resolve().read_text("utf-8")
        # a figure's ground is the first shape that matplotlib writes
        ground = re.search(r'<g id="patch_1">\s*<path [^>]*style="([^"]*)"', svg)
        assert ground is None or "fill: none" in ground[1]


@pytest.mark.parametrize("from_folder", [False, True], ids=["server", "folder"])
def test_search_finds(visit, address, from_folder):
    seen = visit()
    base = SITE.as_uri() + "/" if from_folder else address
    seen.page.goto(base + "book/index.html")
    seen.page.fill("#contents input[name=q]", "convolution")
    seen.page.press("#contents input[name=q]", "Enter")
    hit = seen.page.locator("#search-results li a").first
    hit.wait_for()
    hit.click()
    assert seen.page.url.startswith(base + "book/")
    assert seen.requests_elsewhere(base) == []
    assert seen.complaints == []


@pytest.mark.parametrize("path", BOOK_PAGES[:2], ids=name)
def test_page_works_from_a_folder(visit, path):
    seen = visit(color_scheme="dark")
    seen.open(path.as_uri())
    assert seen.requests_elsewhere("file://") == []
    assert seen.complaints == []


def test_keyboard(visit, address):
    page = visit().page
    page.goto(address + "book/index.html")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    assert page.locator(".skip").bounding_box()["x"] >= 0
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "main"


def test_contents_open_and_close_on_a_phone(visit, address):
    page = visit(viewport=PHONE).page
    page.goto(address + "book/index.html")
    assert not page.locator("#contents").is_visible()
    page.focus("button.menu")
    page.keyboard.press("Enter")
    assert page.locator("#contents").is_visible()
    assert axe_violations(page) == []
    page.keyboard.press("Escape")
    assert not page.locator("#contents").is_visible()


def test_code_can_be_copied(visit, address):
    seen = visit(permissions=["clipboard-read", "clipboard-write"])
    seen.page.goto(address + "book/index.html")
    block = seen.page.locator("main div.highlight").first
    block.hover()
    block.locator("button").click()
    seen.page.wait_for_function("document.querySelector('.copy').innerText == 'Copied'")
    copied = seen.page.evaluate("navigator.clipboard.readText()")
    assert copied.strip() == block.locator("pre").inner_text().strip()


@pytest.mark.parametrize("chapter", CHAPTERS, ids=name)
def test_chapter_has_the_number_of_its_file(chapter):
    path = SITE / "book" / f"{chapter.stem}.html"
    if path not in PAGES:
        pytest.skip("not in the built site")
    number = int(chapter.stem[:2])
    assert soup(path).select_one(".eyebrow").get_text() == f"Chapter {number}"
    here = soup(path).select_one("nav#contents a.current.reference")
    assert here.get_text().startswith(f"{number}. ")
