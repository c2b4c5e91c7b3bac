"""What the book's site does beyond Jupyter Book: a Sphinx extension.

- executed notebooks are cached by what they were executed with,
- mathematics becomes MathML, so that no page asks another host for a script,
- a figure gets a light and a dark version and the browser loads one of them,
- so does every frame of an explorer,
- solutions are folded, wide tables scroll inside the page,
- the front page has a map of the chapters and a table of them,
- the search finds sections, in English and in Chinese,
- pages know their description, how long they take to read and to run, and
  where to get their notebook.

The pages' frame is ``book/_templates/layout.html``, their look
``book/_static/book.css``.
"""

import hashlib
import os
import platform
import posixpath
import re
from importlib.metadata import version
from pathlib import Path

import nbformat
from booksite_explorers import visit_raw
from booksite_front import (
    THUMBNAIL,
    direct_needs,
    draw_map,
    in_words,
    needed_chapters,
    thumbnail,
)
from booksite_nodes import (
    depart_fold,
    join_solutions,
    join_streams,
    name_rows,
    visit_fold,
    visit_image,
    visit_math,
    visit_math_block,
    write_themes,
)
from booksite_repository import (
    colab_address,
    repository_address,
    site_address,
    write_colab_copies,
)
from booksite_search import page_sections, write_search_index
from docutils import nodes
from myst_nb.sphinx_ import HideCodeCellNode, NbMetadataCollector
from sphinx.util.docutils import SphinxDirective
from sphinx.util.osutil import relative_uri

# A reader of this kind of text stops to think, and reads code more slowly.
WORDS_PER_MINUTE = 180
CODE_LINES_PER_MINUTE = 15

# What a page's source says about the page, for other pages.
NOTED = ("description", "learn", "needs", "figure")

# What a notebook's results depend on, besides the notebook and helpers/.
PACKAGES = ("torch", "torchvision", "numpy", "matplotlib", "ipywidgets", "ipykernel")
VARIABLES = ("CIFAR10_IMAGES",)


# Configuration ----------------------------------------------------------------


def execution_key(root: Path) -> str:
    """Return a name for all that a notebook's results depend on but itself.

    jupyter-cache compares a notebook's code cells only. Kept in a folder of this
    name, its results cannot outlive a change in helpers/, in the installed
    versions or in the variables that choose the data.
    """
    digest = hashlib.sha256(platform.python_version().encode())
    for name in PACKAGES:
        digest.update(f"{name}=={version(name)}".encode())
    for name in VARIABLES:
        digest.update(f"{name}={os.environ.get(name)}".encode())
    for path in sorted(root.joinpath("helpers").rglob("*")):
        if path.is_file() and "__pycache__" not in path.parts:
            digest.update(path.relative_to(root).as_posix().encode())
            digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


def configure(app, config) -> None:
    """Set what depends on helpers/, on git and on the environment."""
    cache = config.nb_execution_cache_path or Path(app.outdir).parent / ".jupyter_cache"
    key = execution_key(Path(app.srcdir))
    config.nb_execution_cache_path = str(Path(cache).absolute() / key)
    os.environ["BOOK_BUILD"] = "1"  # notebooks draw all frames of their explorers
    config.book_repository = repository_address(Path(app.srcdir))
    config.html_baseurl = config.html_baseurl or site_address(config.book_repository)


# Pages ------------------------------------------------------------------------


def finish_page(app, doctree, docname) -> None:
    """Rearrange a page's tree before it is written."""
    if app.builder.format != "html":
        return  # the check of links writes no page
    join_streams(doctree)
    join_solutions(doctree)
    name_rows(doctree)
    for table in list(doctree.findall(nodes.table)):
        box = nodes.container(classes=["scroll"])
        table.replace_self(box)
        box.append(table)
    for paragraph in doctree.findall(nodes.paragraph):
        if re.match(r"[\u4e00-\u9fff]", paragraph.astext()):
            paragraph["classes"].append("language-zh-Hans")  # becomes lang="…"
    for placeholder in list(doctree.findall(FrontPagePart)):
        html = app.builder.templates.render(
            placeholder["template"], book_map(app, docname)
        )
        placeholder.replace_self(nodes.raw("", html, format="html"))


# What a page knows about itself -------------------------------------------------


def describe(app, doctree) -> None:
    """Note what other pages say of a page: see `page_facts`."""
    notes = app.env.metadata[app.env.docname]
    for paragraph in doctree.findall(nodes.paragraph):
        text = " ".join(paragraph.astext().split())
        if isinstance(paragraph.parent, nodes.section):
            notes.setdefault("description", text)
        if text == "You will be able to":
            notes["learn"] = [
                " ".join(item.astext().replace("\\", "").split()).rstrip(".;")
                for item in paragraph.next_node(nodes.bullet_list, siblings=True) or ()
            ]
        if text.startswith("You need "):
            notes["needs"] = needed_chapters(text)
    figure = chosen_figure(doctree)
    if figure is not None:
        notes["figure"] = figure["uri"]


def chosen_figure(doctree) -> nodes.image | None:
    """Return the figure of a cell tagged "thumbnail", or else the first figure."""
    figures = [
        image for image in doctree.findall(nodes.image) if image["uri"].endswith(".svg")
    ]
    for cell in doctree.findall(nodes.container):
        if "tag_thumbnail" in cell["classes"]:
            return next(cell.findall(nodes.image), None)
    return figures[0] if figures else None


def reading_minutes(path: Path) -> int:
    """Estimate how long a notebook takes to read, solutions left out."""
    words = lines = 0
    for cell in nbformat.read(path, as_version=4).cells:
        if cell.cell_type == "markdown":
            words += len(cell.source.split())
        elif "solution" not in cell.metadata.get("tags", ()):
            lines += sum(bool(line.strip()) for line in cell.source.splitlines())
    return max(1, round(words / WORDS_PER_MINUTE + lines / CODE_LINES_PER_MINUTE))


def duration(seconds: float) -> str:
    """Return a running time as people say it."""
    return f"{max(1, round(seconds))} s" if seconds < 90 else f"{seconds / 60:.0f} min"


def page_facts(app, docname: str) -> dict:
    """Return what is known of a page: number, description, times and the like.

    Numbers and times are missing where there are none: the glossary has no
    number, and a page that was not executed no running time.
    """
    env = app.env
    notes = env.metadata[docname]
    facts = {"description": ""}
    facts |= {key: notes[key] for key in NOTED if key in notes}
    number = env.toc_secnumbers.get(docname, {}).get("")
    if number:
        facts["number"] = number[0]
    path = Path(env.doc2path(docname))
    if path.suffix == ".ipynb":
        facts["minutes"] = reading_minutes(path)
        seconds = (NbMetadataCollector.get_exec_data(env, docname) or {}).get("runtime")
        if seconds is not None:
            facts["seconds"] = seconds
            facts["running"] = duration(seconds)
    return facts


def shorten(text: str, length: int = 160) -> str:
    """Cut a text at a word, for search engines and previews."""
    if len(text) <= length:
        return text
    return text[: length - 1].rsplit(" ", 1)[0].rstrip(",;:") + "…"


class FrontPagePart(nodes.General, nodes.Element):
    """Stands where the map or the table of chapters will be."""


class FrontPageDirective(SphinxDirective):
    """``{chapters}`` and ``{map}``: see the templates of these names."""

    def run(self) -> list[nodes.Node]:
        """Leave a placeholder; all is known when all chapters are read."""
        return [FrontPagePart(template=f"{self.name}.html")]


def book_map(app, docname: str) -> dict:
    """Return the book's parts and their pages for the front page."""
    parts = []
    for tree in app.config.external_site_map.root.subtrees:
        pages = []
        for item in tree.items:
            name = re.sub(r"\.(md|ipynb)$", "", str(item))
            facts = page_facts(app, name)
            facts["title"] = app.env.titles[name].astext()
            facts["link"] = app.builder.get_relative_uri(docname, name)
            facts["sentence"] = re.split(r"(?<=[.?!])\s", facts["description"])[0]
            facts["thumbnail"] = write_thumbnail(app, docname, name)
            pages.append(facts)
        parts.append({"caption": tree.caption, "pages": pages})
    pages = [page for part in parts for page in part["pages"]]
    chapters = {page["number"]: page for page in pages if "number" in page}
    direct = direct_needs({n: page.get("needs", set()) for n, page in chapters.items()})
    seconds = sum(page.get("seconds", 0) for page in pages)
    return {
        "parts": parts,
        "maps": [draw_map(chapters, direct, down) for down in (False, True)],
        "map_in_words": in_words(direct),
        "thumbnail_size": THUMBNAIL,
        "minutes": sum(page.get("minutes", 0) for page in pages),
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
    context["site"] = app.config.html_baseurl
    if doctree is None:
        return
    context["body"] = lighten(context["body"])
    context["facts"] = facts = page_facts(app, pagename)
    context["description"] = shorten(facts["description"])
    if "minutes" in facts:
        context["colab"] = colab_address(repository, posixpath.basename(pagename))


def number_chapters_by_file(app, env) -> list[str]:
    """Give each chapter the number that its file's name begins with.

    Sphinx counts, and would renumber the chapters after one that is not there.
    """
    for docname, sections in env.toc_secnumbers.items():
        match = re.search(r"/(\d+)-", docname)
        if match and "" in sections:
            number = (int(match[1]),)
            sections[""] = env.titles[docname]["secnumber"] = number
            for reference in env.tocs[docname].findall(nodes.reference):
                if reference["anchorname"] == "":
                    reference["secnumber"] = number
    return []


def leave_out_own_search(app) -> None:
    """Keep Sphinx from writing its search page: see booksite_search.py."""
    app.builder.search = False
    app.book_sections = {}


def collect_sections(app, doctree, docname) -> None:
    """Note what there is to find on a page."""
    app.book_sections[docname] = page_sections(doctree)


def search_page(app):
    """Add the search page."""
    if app.builder.name == "html":
        yield "search", {}, "search.html"


def write_search(app) -> None:
    """Write the search index."""
    pages = [
        {
            "link": app.builder.get_target_uri(name),
            "title": app.env.titles[name].astext(),
            "sections": app.book_sections[name],
        }
        for name in sorted(app.book_sections)
    ]
    write_search_index(pages, Path(app.outdir, "searchindex.js"))


def rewrite_all_pages(app, env) -> list[str]:
    """Have every page written: each shows titles and times of others."""
    return list(env.found_docs)


def write_extra_files(app, exception) -> None:
    """Write the front door, the search index and the copies for Colab."""
    if exception is not None or app.builder.name != "html":
        return
    door = app.builder.templates.render(
        "redirect.html",
        {
            "title": app.config.html_title,
            "target": app.builder.get_target_uri(app.config.root_doc),
        },
    )
    outdir = Path(app.outdir)
    outdir.joinpath("index.html").write_text(door, "utf-8")
    write_search(app)
    notebooks = [Path(app.env.doc2path(name)) for name in sorted(app.env.found_docs)]
    write_colab_copies(
        [path for path in notebooks if path.suffix == ".ipynb"],
        outdir / "colab",
        app.config.book_repository,
    )


def setup(app) -> dict:
    """Connect all of the above to Sphinx."""
    app.add_config_value("book_repository", "", "html")
    app.connect("config-inited", configure, priority=100)
    app.add_html_math_renderer("mathml", (visit_math, None), (visit_math_block, None))
    app.add_node(nodes.image, override=True, html=(visit_image, None))
    app.add_node(nodes.raw, override=True, html=(visit_raw, None))
    app.add_node(HideCodeCellNode, override=True, html=(visit_fold, depart_fold))
    app.add_node(FrontPagePart)
    app.add_directive("chapters", FrontPageDirective)
    app.add_directive("map", FrontPageDirective)
    app.connect("doctree-read", describe, priority=900)  # images are found by then
    # After Sphinx has given its own numbers, at the same event.
    app.connect("env-get-updated", number_chapters_by_file, priority=900)
    app.connect("env-updated", rewrite_all_pages)
    app.connect("builder-inited", leave_out_own_search)
    app.connect("doctree-resolved", collect_sections)
    app.connect("doctree-resolved", finish_page)
    app.connect("html-collect-pages", search_page)
    app.connect("html-page-context", page_context)
    app.connect("build-finished", write_extra_files)
    app.setup_extension("booksite_draw")
    return {
        "env_version": 2,  # a higher number has all pages read anew
        "parallel_read_safe": False,
        "parallel_write_safe": False,
    }
