"""The Chinese site, built after the English one from the same results.

It lies in ``zh/`` and has the pages that booksite_zh.py makes. Of every other page it
knows the headings, and links to it lead to the English page. Pictures, scripts and
style sheets are those of the English site, and sections have the same addresses.
"""

import gettext
import io
import re
import shutil
import sys
from pathlib import Path
from urllib.parse import urljoin

import nbformat
import polib
import yaml
from booksite_zh import Catalogs, parts_of, words_in, write, write_notebooks
from docutils import nodes
from docutils.parsers.rst import directives, roles
from sphinx import locale
from sphinx.addnodes import pending_xref
from sphinx.application import Sphinx
from sphinx.builders.html import StandaloneHTMLBuilder
from sphinx.util.docutils import additional_nodes, unregister_node
from sphinx.util.osutil import relative_uri

NAMES = {"en": "English", "zh-Hans": "中文"}
# A link out of the Chinese site, which lies one folder down.
ENGLISH = re.compile(r'href="(?=\.\./(?:\.\./)?book/)')


class EditionBuilder(StandaloneHTMLBuilder):
    """Sphinx's builder; of the Chinese edition it writes what is in Chinese."""

    def init(self) -> None:
        """Share the pictures of both editions."""
        super().init()
        if self.config.book_english:
            self.imagedir = "../_images"

    @property
    def imgpath(self) -> str:
        """The way from the page that is being written to the pictures."""
        return relative_uri(self.get_target_uri(self.current_docname), self.imagedir)

    @imgpath.setter
    def imgpath(self, path: str) -> None:
        """Leave out what Sphinx takes for it: a folder of this site."""

    def is_elsewhere(self, docname: str) -> bool:
        """Tell whether a page is in the English edition only."""
        config = self.config
        return docname in config.book_english and docname not in config.book_chinese

    def get_target_uri(self, docname: str, typ: str | None = None) -> str:
        """Return a page's address on this site."""
        uri = super().get_target_uri(docname, typ)
        return f"../{uri}" if self.is_elsewhere(docname) else uri

    def static_files(self, docname: str) -> str:
        """Return the way from a page to the scripts and style sheets."""
        folder = "../_static" if self.config.book_english else "_static"
        return relative_uri(self.get_target_uri(docname), folder)

    def write_doc(self, docname: str, doctree: nodes.document) -> None:
        """Write a page, unless it is in English only."""
        if not self.is_elsewhere(docname):
            super().write_doc(docname, doctree)


def choose_language(app, config) -> None:
    """Find the pages that are in Chinese, and this edition's words."""
    translations, words = gettext.NullTranslations(), {}
    if config.book_english:
        words = config.book_words
        site = polib.POFile()
        site.metadata = {"Content-Type": "text/plain; charset=utf-8"}
        site += [polib.POEntry(msgid=text, msgstr=words[text]) for text in words]
        translations = gettext.GNUTranslations(io.BytesIO(site.to_binary()))
    else:
        catalogs = Catalogs(Path(app.srcdir), Path(config.nb_execution_cache_path))
        config.book_chinese = [f"book/{name}" for name in catalogs.pages()]
    locale.translators["general", "booksite"] = translations


def speak(app) -> None:
    """Give the templates this edition's words, and its figures a place."""
    if app.config.book_english:
        place = str(Path(app.srcdir, "jupyter_execute"))  # not beside the site
        app.env.mystnb_config = app.env.mystnb_config.copy(output_folder=place)
    words = locale.translators["general", "booksite"]
    if templates := getattr(app.builder, "templates", None):
        templates.environment.install_gettext_callables(
            words.gettext, words.ngettext, newstyle=True
        )


def name_sections(app, doctree) -> None:
    """Give the sections of a Chinese page the addresses that they have in English."""
    docname = app.env.docname
    if not app.config.book_english:
        return
    slugs = app.env.metadata[docname].setdefault("myst_slugs", {})
    slugs.clear()
    sections = list(doctree.findall(nodes.section))
    names = app.config.book_english[docname]["anchors"]
    for section, (anchor, slug) in zip(sections, names, strict=True):
        section["ids"] = [anchor]
        slugs[slug] = section.line, anchor, section.next_node(nodes.title).astext()
    for link in doctree.findall(pending_xref):
        in_page = link["reftype"] == "myst" and link["refdomain"] != "doc"
        if in_page and link["reftarget"] in slugs:
            link["refdomain"], link["reftargetid"] = "doc", link["reftarget"]
            link["reftarget"] = docname


def edition_context(app, pagename, context) -> None:
    """Tell a page's template its language, and where the other edition is."""
    config, chinese = app.config, bool(app.config.book_english)
    base, pathto, toctree = config.html_baseurl, context["pathto"], context["toctree"]
    context["lang"], language = ("zh-Hans", "en") if chinese else ("en", "zh-Hans")
    context["site"] = urljoin(base, "..") if chinese and base else base
    if pagename in config.book_chinese or (
        pagename == "search" and config.book_chinese
    ):
        page = f"{'../' if chinese else 'zh/'}{pagename}.html"
        link = pathto(page, 1)
        address = urljoin(base, page) if base else link
        other = {"link": link, "address": address, "lang": language}
        context["other"] = other | {"name": NAMES[language]}
    if chinese:
        scripts = re.findall(r'[\w-]+\.js(?=" defer)', context.get("body", ""))
        context["words"] = {
            word: config.book_words[word]
            for script in ["book.js", "search.js", *scripts]
            for word in config.book_scripts.get(script, ())
            if word in config.book_words
        }
        context["pathto"] = lambda uri, resource=False, **options: pathto(
            f"../{uri}" if uri.startswith("_static/") else uri, resource, **options
        )
        context["toctree"] = lambda **options: ENGLISH.sub(
            'lang="en" hreflang="en" href="', toctree(**options)
        )
        context["body"] = ENGLISH.sub('hreflang="en" href="', context.get("body", ""))


def headings_of(path: Path) -> str:
    """Return a page's headings and nothing else."""
    text = path.read_text("utf-8")
    if path.suffix == ".md":
        parts = [part for part in parts_of(text) if part.startswith("#")]
        return "\n\n".join(part.splitlines()[0] for part in parts)
    notebook = nbformat.reads(text, as_version=4)
    cells = [cell for cell in notebook.cells if cell.cell_type == "markdown"]
    for cell in cells:
        parts = [part for part in parts_of(cell.source) if part.startswith("#")]
        cell.source = "\n\n".join(part.splitlines()[0] for part in parts)
    notebook.cells = cells
    return nbformat.writes(notebook)


def chinese_headings(app, docnames: list[str]) -> dict[str, dict[str, str]]:
    """Return by page where its headings are in a Chinese notebook, by the English."""
    return {
        name.rpartition("/")[2]: {
            slug: title.replace(" ", "-")
            for slug, (_, _, title) in app.env.metadata[name]["myst_slugs"].items()
        }
        for name in docnames
    }


def build_chinese(app, exception) -> None:
    """Build the Chinese site into the English one."""
    config, root, out = app.config, Path(app.srcdir), Path(app.outdir)
    if exception or app.builder.name != "html" or not config.book_chinese:
        return
    if config.book_english:
        return
    catalogs = Catalogs(root, Path(config.nb_execution_cache_path))
    words, source = catalogs.words, out.parent / "zh"
    write_notebooks(catalogs, source)
    static = Path("book", "_static")  # pages include from it
    if root.joinpath(static).is_dir():
        shutil.copytree(root / static, source / static, dirs_exist_ok=True)
    for name in app.env.found_docs.difference(config.book_chinese):
        path = Path(app.env.doc2path(name))
        write(source / path.relative_to(root), headings_of(path))
    toc = yaml.safe_load(root.joinpath("_toc.yml").read_text("utf-8"))
    for part in toc["parts"]:
        part["caption"] = words.get(part["caption"], part["caption"])
    write(source / "_toc.yml", yaml.safe_dump(toc, allow_unicode=True, sort_keys=False))
    overrides = config.overrides | {
        "book_chinese": config.book_chinese,
        "book_english": app.book_facts(),
        "book_repository": config.book_repository,
        "book_scripts": {
            path.name: words_in(path) for path in root.glob("book/_static/*.js")
        },
        "book_words": words,
        "html_baseurl": config.html_baseurl and f"{config.html_baseurl}zh/",
        "exclude_patterns": [*config.exclude_patterns, "jupyter_execute"],
        "extensions": config.extensions,
        "external_toc_path": str(source / "_toc.yml"),
        "html_static_path": [],
        "language": "zh_CN",
        "nb_execution_mode": "off",  # the notebooks bring their results
        "templates_path": [str(root / path) for path in config.templates_path],
    }
    for name in ("author", "copyright", "html_title", "project"):
        if text := words.get(overrides.get(name)):
            overrides[name] = text
    # Sphinx warns of what a second edition registers again.
    directives._directives.clear()
    roles._roles.clear()
    for node in list(additional_nodes):
        unregister_node(node)
        additional_nodes.discard(node)
    second = Sphinx(
        source,
        None,
        out / "zh",
        out.parent / ".doctrees-zh",
        "html",
        overrides,
        sys.stdout,
        sys.stderr,
        warningiserror=app.warningiserror or app.keep_going,
        keep_going=app.keep_going,
    )
    second.build()
    shutil.rmtree(out / "zh" / "_static", ignore_errors=True)  # as in English
    app.statuscode = app.statuscode or second.statuscode


def setup(app) -> dict:
    """Connect all of the above to Sphinx."""
    app.add_config_value("book_chinese", [], "")
    app.add_config_value("book_english", {}, "")
    app.add_config_value("book_scripts", {}, "")
    app.add_config_value("book_words", {}, "")
    app.add_builder(EditionBuilder, override=True)
    app.connect("config-inited", choose_language, priority=200)
    app.connect("builder-inited", speak)
    app.connect("doctree-read", name_sections, priority=100)
    app.connect("build-finished", build_chinese, priority=900)
    return {"parallel_read_safe": False, "parallel_write_safe": False}
