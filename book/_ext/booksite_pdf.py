"""Print the built site as a PDF.

    python book/_ext/booksite_pdf.py

writes ``_build/pytorch-by-hand.pdf``, with bookmarks, page numbers, and the
structure that a screen reader needs. It needs Chromium or Chrome.
"""

import re
import shutil
import subprocess
import tempfile
from pathlib import Path

from booksite_pages import Book, read_book
from booksite_zip import site_parser
from jinja2 import Environment, FileSystemLoader

NAME = "pytorch-by-hand.pdf"
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
TEMPLATES = Path(__file__).parents[1] / "_templates"


def find_browser() -> str:
    """Return the path of Chromium or Chrome.

    Raises
    ------
    FileNotFoundError
        If there is none.
    """
    for name in BROWSERS:
        if program := shutil.which(name):
            return program
    raise FileNotFoundError(
        "a PDF is printed by Chromium or Chrome, and neither is on the PATH. Install "
        "one, or say where it is: --browser /path/to/chrome"
    )


def put_together(book: Book) -> None:
    """Make all pages ready to stand in one file, which may lie anywhere."""

    def identity(name: str, anchor: str) -> str:
        return f"page-{name}" + (f"--{anchor}" if anchor else "")

    for page in book.pages:
        for element in page.body.select("[id]"):
            element["id"] = identity(page.name, element["id"])
        for image in page.body.select("img"):
            image["src"] = book.folder.joinpath(image["src"]).resolve().as_uri()
    book.link(lambda name, anchor: "#" + identity(name, anchor))


def print_pdf(browser: str, html: str, target: Path) -> None:
    """Have the browser print a page.

    Raises
    ------
    RuntimeError
        If the browser wrote no file.
    """
    target.unlink(missing_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        page = Path(folder, "book.html")
        page.write_text(html, "utf-8")
        done = subprocess.run(
            [
                browser,
                "--headless",
                "--no-sandbox",  # containers allow none; the page has no script
                f"--user-data-dir={folder}/profile",
                "--no-pdf-header-footer",
                "--generate-pdf-document-outline",
                f"--print-to-pdf={target.resolve()}",
                page.as_uri(),
            ],
            capture_output=True,
            text=True,
        )
    if not target.is_file():
        raise RuntimeError(f"{browser} wrote no PDF:\n{done.stderr}")


def page_numbers(pdf: bytes) -> dict[str, int]:
    """Return the number of the page that each anchor of the PDF is on.

    Chromium writes the tables that this reads uncompressed.
    """
    nodes = {
        int(number): [int(kid) for kid in re.findall(rb"(\d+) 0 R", kids)]
        for number, kids in re.findall(
            rb"\n(\d+) 0 obj\n<</Type /Pages[^]]*/Kids \[([^]]*)\]", pdf
        )
    }

    def leaves(number: int) -> list[int]:
        if number not in nodes:
            return [number]
        return [leaf for kid in nodes[number] for leaf in leaves(kid)]

    root = re.search(rb"/Type /Catalog\s*/Pages (\d+) 0 R", pdf)
    if root is None:  # a Chromium that compresses them: contents without numbers
        return {}
    place = {leaf: index for index, leaf in enumerate(leaves(int(root[1])), start=1)}
    return {
        anchor.decode(): place[int(leaf)]
        for anchor, leaf in re.findall(rb"/([\w-]+) \[(\d+) 0 R /XYZ", pdf)
    }


def one_page(book: Book, style: Path, numbers: dict[str, int]) -> str:
    """Return the whole book as one page, with page numbers where they are known."""
    templates = Environment(loader=FileSystemLoader(TEMPLATES))
    return templates.get_template("print.html").render(
        book=book, style=style.resolve().as_uri(), numbers=numbers
    )


def make_pdf(site: Path, target: Path, browser: str) -> int:
    """Print a built site as a PDF; return its number of pages, or 0 if unknown.

    Raises
    ------
    FileNotFoundError
        If the site is not built.
    RuntimeError
        If the browser wrote no file.
    """
    book = read_book(site)
    put_together(book)
    numbers: dict[str, int] = {}
    for _ in range(2):  # where the pages begin is known when they have been printed
        html = one_page(book, site / "_static" / "book.css", numbers)
        print_pdf(browser, html, target)
        numbers = page_numbers(target.read_bytes())
    return max(numbers.values(), default=0)


def main(arguments: list[str] | None = None) -> None:
    """Print the site of this checkout, or the one that is named."""
    parser = site_parser(__doc__, NAME)
    parser.add_argument("--browser", help="Chromium or Chrome; else that on the PATH")
    chosen = parser.parse_args(arguments)
    try:
        browser = chosen.browser or find_browser()
        pages = make_pdf(chosen.site, chosen.to, browser)
    except (OSError, RuntimeError) as error:
        parser.exit(1, f"{error}\n")
    size = f"{chosen.to.stat().st_size / 1e6:.1f} MB"
    print(f"{chosen.to}: {pages} pages, {size}" if pages else f"{chosen.to}: {size}")


if __name__ == "__main__":
    main()
