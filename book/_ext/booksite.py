"""What the book's site does beyond Jupyter Book: a Sphinx extension.

- executed notebooks are cached by what they were executed with,
- mathematics becomes MathML, so that no page asks another host for a script,
- a figure gets a light and a dark version and the browser loads one of them,
- solutions are folded, wide tables scroll inside the page,
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
from booksite_nodes import (
    depart_fold,
    join_solutions,
    join_streams,
    visit_fold,
    visit_image,
    visit_math,
    visit_math_block,
)
from booksite_repository import (
    colab_address,
    repository_address,
    site_address,
    write_colab_copies,
)
from docutils import nodes
from myst_nb.sphinx_ import HideCodeCellNode, NbMetadataCollector
from sphinx.util.docutils import SphinxDirective

# A reader of this kind of text stops to think, and reads code more slowly.
WORDS_PER_MINUTE = 180
CODE_LINES_PER_MINUTE = 15

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
    config.book_repository = repository_address(Path(app.srcdir))
    config.html_baseurl = config.html_baseurl or site_address(config.book_repository)


# Pages ------------------------------------------------------------------------


def finish_page(app, doctree, docname) -> None:
    """Rearrange a page's tree before it is written."""
    join_streams(doctree)
    join_solutions(doctree)
    for table in list(doctree.findall(nodes.table)):
        box = nodes.container(classes=["scroll"])
        table.replace_self(box)
        box.append(table)
    for paragraph in doctree.findall(nodes.paragraph):
        if re.match(r"[\u4e00-\u9fff]", paragraph.astext()):
            paragraph["classes"].append("language-zh-Hans")  # becomes lang="…"
    for placeholder in list(doctree.findall(ChapterTable)):
        html = app.builder.templates.render("chapters.html", book_map(app, docname))
        placeholder.replace_self(nodes.raw("", html, format="html"))


# What a page knows about itself -------------------------------------------------


def describe(app, doctree) -> None:
    """Note a page's first paragraph, its description."""
    for paragraph in doctree.findall(nodes.paragraph):
        if isinstance(paragraph.parent, nodes.section):
            text = " ".join(paragraph.astext().split())
            app.env.metadata[app.env.docname]["description"] = text
            return


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
    """Return what is known of a page: number, description, times.

    Numbers and times are missing where there are none: the glossary has no
    number, and a page that was not executed no running time.
    """
    env = app.env
    facts = {"description": env.metadata[docname].get("description", "")}
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


class ChapterTable(nodes.General, nodes.Element):
    """Stands where the table of chapters will be."""


class ChapterTableDirective(SphinxDirective):
    """``{chapters}``: the book's parts, chapters and times."""

    def run(self) -> list[nodes.Node]:
        """Leave a placeholder; times are known when all chapters are read."""
        return [ChapterTable()]


def book_map(app, docname: str) -> dict:
    """Return the book's parts and their pages for the table of chapters."""
    parts = []
    for tree in app.config.external_site_map.root.subtrees:
        pages = []
        for item in tree.items:
            name = re.sub(r"\.(md|ipynb)$", "", str(item))
            facts = page_facts(app, name)
            facts["title"] = app.env.titles[name].astext()
            facts["link"] = app.builder.get_relative_uri(docname, name)
            facts["sentence"] = re.split(r"(?<=[.?!])\s", facts["description"])[0]
            pages.append(facts)
        parts.append({"caption": tree.caption, "pages": pages})
    pages = [page for part in parts for page in part["pages"]]
    seconds = sum(page.get("seconds", 0) for page in pages)
    return {
        "parts": parts,
        "minutes": sum(page.get("minutes", 0) for page in pages),
        "running": duration(seconds) if seconds else "",
        "cores": os.cpu_count(),
    }


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


def rewrite_all_pages(app, env) -> list[str]:
    """Have every page written: each shows titles and times of others."""
    return list(env.found_docs)


def write_extra_files(app, exception) -> None:
    """Write the front door and the copies for Colab."""
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
    app.add_node(HideCodeCellNode, override=True, html=(visit_fold, depart_fold))
    app.add_node(ChapterTable)
    app.add_directive("chapters", ChapterTableDirective)
    app.connect("doctree-read", describe)
    # After Sphinx has given its own numbers, at the same event.
    app.connect("env-get-updated", number_chapters_by_file, priority=900)
    app.connect("env-updated", rewrite_all_pages)
    app.connect("doctree-resolved", finish_page)
    app.connect("html-page-context", page_context)
    app.connect("build-finished", write_extra_files)
    return {"parallel_read_safe": False, "parallel_write_safe": False}
