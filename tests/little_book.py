"""A little book of the same make, whose site is built in seconds."""

import os
import re
import shutil
import subprocess
import sysconfig
from pathlib import Path

import booksite_zh as zh
import nbformat
import polib
from book_files import ROOT

TOC = """\
format: jb-book
root: book/index
defaults: {numbered: 1, titlesonly: false}
parts:
  - caption: All of it
    chapters:
      - file: book/01-one
      - file: book/02-two
      - file: book/03-three
"""
INDEX = (
    "# Little\n\nThe lead.\n\n## The chapters\n\n```{map}\n```\n\n```{chapters}\n```\n"
)
OPENING = "# {}\n\nAbout {}.\n\n**You will be able to**\n\n- count to {};\n- stop."
LONG_HEADING = "A heading of more words than there is place for in a line of a page"
LINKS = "## Links\n\n[one](01-one.ipynb#GPU-first) [three](03-three.ipynb) $x^2$"
TABLE = """

中文：显卡

| you see | look at |
|---|---|
| the loss is nan | [strides](#Strides-(optional)) |
"""
DRAW = """\
%config InlineBackend.figure_formats = ["svg"]
import matplotlib.pyplot as plt
plt.plot([1, 2], color="#767b84")
plt.show()"""
SVG = (
    "PHN2ZyB4bWxucz0iaHR0cDovL3d3dy53My5vcmcvMjAwMC9zdmciIHdpZHRoPSI3MnB0IiBoZWln"
    "aHQ9IjM2cHQiLz4="
)
SHOW = "from IPython.display import HTML\nHTML('''{}''')"
SOLVED = f"""<details class="solution"><summary>Solution: click to open</summary>
<div class="highlight"><pre>forty_two()</pre></div>
<p><img src="data:image/svg+xml;base64,{SVG}" alt="A solved line."></p></details>"""
EXPLORER = (
    '<form class="explorer" id="e" autocomplete="off"><figure><div class="controls" '
    'hidden><label class="slider"><span>step</span> <input type="range" value="1" '
    'min="0" max="3" data-labels="a|b|c|d"><span class="value">b</span></label></div>'
    '<div class="frames">'
    + "".join(
        f'<div class="frame"{"" if step == "b" else " hidden"}><img src="data:image/'
        f'svg+xml;base64,{SVG}" alt="Step {step}." width="96" height="48"></div>'
        for step in "abcd"
    )
    + '</div><p class="says">Step b.</p><figcaption>Steps.</figcaption></figure></form>'
)
QUIZ = """<div class="quiz"><fieldset style="border: 0"><legend>1. Why?</legend>
<details><summary>It is</summary><p style="color: red">No. It was.</p></details>
<details><summary>Chance</summary><p style="color: red">Right. Always.</p></details>
</fieldset></div>"""


def text(source: str, *tags: str):
    """Return a Markdown cell."""
    return nbformat.v4.new_markdown_cell(source, metadata={"tags": list(tags)})


def code(source: str, *tags: str, **metadata):
    """Return a code cell."""
    return nbformat.v4.new_code_cell(source, metadata={"tags": list(tags)} | metadata)


def write_chapter(path: Path, cells: list, **about) -> None:
    """Write a notebook that says `about` itself."""
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    metadata = {"kernelspec": kernel, "book": about}
    nbformat.write(nbformat.v4.new_notebook(cells=cells, metadata=metadata), path)


def write_book(root: Path) -> Path:
    """Write the little book; return its folder."""
    book = root / "book"
    book.mkdir(parents=True)
    config = ROOT.joinpath("_config.yml").read_text("utf-8")
    config = re.sub("06-[a-z-]+: 07-[a-z-]+", "02-two: 03-three", config)
    config = config.replace("09-gpu: 10-gpu", "09-gpu: 03-three")
    root.joinpath("_config.yml").write_text(config, "utf-8")
    for folder in ("_ext", "_static", "_templates"):
        book.joinpath(folder).symlink_to(ROOT / "book" / folder)
    for folder in ("helpers", "helpers/classroom"):
        root.joinpath(folder).mkdir()
    for name in ("models", "doctor", "classroom/grade"):
        root.joinpath("helpers", f"{name}.py").write_text("")
    root.joinpath("_toc.yml").write_text(TOC)
    book.joinpath("index.md").write_text(INDEX)
    alt = {"image": {"alt": "A line that rises."}}
    write_chapter(
        book / "01-one.ipynb",
        [
            text(OPENING.format("One", "one", "one")),
            text("## GPU first\n\n" + "word " * 240 + TABLE),
            code(DRAW, mystnb=alt),
            text("### Strides (optional)\n\n" + "word " * 540, "optional"),
            code("print(2)", "optional"),
            text("#### Deeper\n\nText, [links](02-two.ipynb#Links).", "optional"),
            code(SHOW.format(EXPLORER), "remove-input", "optional"),
            text("## Quiz"),
            code(SHOW.format(QUIZ), "remove-input"),
            text("## Exercises\n\n### Exercise 1: Count\n\nThe task."),
            code(SHOW.format(SOLVED), "solution", "remove-input"),
        ],
        needs=[],
    )
    write_chapter(
        book / "02-two.ipynb",
        [text(OPENING.format("Two", "two", "two")), text(LINKS), code("1 + 1")],
        needs=["01"],
        time="to look things up in",
    )
    write_chapter(
        book / "03-three.ipynb",
        [
            text(OPENING.format("Three", "three", "three")),
            text(f"## Moved\n\nHere.\n\n## {LONG_HEADING}\n\nThere."),
        ],
        needs=["01", "02"],
    )
    return root


CHINESE = {
    "# One": "# 一",
    "About one.": "讲的是一。",
    "## GPU first": "## 先讲 GPU",
    "### Strides (optional)": "### 步子（选读）",
    "A line that rises.": "一条上升的线。",
    "Step a.": "第 a 步。",
    "step": "步骤",
}


def fill(path: Path, texts: dict) -> None:
    """Give the entries of a PO file their Chinese; the rest stays as it is."""
    file = polib.pofile(str(path))
    for entry in file:
        entry.msgstr = entry.msgstr or texts.get(entry.msgid, entry.msgid)
    file.save()


def add_chinese(root: Path) -> None:
    """Give a little book a Chinese edition of its first chapter."""
    locale = root / "book" / "locale" / "zh_CN"
    locale.mkdir(parents=True)
    shutil.copy(ROOT / "book" / "locale" / "zh_CN" / "site.po", locale)
    zh.main("update", "01-one", root=root)
    # What an explorer shows is known when it has run; here it is known before.
    cells = nbformat.read(root / "book" / "01-one.ipynb", as_version=4).cells
    explorer = next(cell.id for cell in cells if "explorer" in cell.source)
    file = polib.pofile(str(locale / "01-one.po"))
    for shown in ("step", *(f"Step {step}." for step in "abcd")):
        file.append(polib.POEntry(msgctxt=f"{explorer} shows", msgid=shown))
    file.save()
    for path in locale.glob("*.po"):
        fill(path, CHINESE)


def build(root: Path, *options: str, **variables: str) -> subprocess.CompletedProcess:
    """Build a book as a reader does, with no warning allowed."""
    program = Path(sysconfig.get_path("scripts"), "jupyter-book")
    return subprocess.run(
        [program, "build", ".", "-W", "-n", "--keep-going", *options],
        cwd=root,
        env=os.environ | {"PYTHONPATH": "", "BOOK_SITE_URL": ""} | variables,
        capture_output=True,
        text=True,
    )
