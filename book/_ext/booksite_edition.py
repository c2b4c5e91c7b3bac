"""The Chinese site, built after the English one from the same results.

It has the pages that booksite_zh.py makes, and lies in ``zh/``. Pictures, scripts and
style sheets are those of the English site, and sections have the same addresses.
"""

import gettext
import io
import json
import re
import shutil
import sys
from pathlib import Path
from urllib.parse import urljoin

import polib
import yaml
from booksite_zh import Catalogs, words_in, write, write_notebooks
from docutils import nodes
from docutils.parsers.rst import directives, roles
from sphinx import locale
from sphinx.addnodes import pending_xref
from sphinx.application import Sphinx
from sphinx.errors import SphinxError
from sphinx.util.docutils import additional_nodes, unregister_node

NAMES = {"en": "English", "zh-Hans": "中文"}
# What the Chinese site has no copies of, as its pages refer to it.
SHARED = re.compile(r'(?<==")(?=(?:\.\./)?(?:_images|_static)/)')


def choose_language(app, config) -> None:
    """Find out whether there is a Chinese edition, and this edition's words."""
    words = gettext.NullTranslations()
    if config.book_english:
        site = polib.pofile(config.book_words)
        words = gettext.GNUTranslations(io.BytesIO(site.to_binary()))
    else:
        catalogs = Catalogs(Path(app.srcdir), Path(config.nb_execution_cache_path))
        config.book_words = str(catalogs.site) if catalogs.site.is_file() else ""
    locale.translators["general", "booksite"] = words


def speak(app) -> None:
    """Give the templates this edition's words."""
    if templates := getattr(app.builder, "templates", None):
        words = locale.translators["general", "booksite"]
        templates.environment.install_gettext_translations(words, newstyle=True)


def name_sections(app, doctree) -> None:
    """Give the sections of a Chinese page the addresses that they have in English."""
    docname = app.env.docname
    if not app.config.book_english:
        return
    slugs = app.env.metadata[docname].setdefault("myst_slugs", {})
    slugs.clear()
    sections = list(doctree.findall(nodes.section))
    names = app.config.book_english[docname]["anchors"]
    if len(sections) != len(names):
        raise SphinxError(
            f"{docname}: {len(sections)} headings in Chinese, {len(names)} in English. "
            "python book/_ext/booksite_zh.py check tells where."
        )
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
    base = config.html_baseurl
    context["lang"], language = ("zh-Hans", "en") if chinese else ("en", "zh-Hans")
    context["site"] = urljoin(base, "..") if chinese and base else base
    if config.book_words:
        page = f"{'../' if chinese else 'zh/'}{pagename}.html"
        link = context["pathto"](page, 1)
        address = urljoin(base, page) if base else link
        other = {"link": link, "address": address, "lang": language}
        context["other"] = other | {"name": NAMES[language]}


def chinese_headings(app) -> dict[str, dict[str, str]]:
    """Return by page where its headings are in a Chinese notebook, by the English."""
    return {
        name.rpartition("/")[2]: {
            slug: title.replace(" ", "-")
            for slug, (_, _, title) in app.env.metadata[name]["myst_slugs"].items()
        }
        for name in app.env.found_docs
    }


def build_chinese(app, exception) -> None:
    """Build the Chinese site into the English one."""
    config, root, out = app.config, Path(app.srcdir), Path(app.outdir)
    english_only = not config.book_words or bool(config.book_english)
    if exception or app.builder.name != "html" or english_only:
        return
    catalogs = Catalogs(root, Path(config.nb_execution_cache_path))
    words, source = catalogs.words, out.parent / "zh"
    write_notebooks(catalogs, source)
    static = Path("book", "_static")  # pages include from it
    shutil.copytree(root / static, source / static, dirs_exist_ok=True)
    toc = yaml.safe_load(root.joinpath("_toc.yml").read_text("utf-8"))
    for part in toc["parts"]:
        part["caption"] = words.get(part["caption"], part["caption"])
    write(source / "_toc.yml", yaml.safe_dump(toc, allow_unicode=True, sort_keys=False))
    overrides = config.overrides | {
        "book_english": {n: app.page_facts(app, n) for n in app.env.found_docs},
        "book_repository": config.book_repository,
        "book_words": config.book_words,
        "html_baseurl": config.html_baseurl and f"{config.html_baseurl}zh/",
        "extensions": config.extensions,
        "external_toc_path": str(source / "_toc.yml"),
        "html_static_path": [],
        "language": "zh_CN",
        "nb_execution_cache_path": config.nb_execution_cache_path,
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
        out.parent / "html-zh",
        out.parent / ".doctrees-zh",
        "html",
        overrides,
        sys.stdout,
        sys.stderr,
        warningiserror=app.warningiserror or app.keep_going,
        keep_going=app.keep_going,
        freshenv=app.fresh_env_used or False,
    )
    second.build()
    app.statuscode = app.statuscode or second.statuscode
    shutil.rmtree(out / "zh", ignore_errors=True)
    not_shared = shutil.ignore_patterns("_images", "_static", ".buildinfo")
    shutil.copytree(
        second.outdir, out / "zh", False, not_shared, move_in, dirs_exist_ok=True
    )
    said = {
        text: words[text]
        for path in root.glob("book/_static/*.js")
        for text in words_in(path)
        if text in words
    }
    text = json.dumps(said, ensure_ascii=False)
    out.joinpath("zh", "words.js").write_text(f"window.WORDS = {text};\n", "utf-8")


def move_in(source: str, target: str) -> None:
    """Copy a file of the Chinese site; a page finds pictures in the English one."""
    shutil.copyfile(source, target)
    if target.endswith(".html"):
        page = Path(target).read_text("utf-8")
        Path(target).write_text(SHARED.sub("../", page), "utf-8")


def setup(app) -> dict:
    """Connect all of the above to Sphinx."""
    app.add_config_value("book_english", {}, "env")
    app.add_config_value("book_words", "", "")
    app.connect("config-inited", choose_language, priority=200)
    app.connect("builder-inited", speak)
    app.connect("doctree-read", name_sections, priority=100)
    app.connect("build-finished", build_chinese, priority=900)
    return {"parallel_read_safe": False, "parallel_write_safe": False}
