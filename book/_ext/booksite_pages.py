"""The built site's pages as a book without a browser: for the PDF and the EPUB.

What a reader of the site clicks is laid out: explorers show a few of their
frames, folded code is open, and solutions stand in a part of their own at the
end. Figures are those for light pages. The Draw page is left out, since it is
nothing without a hand that draws.
"""

import re
from collections.abc import Callable
from copy import copy
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from bs4 import BeautifulSoup, Tag

FRONT, SOLUTIONS = "index", "solutions"
ABOUT = "About this book"
LEFT_OUT = {"draw"}
# The site's frame, and what only a browser can use.
CHROME = (
    ".eyebrow, .facts, .headerlink, .digit, .map, .chapters, .sum, .controls, "
    "script, noscript, link, style, button"
)


@dataclass
class Page:
    """A page: its name, number ("" if none), title and text."""

    name: str
    number: str
    title: str
    body: Tag


@dataclass
class Part:
    """Some pages under a common caption, which can be ""."""

    caption: str
    pages: list[Page] = field(default_factory=list)


@dataclass
class Book:
    """The site's pages in order."""

    title: str
    copyright: str
    address: str  # of the site's folder of pages, "" if it is not known
    drawing: Tag  # the digit of the front page
    folder: Path
    parts: list[Part]

    @property
    def pages(self) -> list[Page]:
        """All pages, in order."""
        return [page for part in self.parts for page in part.pages]

    def link(self, address: Callable[[str, str], str]) -> None:
        """Point every link where it leads in a book that has no site.

        Parameters
        ----------
        address : callable
            Takes a page's name and an anchor ("" for its beginning) and returns
            the address to put there.
        """
        names = {page.name for page in self.pages}
        for page in self.pages:
            for link in page.body.find_all("a", href=True):
                target, _, anchor = link["href"].partition("#")
                name = PurePosixPath(target).stem if target else page.name
                if re.match(r"\w+:", target):
                    continue
                if name in names and not target.startswith("../"):
                    link["href"] = address(name, anchor)
                elif self.address:
                    link["href"] = self.address + link["href"]
                else:
                    link.unwrap()


def read_book(site: Path) -> Book:
    """Read the pages of a built site.

    Raises
    ------
    FileNotFoundError
        If the site is not built.
    """
    folder = site / "book"
    if not folder.joinpath("index.html").is_file():
        raise FileNotFoundError(f"no site in {site}: run jupyter-book build . first")
    front = _soup(folder / "index.html")
    drawing = front.select_one(".digit svg").extract()
    drawing["viewBox"] = drawing.attrs.pop("viewbox")  # as SVG spells it
    drawing["xmlns"] = "http://www.w3.org/2000/svg"
    parts = [Part("", [_read(front, FRONT)])]
    answers = []
    for caption in front.select("#contents .caption"):
        part = Part(caption.get_text())
        for link in caption.find_next_sibling("ul").select("a"):
            name = PurePosixPath(link["href"]).stem
            if name not in LEFT_OUT:
                soup = _soup(folder / link["href"])
                page = _read(soup, name)
                part.pages.append(page)
                if sections := _take_answers(soup, page):
                    answers.append((page, sections))
        if part.pages:
            parts.append(part)
    parts.append(Part("", [_answers_page(answers)]))
    canonical = front.select_one("link[rel=canonical]")
    return Book(
        title=front.select_one("meta[property='og:site_name']")["content"],
        copyright=re.search(r"©[^.]*", front.select_one(".colophon").get_text())[0],
        address=canonical["href"].removesuffix("index.html") if canonical else "",
        drawing=drawing,
        folder=folder,
        parts=parts,
    )


def _soup(path: Path) -> BeautifulSoup:
    return BeautifulSoup(path.read_text("utf-8"), "html.parser")


def _read(soup: BeautifulSoup, name: str) -> Page:
    """Return a page's text, laid out."""
    body = soup.main
    number = re.search(r"\d+", getattr(body.select_one(".eyebrow"), "text", ""))
    if name == FRONT:
        body.select_one("#the-chapters").decompose()
        for link in body.select("a[href='draw.html'], a.start"):
            link.find_parent("p").decompose()
        body.h1.string = ABOUT
    for piece in body.select(CHROME):
        piece.decompose()
    for piece in body.select(".section-number"):
        piece.decompose()
    for picture in body.select("picture"):
        picture.replace_with(picture.img)
    for explorer in body.select("form.explorer"):
        _lay_out_explorer(soup, explorer)
    for fold in body.select("details.fold"):
        fold.summary.decompose()
        fold.name = "div"
    for image in body.select("img"):
        del image["loading"]
    return Page(name, number[0] if number else "", body.h1.get_text().strip(), body)


def _lay_out_explorer(soup: BeautifulSoup, explorer: Tag) -> None:
    """Show the frame that the site begins with, the first and the last one.

    Below each stands its text, as it does on the site.
    """
    frames = explorer.select(".frame")
    shown = [
        frame
        for index, frame in enumerate(frames)
        if index in (0, len(frames) - 1) or not frame.has_attr("hidden")
    ]
    for frame in frames:
        if frame not in shown:
            frame.decompose()
            continue
        del frame["hidden"]
        text = soup.new_tag("p", attrs={"class": "says"})
        text.string = frame.img["alt"]
        frame.append(text)
    explorer.select_one("figure > .says").decompose()
    explorer.figcaption.append(
        f" {len(shown)} of the {len(frames)} drawings that the slider of the site "
        "moves through."
    )
    explorer.name = "div"
    for attribute in ("autocomplete", "id"):
        del explorer[attribute]


def _take_answers(soup: BeautifulSoup, page: Page) -> list[Tag]:
    """Take the folded answers out of a page; return them as sections.

    A link stands where they were and leads to them; another one leads back.
    """
    sections = []
    for answer in page.body.select(".tag_solution, .quiz"):
        section = answer.find_parent("section")
        anchor = f"{page.name}-{section['id']}"
        if not sections or sections[-1]["id"] != anchor:
            sections.append(soup.new_tag("section", id=anchor))
            heading = section.find(re.compile(r"h\d")).get_text().strip()
            title = soup.new_tag("h3")
            title.string = heading.replace("Exercise ", f"Exercise {page.number}.")
            sections[-1].append(title)
            sections[-1].append(
                _link(soup, f"{page.name}.html#{section['id']}", "Back to the task")
            )
            section.append(_link(soup, f"{SOLUTIONS}.html#{anchor}", "Solution"))
        if "quiz" in answer["class"]:  # the questions stay
            answer.insert_before(_lay_out_quiz(copy(answer), told=False))
            _lay_out_quiz(answer, told=True)
        for element in answer.select("[id]"):  # another chapter may have the same
            del element["id"]
        for link in answer.select("a[href^='#']"):
            link["href"] = f"{page.name}.html{link['href']}"
        sections[-1].append(answer.extract())
    return sections


def _lay_out_quiz(quiz: Tag, told: bool) -> Tag:
    """Write a quiz whose answers open as paragraphs, with what opens or without."""
    shape = {
        "fieldset": ("div", "asked"),
        "legend": ("p", "question"),
        "details": ("div", "answer"),
        "summary": ("p", "choice"),
    }
    for element in quiz.select("[style]"):
        del element["style"]
    for element in quiz.select(", ".join(shape)):
        if element.name == "details" and not told:
            element.p.decompose()
        element.name, element["class"] = shape[element.name]
    return quiz


def _link(soup: BeautifulSoup, address: str, text: str) -> Tag:
    """Return a paragraph that is a link."""
    paragraph = soup.new_tag("p", attrs={"class": "see"})
    link = soup.new_tag("a", href=address)
    link.string = text
    paragraph.append(link)
    return paragraph


def _answers_page(answers: list[tuple[Page, list[Tag]]]) -> Page:
    """Return the page that holds the answers of all pages."""
    soup = BeautifulSoup("<main><section><h1></h1></section></main>", "html.parser")
    soup.h1.string = "Solutions"
    for page, sections in answers:
        chapter = soup.new_tag("section", id=f"{SOLUTIONS}-{page.name}")
        title = soup.new_tag("h2")
        title.string = f"{page.number}. {page.title}"
        chapter.append(title)
        for section in sections:
            chapter.append(section)
        soup.section.append(chapter)
    return Page(SOLUTIONS, "", "Solutions", soup.main)
