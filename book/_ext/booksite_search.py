"""What the search page knows: the text of every section, in a script.

Sphinx's own search finds pages, drops Chinese words and reads other pages for
its excerpts, which a page opened from a folder may not do. This index holds the
sections' text itself. ``book/_static/search.js`` looks into it.

Besides its title a section can have names:

- the Chinese words that its paragraph beginning with 中文 lists,
- the text of each table row that links to it on its own page, such as the
  symptoms of chapter 12.
"""

import json
import re
from pathlib import Path

from docutils import nodes

# Printed output is searched too, since it holds error messages; not all of it.
MAX_OUTPUT = 600
LEFT_OUT = (nodes.raw, nodes.comment, nodes.image, nodes.title, nodes.math_block)


def page_sections(doctree) -> list[dict]:
    """Return what there is to find on a page: one entry a section.

    Returns
    -------
    list of dict
        ``anchor``, ``title``, ``names`` (list of str) and ``text`` of each
        section, in the page's order; what stands in a section within it is left
        to that one.
    """
    names = table_names(doctree)
    found = []
    for section in doctree.findall(nodes.section):
        parts = [own_text(child) for child in section.children]
        anchors = section["ids"]
        found.append(
            {
                "anchor": anchors[0],
                "title": section.next_node(nodes.title).astext(),
                "names": [
                    *(name for child in section.children for name in chinese(child)),
                    *(name for anchor in anchors for name in names.get(anchor, ())),
                ],
                "text": " ".join(" ".join(parts).split()),
            }
        )
    return found


def own_text(node) -> str:
    """Return a node's text without sections, solutions and long output."""
    if isinstance(node, (nodes.section, *LEFT_OUT)):
        return ""
    classes = node.get("classes", ()) if isinstance(node, nodes.Element) else ()
    if "tag_solution" in classes or "headerlink" in classes:
        return ""
    if isinstance(node, nodes.literal_block):
        return node.astext()[: MAX_OUTPUT if "output" in classes else None]
    if isinstance(node, nodes.math):
        return node.astext().replace("\\", "")
    if isinstance(node, nodes.TextElement):
        return "".join(own_text(child) for child in node.children)
    if isinstance(node, nodes.Text):
        return node.astext()
    return " ".join(own_text(child) for child in node.children)


def chinese(node) -> list[str]:
    """Return the Chinese names that a paragraph such as "中文：卷积（…）" lists.

    Examples
    --------
    >>> chinese(nodes.paragraph("", "中文：轮次（也作：轮、周期）"))
    ['轮次', '轮', '周期']
    """
    text = node.astext() if isinstance(node, nodes.paragraph) else ""
    if not text.startswith("中文："):
        return []
    text = text.removeprefix("中文：").partition("注意")[0]  # what it is not
    parts = re.split(r"[（）()、，；：“”]|也作|也称|常译作|常直接写", text)
    return [part.strip() for part in parts if part.strip()]


def table_names(doctree) -> dict[str, list[str]]:
    """Return the texts of table rows by the anchors on this page they link to."""
    names: dict[str, list[str]] = {}
    for row in doctree.findall(nodes.row):
        cells, anchors = [], []
        for entry in row.findall(nodes.entry):
            links = [
                link.get("refid") or link.get("refuri", "").removeprefix("#")
                for link in entry.findall(nodes.reference)
                if link.get("refid") or link.get("refuri", "").startswith("#")
            ]
            anchors += links
            if not links:
                cells.append(entry.astext())
        for anchor in anchors:
            names.setdefault(anchor, []).append(" ".join(" ".join(cells).split()))
    return names


def write_search_index(pages: list[dict], path: Path) -> None:
    """Write the script that hands the sections to search.js.

    Parameters
    ----------
    pages : list of dict
        ``link``, ``title`` and ``sections`` (from `page_sections`) of each page,
        in the book's order.
    path : Path
        The script.
    """
    index = [
        [
            page["link"],
            page["title"],
            [
                [part["anchor"], part["title"], part["names"], part["text"]]
                for part in page["sections"]
            ],
        ]
        for page in pages
    ]
    text = json.dumps(index, ensure_ascii=False, separators=(",", ":"))
    path.write_text(f"const SEARCH_INDEX = {text};\n", "utf-8")
