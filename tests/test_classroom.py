"""Editions of the book, and grading notebooks that do all they can to hinder it."""

import ast
import builtins
import csv
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
import psutil
import pytest
from book_files import CHAPTERS, ROOT

from helpers.classroom import __main__ as command
from helpers.classroom import _chapters, _editions, _grading
from helpers.classroom._chapters import answers, read_chapter
from helpers.classroom._grading import safe

POSIX = os.name == "posix"
only_posix = pytest.mark.skipif(not POSIX, reason="uses fork, signals or limits")


def code(source, **metadata):
    return nbformat.v4.new_code_cell(source, metadata=metadata)


def text(source):
    return nbformat.v4.new_markdown_cell(source)


def notebook(cells, path, ids="x"):
    for index, cell in enumerate(cells):
        cell["id"] = f"{ids}-{index:03d}"
    made = nbformat.v4.new_notebook(cells=cells)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(nbformat.writes(made), encoding="utf-8")
    return path


# --- A book of two small chapters, which needs no torch -----------------------

CHECK_MODULE = '''
"""Stands in for helpers.exercises."""

class Result:
    def __init__(self, exercise, status):
        self.found = {"exercise": exercise, "status": status, "message": "=said"}

    def _repr_mimebundle_(self, include=None, exclude=None):
        mime = "application/vnd.pytorch-by-hand.check+json"
        return {"text/plain": "", mime: self.found}

def check(exercise, attempt):
    if attempt is None:
        return Result(exercise, "empty")
    return Result(exercise, "right" if attempt == 42 else "wrong")
'''
SOLUTION = {"tags": ["hide-cell", "solution"]}
STUB = "my_answer = None  # your code"


def small_cells(first=STUB, second="my_other = None"):
    return [
        text("# A small chapter\n\n## In this chapter\n\n**Time** About 2 minutes."),
        code("from small_check import check\nbase = 40"),
        code("assert base == 40\nprint('the chapter')"),
        text("## Exercises\n\nTry each before the solution. Then run the check."),
        text("### Exercise 1: First\n\nFind it."),
        code(first),
        code('check("01.1", my_answer)'),
        text("### Exercise 2: Second"),
        code(second),
        code('check("01.2", my_other)'),
        text("## Next\n\nThe end."),
    ]


@pytest.fixture(scope="module")
def book(tmp_path_factory):
    """A book folder, and the module of its checks where kernels find it."""
    folder = tmp_path_factory.mktemp("book")
    cells = small_cells()
    cells.insert(7, code("my_answer = base + 2  # the secret of one", **SOLUTION))
    cells.insert(11, code("my_other = 6 * 7  # the secret of two", **SOLUTION))
    notebook(cells, folder / "01-small.ipynb", "01-small")
    other = [text("# Another"), code("x = 1"), text("### Exercise 1: A"), code("y = 2")]
    other.append(code('check("02.1", y)'))
    notebook(other, folder / "02-other.ipynb", "02-other")
    (folder / "small_check.py").write_text(CHECK_MODULE)
    with pytest.MonkeyPatch.context() as patch:
        path = [str(folder), os.environ.get("PYTHONPATH", "")]
        patch.setenv("PYTHONPATH", os.pathsep.join(filter(None, path)))
        patch.setenv("OMP_NUM_THREADS", "1")
        patch.setenv("OF_THIS_TEST", str(folder))
        patch.setenv("PYTORCH_BY_HAND_CACHE", str(folder / "cache"))
        yield folder


def handed_in(folder, name, *answers, **changes):
    """Write a student's notebook of the small chapter."""
    return notebook(small_cells(*answers, **changes), folder / name, "01-small")


def table(path):
    with path.open(encoding="utf-8-sig", newline="") as file:
        return list(csv.DictReader(file))


def results(rows):
    found = {}
    for row in rows:
        found.setdefault(row["file"], []).append(row["result"])
    return found


def grade(folder, out, book, *options):
    words = ["grade", folder, "--out", out, "--book", book, *options]
    return command.main([str(word) for word in words])


# --- Grading ------------------------------------------------------------------

RIGHT = "my_answer = base + 2"
FORKS = """
import os, time
for _ in range(6):
    if os.fork() == 0:
        held = bytearray(os.urandom(1)) * (150 << 20)
        time.sleep(60)
time.sleep(60)
"""
SPAWNS = """
import subprocess, sys
script = "import os, time; os.fork() and os._exit(0); os.setsid(); time.sleep(987)"
subprocess.Popen([sys.executable, "-c", script], start_new_session=True)
my_answer = 42
"""
PRINTS = "import time\nwhile True:\n    print('x' * 100_000); time.sleep(0.001)"
LOOP = "import time\nwhile True:\n    time.sleep(1)"
STUBBORN = """
import time
while True:
    try:
        time.sleep(60)
    except BaseException:
        pass
"""
ANNE = "Müller, Änne_77_assignsubmission_file_"  # as Moodle names folders
FLOOD = "import os\nos.system('head -c 50000000 /dev/zero')\nmy_other = 42"
HOSTILE = {
    # The answers to both exercises, and the results.
    "loops": (
        "import time\nwhile True:\n    time.sleep(1)",
        STUBBORN,
        "stopped stopped",
    ),
    "prints": (PRINTS, FLOOD, "stopped right"),
    "memory": ("held = [bytearray(2 << 30)]", FORKS, "stopped stopped"),
    "exits": ("import os\nos._exit(0)", "my_other = base + 2", "stopped right"),
    "spawns": (
        SPAWNS,
        "import os, shutil\nshutil.rmtree(os.getcwd())\nmy_other = 42",
        "right right",
    ),
    "kills": (
        "import os\nos.kill(os.getppid(), 9)",
        "my_other = 42",
        "stopped stopped",
    ),
    "stops": (
        "import os, signal\nos.kill(os.getppid(), signal.SIGSTOP)",
        "my_other = 42",
        "stopped stopped",
    ),
    "errors": ("import sys\nsys.exit()", "my_other = 42\nmy other", "empty empty"),
}
LIMITS = ["--timeout", "6", "--memory", "700", "--jobs", "3"]


def left_running():
    """Return the command lines of all processes that a graded notebook left."""
    mark = ("OF_THIS_TEST", os.environ["OF_THIS_TEST"])
    return [
        process.info["cmdline"]
        for process in psutil.process_iter(["cmdline", "environ"])
        if mark in (process.info["environ"] or {}).items()
    ]


@pytest.fixture(scope="module")
def graded(book, tmp_path_factory):
    """A class of difficult students: rows by file, and what was printed."""
    folder = tmp_path_factory.mktemp("class")
    for name, (first, second, _) in HOSTILE.items():
        handed_in(folder, f"{name}.ipynb", first, second)
    for name in ("01-small.ipynb", "01-small (1).ipynb"):
        handed_in(folder / ANNE, name, RIGHT, "my_other = 41")
    # Check cells edited and deleted, a heading deleted, the check redefined.
    cells = small_cells("my_answer = 41\ncheck = lambda *_: None", "my_other = 42")
    cells[1] = code("base = 'played with'")
    cells[6] = code("from small_check import Result\nResult('01.1', 'right')")
    del cells[9], cells[7]
    made = notebook(cells, folder / "=HYPERLINK(A1;B1).ipynb")
    content = json.loads(made.read_text())
    for cell, number in zip(content["cells"], [*range(7), 9, 12], strict=True):
        cell["id"] = f"01-small-{number:03d}"  # as in the book
    made.write_text(json.dumps(content))
    whole = (folder / "loops.ipynb").read_bytes()
    (folder / "truncated.ipynb").write_bytes(whole[:300])
    (folder / "paper.ipynb").write_bytes(b"%PDF-1.7\n\x00\xff")
    (folder / "empty.ipynb").write_bytes(b"")
    (folder / "deep.ipynb").write_bytes(b"[" * 100_000)
    (folder / "photo.ipynb").write_bytes(b"\xff\xd8\xff\xe0")
    (folder / "odd.ipynb").write_text('{"cells": [1, {"source": 3}], "metadata": 7}')
    notebook([text("# My own")], folder / "own.ipynb")
    notebook([code('check("02.1", 2)')], folder / "01-small-Cleo.ipynb")
    if POSIX:
        (folder / "device.ipynb").symlink_to("/dev/zero")
    before = {p: p.read_bytes() for p in folder.rglob("*.ipynb") if not p.is_symlink()}
    out = folder / "grades.csv"
    # As in a shell's background, where programs and their children ignore Ctrl-C.
    ctrl_c = signal.signal(signal.SIGINT, signal.SIG_IGN)
    status = grade(folder, out, book, "--chapter", "01", *LIMITS)
    signal.signal(signal.SIGINT, ctrl_c)
    assert status == 0
    assert {path: path.read_bytes() for path in before} == before
    return folder, out


@only_posix
@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_notebooks_harm_only_themselves(name, graded):
    rows = [row for row in table(graded[1]) if row["file"] == f"{name}.ipynb"]
    assert [row["exercise"] for row in rows] == ["01.1", "01.2"]
    assert [row["result"] for row in rows] == HOSTILE[name][2].split(), rows


@only_posix
def test_reasons_are_told(graded):
    said = {(r["file"], r["exercise"]): r["message"] for r in table(graded[1])}
    assert "longer than 6 seconds" in said["loops.ipynb", "01.1"]
    assert "longer than 6 seconds" in said["loops.ipynb", "01.2"]
    assert "more than 700 MB" in said["memory.ipynb", "01.1"]
    assert "more than 700 MB" in said["memory.ipynb", "01.2"]
    assert "ended its own process" in said["exits.ipynb", "01.1"]
    assert "ended the process that graded it" in said["kills.ipynb", "01.1"]
    assert "SystemExit" in said["errors.ipynb", "01.1"]
    assert "SyntaxError" in said["errors.ipynb", "01.2"]


@only_posix
def test_nothing_is_left_running(graded):
    assert left_running() == []


@only_posix
@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("truncated", "only a part of one"),
        ("paper", "this is a PDF"),
        ("empty", "the file is empty"),
        ("deep", "nested too deeply"),
        ("photo", "it is not text"),
        ("odd", "no chapter of the book"),
        ("own", "no chapter of the book"),
        ("01-small-Cleo", "wrong chapter: this is 02-other, and 01-small was asked"),
        ("device", "a link or a device"),
    ],
)
def test_files_that_cannot_be_graded(name, message, graded):
    rows = [row for row in table(graded[1]) if row["file"] == f"{name}.ipynb"]
    assert len(rows) == 1
    assert rows[0]["result"] == "not graded"
    assert message in rows[0]["message"]


def test_names_and_two_files_of_one_student(graded):
    rows = table(graded[1])
    by_name = {}
    for row in rows:
        by_name.setdefault(row["name"], []).append((row["file"], row["result"]))
    files = {file for file, _ in by_name["Müller, Änne"]}
    assert files == {f"{ANNE}/01-small.ipynb", f"{ANNE}/01-small (1).ipynb"}
    assert [r for _, r in sorted(by_name["Müller, Änne"])] == ["right", "wrong"] * 2


def test_no_field_is_a_formula(graded):
    rows = table(graded[1])
    assert not [v for row in rows for v in row.values() if v[:1] in tuple("=+-@\t\r")]
    names = [row["name"] for row in rows if "HYPERLINK" in row["name"]]
    assert set(names) == {"'=HYPERLINK(A1;B1)"}
    assert "'=said" in {row["message"] for row in rows}
    assert graded[1].read_bytes().startswith(b"\xef\xbb\xbf")  # UTF-8, for Excel


def test_edited_and_deleted_checks_are_graded_all_the_same(graded):
    found = [r["result"] for r in table(graded[1]) if "HYPERLINK" in r["file"]]
    assert found == ["wrong", "right"]


def test_running_again_grades_only_what_is_new(graded, book, capsys):
    folder, out = graded
    before = table(out)
    # As after a power cut in the middle of a row.
    lines = out.read_bytes().splitlines(keepends=True)
    kept = [line for line in lines if b",errors.ipynb," not in line]
    assert len(kept) == len(lines) - 2
    lost = [line for line in lines if line not in kept]
    out.write_bytes(b"".join(kept) + lost[0] + lost[1][:20])
    capsys.readouterr()
    chapters = {path.stem: read_chapter(path) for path in book.glob("*.ipynb")}
    partial = _grading.Table(out, chapters)
    found = _grading.find(folder, chapters, "01-small")
    assert [h.name for h in found if not partial.has(h)] == ["errors"]
    # And handed in again, with other content.
    handed_in(folder, "errors.ipynb", "my_answer = 42", "my_other = 42")
    assert grade(folder, out, book, "--chapter", "01", *LIMITS) == 0
    said = capsys.readouterr().out
    assert " 1 to grade" in said
    assert "are kept" in said
    rows = table(out)
    changed = results(before) | {"errors.ipynb": ["right", "right"]}
    assert results(rows) == changed
    assert len(rows) == len(before)
    assert grade(folder, out, book, "--chapter", "01", *LIMITS) == 0
    assert "0 to grade" in capsys.readouterr().out
    assert table(out) == rows


def test_a_folder_without_a_notebook_has_a_row_until_there_is_one(book, tmp_path):
    folder, out = tmp_path / "class", tmp_path / "out.csv"
    (folder / "Bo_7_assignsubmission_file_").mkdir(parents=True)
    (folder / "Bo_7_assignsubmission_file_" / "homework.zip").write_bytes(b"PK")
    (folder / "Cy.ipynb").mkdir()  # a folder that is called as a notebook
    (folder / "__MACOSX").mkdir()
    assert grade(folder, out, book, *LIMITS) == 0
    rows = {row["name"]: row for row in table(out)}
    assert set(rows) == {"Bo", "Cy.ipynb"}
    assert {row["result"] for row in rows.values()} == {"not graded"}
    assert "no notebook was handed in" in rows["Cy.ipynb"]["message"]
    assert "homework.zip" in rows["Bo"]["message"]
    handed_in(folder / "Bo_7_assignsubmission_file_", "01-small.ipynb", RIGHT)
    chapters = {path.stem: read_chapter(path) for path in book.glob("*.ipynb")}
    again = _grading.Table(out, chapters)
    again.begin([h for h in _grading.find(folder, chapters) if not again.has(h)])
    assert [row["name"] for row in table(out)] == ["Cy.ipynb"]


def test_a_file_that_another_student_s_code_changed_is_not_graded(book, tmp_path):
    for name in "abc":
        handed_in(tmp_path / "class", f"{name}.ipynb", RIGHT)
    chapters = {path.stem: read_chapter(path) for path in book.glob("*.ipynb")}
    found = _grading.find(tmp_path / "class", chapters)
    handed_in(tmp_path / "class", "a.ipynb", "my_answer = 0")
    (tmp_path / "class" / "b.ipynb").unlink()
    rows = _grading.Table(tmp_path / "out.csv", chapters)
    grader = _grading.Grader(book, chapters, rows, _grading.Limits(6, 700, 1))
    assert _grading._unchanged(found[2]) == found[2].path.read_bytes()
    for altered in found[:2]:
        grader._one(altered, 2)
    assert [row["result"] for row in rows.rows] == ["not graded"] * 4
    assert "changed or deleted" in rows.rows[0]["message"]


@only_posix
def test_ctrl_c_keeps_what_is_there(book, tmp_path):
    folder = tmp_path / "class"
    handed_in(folder, "a.ipynb", RIGHT, "import time\ntime.sleep(300)")
    out = tmp_path / "out.csv"
    words = ["grade", folder, "--out", out, "--book", book, "--timeout", "300"]
    process = subprocess.Popen(
        [sys.executable, "-m", "helpers.classroom", *map(str, words)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    )
    deadline = time.monotonic() + 300
    while not (out.exists() and table(out)) and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    printed, errors = process.communicate(timeout=300)
    assert process.returncode == 130, errors
    assert "run it again to go on" in printed
    assert "Traceback" not in errors
    assert [row["result"] for row in table(out)] == ["right"]
    assert left_running() == []


def test_a_chapter_that_does_not_run_here_is_nobody_s_fault(book, tmp_path, capsys):
    cells = small_cells()
    cells[2] = code("import no_such_package")
    broken = notebook(cells, tmp_path / "book" / "01-small.ipynb", "01-small").parent
    handed_in(tmp_path / "class", "a.ipynb", RIGHT)
    out = tmp_path / "out.csv"
    assert grade(tmp_path / "class", out, broken, *LIMITS) == 1
    rows = table(out)
    assert [row["result"] for row in rows] == ["not graded"] * 2
    assert "the chapter's own code did not run here" in rows[0]["message"]
    assert "no_such_package" in rows[0]["message"]
    # On a machine where it runs, the notebook is graded after all.
    chapters = {"01-small": read_chapter(book / "01-small.ipynb")}
    again = _grading.Table(out, chapters)
    assert not again.has(_grading.find(tmp_path / "class", chapters)[0])


def test_what_cannot_be_done_is_said_in_one_line(book, tmp_path, capsys):
    (tmp_path / "file.csv").write_text("my,own,table\n")
    (tmp_path / "class").mkdir()
    cases = [
        (grade(tmp_path / "nowhere", tmp_path / "x.csv", book), "is no folder"),
        (grade(tmp_path / "class", tmp_path / "file.csv", book), "is no table of this"),
        (grade(tmp_path / "class", tmp_path / "y.csv", tmp_path), "no chapters in"),
        (
            grade(tmp_path / "class", tmp_path / "z.csv", book, "--chapter", "77"),
            "there is no chapter '77'; choose from 01-small, 02-other",
        ),
    ]
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == len(cases)
    for line, (status, message) in zip(lines, cases, strict=True):
        assert status == 1
        assert line.startswith("error: ")
        assert message in line
    assert (tmp_path / "file.csv").read_text() == "my,own,table\n"


@pytest.mark.parametrize(
    ("given", "made"),
    [
        ("=cmd|' /C calc'!A1", "'=cmd|' /C calc'!A1"),
        ("\t=1+1", "'=1+1"),
        (" \r\n+49 30 123", "'+49 30 123"),
        ("@SUM(A1)", "'@SUM(A1)"),
        ("\uff1d1", "'\uff1d1"),
        ("two\nlines\x1b[31m", "two lines [31m"),
        ("Müller, Änne", "Müller, Änne"),
        ("\ud800x", "?x"),
        ("a" * 900, "a" * 499 + "…"),
    ],
)
def test_safe(given, made):
    assert safe(given) == made


# --- Which code counts --------------------------------------------------------


@pytest.fixture
def small(book):
    return read_chapter(book / "01-small.ipynb")


def cleaned(cells, ids="x"):
    for index, cell in enumerate(cells):
        cell["id"] = f"{ids}-{index}"
    made = nbformat.v4.new_notebook(cells=cells)
    return _chapters.cells_of(nbformat.writes(made).encode())


def test_the_parts_of_a_chapter(small):
    assert small.title == "A small chapter"
    assert len(small.setup) == 2
    assert [exercise.name for exercise in small.checked] == ["01.1", "01.2"]
    assert [exercise.title for exercise in small.exercises] == ["First", "Second"]
    for exercise in small.exercises:
        counts = [len(c) for c in (exercise.stubs, exercise.checks, exercise.solutions)]
        assert counts == [1, 1, 1]


def test_code_under_a_heading_counts_without_its_checks(small):
    cells = small_cells("my_answer = 1\ncheck('01.1', my_answer)", "my_other = 2")
    cells[7:7] = [code("more = 3"), code("hint('01.1')"), text("I think"), code("x")]
    cells.append(code("my_other = 4"))
    found = answers(cleaned(cells), small)
    assert found == {
        "": [],
        "01.1": ["my_answer = 1", "more = 3", "x"],
        "01.2": ["my_other = 2", "my_other = 4"],
    }


def test_the_book_s_own_solutions_are_no_answers(small):
    """Someone hands in the full book's notebook instead of the student's."""
    assert answers(small.cells, small) == {
        "": [],
        "01.1": [STUB],
        "01.2": ["my_other = None"],
    }


def test_code_without_headings_goes_with_the_check_below_it(small):
    cells = [c for c in small_cells("a = 1", "b = 2") if c["cell_type"] == "code"]
    found = answers(cleaned(cells), small)
    assert found["01.1"] == ["a = 1"]
    assert found["01.2"] == ["b = 2"]


def test_code_without_headings_and_checks_goes_by_its_ids(small):
    cells = [dict(cell) for cell in small.cells if cell["cell_type"] == "code"]
    for cell in cells:
        cell["source"] = cell["source"].replace("None", "7")
    kept = [c for c in cells if "check(" not in c["source"]]
    kept = [c for c in kept if not _chapters.is_solution(c)]
    found = answers(kept, small)
    assert found["01.1"] == ["my_answer = 7  # your code"]
    assert found["01.2"] == ["my_other = 7"]


def test_above_the_exercises_only_new_definitions_count(small):
    cells = small_cells()
    cells[2:2] = [
        code("import math\nbase = 0\n\ndef mine(x):\n    return x\n\nmine(1)")
    ]
    cells[3] = code("base = 'changed'")
    found = answers(cleaned(cells), small)
    assert found[""] == ["import math\n\ndef mine(x):\n    return x"]


# --- Editions -----------------------------------------------------------------


@pytest.fixture(scope="module")
def student_zip(tmp_path_factory):
    return _editions.write_edition(
        "student", tmp_path_factory.mktemp("out") / "student", ROOT / "book"
    )


@pytest.fixture(scope="module")
def instructor_zip(tmp_path_factory):
    return _editions.write_edition(
        "instructor", tmp_path_factory.mktemp("out") / "i.zip", ROOT / "book"
    )


def files_of(path):
    with zipfile.ZipFile(path) as archive:
        assert archive.testzip() is None
        return {
            name.partition("/")[2]: archive.read(name) for name in archive.namelist()
        }


def notebooks_of(path):
    return {
        Path(name).stem: json.loads(content)
        for name, content in files_of(path).items()
        if name.endswith(".ipynb")
    }


def packed(source):
    """Return a source without what spacing there is in it."""
    return re.sub(r"\s", "", source)


def solution_texts():
    for path in CHAPTERS:
        for exercise in read_chapter(path).exercises:
            for cell in exercise.solutions:
                yield path.stem, packed(cell["source"])


def test_no_file_for_students_has_the_text_of_a_solution(student_zip, instructor_zip):
    def all_text(path):
        parts = []
        for name, content in files_of(path).items():
            if name.endswith(".ipynb"):
                cells = json.loads(content)["cells"]
                parts += ["".join(cell["source"]) for cell in cells]
            elif not name.endswith(".gz"):
                parts.append(content.decode())
        return packed("\n".join(parts))

    student, instructor = all_text(student_zip), all_text(instructor_zip)
    solutions = list(solution_texts())
    assert len(solutions) >= 4 * len(CHAPTERS)
    for stem, solution in solutions:
        assert solution in instructor, stem
        assert solution not in student, stem
    assert "teaching" not in student_zip.name
    for made in notebooks_of(student_zip).values():
        for cell in made["cells"]:
            tags = cell["metadata"].get("tags", [])
            assert not {"solution", "teaching"} & set(tags)


@pytest.mark.parametrize("edition", ["student", "instructor"])
def test_notebooks_are_valid_and_marked(edition, request):
    made = notebooks_of(request.getfixturevalue(f"{edition}_zip"))
    assert sorted(made) == [path.stem for path in CHAPTERS]
    for stem, content in made.items():
        nbformat.validate(content)
        assert content["metadata"]["pytorch_by_hand"]["chapter"] == stem
        marks = [c["metadata"].get("nbgrader") for c in content["cells"]]
        marks = [mark for mark in marks if mark]
        assert len({mark["grade_id"] for mark in marks}) == len(marks)
        answered = [mark for mark in marks if mark["solution"]]
        assert len(answered) >= 4
        for mark in marks:
            assert mark["grade"] == mark["locked"] == (not mark["solution"])
            assert ("points" in mark) == mark["grade"]
            assert mark["schema_version"] == 3


def test_students_are_told_what_counts(student_zip):
    for made in notebooks_of(student_zip).values():
        prose = [c["source"] for c in made["cells"] if c["cell_type"] == "markdown"]
        found = [p for p in map("".join, prose) if "## Exercises" in p]
        assert len(found) == 1
        intro = re.split(r"^### ", found[0].split("## Exercises")[1], flags=re.M)[0]
        assert _editions.FOR_STUDENTS in intro
        assert "folded" not in intro
        assert "open the solution" not in intro


def test_notes_for_teachers_come_from_the_checks(instructor_zip):
    from helpers.exercises import find, names

    notes = [
        "".join(cell["source"])
        for made in notebooks_of(instructor_zip).values()
        for cell in made["cells"]
        if "teaching" in cell["metadata"].get("tags", [])
    ]
    for name, exercise in ((name, find(name)) for name in names()):
        found = [note for note in notes if f"exercise {name}**" in note]
        assert len(found) == 1, name
        wrong = found[0].partition("What the check says to wrong answers:\n\n")[2]
        assert len(wrong.splitlines()) >= 3, name
        for hint in exercise.hints:
            assert hint in found[0]
    first = next(note for note in notes if "exercise 01.2**" in note)
    assert "- Every digit is whole, but they run down the columns." in first
    assert "but has …." in first  # what is only known when there is an answer
    gray = next(note for note in notes if "exercise 08.1**" in note)
    assert "\n- This is the … channel alone.\n" in gray  # one of several remarks


@pytest.mark.parametrize("edition", ["student", "instructor"])
def test_links_in_an_edition_resolve(edition, request):
    files = files_of(request.getfixturevalue(f"{edition}_zip"))
    for name, content in files.items():
        if name.endswith(".ipynb"):
            cells = json.loads(content)["cells"]
            prose = ["".join(c["source"]) for c in cells if c["cell_type"] != "code"]
            prose = "\n".join(prose)
        elif name.endswith(".md"):
            prose = content.decode()
        else:
            continue
        folder = name.rpartition("/")[0]
        for target in re.findall(r"\]\(([^)\s#]+)", re.sub(r"`[^`]*`", "", prose)):
            linked = f"{folder}/{target}".lstrip("/")
            if (ROOT / linked).exists():  # else tests/test_book.py says so
                assert linked in files, f"{name} links to {target}"


def test_an_edition_is_written_once_and_always_the_same(student_zip, tmp_path, capsys):
    assert command.main(["student", str(student_zip)]) == 1
    assert "is there already" in capsys.readouterr().err
    assert command.main(["student", str(tmp_path / "one.zip")]) == 0
    before = (tmp_path / "one.zip").read_bytes()
    assert command.main(["student", str(tmp_path / "two")]) == 0
    assert (tmp_path / "two.zip").read_bytes() == before
    (tmp_path / "old.zip").write_bytes(b"old")
    assert command.main(["student", str(tmp_path / "old.zip"), "--force"]) == 0
    assert (tmp_path / "old.zip").read_bytes() == before
    assert command.main(["student", str(tmp_path / "old.zip" / "x.zip")]) == 1
    assert "cannot be written" in capsys.readouterr().err
    made = sorted(path.name for path in tmp_path.iterdir())
    assert made == ["old.zip", "one.zip", "two.zip"]


def test_the_unpacked_edition_works_without_a_network(student_zip, tmp_path):
    with zipfile.ZipFile(student_zip) as archive:
        archive.extractall(tmp_path)
    folder = tmp_path / "pytorch-by-hand-student"
    program = (
        "import helpers, helpers.data\n"
        "from helpers.exercises import check, solution\n"
        "print(helpers.__file__)\n"
        "print(len(helpers.data.mnist('test')), check('01.1', None).status)\n"
        "print(solution('01.1'))"
    )
    chosen = {
        "PYTHONPATH": os.pathsep.join([str(folder), str(ROOT / "tests/no_network")]),
        "PYTORCH_BY_HAND_CACHE": str(tmp_path / "cache"),
    }
    run = subprocess.run(
        [sys.executable, "-c", program],
        cwd=folder / "book",
        env=os.environ | chosen,
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stderr
    where, what, solved = run.stdout.splitlines()[:3]
    assert where.startswith(str(folder))
    assert what == "10000 empty"
    assert "your teacher has it" in run.stdout
    assert "my_shapes = {" not in solved
    # The package can be built from it: all that pyproject.toml names is there.
    assert (folder / "README.md").exists()
    assert "\n-e .\n" in (folder / "requirements.txt").read_text()


def names_in(source):
    """Return the names that a cell loads from outside and those that it binds."""
    tree = ast.parse(re.sub(r"^[%!].*$", "", source, flags=re.M))
    loaded, bound = set(), set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Name):
            (loaded if isinstance(node.ctx, ast.Load) else bound).add(node.id)
        elif isinstance(node, ast.FunctionDef | ast.ClassDef):
            bound.add(node.name)
        elif isinstance(node, ast.Import | ast.ImportFrom):
            bound |= {(a.asname or a.name).partition(".")[0] for a in node.names}
        elif isinstance(node, ast.arg):
            bound.add(node.arg)
        elif isinstance(node, ast.ExceptHandler) and node.name:
            bound.add(node.name)
    return loaded, bound


@pytest.mark.parametrize("path", CHAPTERS, ids=lambda path: path.stem)
def test_exercises_need_no_earlier_solution(path):
    """A student has only the stubs: every name in them must come from elsewhere."""
    chapter = read_chapter(path)
    bound = set(dir(builtins)) | {"display", "__name__"}
    for source in chapter.setup:
        bound |= names_in(source)[1]
    for exercise in chapter.exercises:
        for cell in [*exercise.stubs, *exercise.checks]:
            loaded, more = names_in(cell["source"])
            assert loaded <= bound | more, f"{cell['id']}: {loaded - bound - more}"
            bound |= more
