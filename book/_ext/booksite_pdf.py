"""Print the book, built on one page, as a PDF.

    jupyter-book build . --builder singlehtml && python book/_ext/booksite_pdf.py

writes ``_build/pytorch-by-hand.pdf``, with bookmarks, page numbers, and the
structure that a screen reader needs. It needs pypdf and Chromium or Chrome; one that
is not on the PATH is named after the command.
"""

import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from pypdf import PdfReader, PdfWriter
from pypdf.generic import DictionaryObject, NameObject, TextStringObject

BUILD = Path(__file__).parents[2] / "_build"
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
# The page has no script, so it needs no sandbox.
OPTIONS = (
    "--headless --no-sandbox --no-pdf-header-footer --generate-pdf-document-outline"
)
# A line of the list of contents: it leads to the mark before a page.
LINE = re.compile('(<a class="reference internal" href="#(document-[^"]+)">[^<]*)</a>')


def bookmarks(parent: DictionaryObject) -> Iterator[DictionaryObject]:
    """Yield all bookmarks below one."""
    child = parent.get("/First")
    while child is not None:
        yield child.get_object()
        yield from bookmarks(child.get_object())
        child = child.get_object().get("/Next")


def make_pdf(browser: str) -> int:
    """Print the book, with page numbers in its contents; return how many it has."""
    html = BUILD.joinpath("singlehtml", "book", "index.html").read_text("utf-8")
    page, target = BUILD / "singlehtml" / "print.html", BUILD / "pytorch-by-hand.pdf"
    places: dict[str, int] = {}

    def number(line: re.Match) -> str:
        return f'{line[1]}<span class="page">{places.get(line[2], "")}</span></a>'

    for _ in range(2):  # where the chapters begin is known when they are printed
        page.write_text(LINE.sub(number, html), "utf-8")
        target.unlink(missing_ok=True)
        with tempfile.TemporaryDirectory() as profile:
            command = [browser, *OPTIONS.split(), f"--user-data-dir={profile}"]
            command += [f"--print-to-pdf={target}", page.as_uri()]
            done = subprocess.run(command, capture_output=True, errors="replace")
        if done.returncode or not target.is_file():
            sys.exit(f"{browser} printed nothing:\n{done.stderr}")
        printed = PdfReader(target)
        for anchor, place in printed.named_destinations.items():
            page_number = printed.get_destination_page_number(place) + 1
            places[anchor.removeprefix("/")] = page_number
    pdf = PdfWriter(clone_from=printed)
    for bookmark in bookmarks(pdf.root_object["/Outlines"]):
        title = bookmark["/Title"]
        half = title[: len(title) // 2]
        if title == 2 * half:  # what Chromium makes of a heading that begins a page
            bookmark[NameObject("/Title")] = TextStringObject(half)
    pdf.write(target)
    return len(pdf.pages)


if __name__ == "__main__":
    found = next(filter(None, map(shutil.which, [*sys.argv[1:], *BROWSERS])), None)
    if found is None:
        sys.exit(
            "No Chromium or Chrome is on the PATH: say where one is, as in\n"
            f"{sys.argv[0]} /path/to/chrome"
        )
    if not BUILD.joinpath("singlehtml", "book", "index.html").is_file():
        sys.exit("First run: jupyter-book build . --builder singlehtml")
    print(f"_build/pytorch-by-hand.pdf: {make_pdf(found)} pages")
