"""Editions of the book, and a class of difficult hand-ins, graded from end to end."""

import copy
import csv
import importlib.util
import io
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import textwrap
import time
import zipfile
from pathlib import Path

import nbformat
import pytest
from book_files import CHAPTERS, ROOT
from browser import missing

from helpers.classroom import __main__ as command
from helpers.classroom._chapters import is_solution, read_chapter, read_chapters
from helpers.classroom._collect import collect
from helpers.classroom._course import graded_copy
from helpers.exercises import find

# --- A book of one chapter: the exercises of the real one, and a short beginning ---

SETUP = """\
import torch

images = torch.rand(12, 1, 28, 28)
distance = torch.linspace(0, 4, 40)
price = 2 * distance + 3"""
SHAPES = "my_shapes = {'images[3]': (1, 28, 28), 'images[:, 0]': (12, 28, 28), "
SHAPES += "'images[:, :, ::4]': (12, 1, 7, 28), 'images.mean(dim=(2, 3))': (12, 1), "
SHAPES += "'images - images.mean(dim=0)': (12, 1, 28, 28)}"
SHEET = "def my_sheet(images):\n    grid = images.view(3, 4, 28, 28)\n"
SHEET += "    return grid.permute(0, 2, 1, 3).reshape(84, 112)"
FIT = "my_fit = lambda column, price: fit_wrong(column, price.view(-1, 1))"
READER = "def my_reader(new, known, known_labels):\n"
READER += "    scores = new @ known.T - 0.5 * (known**2).sum(dim=1)\n"
READER += "    return known_labels[scores.argmax(dim=1)]"
RIGHT = [SHAPES, SHEET, FIT, READER]
STEM = "01-tensors"


@pytest.fixture(scope="module")
def book(tmp_path_factory):
    folder = tmp_path_factory.mktemp("book")
    notebook = json.loads(CHAPTERS[0].read_text(encoding="utf-8"))
    cells = notebook["cells"]
    starts = [cell["source"][:1] == ["## Exercises\n"] for cell in cells]
    first = starts.index(True)
    title = nbformat.v4.new_markdown_cell("# Tensors", id="01-tensors-a")
    setup = nbformat.v4.new_code_cell(SETUP, id="01-tensors-b")
    notebook["cells"] = [title, setup, *cells[first:]]
    (folder / CHAPTERS[0].name).write_text(json.dumps(notebook), encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def handed_out(book, tmp_path_factory):
    """The chapter as students get it."""
    out = tmp_path_factory.mktemp("edition") / "student.zip"
    assert command.main(["student", str(out), "--book", str(book)]) == 0
    return notebooks_of(files_of(out))[STEM]


# --- What students hand in ------------------------------------------------------


def filled(notebook, answers, setup=SETUP):
    """Return a copy in which a student replaced the answers, or the set-up."""
    made = copy.deepcopy(notebook)
    for cell in made["cells"]:
        kind = cell["metadata"].get("nbgrader", {}).get("grade_id", "")
        if "".join(cell["source"]) == SETUP:
            cell["source"] = setup
        elif kind == "exercise-01-3-answer":  # its cell holds more than the answer
            cell["source"] = [*cell["source"], "\n", answers[2]]
        elif kind.endswith("answer"):
            cell["source"] = answers[int(kind.split("-")[2]) - 1]
    return made


def stripped(notebook):
    for cell in notebook["cells"]:
        cell["metadata"] = {}
        cell.pop("id", None)
    return notebook | {"metadata": {}, "nbformat_minor": 4}


def copied(notebook):
    """Copy the last answer and its check, as old versions of Jupyter do."""
    checks = [c for c in notebook["cells"] if "01-4" in str(c["metadata"])]
    return notebook | {"cells": notebook["cells"] + checks}


def unanswered(notebook):
    """Delete the cell of the last answer."""
    cells = [c for c in notebook["cells"] if "01-4-answer" not in str(c["metadata"])]
    return notebook | {"cells": cells}


def without_heads(notebook):
    """Delete the texts and the checks."""
    code = [c for c in notebook["cells"] if c["cell_type"] == "code"]
    return notebook | {"cells": [c for c in code if "-check" not in str(c["metadata"])]}


def bare_code(notebook):
    """Delete all texts and ids: only the checks tell where a cell belongs."""
    code = [c for c in notebook["cells"] if c["cell_type"] == "code"]
    return stripped(notebook | {"cells": code})


def zipped(content, name="01-tensors.ipynb"):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        text = json.dumps(content) if isinstance(content, dict) else content
        archive.writestr(name, text)
        archive.writestr("__MACOSX/._" + name, b"")
    return buffer.getvalue()


def zip_in_zip(notebook):
    return zipped(zipped(notebook), "in.zip")


def encoded(encoding):
    return lambda notebook: json.dumps(notebook).encode(encoding)


def put(path, content, when=1e9):
    """Write what a student handed in; empty content makes a folder."""
    path.parent.mkdir(exist_ok=True)
    if isinstance(content, bytes):
        path.write_bytes(content) if content else path.mkdir()
    else:
        path.write_text(json.dumps(content))
    os.utime(path, (when, when))


MOODLE = "Müller, Änne_77_assignsubmission_file_"
# By student: the file, and what is done to a notebook with four right answers.
CLUMSY = {
    "as it is": ("as it is/01-tensors.ipynb",),
    "renamed": ("renamed/my work.ipynb",),
    "bare": ("bare.ipynb", stripped),
    "copied": ("copied.ipynb", copied),
    "no heads": ("no heads.ipynb", without_heads),
    "bare code": ("bare code.ipynb", bare_code),
    "BOM": ("BOM/01.ipynb.json", encoded("utf-8-sig")),
    "UTF-16": ("UTF-16.ipynb.txt", encoded("utf-16")),
    "zip in zip": ("zip in zip.zip", zip_in_zip),
    "Müller, Änne": (f"{MOODLE}/01-tensors.ipynb",),
    "wangfang": ("wangfang_LATE_4321_98765_01-tensors-1.ipynb",),
}


def test_of_a_clumsy_hand_in_the_same_is_graded(book, handed_out, tmp_path):
    for file, *change in CLUMSY.values():
        made = filled(handed_out, RIGHT)
        put(tmp_path / file, change[0](made) if change else made)
    chapters = read_chapters(book)
    handed = collect(tmp_path, chapters)
    numbers = {one.student.name: one.student.number for one in handed}
    assert set(numbers) == set(CLUMSY)
    assert {n: i for n, i in numbers.items() if i} == {
        "Müller, Änne": "Participant 77",
        "wangfang": "4321",
    }
    handed_out_cells = {c["source"] for e in chapters[STEM].exercises for c in e.stubs}
    for one in handed:
        assert not one.result, one
        run = json.loads(graded_copy(chapters[STEM], one.answers))["cells"]
        code = [c["source"] for c in run if c["cell_type"] == "code"]
        mine = list(dict.fromkeys(c for c in code if c not in handed_out_cells))
        assert len(mine) == 3 + 4 + 4, "what comes before, four answers, four checks"
        checks = [f'"01.{number}"' for number in "1234"]
        wanted = [text for pair in zip(RIGHT, checks, strict=True) for text in pair]
        for text, cell in zip(wanted, mine[3:], strict=True):
            assert text in cell, one


def test_whose_it_is_and_which_one_counts(book, handed_out, tmp_path):
    done, untouched = filled(handed_out, RIGHT), handed_out
    put(tmp_path / "Anna/01-tensors-Copy1.ipynb", done)
    put(tmp_path / "Anna/01-tensors.ipynb", untouched, when=2e9)
    put(tmp_path / "Anna/Screenshot_20251015_143022_Gallery.jpg", b"\xff\xd8")
    (tmp_path / "Course-HW1").mkdir()
    put(tmp_path / "Course-HW1/Li_77_assignsubmission_file_/a.ipynb", done)
    put(tmp_path / "01-tensors (1).ipynb", done)
    put(tmp_path / "01-tensors (2).ipynb", done)
    odd = [SHAPES + "  # \ud83d", *RIGHT[1:]]  # half an emoji
    put(
        tmp_path / "odd.ipynb", filled(handed_out, odd, SETUP + "\nx = " + "+1" * 9_999)
    )
    handed = collect(tmp_path, read_chapters(book))
    counted = [one for one in handed if not one.result]
    assert {one.file.rpartition("/")[2] for one in counted} == {
        "01-tensors-Copy1.ipynb",
        "a.ipynb",
        "01-tensors (1).ipynb",
        "01-tensors (2).ipynb",
        "odd.ipynb",
    }
    assert len({one.student for one in handed}) == 5
    assert all(len(one.answers) == 4 for one in counted), counted


TURNED = SHEET.replace("0, 2, 1, 3", "1, 2, 0, 3").replace("3, 4, 28", "4, 3, 28")
PART = SHAPES.replace("7, 28", "4, 28")  # four of the five are right
LOOP = "import time\nwhile True:\n    time.sleep(0.01)"
STUBBORN = "import signal\nsignal.signal(signal.SIGINT, signal.SIG_IGN)\n" + LOOP
PRINTS = "while True:\n    print('x' * 1000)"
WARNS = "\n    import sys, warnings\n    warnings.warn('hm')\n"
WARNS = READER.replace(":", ":" + WARNS + "    print(1, file=sys.stderr)", 1)
EXITS = "import os; os._exit(0)"
KILLS = "import os, signal\nos.kill(os.getppid(), signal.SIGTERM)"
MARKED = "import os\nraise NameError(os.environ['OF_THIS_TEST'])"
MEMORY = "held = bytearray(3 << 30)"
REPLACED = "import helpers.exercises\nhelpers.exercises.check = lambda *a: 1.0\n"
REPLACED += "def check(*a):\n    return 1.0\n" + SHAPES
ADDED = "%time pass\nimport math\ntry:\n    import no_such_thing\nexcept ImportError:\n"
ADDED += "    !true\n    from math import sqrt as root\ndef side():\n    return 28\n"
USES = SHEET.replace("28, 28)", "side(), int(root(math.prod([784]))))")
LINUX = sys.platform.startswith("linux")  # elsewhere nothing limits the memory

# By student: what the exercises must come to, the answers, the file, and what is
# done to the notebook.
HAND_INS = {
    "accidents": (
        ["wrong", "stopped", "stopped", "stopped" if LINUX else "empty"],
        ["x = {", LOOP, PRINTS, MEMORY],
        "accidents.ipynb",
    ),
    "Müller, Änne": (
        ["wrong", "wrong", "wrong", "right"],
        [PART, TURNED, MARKED, WARNS + "\nno_name"],
        f"{MOODLE}/01-tensors (10).ipynb",  # there is a "(2)", too
    ),
    "replaced": (["not graded"] * 4, [REPLACED, TURNED, FIT, READER], "replaced.ipynb"),
    "a mule": (  # its name comes early, for it takes longest
        ["wrong"] + ["not graded"] * 3,
        ["exit()", STUBBORN, FIT, READER],
        "a mule.ipynb",
    ),
    "exits": (
        ["wrong"] + ["not graded"] * 3,
        [PART, EXITS, FIT, READER],
        "exits.zip",
        lambda nb: zip_in_zip(stripped(nb)),
    ),
    "kills": (["not graded"] * 4, [SHAPES, KILLS, FIT, READER], "kills.ipynb"),
    "=1+1": (
        ["right"] * 3 + ["empty"],
        [textwrap.indent(SHAPES, "    "), USES, FIT, READER],  # as IPython takes it
        "=1+1.ipynb",
        unanswered,
    ),
    "cut": (["not graded"], RIGHT, "cut.ipynb", lambda nb: encoded("utf-8")(nb)[:-9]),
    "paper": (["not graded"], RIGHT, "paper/homework.pdf", lambda nb: b"%PDF-1.7"),
    "nothing": (["not graded"], RIGHT, "nothing", lambda nb: b""),
    "own": (["not graded"], RIGHT, "own.ipynb", lambda nb: {"cells": []}),
}
LIMITS = ["--timeout", "6", "--memory", "2000", "--jobs", "2"]


def grading(folder, book, *options):
    """Return the words that start a process which grades."""
    words = ["-m", "helpers.classroom", "grade", folder, "--book", book, *options]
    return [sys.executable, *map(str, words)]


def table(path):
    with path.open(encoding="utf-8-sig", newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def nbgrader():
    if importlib.util.find_spec("nbgrader") is None:
        missing('nbgrader: pip install -e ".[teach]"')


@pytest.fixture(scope="module")
def graded(nbgrader, book, handed_out, tmp_path_factory):
    """Return the folder that a class handed in, and the folder of its results."""
    folder = tmp_path_factory.mktemp("class")
    for name, (_, answers, file, *change) in HAND_INS.items():
        made = filled(handed_out, answers, ADDED + SETUP if name == "=1+1" else SETUP)
        put(folder / file, change[0](made) if change else made)
    put(folder / f"{MOODLE}/01-tensors (2).ipynb", filled(handed_out, RIGHT))
    # Here, a server that other tests began would start the kernels, without a mark.
    mark = {"OF_THIS_TEST": str(folder)}
    words = grading(folder, book, *LIMITS)
    subprocess.run(words, cwd=ROOT, check=True, env=os.environ | mark)
    return folder, folder.with_name(folder.name + "-grading")


def results(graded):
    return table(graded[1] / "exercises.csv")


def test_each_hand_in_comes_to_what_it_must_and_reasons_are_told(graded):
    rows, found = results(graded), {name: [] for name in HAND_INS}
    for row in rows:
        if row["result"] != "not used":
            found[row["name"].strip("'")].append(row["result"])
    assert found == {name: expected for name, (expected, *_) in HAND_INS.items()}, rows
    said = {(r["name"], r["exercise"]): r["message"] for r in rows}
    for name, exercise, message in (
        ("accidents", "01.1", "Your cell does not run: SyntaxError"),
        ("accidents", "01.2", "longer than 6 seconds"),
        ("Müller, Änne", "01.2", "run down the columns"),
        ("Müller, Änne", "01.3", "Your cell does not run: NameError"),
        ("a mule", "01.1", "SystemExit"),
        ("a mule", "01.2", "exercise 01.2 took too long"),
        ("exits", "01.2", "ended in exercise 01.2"),
        ("kills", "01.1", "in exercise 01.2"),
        ("cut", "", "only a part"),
        ("paper", "", "this is a PDF"),
        ("own", "", "no chapter of the book"),
    ):
        assert message in said[name, exercise]
    older = [r["file"] for r in rows if r["result"] == "not used"]
    assert f"{MOODLE}/01-tensors (2).ipynb" in older


def test_gradebook_and_class_view(graded):
    folder = graded[1]
    book = {row["Full name"]: row for row in table(folder / "gradebook.csv")}
    assert len(book) == len(HAND_INS)
    assert "'=1+1" in book
    values = [value for row in book.values() for value in row.values()]
    assert not [value for value in values if value.startswith(tuple("=+-@\t"))]
    keys = ("Identifier", "01.1", "01.2", "01.3", "01.4", "Grade", "Maximum Grade")
    expected = ["Participant 77", "0.8", "0.0", "0.0", "1.0", "1.8", "4"]
    assert [book["Müller, Änne"][key] for key in keys] == expected
    assert [book["exits"][key] for key in ("Grade", "not graded")] == ["0.8", "3"]
    assert [book["paper"][key] for key in ("Grade", "Maximum Grade")] == ["0", "4"]
    class_view = table(folder / "class.csv")
    assert [row["exercise"] for row in class_view] == ["01.1", "01.2", "01.3", "01.4"]
    for row in class_view:
        its = [r["result"] for r in results(graded) if r["exercise"] == row["exercise"]]
        for kind in ("right", "wrong", "empty", "stopped", "not graded"):
            assert int(row[kind]) == its.count(kind)
    assert "images[:, :, ::4]" in class_view[0]["commonest message"]
    assert class_view[0]["times"] == "2"


def test_each_student_graded_has_a_page_of_feedback(graded):
    page = graded[1] / "feedback/Müller-Änne-Participant-77/01-tensors/01-tensors.html"
    assert "run down the columns" in page.read_text(encoding="utf-8")
    pages = list(graded[1].glob("feedback/*/01-tensors/01-tensors.html"))
    with_rows = {r["name"] for r in results(graded) if r["exercise"]} - {"kills"}
    assert len(pages) == len(with_rows)


@pytest.mark.skipif(os.name != "posix", reason="reads the environment of processes")
def test_nothing_is_left_running(graded):
    import psutil

    mark = ("OF_THIS_TEST", str(graded[0]))
    assert any(mark[1] in row["message"] for row in results(graded)), "kernels have it"
    every = psutil.process_iter(["environ", "cmdline"])
    left = [
        p.info["cmdline"] for p in every if mark in (p.info["environ"] or {}).items()
    ]
    assert not [words for words in left if any("ipykernel" in word for word in words)]


@pytest.mark.skipif(os.name != "posix", reason="sends a signal")
def test_going_on_grades_what_is_new_and_ctrl_c_keeps_what_is_there(
    graded, book, handed_out, tmp_path
):
    """Points given by hand stay; one of two new hand-ins is graded, then it stops."""
    from nbgrader.api import Gradebook

    folder, course = tmp_path / "class", tmp_path / "class-grading"
    shutil.copytree(graded[1], course)
    with Gradebook(f"sqlite:///{course / 'gradebook.db'}") as gradebook:
        notebook = gradebook.find_submission_notebook(STEM, STEM, "replaced")
        next(g for g in notebook.grades if "01-2" in g.name).manual_score = 0.5
        gradebook.db.commit()
    put(folder / "replaced.ipynb", (graded[0] / "replaced.ipynb").read_bytes())
    put(folder / "exits.ipynb", filled(handed_out, RIGHT), 2e9)
    slow = filled(handed_out, ["import time; time.sleep(500)", SHEET, FIT, READER])
    put(folder / "王.ipynb", slow)
    process = subprocess.Popen(
        grading(folder, book, "--timeout", 500, "--jobs", 1),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=ROOT,
        env=os.environ | {"PYTHONIOENCODING": "cp1252"},  # which has no 王
    )
    log = course / "logs/王-01-tensors.txt"
    deadline = time.monotonic() + 300
    while time.monotonic() < deadline:
        if log.exists() and "exercise 01.1" in log.read_text():
            break
        time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    printed, errors = process.communicate(timeout=300)
    assert process.returncode == 130, errors
    assert b" 2 to grade" in printed
    assert b"the same command goes on" in printed
    assert errors == b""
    rows = {row["Full name"]: row for row in table(course / "gradebook.csv")}
    assert [rows[name]["Grade"] for name in ("replaced", "exits")] == ["0.5", "4.0"]
    assert rows["王"]["not graded"] == "4"


def test_what_cannot_be_done_is_said_in_one_line(nbgrader, book, tmp_path, capsys):
    (tmp_path / "class").mkdir()
    known = "there is no chapter '77'; choose from 01-tensors"
    cases = [(tmp_path / "nowhere", book, "01", "is no folder")]
    cases += [(tmp_path / "class", tmp_path, "01", "no chapters in")]
    cases += [(tmp_path / "class", book, "77", known)]
    for folder, chapters, chapter, message in cases:
        words = ["grade", str(folder), "--book", str(chapters), "--chapter", chapter]
        assert command.main(words) == 1
        (line,) = capsys.readouterr().err.splitlines()
        assert line.startswith("error: ")
        assert message in line


# --- Editions -----------------------------------------------------------------


@pytest.fixture(scope="module")
def editions(tmp_path_factory):
    """The zips of both editions of the whole book."""
    folder = tmp_path_factory.mktemp("editions")
    for name in ("student", "instructor"):
        assert command.main([name, str(folder / name)]) == 0
    return folder


def files_of(path):
    with zipfile.ZipFile(path) as archive:
        assert archive.testzip() is None
        return {n.partition("/")[2]: archive.read(n) for n in archive.namelist()}


def notebooks_of(files):
    return {
        Path(name).stem: json.loads(content)
        for name, content in files.items()
        if name.endswith(".ipynb")
    }


def packed(source):
    """Return a source without what spacing there is in it."""
    return re.sub(r"\s", "", source)


def all_text(files):
    parts = [
        content.decode()
        for name, content in files.items()
        if not name.endswith((".ipynb", ".gz", ".png", ".jpg"))
    ]
    for notebook in notebooks_of(files).values():
        parts += ["".join(cell["source"]) for cell in notebook["cells"]]
    return packed("\n".join(parts))


def test_no_file_for_students_has_the_text_of_a_solution(editions):
    files = files_of(editions / "student.zip")
    student, instructor = (
        all_text(files),
        all_text(files_of(editions / "instructor.zip")),
    )
    for path in CHAPTERS:
        for exercise in read_chapter(path).exercises:
            assert exercise.solutions
            for cell in exercise.solutions:
                solution = packed(cell["source"])
                assert solution in instructor
                assert solution not in student
    for made in notebooks_of(files).values():
        assert not any(map(is_solution, made["cells"]))


@pytest.mark.parametrize("edition", ["student", "instructor"])
def test_notebooks_are_valid_and_marked_and_links_resolve(edition, editions):
    files = files_of(editions / f"{edition}.zip")
    made = notebooks_of(files)
    assert sorted(made) == [path.stem for path in CHAPTERS]
    for stem, content in made.items():
        nbformat.validate(content)
        assert content["metadata"]["pytorch_by_hand"]["chapter"] == stem
        marks = [c["metadata"].get("nbgrader") for c in content["cells"]]
        marks = [mark for mark in marks if mark]
        assert len({mark["grade_id"] for mark in marks}) == len(marks) > 0
        for mark in marks:
            assert mark["grade"] == mark["locked"] == (not mark["solution"])
            assert ("points" in mark) == mark["grade"]
        cells = [c for c in content["cells"] if c["cell_type"] == "markdown"]
        prose = "\n\n".join("".join(cell["source"]) for cell in cells)
        files[f"book/{stem}.ipynb"] = prose.encode()
        if edition == "instructor":  # with the hints
            for exercise in read_chapter(ROOT / "book" / f"{stem}.ipynb").exercises:
                assert all(hint in prose for hint in find(exercise.name).hints)
    for name in (n for n in files if n.endswith((".ipynb", ".md"))):
        prose = files[name].decode()
        assert not re.search(r"^(```+|:::+)\{", prose, flags=re.M), name
        for target in re.findall(r"\]\(([^)\s#]+)", re.sub(r"`[^`]*`", "", prose)):
            linked = f"{name.rpartition('/')[0]}/{target}".lstrip("/")
            if (ROOT / linked).exists():  # else tests/test_book.py says so
                assert linked in files, f"{name} links to {target}"


def test_an_edition_is_written_once_and_always_the_same(book, tmp_path, capsys):
    words = ["student", str(tmp_path / "an.zip"), "--book", str(book)]
    assert command.main(words) == 0
    first = (tmp_path / "an.zip").read_bytes()
    assert command.main(words) == 1
    assert "is there already" in capsys.readouterr().err
    (tmp_path / "an.zip").write_bytes(b"old")
    assert command.main([*words, "--force"]) == 0
    assert (tmp_path / "an.zip").read_bytes() == first
    words[1] += "/x.zip"
    assert command.main(words) == 1
    assert "cannot be written" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["an.zip"]


def test_the_unpacked_edition_works_without_a_network(editions, tmp_path):
    with zipfile.ZipFile(editions / "student.zip") as archive:
        archive.extractall(tmp_path)
    folder = tmp_path / "pytorch-by-hand-student"
    program = """
import sys, helpers.data
from helpers.exercises import check, names, solution
def loaded(start="helpers.exercises.chapter"):
    return [name[-2:] for name in sys.modules if name.startswith(start)]
print(helpers.__file__)
print(len(helpers.data.mnist("test")), loaded(), check("01.1", None).status, loaded())
print({name[:2] for name in names()} == {*loaded()}, solution("01.1"))"""
    chosen = {
        "PYTHONPATH": f"{folder}{os.pathsep}{ROOT / 'tests/no_network'}",
        "PYTORCH_BY_HAND_CACHE": str(tmp_path / "cache"),
    }
    printed = subprocess.check_output(
        [sys.executable, "-c", program],
        cwd=folder / "book",
        env=os.environ | chosen,
        text=True,
    )
    where, what, *solved = printed.splitlines()
    assert where.startswith(str(folder))
    assert what == "10000 [] empty ['01']", "no chapter is imported unasked"
    assert solved[0].startswith("True ")
    assert "your teacher has it" in " ".join(solved)
