"""Editions of the book, and a class of difficult hand-ins, graded from end to end."""

import ast
import builtins
import copy
import csv
import io
import json
import os
import re
import signal
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import nbformat
import pytest
from book_files import CHAPTERS, ROOT

from helpers.classroom import __main__ as command
from helpers.classroom._chapters import is_solution, read_chapter

ON_LINUX = sys.platform.startswith("linux")

try:
    import nbgrader  # noqa: F401
except ImportError:
    if os.environ.get("CI"):
        raise
    HAS_NBGRADER = False
else:
    HAS_NBGRADER = True
needs_nbgrader = pytest.mark.skipif(
    not HAS_NBGRADER, reason='grading needs nbgrader: pip install -e ".[teach]"'
)


# --- A book of one short chapter: the first two exercises of the real one --------

SETUP = "import torch\n\nimages = torch.rand(12, 1, 28, 28)"
SHAPES = "my_shapes = {'images[3]': (1, 28, 28), 'images[:, 0]': (12, 28, 28), "
SHAPES += "'images[:, :, ::4]': (12, 1, 7, 28), 'images.mean(dim=(2, 3))': (12, 1), "
SHAPES += "'images - images.mean(dim=0)': (12, 1, 28, 28)}"
SHEET = "def my_sheet(images):\n    grid = images.view(3, 4, 28, 28)\n"
SHEET += "    return grid.permute(0, 2, 1, 3).reshape(84, 112)"
TURNED = SHEET.replace("0, 2, 1, 3", "1, 2, 0, 3")  # wrong: it runs down the columns


def code(source):
    return {"cell_type": "code", "metadata": {}, "source": source, "outputs": []} | {
        "execution_count": None
    }


@pytest.fixture(scope="module")
def book(tmp_path_factory):
    folder = tmp_path_factory.mktemp("book")
    notebook = json.loads(CHAPTERS[0].read_text(encoding="utf-8"))
    cells = notebook["cells"]
    starts = ("## Exercises", "### Exercise 3")
    first, last = (
        next(i for i, c in enumerate(cells) if "".join(c["source"]).startswith(start))
        for start in starts
    )
    head = {"cell_type": "markdown", "id": "01-tensors-a", "metadata": {}}
    setup = code(SETUP) | {"id": "01-tensors-b"}
    notebook["cells"] = [head | {"source": "# Tensors"}, setup, *cells[first:last]]
    (folder / CHAPTERS[0].name).write_text(json.dumps(notebook), encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def handed_out(book, tmp_path_factory):
    """The chapter as students get it."""
    out = tmp_path_factory.mktemp("edition") / "student.zip"
    assert command.main(["student", str(out), "--book", str(book)]) == 0
    return notebooks_of(out)["01-tensors"]


# --- What students hand in: files by name, and what each exercise must come to ----


def filled(notebook, *answers):
    """Return a notebook in which a student replaced the answers, and the set-up."""
    places = ["exercise-01-1-answer", "exercise-01-2-answer", None]
    for place, answer in zip(places, answers, strict=False):
        for cell in notebook["cells"]:
            mark = cell["metadata"].get("nbgrader", {}).get("grade_id")
            if mark == place and (place or "".join(cell["source"]) == SETUP):
                cell["source"] = answer
    return notebook


def stripped(notebook):
    for cell in notebook["cells"]:
        cell["metadata"] = {}
        cell.pop("id", None)
    return notebook | {"metadata": {}, "nbformat_minor": 4}


def copied(notebook):
    cells = notebook["cells"]
    cells[-1:] = [copy.deepcopy(cells[-2]), cells[-1], copy.deepcopy(cells[-1])]
    return notebook


def without(notebook, *kinds):
    """Return a notebook without its "heading", "check" or "answer" cells."""

    def kind(cell):
        mark = cell["metadata"].get("nbgrader", {}).get("grade_id", "")
        return "heading" if cell["cell_type"] == "markdown" else mark.rpartition("-")[2]

    notebook["cells"] = [c for c in notebook["cells"] if kind(c) not in kinds]
    return notebook


def format_3(notebook):
    cells = []
    for cell in notebook["cells"]:
        source = "".join(cell["source"])
        old = {"cell_type": cell["cell_type"], "metadata": {}, "source": source}
        if cell["cell_type"] == "code":
            old |= {"input": old.pop("source"), "language": "python", "outputs": []}
        elif source.startswith("### Exercise"):
            head, _, text = source.removeprefix("### ").partition("\n")
            cells.append(old | {"cell_type": "heading", "level": 3, "source": head})
            old["source"] = text
        cells.append(old)
    made = {"nbformat": 3, "nbformat_minor": 0, "metadata": {"name": ""}}
    return made | {"worksheets": [{"cells": cells}]}


def zipped(name, content):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr(name, content)
        archive.writestr("__MACOSX/._" + name, b"")
    return buffer.getvalue()


REPLACED = "import helpers.exercises\nhelpers.exercises.check = lambda *a: 1.0\n"
REPLACED += "def check(*a):\n    return 1.0\n" + SHAPES
KILLS = "import os\nos.kill(os.getppid(), 9)"
LOOP = "while True:\n    pass"
STUBBORN = (
    "while True:\n    try:\n        while True: pass\n    except BaseException: pass"
)
PRINTS = "import sys\nwhile True:\n    print('x' * 1000)"
WARNS = "import sys, warnings\n" + SHEET.replace(
    "\n    ", "\n    warnings.warn('hm')\n    print(1, file=sys.stderr)\n    ", 1
)
ADDED = "%time pass\nimport math\ntry:\n    import no_such_thing\nexcept ImportError:\n"
ADDED += "    !true\n    from math import sqrt as root\ndef side():\n    return 28\n"
USES = SHEET.replace("28, 28)", "side(), int(root(784)))").replace(
    "84,", "math.prod((3, 28)),"
)


def text(notebook):
    return json.dumps(notebook)


MOODLE = "Müller, Änne_77_assignsubmission_file_/01-tensors.ipynb"
CANVAS = "wangfang_LATE_4321_98765_01-tensors-1.ipynb"
BAD_SHAPES = SHAPES.replace("7, 28", "4, 28")

# Name, expected results, and what makes the files: it gets a function that fills in
# the two answers (and the chapter's own cell), and returns contents by file name.
HAND_INS = [
    ("as it is", "right right", lambda f: {"as it is/01.ipynb": f(SHAPES, SHEET)}),
    ("renamed", "right right", lambda f: {"renamed/my work.ipynb": f(SHAPES, SHEET)}),
    ("bare", "right right", lambda f: {"bare.ipynb": stripped(f(SHAPES, SHEET))}),
    ("copied", "right right", lambda f: {"copied.ipynb": copied(f(SHAPES, SHEET))}),
    ("no cells", "empty empty", lambda f: {"no cells.ipynb": without(f(), "answer")}),
    (
        "no heads",
        "right right",
        lambda f: {"no heads.ipynb": without(f(SHAPES, SHEET), "heading", "check")},
    ),
    (
        "format 3",
        "right right",
        lambda f: {"format 3.ipynb": format_3(f(SHAPES, SHEET))},
    ),
    (
        "mixed",
        "right right",
        lambda f: {"mixed.ipynb": f(SHAPES, SHEET) | {"nbformat": 3, "worksheets": 0}},
    ),
    (
        "BOM",
        "right right",
        lambda f: {
            "BOM/01.ipynb.json": b"\xef\xbb\xbf" + text(f(SHAPES, SHEET)).encode()
        },
    ),
    (
        "UTF-16",
        "right right",
        lambda f: {"UTF-16.ipynb.txt": text(f(SHAPES, SHEET)).encode("utf-16")},
    ),
    (
        "zip in zip",
        "right right",
        lambda f: {
            "zip in zip.zip": zipped("in.zip", zipped("b/1", text(f(SHAPES, SHEET))))
        },
    ),
    ("Müller, Änne", "right wrong", lambda f: {MOODLE: f(SHAPES, TURNED)}),
    ("wangfang", "right right", lambda f: {CANVAS: f(SHAPES, SHEET)}),
    (
        "two",
        "right right",
        lambda f: {
            "two/a (2).ipynb": f(BAD_SHAPES),
            "two/a (10).ipynb": f(SHAPES, SHEET),
        },
    ),
    (
        "syntax",
        "wrong right",
        lambda f: {"syntax.ipynb": f("x = {", SHEET + "\nno_name")},
    ),
    (
        "names",
        "wrong wrong",
        lambda f: {"names.ipynb": f("no_name", "import sys\nsys.exit()")},
    ),
    ("part", "wrong wrong", lambda f: {"part.ipynb": f(BAD_SHAPES, TURNED)}),
    ("loops", "stopped right", lambda f: {"loops.ipynb": f(LOOP, SHEET)}),
    ("prints", "stopped right", lambda f: {"prints.ipynb": f(PRINTS, WARNS)}),
    ("stubborn", "right not-graded", lambda f: {"stubborn.ipynb": f(SHAPES, STUBBORN)}),
    ("exits", "right not-graded", lambda f: {"exits.ipynb": f(SHAPES, "exit()")}),
    ("kills", "not-graded not-graded", lambda f: {"kills.ipynb": f(SHAPES, KILLS)}),
    pytest.param(
        "memory",
        "stopped right",
        lambda f: {"memory.ipynb": f("held = bytearray(3 << 30)", SHEET)},
        marks=pytest.mark.skipif(not ON_LINUX, reason="no limit of memory here"),
    ),
    (
        "replaced",
        "not-graded not-graded",
        lambda f: {"replaced.ipynb": f(REPLACED, TURNED)},
    ),
    ("=1+1", "right right", lambda f: {"=1+1.ipynb": f(SHAPES, USES, ADDED + SETUP)}),
    ("cut", "not-graded", lambda f: {"cut.ipynb": text(f(SHAPES))[:9_000]}),
    ("paper", "not-graded", lambda f: {"paper/homework.pdf": b"%PDF-1.7"}),
    ("nothing", "not-graded", lambda f: {"nothing/": b""}),
    ("own", "not-graded", lambda f: {"own.ipynb": {"cells": [code("x = 1")]}}),
]
LIMITS = ["--timeout", "10", "--memory", "2000", "--jobs", "2"]


def grade(folder, book, *options):
    return command.main(["grade", str(folder), "--book", str(book), *LIMITS, *options])


def table(path):
    with path.open(encoding="utf-8-sig", newline="") as file:
        return list(csv.DictReader(file))


def put(path, content, when=1e9):
    """Write what a student handed in; a name with "/" at its end is a folder."""
    path.parent.mkdir(exist_ok=True)
    if isinstance(content, bytes):
        path.write_bytes(content) if content else path.mkdir()
    else:
        path.write_text(content if isinstance(content, str) else text(content))
    os.utime(path, (when, when))


@pytest.fixture(scope="module")
def graded(book, handed_out, tmp_path_factory):
    """Return the folder that a class handed in, and the folder of its results."""
    folder = tmp_path_factory.mktemp("class")
    for hand_in in HAND_INS:
        make = getattr(hand_in, "values", hand_in)[2]
        made = make(lambda *answers: filled(copy.deepcopy(handed_out), *answers))
        for file, content in made.items():
            put(folder / file, content)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OF_THIS_TEST", str(folder))
        began = time.monotonic()
        assert grade(folder, book) == 0
        print(f"{time.monotonic() - began:.0f} s")
    return folder, folder.with_name(folder.name + "-grading")


@needs_nbgrader
@pytest.mark.parametrize(("name", "expected", "_"), HAND_INS)
def test_a_hand_in_comes_to_what_it_must(name, expected, _, graded):
    rows = [
        r for r in table(graded[1] / "exercises.csv") if r["name"].strip("'") == name
    ]
    found = [r["result"].replace(" ", "-") for r in rows if r["result"] != "not used"]
    assert " ".join(found) == expected, rows
