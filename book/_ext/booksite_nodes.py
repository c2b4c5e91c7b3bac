"""How the parts of a page become HTML: formulas, figures, folded cells, output."""

import posixpath
import re
from pathlib import Path

from docutils import nodes
from latex2mathml.converter import convert
from myst_nb.sphinx_ import HideCodeCellNode
from sphinx.writers.html5 import HTML5Translator

# Gray text of helpers/book.mplstyle, and what replaces it on the site.
FIGURE_GRAY = "#767b84"
FIGURE_GRAYS = {"light": "#4b5058", "dark": "#b4bbc6"}


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
    """Write an image; a figure of the book in two versions, for light and dark."""
    node["loading"] = "lazy"
    path = Path(self.builder.srcdir, node["uri"])
    svg = path.read_text("utf-8") if path.suffix == ".svg" else ""
    node.attributes.update(svg_size(svg))
    if FIGURE_GRAY not in svg:
        write_image(self, node)
        return
    self.builder.images.pop(node["uri"], None)  # the original is not shown
    address = {
        theme: posixpath.join(self.builder.imgpath, name)
        for theme, name in write_themes(self.builder, path.stem[:16], svg).items()
    }
    self.body.append(
        f'<picture><source srcset="{address["dark"]}" '
        'media="(prefers-color-scheme: dark)">'
    )
    node["uri"] = address["light"]
    write_image(self, node)
    self.body.append("</picture>")


def write_themes(builder, name: str, svg: str) -> dict[str, str]:
    """Write a figure for light and for dark pages; return the files' names."""
    folder = Path(builder.outdir, builder.imagedir)
    folder.mkdir(parents=True, exist_ok=True)
    names = {theme: f"{name}-{theme}.svg" for theme in FIGURE_GRAYS}
    for theme, gray in FIGURE_GRAYS.items():
        folder.joinpath(names[theme]).write_text(
            svg.replace(FIGURE_GRAY, gray), "utf-8"
        )
    return names


def write_image(self, node) -> None:
    """Write an img with its size as attributes, which keep it in proportion."""
    HTML5Translator.visit_image(self, node)
    self.body[-1] = re.sub(
        r'style="width: (\d+)px; height: (\d+)px;"',
        r'width="\1" height="\2"',
        self.body[-1],
    )


def svg_size(svg: str) -> dict[str, str]:
    """Return the width and height of an SVG of matplotlib's, in pixels."""
    sizes = re.findall(r'\b(width|height)="([\d.]+)pt"', svg[:2000])
    return {name: f"{float(points) * 4 / 3:.0f}px" for name, points in sizes[:2]}


# Folded cells and tables ------------------------------------------------------


def visit_fold(self, node) -> None:
    """Open a folded cell with a label that is its summary's own text."""
    what = "the solution" if node.get("solution") else "the code"
    self.body.append(
        f'<details class="fold"><summary>'
        f'<span class="closed">Show {what}</span>'
        f'<span class="opened">Hide {what}</span></summary>\n'
    )


def depart_fold(self, node) -> None:
    """Close a folded cell."""
    self.body.append("</details>\n")


def join_solutions(doctree) -> None:
    """Mark the folds of solutions; put the cells of one solution under one fold."""
    for cell in list(doctree.findall(nodes.container)):
        fold = next(cell.findall(HideCodeCellNode), None)
        if fold is None or "tag_solution" not in cell["classes"]:
            continue
        fold["solution"] = True
        before = cell.previous_sibling()
        if before is not None and "tag_solution" in before.get("classes", ()):
            next(before.findall(HideCodeCellNode)).extend(fold.children)
            cell.parent.remove(cell)


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
