"""What the book's site does beyond Jupyter Book: a Sphinx extension.

- notebooks are executed side by side, and cached by what they were executed with,
- mathematics becomes MathML, so that no page asks another host for a script,
- a figure gets a light and a dark version and the browser loads one of them,
- so does every frame of an explorer,
- what is optional is folded, wide tables scroll inside the page,
- the front page has a map of the chapters and a table of them,
- the search finds sections, in English and in Chinese,
- pages know their description, how long they take to read and to run, and
  where to get their notebook,
- an old address of a page leads to the new one.

The pages' frame is ``book/_templates/layout.html``, their look
``book/_static/book.css``.
"""

import os
import posixpath
import re
from pathlib import Path
from textwrap import shorten

import nbformat
from booksite_edition import chinese_headings, edition_context
from booksite_execution import execute_notebooks, execution_key
from booksite_front import THUMBNAIL, direct_needs, draw_map, in_words, thumbnail
from booksite_nodes import (
    OPTIONAL,
    Part,
    depart_fold,
    depart_title,
    fold_optional,
    join_streams,
    mark_optional,
    name_rows,
    visit_fold,
    visit_image,
    visit_math,
    visit_math_block,
    visit_raw,
    write_parts,
    write_themes,
)
from booksite_paper import EpubBuilder, lay_out, page_of_paper
from booksite_repository import (
    colab_address,
    repository_address,
    site_address,
    write_copies,
)
from booksite_search import (
    collect_sections,
    leave_out_own_search,
    search_page,
    write_search_index,
)
from docutils import nodes
from myst_nb.sphinx_ import HideCodeCellNode, NbMetadataCollector
from sphinx.locale import get_translation
from sphinx.util.docutils import SphinxDirective
from sphinx.util.logging import getLogger
from sphinx.util.osutil import relative_uri
from sphinx.writers.html5 import HTML5Translator

_ = get_translation("booksite")

# A reader of this kind of text stops to think, and reads code more slowly.
WORDS_PER_MINUTE = 180
CODE_LINES_PER_MINUTE = 15
HAN = r"\u4e00-\u9fff"


# Configuration ----------------------------------------------------------------


def configure(app, config) -> None:
    """Set what depends on helpers/, on git and on the environment."""
    if config.book_english:
        return  # the Chinese edition is told what the English one found out
    cache = config.nb_execution_cache_path or Path(app.outdir).parent / ".jupyter_cache"
    key = execution_key(Path(app.srcdir))
    config.nb_execution_cache_path = str(Path(cache).absolute() / key)
    os.environ["BOOK_BUILD"] = "1"  # notebooks draw all frames of their explorers
    os.environ["PYTORCH_BY_HAND_LANGUAGE"] = "en"
    config.book_repository = repository_address(Path(app.srcdir))
    config.html_baseurl = config.html_baseurl or site_address(config.book_repository)
    config.epub_cover = ("_static/card.png", "")


def lab_anchor(heading: str) -> str:
    """Return what a link has to say after "#" to lead to a heading.

    It is JupyterLab's rule, so that a link that works on the site works there:
    ``[GPU](glossary.md#GPU)``, ``[a test set](glossary.md#test-set)``.
    """
    return heading.replace(" ", "-")


# Pages ------------------------------------------------------------------------


def finish_page(app, doctree, docname) -> None:
    """Rearrange a page's tree before it is written."""
    if app.builder.format != "html":
        return  # the check of links writes no page
    join_streams(doctree)
    if app.builder.name == "html":
        fold_optional(doctree)
    name_rows(doctree)
    for table in list(doctree.findall(nodes.table)):
        box = nodes.container(classes=["scroll"])
        table.replace_self(box)
        box.append(table)
    chinese = bool(app.config.book_english)
    latin = rf"[^{HAN}]*[A-Za-z]{{2}}[^{HAN}]*$"
    other = latin if chinese else f"[{HAN}]"
    for paragraph in doctree.findall(nodes.paragraph):
        if re.match(other, paragraph.astext()):  # becomes lang="…"
            paragraph["classes"].append(
                "language-en" if chinese else "language-zh-Hans"
            )
    write_parts(app, doctree, docname)


# What a page knows about itself -------------------------------------------------


def describe(app, doctree) -> None:
    """Note what other pages say of a page: see `page_facts`."""
    docname = app.env.docname
    english = app.config.book_english.get(docname, {})
    facts = {"description": ""} | english
    app.env.metadata[docname]["facts"] = facts
    facts["anchors"] = [
        (section["ids"][0], section.get("slug"))
        for section in doctree.findall(nodes.section)
    ]
    for paragraph in doctree.findall(nodes.paragraph):
        if isinstance(paragraph.parent, nodes.section):
            facts["description"] = " ".join(paragraph.astext().split())
            break
    path = Path(app.env.doc2path(docname))
    if path.suffix == ".ipynb":
        notebook = nbformat.read(path, as_version=4)
        facts |= notebook_facts(doctree, notebook)
        if fault := mark_optional(doctree, notebook.cells):
            getLogger(__name__).warning(fault, location=docname)
        if figure := chosen_figure(doctree):
            facts["figure"] = str(Path(app.srcdir, figure["uri"]))
        # A Chinese page takes as long as the English one.
        facts |= {key: english[key] for key in ("minutes", "optional") if english}


def notebook_facts(doctree, notebook) -> dict:
    """Return what a notebook says of itself, and how long it takes to read.

    Its metadata has, under "book", what the chapter ``needs`` (the numbers of other
    chapters) and, where a total would mislead, a ``time`` in words.
    """
    cells = notebook.cells
    optional = [cell for cell in cells if OPTIONAL in cell.metadata.get("tags", ())]
    facts = dict(notebook.metadata.get("book", {}))
    facts["minutes"] = max(1, reading_minutes([c for c in cells if c not in optional]))
    facts["optional"] = reading_minutes(optional)
    aims = doctree.next_node(nodes.bullet_list)  # the first list of each chapter
    facts["learn"] = [
        " ".join(aim.astext().replace("\\", "").split()).rstrip(".;")
        for aim in aims or ()
    ]
    return facts


def chosen_figure(doctree) -> nodes.image | None:
    """Return the figure of a cell tagged "thumbnail", or else the first figure."""
    for part in [*doctree.findall(nodes.container), doctree]:
        if part is doctree or "tag_thumbnail" in part["classes"]:
            for image in part.findall(nodes.image):
                if image["uri"].endswith(".svg"):
                    return image
    return None


def reading_minutes(cells: list) -> int:
    """Estimate how long cells take to read, without solutions and folded code."""
    folded = {"solution", "hide-input", "hide-cell", "remove-input", "remove-cell"}
    words = lines = 0
    for cell in cells:
        if cell.cell_type == "markdown":
            words += len(cell.source.split())
        elif folded.isdisjoint(cell.metadata.get("tags", ())):
            lines += sum(bool(line.strip()) for line in cell.source.splitlines())
    return round(words / WORDS_PER_MINUTE + lines / CODE_LINES_PER_MINUTE)


def duration(seconds: float) -> str:
    """Return a running time as people say it."""
    if seconds < 90:
        return " ".join([str(max(1, round(seconds))), str(_("s"))])
    return " ".join([f"{seconds / 60:.0f}", str(_("min"))])


def page_facts(app, docname: str) -> dict:
    """Return what is known of a page: number, description, times and the like.

    Numbers and times are missing where there are none: the glossary has no
    number, and a page that was not executed no running time.
    """
    facts = dict(app.env.metadata[docname]["facts"])
    number = app.env.toc_secnumbers.get(docname, {}).get("")
    if number:
        facts["number"] = number[0]
    execution = NbMetadataCollector.get_exec_data(app.env, docname) or {}
    if execution.get("runtime") is not None:
        facts["seconds"] = execution["runtime"]
    if "seconds" in facts:
        facts["running"] = duration(facts["seconds"])
    return facts


class FrontPageDirective(SphinxDirective):
    """``{chapters}`` and ``{map}``: see the templates of these names."""

    def run(self) -> list[nodes.Node]:
        """Leave a placeholder; all is known when all chapters are read."""
        return [Part(template=f"{self.name}.html", values=book_map)]


def book_map(app, docname: str, part: Part) -> dict:
    """Return the book's parts and their pages for the front page."""
    parts = []
    for tree in app.config.external_site_map.root.subtrees:
        pages = []
        for item in tree.items:
            name = re.sub(r"\.(md|ipynb)$", "", str(item))
            facts = page_facts(app, name)
            facts["title"] = app.env.titles[name].astext()
            facts["link"] = app.builder.get_relative_uri(docname, name)
            sentences = re.split(r"(?<=[.?!])\s|(?<=[。？！])", facts["description"])
            facts["sentence"] = sentences[0]
            facts["thumbnail"] = write_thumbnail(app, docname, name)
            pages.append(facts)
        parts.append({"caption": tree.caption, "pages": pages})
    pages = [page for part in parts for page in part["pages"]]
    chapters = {page["number"]: page for page in pages if "number" in page}
    direct = direct_needs(
        {n: set(map(int, page.get("needs", ()))) for n, page in chapters.items()}
    )
    seconds = sum(page.get("seconds", 0) for page in pages)
    on_site = app.builder.name == "html"  # on paper, its caption says the same
    return {
        "parts": parts,
        "maps": [draw_map(chapters, direct, down) for down in (False, True) if on_site],
        "map_in_words": in_words(direct),
        "thumbnail_size": THUMBNAIL,
        "minutes": sum(p.get("minutes", 0) for p in pages if "time" not in p),
        "running": duration(seconds) if seconds else "",
        "cores": os.cpu_count(),
    }


def write_thumbnail(app, docname: str, chapter: str) -> dict[str, str]:
    """Write a chapter's thumbnail; return its addresses by theme."""
    path = Path(app.srcdir, page_facts(app, chapter).get("figure", ""))
    if app.builder.name != "html" or path.suffix != ".svg":
        return {}
    name = f"{posixpath.basename(chapter)}-thumbnail"
    names = write_themes(app.builder, name, thumbnail(path.read_text("utf-8")))
    folder = relative_uri(app.builder.get_target_uri(docname), app.builder.imagedir)
    return {theme: posixpath.join(folder, name) for theme, name in names.items()}


def lighten(body: str) -> str:
    """Take out of a page what book.css gives no look, and headings that are empty."""
    body = re.sub(r'<span class="(?:n|nn|o|p|w)">([^<]*)</span>', r"\1", body)
    return re.sub(r"<th[^>]*><p></p></th>", "<td></td>", body)


def page_context(app, pagename, templatename, context, doctree) -> None:
    """Hand a page's facts and links to its template."""
    repository = app.config.book_repository
    context["repository"] = repository
    if app.builder.name == "html":
        edition_context(app, pagename, context)
    if doctree is None:
        return
    context["body"] = lighten(context["body"])
    context["facts"] = facts = page_facts(app, pagename)
    context["description"] = shorten(facts["description"], 160, placeholder="…")
    name = posixpath.basename(pagename)
    context["moved"] = app.config.book_moved_parts.get(name)
    folder = "zh/colab" if app.config.book_english else "colab"
    context["colab"] = colab_address(repository, name, folder)


def rewrite_all_pages(app, env) -> list[str]:
    """Have every page written: each shows titles and times of others."""
    return list(env.found_docs)


def write_extra_files(app, exception) -> None:
    """Write the doors, the search index and the notebooks to take away."""
    if exception is not None or app.builder.name != "html":
        return
    outdir = Path(app.outdir)
    lang = "zh-Hans" if app.config.book_english else "en"
    home = app.builder.get_target_uri(app.config.root_doc)
    folder = posixpath.dirname(app.config.root_doc)
    doors = {"index.html": home}
    for old, new in app.config.book_old_pages.items():
        doors[f"{folder}/{old}.html"] = f"{new}.html"
    for door, target in doors.items():
        values = {"title": app.config.html_title, "target": target, "lang": lang}
        html = app.builder.templates.render("redirect.html", values)
        outdir.joinpath(door).write_text(html, "utf-8")
    write_search_index(app)
    pages = [Path(app.env.doc2path(name)) for name in app.env.found_docs]
    write_copies(
        [path for path in pages if path.suffix == ".ipynb"],
        outdir,
        app.config.book_repository,
        app.config.html_baseurl,
        chinese_headings(app) if app.config.book_english else None,
    )


def setup(app) -> dict:
    """Connect all of the above to Sphinx."""
    app.add_config_value("book_repository", "", "html")
    app.add_config_value("book_old_pages", {}, "html")
    app.add_config_value("book_moved_parts", {}, "html")
    app.connect("config-inited", configure, priority=100)
    app.add_html_math_renderer("mathml", (visit_math, None), (visit_math_block, None))
    app.add_node(nodes.image, override=True, html=(visit_image, None))
    app.add_node(
        nodes.title, override=True, html=(HTML5Translator.visit_title, depart_title)
    )
    app.add_node(nodes.raw, override=True, html=(visit_raw, None))
    app.add_node(HideCodeCellNode, override=True, html=(visit_fold, depart_fold))
    app.add_node(Part)
    app.add_directive("chapters", FrontPageDirective)
    app.add_directive("map", FrontPageDirective)
    app.connect("env-before-read-docs", execute_notebooks)
    app.connect("doctree-read", describe, priority=900)  # images are found by then
    app.connect("env-updated", rewrite_all_pages)
    app.connect("builder-inited", leave_out_own_search)
    app.connect("doctree-resolved", collect_sections)
    app.connect("doctree-resolved", finish_page)
    app.connect("doctree-resolved", lay_out)
    app.connect("html-collect-pages", search_page)
    app.connect("html-page-context", page_context)
    app.connect("html-page-context", page_of_paper)
    app.add_builder(EpubBuilder, override=True)
    app.connect("build-finished", write_extra_files)
    app.setup_extension("booksite_draw")
    app.setup_extension("booksite_edition")
    app.page_facts = page_facts  # for the other edition
    return {
        "env_version": 6,  # a higher number has all pages read anew
        "parallel_read_safe": False,
        "parallel_write_safe": False,
    }
