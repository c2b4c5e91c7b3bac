"""The rules of the book, checked on the notebooks as they are stored."""

import ast
import json
import re
import shutil
import subprocess
import sys
import tomllib
from itertools import takewhile

import nbformat
import pytest
from book_files import (
    BELITTLING,
    CHAPTERS,
    ROOT,
    glossary_entries,
    read_cells,
    tags,
)

from helpers.exercises import names as names_of

MAX_LINES = 25
MAX_CODE_CELLS_IN_A_ROW = 3

# What current PyTorch no longer has, or what the book warns against.
FORBIDDEN = {
    r"\bVariable\b": "autograd.Variable is gone; tensors track gradients",
    r"size_average": 'use reduction="sum"',
    r"\.next\(\)": "use next(iterator)",
    r"\.data\.(max|cpu|numpy)": "use .detach()",
    r"super\(\w+,\s*self\)": "use super()",
    r"torch\.load\((?![^)]*weights_only=True)": "say weights_only=True",
    r"cuda:0": "use helpers.device.choose_device",
    r"\.cuda\(\)": "use .to(device)",
}
# Chapter 12 exhibits old and wrong code on purpose; chapter 8 shows what
# weights_only=False allows.
EXHIBITS = {
    "08-checkpoints": {r"torch\.load\((?![^)]*weights_only=True)"},
    "12-mistakes": {
        r"\bVariable\b",
        r"size_average",
        r"\.next\(\)",
        r"\.data\.(max|cpu|numpy)",
        r"cuda:0",
    },
}
MYST_ONLY = r"^```\{|^:::|\{(term|ref|doc|numref|eq|cite)\}`|^\([\w-]+\)=$"
DRAWS = r"\bplt\.(show|subplots|figure|plot)\b|plotting\.(show|plot)_"


every_chapter = pytest.mark.parametrize("path", CHAPTERS, ids=lambda path: path.stem)


def test_the_chapters_are_those_of_the_table_of_contents():
    contents = (ROOT / "_toc.yml").read_text(encoding="utf-8")
    listed = re.findall(r"file: book/(\d\d-[\w-]+)", contents)
    assert listed == [path.stem for path in CHAPTERS]
    assert [name[:2] for name in listed] == [
        f"{n:02d}" for n in range(1, len(listed) + 1)
    ]
    assert len(listed) >= 11


@every_chapter
def test_stored_without_outputs(path):
    notebook = json.loads(path.read_text(encoding="utf-8"))
    for cell in notebook["cells"]:
        assert not cell.get("outputs"), cell["id"]
        assert cell.get("execution_count") is None, cell["id"]
    ids = [cell["id"] for cell in notebook["cells"]]
    assert len(set(ids)) == len(ids)
    assert "widgets" not in notebook["metadata"]


@every_chapter
def test_cells_are_short_and_alternate_with_prose(path):
    in_a_row = 0
    for cell in read_cells(path):
        if "check" in tags(cell):
            continue  # one line, between a stub and its solution
        in_a_row = in_a_row + 1 if cell["cell_type"] == "code" else 0
        assert in_a_row <= MAX_CODE_CELLS_IN_A_ROW, cell["id"]
        if cell["cell_type"] == "code":
            lines = cell["source"].splitlines()
            lines = [line for line in lines if not line.startswith("# Seen: ")]
            assert 1 <= len(lines) <= MAX_LINES, cell["id"]


def forbidden_in(text):
    """Return the forbidden patterns that a text has, each with the advice."""
    return {p: advice for p, advice in FORBIDDEN.items() if re.search(p, text)}


@every_chapter
def test_no_forbidden_api(path):
    found = {}
    for cell in read_cells(path, "code"):
        for pattern, advice in forbidden_in(cell["source"]).items():
            found[pattern] = f"{cell['id']}: {advice}"
    assert set(found) == EXHIBITS.get(path.stem, set()), found


def test_no_forbidden_api_in_helpers():
    for path in (ROOT / "helpers").rglob("*.py"):
        assert not forbidden_in(path.read_text(encoding="utf-8")), path


@every_chapter
def test_figures_have_alt_text_and_caption(path):
    for cell in read_cells(path, "code"):
        if cell["source"].startswith("%%solution"):
            continue
        before, shows, after = cell["source"].partition("plt.show()")
        lines = after.strip().splitlines()
        shows = shows and all(line.startswith("assert ") for line in lines)
        myst = cell["metadata"].get("mystnb", {})
        if re.search(DRAWS, cell["source"]) and "def " not in cell["source"]:
            assert shows, f"{cell['id']} draws, but does not end with plt.show()"
        if shows:
            early = re.search(r"^ *assert ", before, flags=re.M)
            assert not early, f"{cell['id']}: a reader who changes things sees nothing"
            alt = myst.get("image", {}).get("alt", "")
            assert len(alt) >= 30, f"{cell['id']}: what is there to see?"
            assert myst.get("figure", {}).get("caption"), f"{cell['id']}: no caption"


@every_chapter
def test_explorers_are_shown(path):
    """An explorer is displayed only if it is the last value of its cell."""
    for cell in read_cells(path, "code"):
        if "interactive.explore(" in cell["source"]:
            last = ast.unparse(ast.parse(cell["source"]).body[-1])
            assert last.startswith("interactive.explore("), cell["id"]
            assert cell["source"].count("interactive.explore(") == 1, cell["id"]


@every_chapter
def test_opening_and_close(path):
    prose = [cell["source"] for cell in read_cells(path, "markdown")]
    assert prose[0].startswith("# ")
    opening = "\n".join(prose[:2])
    assert "## In this chapter" in opening
    for promise in ("**You will be able to**", "**You need**", "**Time**"):
        assert promise in opening
    headings = re.findall(r"^## (.+)$", "\n".join(prose), flags=re.M)
    assert headings[-4:] == ["Recap", "Quiz", "Exercises", "Next"]


@every_chapter
def test_the_quiz_is_this_chapters(path):
    cells = read_cells(path)
    heads = [i for i, c in enumerate(cells) if c["source"].startswith("## Quiz")]
    assert len(heads) == 1, "one Markdown cell begins with ## Quiz"
    cell = cells[heads[0] + 1]
    source = f'from helpers.exercises import quiz\n\nquiz("{path.stem[:2]}")'
    assert cell["source"] == source
    assert tags(cell) == ["remove-input"], "the site shows questions"


# A solution's cell shows what its magic makes of it, and its source nowhere: not on
# the site, in JupyterLab, in Colab, nor in what nbconvert writes.
SOLUTION_METADATA = {
    "tags": ["remove-input", "solution"],
    "jupyter": {"source_hidden": True},
    "cellView": "form",
    "transient": {"remove_source": True},
}


@every_chapter
def test_solutions_stay_closed(path):
    for cell in read_cells(path, "code"):
        if "solution" not in tags(cell):
            continue
        assert cell["metadata"] == SOLUTION_METADATA, cell["id"]
        # JupyterLab shows the first line of a folded cell, so it gives nothing away.
        first = rf"%%solution {path.stem[:2]}\.\d+\n(?:# Seen: (.*)\n)?"
        head = re.match(first, cell["source"])
        assert head, f"{cell['id']}: the first line is %%solution NN.M"
        if re.search(DRAWS, cell["source"]):
            assert cell["source"].endswith("plt.show()"), cell["id"]
            seen = head[1] or ""
            assert len(seen) >= 30, f"{cell['id']}: # Seen: what? in line 2"


@every_chapter
def test_what_the_site_folds_is_folded_everywhere(path):
    """JupyterLab and Colab do not know the tag `hide-input`."""
    for cell in read_cells(path, "code"):
        if "hide-input" in tags(cell):
            assert cell["metadata"]["jupyter"] == {"source_hidden": True}, cell["id"]
            assert cell["metadata"]["cellView"] == "form", cell["id"]


def names_bound(source):
    """Return the names that a cell's own lines give a value to."""
    bound = set()
    for statement in ast.parse(source).body:
        for node in ast.walk(statement):
            if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
                bound.add(node.id)
        if isinstance(statement, ast.FunctionDef | ast.ClassDef):
            bound.add(statement.name)
    return bound


@every_chapter
def test_exercises_are_checked(path):
    """A stub, a check of what the stub names, solutions that end with the check."""
    cells = read_cells(path)
    checked = []
    for i, cell in enumerate(cells):
        if "check" not in tags(cell):
            continue
        assert "remove-output" in tags(cell), "the site shows no verdict"
        call = re.fullmatch(r'check\("(\d\d\.\d)", (.+)\)', cell["source"])
        assert call, cell["id"]
        checked.append(call[1])
        names = set(re.findall(r"[Mm]y_?\w+", call[2]))
        assert names, f"{cell['id']}: what the reader makes is called my_ or My"
        stub = cells[i - 1]["source"]
        assert names <= names_bound(stub), f"{cell['id']}: the stub names {names}"
        later = takewhile(lambda cell: "solution" in tags(cell), cells[i + 1 :])
        solutions = [cell["source"].partition("\n")[2] for cell in later]
        assert names <= names_bound("\n".join(solutions)), cell["id"]
        proof = f'assert check("{call[1]}", {call[2]}).status == "right"'
        assert proof in solutions[-1].splitlines(), f"{cell['id']}: {proof}"
    assert checked == names_of(path.stem[:2])
    prose = "\n".join(cell["source"] for cell in read_cells(path, "markdown"))
    tasks = re.findall(r"^### Exercise (\d+): ", prose, flags=re.M)
    assert [name[3:] for name in checked] == tasks
    assert len(checked) >= 4


@every_chapter
def test_markdown_reads_well_outside_the_site(path):
    for cell in read_cells(path, "markdown"):
        found = re.search(MYST_ONLY, cell["source"], flags=re.M)
        assert not found, f"{cell['id']}: {found[0]}: Jupyter and Colab know no MyST"
        prose = re.sub(r"`[^`]*`", "", cell["source"])
        found = re.search(BELITTLING, prose, flags=re.I)
        assert not found, f"{cell['id']}: {found[0]!r} belittles the reader's effort"


def test_glossary_is_alphabetical_and_bilingual():
    entries = glossary_entries()
    assert list(entries) == sorted(entries, key=str.lower)
    for name, entry in entries.items():
        assert re.search(r"中文：.*[\u4e00-\u9fff]", entry), name


def test_every_term_is_linked_where_the_glossary_says_it_is_first_met():
    first = {}
    for path in CHAPTERS:
        text = "\n".join(cell["source"] for cell in read_cells(path, "markdown"))
        for anchor in re.findall(r"\]\(glossary\.md#([\w-]+)\)", text):
            first.setdefault(anchor, path.name)
    for name, entry in glossary_entries().items():
        said = re.search(r"First met in \[[^]]*\]\(([^)]+)\)", entry)[1]
        assert first.get(name.replace(" ", "-")) == said, name


ASKS = """
import socket, urllib.request
try:
    urllib.request.urlopen("http://example.org")
except OSError as refusal:
    assert "must not need a network" in str(refusal)
socket.create_connection(("192.0.2.1", 80), 0.1)"""


def test_a_notebook_that_needs_a_network_fails(tmp_path):
    """The refusal that book/conftest.py gives to every kernel really works."""
    shutil.copytree(ROOT / "tests" / "no_network", tmp_path / "tests" / "no_network")
    (tmp_path / "book").mkdir()
    shutil.copy(ROOT / "book" / "conftest.py", tmp_path / "book")
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(ASKS)])
    notebook.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3"}
    path = tmp_path / "book" / "asks.ipynb"
    nbformat.write(notebook, path)
    command = [sys.executable, "-m", "pytest", "--nbmake", path]
    run = subprocess.run(
        [*command, f"--rootdir={tmp_path}"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert run.returncode == 1
    assert "the book must not need a network" in run.stdout, run.stdout


def test_every_data_file_of_the_package_is_installed():
    """setuptools finds the packages itself, but only data files that are named."""
    setup = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    patterns = setup["tool"]["setuptools"]["package-data"]
    named = {
        path
        for package, globs in patterns.items()
        for pattern in globs
        for path in ROOT.joinpath(*package.split(".")).glob(pattern)
    }
    files = {path for path in (ROOT / "helpers").rglob("*.*") if path.is_file()}
    data = {path for path in files if path.suffix not in {".py", ".pyc"}}
    assert named >= data > set()
    packages = {path.parent for path in (ROOT / "helpers").rglob("__init__.py")}
    assert {path.parent for path in files if path.suffix == ".py"} == packages
