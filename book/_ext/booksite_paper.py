"""The book in an e-reader and on paper, made by Sphinx's own builders.

What a reader of the site clicks stands still: an explorer shows the frame that it
begins with, folded code is open, and each chapter ends with the solutions of its
exercises and the answers to its quiz. ``epub`` makes an e-book of the pages;
``singlehtml`` puts them on one page, which booksite_pdf.py prints.
"""

import re
from pathlib import Path

from docutils import nodes
from myst_nb.sphinx_ import HideCodeCellNode
from sphinx import addnodes
from sphinx.builders.epub3 import Epub3Builder

PAPER = ("epub", "singlehtml")
# How Sphinx's builder of one page refers to a section of what was a page.
SECTION = re.compile(r"^#document-(?:[^#]*/)?([^/#]+)#")
# What a quiz says when an answer is opened, and what turns HTML into still XHTML.
FEEDBACK = re.compile(r"(</summary>)\s*<p\b.*?</p>", re.DOTALL)
STILL = [
    (r'(?s)<div class="(?:controls|frame)" hidden>.*?</div>', ""),
    (r'(?s)(<details class="solution">)\s*<summary>.*?</summary>', r"\1"),
    (r"<(/?)(?:form|fieldset|details)\b", r"<\1div"),
    (r"<(/?)(?:legend|summary)\b", r"<\1p"),
    (r' (?:autocomplete|aria-live|style)="[^"]*"', ""),
    (r"<(img|br|hr)\b([^>]*?)\s*/?>", r"<\1\2/>"),
]


class EpubBuilder(Epub3Builder):
    """Sphinx's builder, without files for browsers and with marks for formulas."""

    def build_content(self) -> None:
        """Write the list of files, and in it which pages have formulas."""
        for path in Path(self.outdir, "_static").iterdir():
            if path.name not in self.config.epub_cover[0]:
                path.unlink()
        super().build_content()
        path = Path(self.outdir, "content.opf")
        listed = path.read_text("utf-8")
        for name in self.files:
            if b"<math" in Path(self.outdir, name).read_bytes():
                item = f'href="{name}"'
                listed = listed.replace(item, f'{item} properties="mathml"', 1)
        path.write_text(listed, "utf-8")


def lay_out(app, doctree, docname: str) -> None:
    """Rearrange a page, or all of them on one, for paper."""
    if app.builder.name not in PAPER:
        return
    pages = {page["docname"]: page for page in doctree.findall(addnodes.start_of_file)}
    for name, page in [(docname, doctree), *pages.items()]:
        section = page.next_node(nodes.section)
        if name != app.config.root_doc:
            put_answers_last(section)
        if number := app.env.toc_secnumbers.get(name, {}).get(""):
            text = f"Chapter {number[0]}"
            section.insert(0, nodes.paragraph("", text, classes=["eyebrow"]))
    for fold in list(doctree.findall(HideCodeCellNode)):
        fold.replace_self(fold.children)
    for raw in doctree.findall(nodes.raw):
        html = raw.astext()
        for pattern, replacement in STILL:
            html = re.sub(pattern, replacement, html)
        raw.children = [nodes.Text(html)]
    name_apart(doctree, pages)


def put_answers_last(chapter: nodes.section) -> None:
    """Move a chapter's solutions, and what its quiz answers, to its end."""
    answers = nodes.section("", nodes.title("", "Solutions"), ids=["solutions"])
    for cell in list(chapter.findall(nodes.container)):
        quiz = [raw for raw in cell.findall(nodes.raw) if FEEDBACK.search(raw.astext())]
        solved = "tag_solution" in cell["classes"]
        if "cell" not in cell["classes"] or not (quiz or solved):
            continue
        task, anchor = cell.parent, f"answer-{cell.parent['ids'][0]}"
        if anchor not in answers[-1]["ids"]:
            title = nodes.title("", task.next_node(nodes.title).astext())
            answers += nodes.section("", title, ids=[anchor])
            link = nodes.reference("", "Solution", refid=anchor, internal=True)
            task += nodes.paragraph("", "", link)
        answers[-1] += cell.deepcopy()
        for raw in quiz:
            raw.children = [nodes.Text(FEEDBACK.sub(r"\1", raw.astext()))]
        if solved:
            task.remove(cell)
    if len(answers) > 1:
        chapter += answers


def name_apart(doctree, pages: dict[str, nodes.Element]) -> None:
    """Give the anchors of pages on one page different names, and mend all links."""
    for name, page in pages.items():
        stem = name.rpartition("/")[2]
        for node in page.findall(nodes.Element):
            node["ids"] = [f"{stem}--{anchor}" for anchor in node["ids"]]
            if "refid" in node:
                node["refid"] = f"{stem}--{node['refid']}"
    for link in doctree.findall(nodes.reference):
        if "refuri" in link:
            link["refuri"] = re.sub(SECTION, r"#\1--", link["refuri"])


def page_of_paper(app, pagename, templatename, context, doctree) -> str | None:
    """Choose the template of a page on paper, and clean its headings."""
    if app.builder.name not in PAPER:
        return None
    extra = '<span class="section-number">.*?</span>|<a class="headerlink".*?</a>'
    context["body"] = re.sub(extra, "", context.get("body", ""))
    return f"{app.builder.name}.html"
