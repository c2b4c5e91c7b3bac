"""How the parts of a page become HTML: templates, formulas, figures, folds, output."""

import base64
import hashlib
import posixpath
import re
from html import escape
from pathlib import Path

from docutils import nodes
from latex2mathml.converter import convert
from sphinx.locale import get_translation
from sphinx.util.osutil import relative_uri
from sphinx.writers.html5 import HTML5Translator

_ = get_translation("booksite")

# Gray text of helpers/book.mplstyle, and what replaces it on the site.
FIGURE_GRAY = "#767b84"
FIGURE_GRAYS = {"light": "#4b5058", "dark": "#b4bbc6"}
OPTIONAL = "optional"  # the tag of cells, and the class of what they make
# A figure inside the HTML that a cell displayed: explorers, solutions.
FRAME = re.compile(r'<img src="data:image/svg\+xml;base64,([^"]+)"([^>]*?)\s*/?>')


# Templates --------------------------------------------------------------------


class Part(nodes.General, nodes.Element):
    """Stands where a ``template`` will be, with the values that ``values`` returns.

    Paper has what ``on_paper`` says instead, if a part says anything there.
    """


def write_parts(app, doctree, docname: str) -> None:
    """Put the HTML of its parts into a page; all is known of all pages now."""
    for part in list(doctree.findall(Part)):
        if "on_paper" in part and app.builder.name != "html":
            said = part["on_paper"]
            part.replace_self([nodes.paragraph("", said)] if said else [])
            continue
        values = part["values"](app, docname, part)
        values["static"] = relative_uri(app.builder.get_target_uri(docname), "_static")
        html = app.builder.templates.render(part["template"], values)
        part.replace_self(nodes.raw("", html, format="html"))


# Mathematics ------------------------------------------------------------------


def formula(latex: str, display: str = "inline") -> str:
    """Return a formula as MathML.

    A bar may not grow: one with an exponent would hang below its line.
    """
    return re.sub(
        r"<mo>(&#x02016;|&#x0007C;)</mo>",
        r'<mo stretchy="false">\1</mo>',
        convert(latex, display=display),
    )


def visit_math(self, node) -> None:
    """Write a formula that stands in a line of text."""
    self.body.append(formula(node.astext()))
    raise nodes.SkipNode


def visit_math_block(self, node) -> None:
    """Write a formula that stands alone."""
    self.body.append(f'<div class="math">{formula(node.astext(), "block")}</div>')
    raise nodes.SkipNode


# Figures ----------------------------------------------------------------------


def visit_image(self, node) -> None:
    """Write an image; a figure of the book for light and for dark pages."""
    path = Path(self.builder.srcdir, node["uri"])
    if path.suffix != ".svg":
        HTML5Translator.visit_image(self, node)
        return
    self.builder.images.pop(node["uri"], None)  # the original is not shown
    text = f' alt="{escape(node.get("alt", ""))}"'
    self.body.append(picture(self.builder, path.read_text("utf-8"), text))


def visit_raw(self, node) -> None:
    """Write HTML as it is, but the figures in it to files.

    A notebook's output carries each frame of an explorer inside itself. A browser
    loads of the files only those that it shows.
    """

    def place(match: re.Match) -> str:
        return picture(self.builder, base64.b64decode(match[1]).decode(), match[2])

    if "html" in node.get("format", "").split():
        node.children = [nodes.Text(FRAME.sub(place, node.astext()))]
    HTML5Translator.visit_raw(self, node)


def picture(builder, svg: str, attributes: str) -> str:
    """Write a figure's files; return the HTML that shows the one that fits the page.

    Its size stands in attributes, which keep a place of the right shape for it.
    """
    stem = hashlib.sha256(svg.encode()).hexdigest()[:16]
    address = {
        theme: posixpath.join(builder.imgpath, name)
        for theme, name in write_themes(builder, stem, svg).items()
    }
    for name, points in re.findall(r'\b(width|height)="([\d.]+)pt"', svg[:2000])[:2]:
        if f" {name}=" not in attributes:
            attributes += f' {name}="{float(points) * 4 / 3:.0f}"'
    if builder.name == "html" and " loading=" not in attributes:
        attributes += ' loading="lazy"'
    image = f'<img src="{address["light"]}"{attributes}/>'
    if "dark" not in address:
        return image
    media = "(prefers-color-scheme: dark)"
    return (
        f'<picture><source srcset="{address["dark"]}" media="{media}">{image}</picture>'
    )


def write_themes(builder, name: str, svg: str) -> dict[str, str]:
    """Write a figure for light pages and, if it differs, for dark ones.

    What browsers forgive in matplotlib's SVG and an e-reader does not is mended: a
    document type that lies elsewhere, a path without a line (the letter " "), one
    name for two places where the same picture is.

    Returns
    -------
    dict
        The files' names by theme. Paper has no dark pages.
    """
    svg = re.sub(r"<!DOCTYPE[^>]*>", "", svg)
    svg = re.sub(r'<path(?![^>]*\sd=")', '<path d="M0 0"', svg)
    svg = re.sub(r'(<image\b[^>]*?)\sid="[^"]*"', r"\1", svg)
    folder = Path(builder.outdir, builder.imagedir)
    folder.mkdir(parents=True, exist_ok=True)
    names = {"light": f"{name}.svg"}
    if builder.name == "html" and FIGURE_GRAY in svg:
        names = {theme: f"{name}-{theme}.svg" for theme in FIGURE_GRAYS}
    for theme, file in names.items():
        text = svg.replace(FIGURE_GRAY, FIGURE_GRAYS[theme])
        folder.joinpath(file).write_text(text, "utf-8")
    return names


# Folds ------------------------------------------------------------------------


def visit_fold(self, node) -> None:
    """Open a folded cell with a label that is its summary's own text."""
    self.body.append(
        f'<details class="fold"><summary><span class="closed">{_("Show the code")}'
        f'</span><span class="opened">{_("Hide the code")}</span></summary>\n'
    )


def depart_fold(self, node) -> None:
    """Close a folded cell."""
    self.body.append("</details>\n")


def fold_optional(doctree) -> None:
    """Fold the sections that `mark_optional` marked, each under its own heading."""
    for section in list(doctree.findall(nodes.section)):
        if OPTIONAL in section["classes"]:
            start = f'<details class="{OPTIONAL}"><summary>'
            section.insert(1, nodes.raw("", "</summary>", format="html"))
            section.insert(0, nodes.raw("", start, format="html"))
            section.append(nodes.raw("", "</details>\n", format="html"))


def depart_title(self, node) -> None:
    """Close a heading, with a link to it unless it is what folds its section.

    A link inside of what is clicked to unfold could not be reached by keyboard.
    """
    links = self.builder.add_permalinks
    if OPTIONAL in node.parent.get("classes", ()):
        self.builder.add_permalinks = False
    HTML5Translator.depart_title(self, node)
    self.builder.add_permalinks = links


def mark_optional(doctree, cells: list) -> str:
    """Mark the sections that are made of the cells tagged "optional".

    Returns
    -------
    str
        What is wrong with them, or "".
    """
    optional = [OPTIONAL in cell.metadata.get("tags", ()) for cell in cells]
    for cell, now, before in zip(cells, optional, [False, *optional], strict=False):
        if now != before and not re.match("##+ ", cell.source):
            return (
                f"no heading parts what is optional from the rest: {cell.source[:60]!r}"
            )
    for section in doctree.findall(nodes.section):
        # myst-nb counts the lines of each cell from a multiple of 10,000.
        number = (section.line or 0) // 10_000 - 1
        if optional[number] and OPTIONAL not in section.parent["classes"]:
            section["classes"].append(OPTIONAL)
    return ""


# Tables and output ------------------------------------------------------------


def name_rows(doctree) -> None:
    """Make the first cell of each row a heading where no heading is above them."""
    for head in doctree.findall(nodes.thead):
        if not head.next_node(nodes.entry).astext().strip():
            head.parent.next_node(nodes.colspec)["stub"] = 1


def join_streams(doctree) -> None:
    """Join printed text that reached the kernel's reader in several pieces.

    Where one piece ends is a matter of chance: it can be the middle of a line.
    (myst-nb's own ``nb_merge_streams`` starts a new line there.) Of a progress
    bar, which draws itself over and over, the last state stays.
    """
    for block in list(doctree.findall(nodes.literal_block)):
        if not {"stream", "stderr"} & set(block["classes"]):
            continue
        text, before = block.astext(), block.previous_sibling()
        if before is not None and before.get("classes") == block["classes"]:
            text = before.astext() + text
            block.parent.remove(before)
        text = re.sub(r"[^\n]*\r(?!\n)", "", text)
        block.rawsource, block.children = text, []
        block.append(nodes.Text(text))
