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
from book_files import CHAPTERS, ROOT, read_cells
from browser import SITE, axe_violations, built, missing

FOLDERS = ("", "book/", "zh/", "zh/book/")
FILES = [path for folder in FOLDERS for path in sorted(SITE.glob(f"{folder}*.html"))]
# Doors lead elsewhere: the front door, and a page's old address.
DOORS = [path for path in FILES if 'http-equiv="refresh"' in path.read_text("utf-8")]
PAGES = [path for path in FILES if path not in DOORS]
BOOK_PAGES = [path for path in PAGES if path.parent == SITE / "book"]

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
# On these pages together stands whatever the style sheet gives a color to.
EVERY_KIND = {"index", "05-training", "12-mistakes", "glossary", "train", "draw"}


def name(path):
    if not isinstance(path, Path):  # older pytest, where no page is built
        return "none"
    return path.relative_to(SITE).as_posix() if path.is_relative_to(SITE) else path.stem


every_file = pytest.mark.parametrize("path", FILES, ids=name)
every_page = pytest.mark.parametrize("path", PAGES, ids=name)
every_book_page = pytest.mark.parametrize(
    "path", [path for path in PAGES if path.parent.name == "book"], ids=name
)


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
def test_language_and_title(path):
    chinese = path.is_relative_to(SITE / "zh")
    assert soup(path).html["lang"] == ("zh-Hans" if chinese else "en")
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
        alt = image["alt"]
        if image.find_parent(class_="chapters"):
            assert alt == "", "a thumbnail decorates a link that has a text"
        else:
            assert len(alt) > 10, image
        assert not re.search(r"\.(svg|png)$|^_build", alt), image
        assert int(image["width"]) > 0
        assert int(image["height"]) > 0
        assert image["loading"] == "lazy"


@every_file
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
    sheets = [style.get_text() for style in soup(path).find_all("style")]
    sheets += [sheet.read_text("utf-8") for sheet in SITE.glob("_static/*.css")]
    for sheet in sheets:
        assert not re.search(r"(@import|url\()[\s'\"]*(https?:)?//", sheet)


@every_book_page
def test_page_is_light(path):
    images = {
        path.parent.joinpath(i["src"]).resolve() for i in soup(path).select("img")
    }
    weight = sum(len(gzip.compress(file.read_bytes())) for file in {path, *images})
    assert weight < 1_000_000, "with all its images, as a server sends them"


@every_file
def test_links_lead_somewhere(path):
    for link in soup(path).find_all("a", href=True):
        parts = urlsplit(link["href"])
        if parts.scheme or parts.netloc:
            continue
        target = path.parent.joinpath(unquote(parts.path)).resolve()
        target = target if parts.path else path
        assert target.is_file(), link["href"]
        if parts.fragment and target.suffix == ".html":
            assert unquote(parts.fragment) in anchors(target), link["href"]


@every_page
def test_formulas_are_mathml(path):
    assert not soup(path).select("span.math, merror")
    assert not re.search(r"\\\(|\\\[|\\frac", soup(path).main.get_text())


@pytest.mark.parametrize("chapter", CHAPTERS, ids=name)
def test_chapter_is_complete(chapter):
    path = built(f"book/{chapter.stem}.html")
    page = soup(path)
    cells = read_cells(chapter, "code")
    hidden = {"remove-cell", "remove-input"}
    shown = [c for c in cells if not hidden & set(c["metadata"].get("tags", ()))]
    assert len(page.select(".cell_input")) == len(shown)
    assert not page.select(".traceback, .highlight-ipythontb")
    solved = [c for c in cells if "solution" in c["metadata"].get("tags", ())]
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


@pytest.mark.parametrize("chapter", CHAPTERS, ids=name)
def test_chapter_has_its_quiz(chapter):
    path = built(f"book/{chapter.stem}.html")
    section = soup(path).select_one("section#quiz")
    assert len(section.select(".quiz > fieldset")) == 5
    assert len(section.select("details > summary")) >= 15
    assert not section.select("details[open], script")
    assert "import" not in section.get_text(), "the cell's code is not shown"


def front_page(selector):
    return soup(built("book/index.html")).select_one(selector)


def test_front_page_lists_the_chapters():
    table = front_page(".chapters")
    pages = {link["href"] for link in table.find_all("a")}
    assert pages == {path.name for path in BOOK_PAGES} - {"index.html"}
    for row in table.select("li li"):
        if row.select_one(".number").get_text():
            files = [row.picture.img["src"]]
            if row.picture.source:  # its colors depend on the page's
                files.append(row.picture.source["srcset"])
                assert files[1] == files[0].replace("-light.", "-dark.") != files[0]
            for file in files:
                size = SITE.joinpath("book", file).resolve().stat().st_size
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


# In a browser -----------------------------------------------------------------


def unfold(page):
    page.evaluate("document.querySelectorAll('details').forEach(d => d.open = true)")
    page.wait_for_timeout(100)


@every_page
def test_page_in_a_browser(visit, address, path):
    seen = visit(color_scheme="light")
    seen.open(address + name(path))
    unfold(seen.page)
    assert not [url for url in seen.requests if url.endswith("-dark.svg")]
    # The editions share their colors. To look at those is what takes axe longest.
    english = not name(path).startswith("zh/")
    rules = {"color-contrast": {"enabled": english}}
    assert axe_violations(seen.page, rules=rules) == []

    seen.page.emulate_media(color_scheme="dark")
    seen.page.wait_for_function(
        "![...document.images].some((i) => i.currentSrc.endsWith('-light.svg'))"
    )
    if english and path.stem in EVERY_KIND:
        assert axe_violations(seen.page, runOnly=["color-contrast"]) == []

    seen.page.set_viewport_size(PHONE)
    width = seen.page.evaluate("document.documentElement.scrollWidth")
    assert width <= PHONE["width"], "no sideways scrolling on a phone"
    assert seen.requests_elsewhere(address) == []
    assert seen.complaints == []


def test_the_map_can_be_read_on_a_phone(visit, address):
    page = visit(viewport=PHONE).page
    page.goto(address + "book/index.html")
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


def test_the_door_leads_to_the_book(visit, address):
    page = visit().page
    page.goto(address)
    page.wait_for_url(address + "book/index.html")


@pytest.mark.parametrize(
    "old", [path for path in DOORS if path.parent == SITE / "book"], ids=name
)
def test_an_old_address_leads_to_the_page(visit, address, old):
    page = visit().page
    page.goto(f"{address}{name(old)}#recap", wait_until="commit")
    title = re.search(r"\d+-(.+)", old.stem)[1]
    page.wait_for_url(re.compile(rf"book/\d+-{title}\.html#recap"))
    assert page.locator("#recap").count()


def chapter_with_figures():
    for path in BOOK_PAGES:
        if soup(path).find("picture"):
            return name(path)
    return missing("a page with a figure")


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


def test_in_the_dark_only_dark_figures_are_loaded(visit, address):
    seen = visit(color_scheme="dark")
    seen.open(address + chapter_with_figures())
    assert [url for url in seen.requests if url.endswith("-dark.svg")]
    assert not [url for url in seen.requests if url.endswith("-light.svg")]


def test_figures_have_no_white_ground(visit, address):
    path = SITE / chapter_with_figures()
    for source in soup(path).select("picture source"):
        svg = path.parent.joinpath(source["srcset"]).resolve().read_text("utf-8")
        # a figure's ground is the first shape that matplotlib writes
        ground = re.search(r'<g id="patch_1">\s*<path [^>]*style="([^"]*)"', svg)
        assert ground is None or "fill: none" in ground[1]


both_ways = pytest.mark.parametrize(
    "from_folder", [False, True], ids=["server", "folder"]
)


@both_ways
def test_search_finds(visit, address, from_folder):
    seen = visit()
    base = SITE.as_uri() + "/" if from_folder else address
    seen.page.goto(base + "book/index.html")
    seen.page.fill("#contents input[name=q]", "卷积")
    seen.page.press("#contents input[name=q]", "Enter")
    hit = seen.page.locator("#search-results li a").first
    hit.wait_for()
    assert "卷积" in seen.page.locator("#search-results mark").first.inner_text()
    if not from_folder:  # axe reads the style sheet, which a folder's page may not
        assert axe_violations(seen.page) == []
    hit.click()
    assert seen.page.url == base + "book/glossary.html#convolution"
    assert seen.requests_elsewhere(base) == []
    assert seen.complaints == []


@pytest.fixture
def look_up(visit, address):
    """Return a function from a query to the sections found, best first."""
    page = visit().page
    page.goto(address + "search.html")

    def search(query):
        command = "(query) => search(query).results.map(({ section }) => section.link)"
        return page.evaluate(command, query)

    return search


def glossary_names():
    """Return the anchor of every term with its English and its Chinese name."""
    text = ROOT.joinpath("book", "glossary.md").read_text("utf-8")
    for entry in re.split(r"^## ", text, flags=re.M)[1:]:
        english = entry.splitlines()[0]
        chinese = re.search(r"^中文：([^（、；\n]+)", entry, flags=re.M)[1].strip()
        yield english.lower().replace(" ", "-"), english, chinese


def test_search_finds_every_term_of_the_glossary(look_up):
    for anchor, english, chinese in glossary_names():
        entry = f"book/glossary.html#{anchor}"
        assert look_up(english)[0] == entry, english
        assert look_up(english.upper())[0] == entry, english
        assert look_up(chinese)[0] == entry, chinese


@pytest.mark.parametrize(
    ("symptom", "exhibits"),
    [
        ("stuck at 2.303", {4, 12, 14, 18}),
        ("stuck at 1.461", {1}),
        ("100 % on the test set", {2}),
        ("accuracy drops after loading", {7, 17}),
        ("memory grows", {7, 10}),
        ("mat1 and mat2 shapes cannot be multiplied", {14}),
    ],
)
def test_search_leads_from_a_symptom_to_its_exhibits(look_up, symptom, exhibits):
    found = look_up(symptom)[: len(exhibits)]
    numbers = {int(re.search(r"#exhibit-(\d+)-", link)[1]) for link in found}
    assert numbers == exhibits


def test_search_knows_other_forms_of_a_word_and_what_is_not_there(look_up):
    assert look_up("overfitted")[0] == "book/glossary.html#overfitting"
    assert "book/05-training.html#the-learning-rate" in look_up("learning rates")[:4]
    assert "book/02-terminology.html#convolution" in look_up("卷积")
    assert look_up("zzzz") == []
    assert look_up("[(*") == []


@both_ways
def test_search_says_what_it_found(visit, address, from_folder):
    page = visit().page
    base = SITE.as_uri() + "/" if from_folder else address
    for query, answer in [("zzzz", "Nothing found for"), ("tensor", "Found in")]:
        page.goto(f"{base}search.html?q={query}")
        assert answer in page.locator("[role=status]").inner_text()


def test_solutions_are_not_in_the_search_index():
    index = built("searchindex.js").read_text("utf-8")
    cells = [cell for chapter in CHAPTERS for cell in read_cells(chapter, "code")]
    solved = [cell for cell in cells if "solution" in cell["metadata"].get("tags", ())]
    elsewhere = "".join(cell["source"] for cell in cells if cell not in solved)
    assert "def train_one_epoch" in index, "other code is"
    for cell in solved:
        line = max(cell["source"].splitlines(), key=len).strip()
        if line not in elsewhere:
            assert json.dumps(line, ensure_ascii=False)[1:-1] not in index


@pytest.fixture(scope="module")
def packed(tmp_path_factory):
    built("index.html")
    target = tmp_path_factory.mktemp("zip") / "book.zip"
    program = ROOT / "book" / "_ext" / "booksite_zip.py"
    subprocess.run([sys.executable, program, SITE, "--to", target], check=True)
    return target


def test_zip_opens_from_disk(visit, packed, tmp_path):
    with zipfile.ZipFile(packed) as archive:
        names = archive.namelist()
        archive.extractall(tmp_path)
    assert names == sorted(names)
    assert not [n for n in names if re.search(r"\.pyc|/\.|__pycache__|doctrees", n)]
    assert packed.stat().st_size < 30e6
    seen = visit()
    seen.page.goto((tmp_path / "pytorch-by-hand" / "index.html").as_uri())
    seen.page.wait_for_url("**/book/index.html")
    seen.page.locator(".chapters a .name").first.click()
    seen.page.wait_for_load_state()
    assert seen.requests_elsewhere(tmp_path.as_uri()) == []
    assert seen.complaints == []


def test_keyboard(visit, address):
    page = visit().page
    page.goto(address + "book/index.html")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    assert page.locator(".skip").bounding_box()["x"] >= 0
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "main"


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
    path = built(f"book/{chapter.stem}.html")
    number = int(chapter.stem[:2])
    assert soup(path).select_one(".eyebrow").get_text() == f"Chapter {number}"
    here = soup(path).select_one("nav#contents a.current.reference")
    assert here.get_text().startswith(f"{number}. ")
