"""Spelling, links, paths and commands in all that people read."""

import importlib.util
import re
from functools import cache
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from book_files import CHAPTERS, ROOT, read_cells
from markdown_it import MarkdownIt

TOP = sorted(ROOT.glob("*.md"))
PAGES = TOP + sorted((ROOT / "book").glob("*.md")) + CHAPTERS
FOLDERS = r"(?<![\w./{…-])(?:book|helpers|tests|\.ci|\.github)/[\w./-]*\w"

every_page = pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)


@cache
def prose(path):
    """Return a page's Markdown."""
    if path.suffix == ".md":
        return path.read_text(encoding="utf-8")
    return "\n\n".join(cell["source"] for cell in read_cells(path, "markdown"))


@cache
def links(path):
    """Return where a page's links and pictures lead."""
    tokens = MarkdownIt().parse(prose(path))
    inside = [child for token in tokens for child in token.children or ()]
    found = [token.attrGet("href") or token.attrGet("src") for token in inside]
    return [target for target in found if target]


@cache
def anchors(path):
    """Return what a link has to say after "#", for the site and for JupyterLab."""
    tokens = MarkdownIt().parse(prose(path))
    after = zip(tokens, tokens[1:], strict=False)
    headings = [text.children for t, text in after if t.type == "heading_open"]
    texts = ("".join(part.content for part in heading) for heading in headings)
    return {text.replace(" ", "-") for text in texts}


def is_external(target):
    return bool(re.match(r"\w+:", target))


@every_page
def test_links_inside_the_book_resolve(path):
    for target in links(path):
        if is_external(target):
            continue
        name, _, anchor = target.partition("#")
        linked = path.parent / name if name else path
        assert linked.exists(), f"{path.name} links to {target}"
        if anchor:
            assert anchor in anchors(linked), f"{path.name} links to {target}"


@every_page
def test_external_links_are_of_a_kind_that_lasts(path):
    """Whether they answer is for the weekly workflow: it has a network."""
    for target in filter(is_external, links(path)):
        parts = urlsplit(target)
        assert parts.scheme == "https", target
        assert re.fullmatch(r"[a-z0-9-]+(\.[a-z0-9-]+)+", parts.netloc), target
        assert not parts.query, f"{target}: a search, or somebody's tracks"
        assert parts.netloc != "pytorch.org" or parts.path.count("/") < 2, (
            f"{target}: PyTorch's documentation moved to docs.pytorch.org"
        )
        assert not re.search(r"/(docs|en)/v?\d|/(master|main)/", parts.path), (
            f"{target}: name the stable version"
        )


def source(path):
    """Return all text of a page: its Markdown and its code."""
    code = [] if path.suffix == ".md" else read_cells(path, "code")
    return "\n\n".join([prose(path), *(cell["source"] for cell in code)])


@every_page
def test_paths_and_modules_exist(path):
    text = source(path)
    for name in re.findall(FOLDERS, text):
        if "NN" not in name:  # stands for a chapter's number
            assert (ROOT / name).exists(), f"{path.name} names {name}"
    for name in re.findall(r"-m (helpers(?:\.\w+)*)|`(helpers(?:\.\w+)+)`", text):
        module = "".join(name)
        assert importlib.util.find_spec(module), f"{path.name} names {module}"


@pytest.mark.parametrize("path", TOP, ids=lambda path: path.name)
def test_files_at_the_top_exist(path):
    names = re.findall(r"`(_?\w+\.(?:md|toml|txt|yml|cff))`", prose(path))
    for name in names:
        assert (ROOT / name).exists(), f"{path.name} names {name}"


def commands(path):
    """Return the commands of a page, without the environment's folder."""
    text = prose(path)
    blocks = re.findall(r"^ *```(?:bash|powershell)\n(.*?)```", text, flags=re.M | re.S)
    lines = [*blocks, *re.findall(r"`([^`\n]+)`", text)]
    found = [part for line in lines for part in re.split(r"&&|;|\n", line)]
    programs = r"(?:\S+=\S+ )*\.venv(?:/bin/|\\Scripts\\)(.+)"
    return [m[1] for m in (re.match(programs, part.strip()) for part in found) if m]


def test_commands_start_something_that_exists():
    """Scripts and modules of ours are there; programs come with requirements."""
    programs = {"python", "jupyter", "jupyter-book", "mypy", "ruff", "torchrun"}
    programs |= {"pre-commit"}
    checked = 0
    for path in TOP:
        for command in commands(path):
            words = command.split()
            assert words[0] in programs, f"{path.name}: {command}"
            # NN stands for a chapter's number.
            scripts = [w for w in words if w.endswith(".py") and "NN" not in w]
            assert all(Path(ROOT, script).exists() for script in scripts), command
            checked += 1
    assert checked > 10
