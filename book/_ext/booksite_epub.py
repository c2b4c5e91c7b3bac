"""Make an EPUB, for e-readers, from the built site.

    python book/_ext/booksite_epub.py

writes ``_build/pytorch-by-hand.epub``. The same site gives the same file, byte
for byte.
"""

import io
import re
import time
import uuid
import zipfile
from pathlib import Path

from booksite_pages import Book, read_book
from booksite_zip import EPOCH, site_parser
from jinja2 import Environment, FileSystemLoader
from PIL import Image

NAME = "pytorch-by-hand.epub"
TEMPLATES = Path(__file__).parents[1] / "_templates"
CONTAINER = """<?xml version="1.0" encoding="utf-8"?>
<container xmlns="urn:oasis:names:tc:opendocument:xmlns:container" version="1.0">
<rootfiles>
<rootfile full-path="book/package.opf" media-type="application/oebps-package+xml"/>
</rootfiles>
</container>
"""


def gather_images(book: Book) -> dict[str, bytes]:
    """Return all figures by name, and point the pages at them."""
    images = {}
    for page in book.pages:
        for image in page.body.select("img"):
            path = book.folder / image["src"]
            images[path.name] = strict_svg(path.read_text("utf-8")).encode()
            image["src"] = f"images/{path.name}"
    return images


def strict_svg(svg: str) -> str:
    """Mend in matplotlib's SVG what browsers forgive and an EPUB may not have.

    That is a document type that lies elsewhere, a path without a line (the letter
    " "), and one name for two places where the same picture is.
    """
    svg = re.sub(r"<!DOCTYPE[^>]*>", "", svg)
    svg = re.sub(r'<path(?![^>]*\sd=")', '<path d="M0 0"', svg)
    return re.sub(r'(<image\b[^>]*?)\sid="[^"]*"', r"\1", svg)


def cover(card: Path) -> bytes:
    """Return an upright picture made of the two halves of the site's card."""
    wide = Image.open(card).convert("RGB")
    upright = Image.new("RGB", (1200, 1800), wide.getpixel((0, 0)))
    for piece, size, place in [
        ((60, 110, 600, 520), (1080, 820), (60, 60)),
        ((625, 50, 1125, 580), (840, 890), (180, 860)),
    ]:
        upright.paste(wide.crop(piece).resize(size, Image.Resampling.LANCZOS), place)
    written = io.BytesIO()
    upright.quantize(64).save(written, "PNG", optimize=True)
    return written.getvalue()


def make_epub(site: Path, target: Path) -> int:
    """Write a built site as an EPUB; return how many pages it has.

    Raises
    ------
    FileNotFoundError
        If the site is not built.
    """
    book = read_book(site)
    book.link(lambda name, anchor: f"{name}.xhtml" + (f"#{anchor}" if anchor else ""))
    images = gather_images(book)
    templates = Environment(loader=FileSystemLoader(TEMPLATES))

    def render(template: str, **values: object) -> str:
        return templates.get_template(template).render(book=book, **values)

    def wrap(title: str, body: str) -> str:
        return render("epub-page.xhtml", title=title, body=body)

    sections = {
        page.name: [
            (section["id"], section.h2.get_text().strip())
            for section in page.body.select("section > section[id]")
            if section.find("h2", recursive=False)
        ]
        for page in book.pages
    }
    built = time.gmtime(site.joinpath("index.html").stat().st_mtime)
    files: dict[str, str | bytes] = {
        "title.xhtml": wrap(book.title, render("epub-title.xhtml")),
        "nav.xhtml": wrap("Contents", render("epub-nav.xhtml", sections=sections)),
        "package.opf": render(
            "epub-package.opf",
            identifier=uuid.uuid5(uuid.NAMESPACE_URL, book.address or book.title).urn,
            modified=time.strftime("%Y-%m-%dT%H:%M:%SZ", built),
            images=sorted(images),
        ),
        "book.css": TEMPLATES.joinpath("epub.css").read_text("utf-8"),
        "cover.png": cover(site / "_static" / "card.png"),
    }
    for page in book.pages:
        eyebrow = f'<p class="eyebrow">Chapter {page.number}</p>' if page.number else ""
        body = page.body.decode_contents(formatter="minimal")
        files[f"{page.name}.xhtml"] = wrap(page.title, eyebrow + body)
    files |= {f"images/{name}": images[name] for name in sorted(images)}

    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        mimetype = zipfile.ZipInfo("mimetype", EPOCH)  # first, and not compressed
        archive.writestr(mimetype, "application/epub+zip", zipfile.ZIP_STORED)
        files = {"META-INF/container.xml": CONTAINER} | {
            f"book/{name}": content for name, content in files.items()
        }
        for name, content in files.items():
            entry = zipfile.ZipInfo(name, EPOCH)
            entry.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(entry, content)
    return len(book.pages)


def main(arguments: list[str] | None = None) -> None:
    """Convert the site of this checkout, or the one that is named."""
    parser = site_parser(__doc__, NAME)
    chosen = parser.parse_args(arguments)
    try:
        pages = make_epub(chosen.site, chosen.to)
    except FileNotFoundError as error:
        parser.exit(1, f"{error}\n")
    print(f"{chosen.to}: {pages} pages, {chosen.to.stat().st_size / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
