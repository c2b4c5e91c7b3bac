"""The Chinese edition: what is translated, whether it fits, and its notebooks.

    python book/_ext/booksite_zh.py update 01-tensors  (a page to begin with; or none)
    python book/_ext/booksite_zh.py check

A page is translated if it has a file ``book/locale/zh_CN/NAME.po``; the edition has
all others in English. There every block of its prose has an entry: the cell's name and
the block's number, the English, the Chinese. Quizzes and hints have theirs in
``helpers/exercises/zh_CN``, the site's own words in ``site.po``. ``update`` takes over
what the English has become, ``check`` says what does not fit. The build of the book
writes Chinese notebooks to ``_build/zh``: the same code and the same results with
Chinese prose.
"""

import argparse
import ast
import difflib
import html
import json
import os
import re
import sys
import tomllib
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from unittest.mock import patch

import nbformat
import polib
import yaml
from booksite_search import chinese
from jupyter_cache import get_cache
from markdown_it import MarkdownIt

ROOT = Path(__file__).absolute().parents[2]
STALE = 0  # blocks whose English has changed since; this may only become smaller
STALE_NOTE = "*（下面这段的英文已有改动，译文尚未跟上，先放原文。）*\n\n"
FENCE = re.compile(r" {0,3}(`{3,}|~{3,}|:{3,})")
NUMBER = re.compile(r"(?<![A-Za-z_\d.])-?\d+(?:[.,]\d+)*")
WORDS = re.compile(r'(?<![\w.])_\(\s*"((?:[^"\\]|\\.)*)"')
SPELLED = "zero one two three four five six seven eight nine ten"
# What stands before the name of an explorer's slider or of its buttons.
CONTROL_TITLES = ('<label class="slider"><span>', "<legend>")
HAN = r"[\u3400-\u9fff]"
MARKDOWN = MarkdownIt("commonmark").enable("table")
Block = tuple[str, str]  # its name and its English
# Takes both; returns what to put in its place.
Say = Callable[[str, str], str]


class Catalogs:
    """The PO files of a book, and the English that they belong to.

    Parameters
    ----------
    root : Path
        The book's folder, with ``book`` and ``helpers`` in it.
    cache : Path, optional
        What jupyter-cache keeps; without one, texts in results are taken on trust.
    """

    def __init__(self, root: Path, cache: Path | None = None) -> None:
        self.root = root
        self.locale = root / "book" / "locale" / "zh_CN"
        self.site = self.locale / "site.po"
        self.exercises = root / "helpers" / "exercises"
        kept = root.joinpath("_build", ".jupyter_cache").glob("*/global.db")
        newest = sorted(kept, key=lambda path: path.stat().st_mtime)[-1:]
        cache = cache or (newest[0].parent if newest else None)
        self.cache = get_cache(cache) if cache and cache.is_dir() else None

    def pages(self) -> list[str]:
        """Return the names of the pages that are translated."""
        return sorted(p.stem for p in self.locale.glob("*.po") if self.source(p.stem))

    def source(self, name: str) -> Path | None:
        """Return a page's English file."""
        paths = [self.root / "book" / f"{name}.{end}" for end in ("ipynb", "md")]
        return next(filter(Path.is_file, paths), None)

    def files(self, names: list[str]) -> Iterator[tuple[Path, list[Block]]]:
        """Yield the PO files of pages and of the site, each with its English."""
        for name in names:
            yield self.locale / f"{name}.po", self.english(name)
            if texts := exercise_texts(self.exercises, name[:2]):
                yield self.exercises / "zh_CN" / f"{name[:2]}.po", texts
        yield self.site, [("", text) for text in site_words(self.root)]

    def english(self, name: str) -> list[Block]:
        """Return the blocks of a page, each once."""
        found: dict[Block, None] = {}

        def note(context: str, text: str) -> str:
            found[context, text] = None
            return text

        rewrite(self.read(name), note)
        return [block for block in found if block[0] != "site"]

    def read(self, name: str) -> nbformat.NotebookNode | str:
        """Read an English page; a notebook with the results of its cells."""
        path = self.source(name)
        if path.suffix == ".md":
            return path.read_text("utf-8")
        notebook = nbformat.read(path, as_version=4)
        if self.cache is not None:
            with suppress(KeyError):  # it was not executed yet
                # The page's metadata stays: it has the texts of figures.
                _, notebook = self.cache.merge_match_into_notebook(notebook, (), ())
        return notebook

    @cached_property
    def words(self) -> dict[str, str]:
        """The site's own words in Chinese by the English."""
        entries = polib.pofile(str(self.site)).translated_entries()
        return {entry.msgid: entry.msgstr for entry in entries}

    def chinese(self, name: str) -> nbformat.NotebookNode | str:
        """Return a page in Chinese, with what is stale in English."""
        path = self.locale / f"{name}.po"
        entries = polib.pofile(str(path)).translated_entries() if path.is_file() else ()
        there = {(entry.msgctxt, entry.msgid): entry.msgstr for entry in entries}

        def say(context: str, text: str) -> str:
            if context == "site":
                return self.words.get(text) or text
            marked = re.search(r" \d+$", context) and not text.startswith("#")
            stale = there and marked
            return there.get((context, text)) or STALE_NOTE * bool(stale) + text

        page = rewrite(self.read(name), say)
        for cell in () if isinstance(page, str) else page.cells:
            if asked := re.search(r'^quiz\("(\d\d)"\)', cell.source, re.MULTILINE):
                for output in cell.get("outputs", ()):
                    if "data" in output:
                        output.data["text/html"] = quiz_in_chinese(asked[1])
        return page


# What there is to translate -----------------------------------------------------


def rewrite(page: nbformat.NotebookNode | str, say: Say) -> nbformat.NotebookNode | str:
    """Return a page with another text in place of each of its blocks."""
    if isinstance(page, str):
        return rewrite_text(page, "", say)
    about = page.metadata.get("book", {})
    if "time" in about:
        about["time"] = say("time", about["time"])
    for cell in page.cells:
        if cell.cell_type == "markdown":
            cell.source = rewrite_text(cell.source, cell.id, say)
            continue
        for part, name in (("image", "alt"), ("figure", "caption")):
            texts = cell.metadata.get("mystnb", {}).get(part, {})
            if name in texts:
                texts[name] = say(f"{cell.id} {name}", texts[name])
        rewrite_results(cell, say)
    return page


def rewrite_text(text: str, cell: str, say: Say) -> str:
    """Rewrite Markdown; blocks of a page without cells are named by their heading."""
    written, number, named = [], 0, not cell
    for part in parts_of(text):
        block = part.rstrip("\n")
        if heading := named and re.match("#+ (.*)", block):
            cell, number = heading[1].replace(" ", "-"), 0
        if block.strip():
            number += 1
            if is_prose(block):
                part = say(f"{cell} {number}", block) + part[len(block) :]
        written.append(part)
    return "".join(written)


def parts_of(text: str) -> list[str]:
    """Split Markdown at the blank lines that are not in a fence."""
    parts, fence, blank = [""], "", False
    for line in text.splitlines(keepends=True):
        mark = FENCE.match(line)
        if mark and not fence:
            fence = mark[1]
        elif mark and fence and line.strip().strip(fence[0]) == "":
            fence = ""
        if blank and line.strip():
            parts.append("")
        blank = not fence and not line.strip()
        parts[-1] += line
    return parts


def is_prose(block: str) -> bool:
    """Tell whether a block has words: code, formulas and anchors have none."""
    if mark := FENCE.match(block):
        first, *lines = block.splitlines()
        lines = [line for line in lines if not FENCE.match(line)]
        return first[mark.end() :].startswith("{") and any(map(str.strip, lines))
    code = all(line.startswith("    ") for line in block.splitlines())
    words = re.sub(r"(?s)<!--.*?-->|\$\$.*?\$\$", "", block)
    return not code and re.search(rf"[A-Za-z]{{2}}|{HAN}", words) is not None


def rewrite_results(cell: nbformat.NotebookNode, say: Say) -> None:
    """Rewrite what explorers and solutions show."""
    solved = re.match(r"%%solution \S+\n# Seen: (.*)", cell.source)
    alternative = solved and say(f"{cell.id} alt", solved[1])
    for output in cell.get("outputs", ()):
        text = "".join(output.get("data", {}).get("text/html", ""))
        if '<details class="solution">' in text:
            text = re.sub(
                "(?<=<summary>).*?(?=</summary>)", lambda m: say("site", m[0]), text
            )
            if alternative:
                alt = html.escape(solved[1])
                text = text.replace(f'alt="{alt}"', f'alt="{html.escape(alternative)}"')
        elif '<form class="explorer"' in text:
            # A frame that is text was printed by the code.
            printed, words = r"<pre\b[\s\S]*?</pre>", r'(?<=alt=")[^"]+(?=")'
            text = re.sub(
                rf"{printed}|({words}|(?<=>)[^<>]+(?=<))",
                lambda m: say_numbers(m[1], cell.id, say) if is_words(m) else m[0],
                text,
            )
        if text:
            output.data["text/html"] = text


def is_words(found: re.Match) -> bool:
    """Say whether a text of an explorer is words: several, or one as a title."""
    text = (found[1] or "").strip()
    title = found.string.endswith(CONTROL_TITLES, 0, found.start())
    return " " in text or (title and len(text) > 1)


def say_numbers(text: str, cell: str, say: Say) -> str:
    """Rewrite a text of an explorer: frames that differ in numbers share an entry."""
    numbers = NUMBER.findall(text)
    places = iter(range(len(numbers)))
    template = NUMBER.sub(lambda _: f"{{{next(places)}}}", html.unescape(text))
    other = say(f"{cell} shows", template)
    return html.escape(re.sub(r"\{(\d+)\}", lambda m: numbers[int(m[1])], other))


def quiz_in_chinese(chapter: str) -> str:
    """Return a quiz as its cell would show it to a Chinese reader."""
    from helpers.exercises import quiz

    with patch.dict(os.environ, PYTORCH_BY_HAND_LANGUAGE="zh"):
        return quiz(chapter)._repr_html_()


def exercise_texts(folder: Path, chapter: str) -> list[Block]:
    """Return what a chapter's quiz asks and says, and its hints."""
    blocks: list[Block] = []
    quiz, judges = folder / "quizzes" / f"{chapter}.toml", f"chapter{chapter}.py"
    asked = tomllib.loads(quiz.read_text("utf-8"))["question"] if quiz.is_file() else []
    for number, question in enumerate(asked, 1):
        blocks.append((f"quiz {number}", question["text"]))
        for letter, answer in zip("abcd", question["answer"], strict=False):
            blocks.append((f"quiz {number}{letter}", answer["text"]))
            blocks.append((f"quiz {number}{letter} says", answer["feedback"]))
    module = folder / judges
    tree = ast.parse(module.read_text("utf-8") if module.is_file() else "")
    for call in ast.walk(tree):
        if isinstance(call, ast.Call) and getattr(call.func, "id", "") == "exercise":
            name = ast.literal_eval(call.args[0])
            hints = ast.literal_eval(call.keywords[0].value)
            blocks += [(f"hint {name} {n}", hint) for n, hint in enumerate(hints, 1)]
    return [(name, " ".join(text.split())) for name, text in blocks]


def site_words(root: Path) -> list[str]:
    """Return the words of the site: what templates and scripts hand to `_`."""
    config = yaml.safe_load(root.joinpath("_config.yml").read_text("utf-8"))
    words = [config["title"], config["author"], config["copyright"]]
    words += [f"Solution{more}: click to open" for more in ("", ", continued")]
    for pattern in ("_templates/*.html", "_static/*.js", "_ext/*.py"):
        for path in sorted(root.joinpath("book").glob(pattern)):
            words += words_in(path)
    first = root / "book" / "_templates" / "first-cells.toml"
    for cells in tomllib.loads(first.read_text("utf-8")).values():
        words += [cell.strip() for cell in cells if cell.strip().startswith("#")]
    parts = yaml.safe_load(root.joinpath("_toc.yml").read_text("utf-8"))["parts"]
    words += [part["caption"] for part in parts]
    return list(dict.fromkeys(words))


def words_in(path: Path) -> list[str]:
    """Return what a template or a script hands to `_`."""
    literals = WORDS.findall(path.read_text("utf-8"))
    return [json.loads(f'"{literal}"') for literal in literals]


# Updating ---------------------------------------------------------------------


def update(path: Path, blocks: list[Block]) -> str:
    """Bring a PO file to what the English is now; say what has changed.

    A block that moved keeps its Chinese. One that changed keeps it beside the old
    English, as fuzzy, until somebody has looked.
    """
    old = list(polib.pofile(str(path))) if path.is_file() else []
    if not any(is_shown(name) for name, _ in blocks):  # it was not executed
        blocks = blocks + [(e.msgctxt, e.msgid) for e in old if is_shown(e.msgctxt)]
    entries: dict[Block, polib.POEntry] = {}
    for same in (
        lambda entry, name, text: (entry.msgctxt or "", entry.msgid) == (name, text),
        lambda entry, name, text: entry.msgid == text,
        lambda entry, name, text: alike(entry, name, text) > 0.5,
    ):
        for name, text in blocks:
            if (name, text) in entries:
                continue
            found = [entry for entry in old if same(entry, name, text)]
            if found:
                entry = max(found, key=lambda entry: alike(entry, name, text))
                old = [other for other in old if other is not entry]
                entries[name, text] = entry
    new = polib.POFile(wrapwidth=88)
    new.metadata = {"Language": "zh_CN", "Content-Type": "text/plain; charset=utf-8"}
    changed = 0
    for name, text in blocks:
        entry = entries.get((name, text)) or polib.POEntry(msgid=text)
        if entry.msgid != text:
            changed += 1
            if entry.msgstr and not entry.fuzzy:
                entry.flags.append("fuzzy")
                entry.previous_msgid = entry.msgid
        entry.msgctxt, entry.msgid, entry.linenum = name or None, text, None
        new.append(entry)
    path.parent.mkdir(parents=True, exist_ok=True)
    new.save(str(path))
    untold = len(new.untranslated_entries())
    return f"{path.name}: {changed} changed, {len(old)} gone, {untold} without Chinese"


def is_shown(name: str | None) -> bool:
    """Tell whether an entry is what an explorer shows."""
    return (name or "").endswith(" shows")


def alike(entry: polib.POEntry, name: str, text: str) -> float:
    """Return from 0 to 1 how alike two texts of the same cell are."""
    if (entry.msgctxt or "").split(" ")[0] != name.split(" ")[0]:
        return 0.0
    return difflib.SequenceMatcher(None, entry.msgid, text, autojunk=False).ratio()


# Checking ---------------------------------------------------------------------


def check(catalogs: Catalogs) -> list[str]:
    """Return what does not fit, a line each."""
    faults, stale = [], 0
    names = term_names(catalogs.root / "book" / "glossary.md")
    for path, blocks in catalogs.files(catalogs.pages()):
        entries = list(polib.pofile(str(path))) if path.is_file() else []
        there = {(entry.msgctxt or "", entry.msgid): entry for entry in entries}
        wanted, was_executed = set(blocks), any(is_shown(name) for name, _ in blocks)
        for block in blocks:
            if block not in there or not there[block].msgstr:
                faults.append(
                    f"{path.name}: no Chinese for {block[0]} {block[1][:60]!r}"
                )
        for (name, text), entry in there.items():
            unknown = is_shown(name) and not was_executed
            if (name, text) not in wanted and not unknown:
                faults.append(f"{path.name}: there is no {name} {text[:60]!r}: update")
            elif entry.fuzzy:
                stale += 1
            elif entry.msgstr:
                found = compare(text, entry.msgstr, names)
                faults += [f"{path.name}: {name}: {fault}" for fault in found]
    if stale > STALE:
        faults.append(f"{stale} blocks are stale, at most {STALE} may be")
    return faults


def compare(english: str, other: str, names: dict) -> Iterator[str]:
    """Yield what a translation says otherwise than the English."""
    (fences, english), (found, other) = map(without_fences, (english, other))
    if found != fences:
        yield f"fences: {found} instead of {fences}"
    ours, theirs = facts(english), facts(other)
    # What English says in a word, "a five", Chinese may say in a figure.
    spelled, numbers = SPELLED.split(), Counter(theirs["numbers"])
    words = (w.rstrip("s") for w in re.findall(r"[a-z]+", plain(english).lower()))
    said = Counter(str(spelled.index(word)) for word in words if word in spelled)
    said &= numbers - Counter(ours["numbers"])
    theirs["numbers"] = sorted((numbers - said).elements())
    for kind, there in ours.items():
        if there != theirs[kind]:
            yield f"{kind}: {theirs[kind]} instead of {there}"
    prose = plain(other)
    for found in re.findall(rf"{HAN}[,.;:!?()]|[()]{HAN}", prose):
        yield f"half-width punctuation in {found!r}"
    links = re.findall(r"\[([^\]]*)\]\((?:glossary\.md|(?=#))#([^)]+)\)", other)
    for text, anchor in links:
        known = names.get(anchor)
        name = re.sub(r"（.*）$", "", text)
        code = name.startswith("`") and f"[{text}]" in english
        if known and not code and name not in known:
            yield f"a link to {anchor} is called {name}, not one of {known}"
    for mark in literal_marks(other)[len(literal_marks(english)) :]:
        yield f"what is marked does not come out so: {mark!r}"


def without_fences(text: str) -> tuple[list[str], str]:
    """Part the fences of a directive from its words, which are no code."""
    lines = text.splitlines()
    words = [line for line in lines if not FENCE.match(line)]
    return [line for line in lines if FENCE.match(line)], "\n".join(words)


def literal_marks(text: str) -> list[str]:
    """Return the texts in which a mark for bold or for a link stands as it is."""
    tokens = MARKDOWN.parse(text)
    parts = [child for token in tokens for child in token.children or ()]
    texts = [part.content for part in parts if part.type == "text"]
    return [text for text in texts if re.search(r"\*\*|\]\(", text)]


def plain(text: str) -> str:
    """Return a text without code, formulas and the targets of links."""
    text = re.sub(r"`+[^`]+`+|\$\$?[^$]+\$\$?", "", text)
    return re.sub(r"\]\([^)]*\)", "", text).replace("[", "").replace("*", "")


def facts(text: str) -> dict[str, object]:
    """Return what a translation may not change."""
    code = re.findall(r"`+[^`]+`+", text)
    rest = re.sub(r"`+[^`]+`+", "", text)
    rows = [line.count("|") for line in rest.splitlines() if line.startswith("|")]
    return {
        "heading level": len(re.match(r"(?:#+(?= ))?", text)[0]),
        "links": sorted(re.findall(r"\]\(([^)]*)\)", rest)),
        "formulas": sorted(re.findall(r"\$\$?[^$]+\$\$?", rest)),
        "code": sorted(code),
        "numbers": sorted(NUMBER.findall(plain(text))),
        "placeholders": sorted(re.findall(r"%\(\w+\)s|\{\w*\}", rest)),
        "table": rows,
    }


def term_names(glossary: Path) -> dict[str, list[str]]:
    """Return the Chinese names of each term by its anchor."""
    text = glossary.read_text("utf-8") if glossary.is_file() else ""
    entries = re.findall(r"^## (.+)\n\n(中文：.+)$", text, re.MULTILINE)
    return {term.replace(" ", "-"): chinese(names) for term, names in entries}


# The command ------------------------------------------------------------------


def write_notebooks(catalogs: Catalogs, folder: Path) -> None:
    """Write the pages in Chinese. What is the same stays."""
    book = catalogs.root / "book"
    for source in [*book.glob("*.ipynb"), *book.glob("*.md")]:
        page = catalogs.chinese(source.stem)
        text = page if isinstance(page, str) else nbformat.writes(page)
        write(folder / "book" / source.name, text)


def write(path: Path, text: str) -> None:
    """Write a file if it has another text: what is older than its page is kept."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if not path.is_file() or path.read_text("utf-8") != text:
        path.write_text(text, "utf-8")


def main(*arguments: str, root: Path = ROOT) -> int:
    """Update or check; return the exit code."""
    from helpers.files import print_anything

    print_anything()
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("command", choices=["update", "check"])
    parser.add_argument("pages", nargs="*", help="pages to update, such as 01-tensors")
    chosen = parser.parse_args(arguments)
    catalogs = Catalogs(root)
    for name in chosen.pages:
        if catalogs.source(name) is None:
            parser.error(f"no page {name!r}: name it as in 01-tensors, no ending")
    if chosen.command == "update":
        for path, blocks in catalogs.files(chosen.pages or catalogs.pages()):
            print(update(path, blocks))
    faults = check(catalogs) if chosen.command == "check" else []
    print(*faults, sep="\n", end="\n" if faults else "")
    return bool(faults)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
