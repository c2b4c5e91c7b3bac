"""Print the book, built on one page, as a PDF.

    jupyter-book build . --builder singlehtml && python book/_ext/booksite_pdf.py

writes ``_build/pytorch-by-hand.pdf``, with bookmarks, page numbers, and the
structure that a screen reader needs. It needs Chromium or Chrome, and pypdf.
"""

import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from html import unescape
from io import BytesIO
from pathlib import Path

from booksite_zip import turn
from pypdf import PdfReader, PdfWriter
from pypdf.generic import DictionaryObject, NameObject, TextStringObject

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


def print_page(browser: str, page: Path) -> PdfReader:
    """Have the browser print a page; it has no script, so it needs no sandbox."""
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder, "book.pdf")
        options = (
            f"--headless --no-sandbox --user-data-dir={folder}/profile "
            "--no-pdf-header-footer --generate-pdf-document-outline"
        )
        command = [browser, *options.split(), f"--print-to-pdf={target}", page.as_uri()]
        done = subprocess.run(command, capture_output=True, text=True, errors="replace")
        if not target.is_file():
            raise RuntimeError(f"{browser} wrote no PDF:\n{done.stderr}")
        return PdfReader(BytesIO(target.read_bytes()))


def bookmarks(parent: DictionaryObject) -> Iterator[DictionaryObject]:
    """Yield all bookmarks below one, in the order of the book."""
    child = parent.get("/First")
    while child is not None:
        yield child.get_object()
        yield from bookmarks(child.get_object())
        child = child.get_object().get("/Next")


def make_pdf(site: Path, target: Path, browser: str | None) -> str:
    """Print a site of one page; say how many pages it takes."""
    browser = browser or next(filter(None, map(shutil.which, BROWSERS)), None)
    if browser is None:
        raise RuntimeError(
            "a PDF is printed by Chromium or Chrome, and neither is on the PATH. "
            "Install one, or say where it is: --browser /path/to/chrome"
        )
    html = (site / "book" / "index.html").read_text("utf-8")
    # To a chapter's heading, for its own mark stands before it on another page.
    html = re.sub('#document-(?:[^"#]*/)?([^"#/]+)"', r'#\1--"', html)
    page = site / "print.html"
    places: dict[str, int] = {}

    def number(link: re.Match) -> str:
        return f'{link[1]}<span class="page">{places.get(link[2], "")}</span></a>'

    link = '(<a class="reference internal" href="#([^"]+--)">[^<]*)</a>'
    try:
        for _ in range(2):  # where the chapters begin is known when they are printed
            page.write_text(re.sub(link, number, html), "utf-8")
            pdf = print_page(browser, page)
            for anchor, place in pdf.named_destinations.items():
                places[anchor.lstrip("/")] = pdf.get_destination_page_number(place) + 1
    finally:
        page.unlink(missing_ok=True)
    pdf = PdfWriter(clone_from=pdf)
    # Chromium doubles some bookmarks' texts, and joins lines without a space.
    titles = re.findall(r"(?s)<h[1-6]\b.*?>(.*?)</h[1-6]>", html)
    outline = pdf.root_object.get("/Outlines", DictionaryObject()).get_object()
    there = list(bookmarks(outline))
    if len(there) != len(titles):
        raise RuntimeError(
            f"{browser} made {len(there)} bookmarks of {len(titles)} headings. "
            "Try another version, or another browser: --browser /path/to/chrome"
        )
    for bookmark, title in zip(there, titles, strict=True):
        text = " ".join(unescape(re.sub("<[^>]*>", "", title)).split())
        bookmark[NameObject("/Title")] = TextStringObject(text)
    pdf.write(target)
    return f"{len(pdf.pages)} pages"


if __name__ == "__main__":
    turn(__doc__, "singlehtml", make_pdf, ".pdf", ("--browser", "Chromium or Chrome"))
