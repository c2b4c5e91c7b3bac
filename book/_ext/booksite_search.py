"""What the search page knows: the text of every section, in a script.

Sphinx's own search finds pages, drops Chinese words and reads other pages for
its excerpts, which a page opened from a folder may not do. This index holds the
sections' text itself. ``book/_static/search.js`` looks into it.

Besides its title a section can have names:

- the words that its paragraph beginning with 中文 or 英文 lists, and its title,
- the text of each table row that links to it on its own page, such as the
  symptoms of chapter 12.
"""

import json
import re
from collections import defaultdict
from pathlib import Path

from docutils import nodes

# Printed output is searched too, since it holds error messages; not all of it.
MAX_OUTPUT = 600
LEFT_OUT = (nodes.raw, nodes.comment, nodes.image, nodes.title, nodes.math_block)


def leave_out_own_search(app) -> None:
    """Keep Sphinx from writing its own search page."""
    app.builder.search = False
    app.book_pages = {}


def collect_sections(app, doctree, docname) -> None:
    """Note what there is to find on a page: its link, title and sections."""
    title = app.env.titles[docname].astext()
    link = app.builder.get_target_uri(docname)
    app.book_pages[docname] = [link, title, page_sections(doctree)]


def search_page(app):
    """Add the search page."""
    if app.builder.name == "html":
        yield "search", {}, "search.html"


def write_search_index(app) -> None:
    """Write the script that hands the sections to search.js."""
    pages = [page for _, page in sorted(app.book_pages.items())]
    text = json.dumps(pages, ensure_ascii=False, separators=(",", ":"))
    path = Path(app.outdir, "searchindex.js")
    path.write_text(f"const SEARCH_INDEX = {text};\n", "utf-8")


def page_sections(doctree) -> list[tuple[str, str, list[str], str]]:
    """Return anchor, title, names and text of each section of a page.

    What stands in a section within a section is left to that one.
    """
    names = table_names(doctree)
    return [
        (
            section["ids"][0],
            section.next_node(nodes.title).astext(),
            [
                *(name for child in section.children for name in names_in(child)),
                *(name for anchor in section["ids"] for name in names[anchor]),
            ],
            " ".join(" ".join(map(own_text, section.children)).split()),
        )
        for section in doctree.findall(nodes.section)
    ]


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


def names_in(node) -> list[str]:
    """Return the names that a title or a paragraph of the glossary lists."""
    text = node.astext()
    if isinstance(node, nodes.title) and "（" in text:
        return re.split("[（）]", text.rstrip("）"))
    named = isinstance(node, nodes.paragraph) and text.startswith(("中文：", "英文："))
    return chinese(text) if named else []


def chinese(text: str) -> list[str]:
    """Return the names that a line such as "中文：卷积（…）" lists.

    Examples
    --------
    >>> chinese("中文：轮次（也作：轮、周期）")
    ['轮次', '轮', '周期']
    """
    text = text[3:].partition("注意")[0]  # what it is not
    parts = re.split(r"[（）()、，；：“”]|也作|也称|常译作|常直接写", text)
    return [part.strip() for part in parts if part.strip()]


def table_names(doctree) -> dict[str, list[str]]:
    """Return the texts of table rows by the anchors on this page they link to."""
    names = defaultdict(list)
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
            names[anchor].append(" ".join(" ".join(cells).split()))
    return names
