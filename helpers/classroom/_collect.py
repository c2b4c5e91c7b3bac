"""Finds what was handed in: whose it is, which chapter, and what counts."""

import ast
import io
import os
import re
import time
import unicodedata
import zipfile
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import IO

from IPython.core.inputtransformer2 import TransformerManager

from helpers.classroom._chapters import (
    HEADING,
    Cell,
    Chapter,
    ClassroomError,
    is_solution,
    read_cells,
)

LARGEST = 50 << 20  # bytes of a file; figures in a notebook take some
SKIPPED = re.compile(
    r"\.|(__MACOSX|__pycache__|site-packages|Thumbs\.db|desktop\.ini)$"
)
MOODLE = re.compile(r"(.+)_(\d+)_assignsubmission_")
CANVAS = re.compile(r"([^_A-Z]+)_(?:LATE_)?(\d{3,})_\d{3,}_")  # in small letters
HELP = re.compile(r"\s*(check|hint|quiz|solution)\([^\n]*\)")  # no part of an answer
COPY = re.compile(r"( ?\(\d+\)|[ -]+Copy ?\d*)$")  # as browsers and Jupyter name them

# By the name of an exercise, the sources of the cells that a student wrote for it.
# Under "" stands what was added above the exercises.
Answers = dict[str, list[str]]
# Parts of a file's name, when it was written, and what is in it, or why it is not read.
File = tuple[tuple[str, ...], tuple[int, ...], bytes | ClassroomError]


@dataclass(frozen=True)
class Student:
    """A name, and what Moodle ("Participant 77") or Canvas ("77") calls the student."""

    name: str
    number: str = ""


@dataclass
class HandIn:
    """A file that was handed in.

    Attributes
    ----------
    age : tuple
        By what hand-ins are sorted, from the oldest to the newest.
    chapter : str
        "" if it is no notebook of the book.
    answers : dict of str to list of str
        What the student wrote, by exercise.
    result : str
        "" if it counts, else "not used" or "not graded".
    why : str
        The reason for this.
    """

    student: Student
    file: str = ""
    age: tuple[object, ...] = ()
    chapter: str = ""
    answers: Answers = field(default_factory=dict)
    result: str = ""
    why: str = ""


def collect(folder: Path, chapters: dict[str, Chapter], only: str = "") -> list[HandIn]:
    """Return what was handed in, in the order of names.

    Of several notebooks of one chapter the newest with an answer counts; of equally
    new ones the last by name, where "(10)" comes after "(2)". Of a student's
    unchanged chapters none counts beside another. Who handed in no notebook that
    counts has an entry that says so. Links are not followed, so that nothing
    outside the folder is read.
    """
    handed = [_hand_in(file, chapters, only) for file in _files(folder)]
    names = {path.name for path in folder.iterdir() if path.is_dir()}
    names -= {one.file.split("/")[0] for one in handed}  # their files tell whose
    students = {_student((name, ""), chapters) for name in names if _kept(name)}
    handed.sort(key=lambda one: (bool(one.answers), one.age))
    newest = {(one.student, one.chapter): one for one in handed if not one.result}
    chosen = Counter(student for student, _ in newest)
    for one in (one for one in handed if not one.result):
        counts = newest[one.student, one.chapter]
        if one is not counts:
            one.result, one.why = "not used", f"another one counts: {counts.file}"
        elif chosen[one.student] > 1 and not one.answers:
            one.result, one.why = "not used", "unchanged"
    students |= {one.student for one in handed}
    for student in students - {o.student for o in handed if o.result != "not used"}:
        why = "no notebook that counts was handed in"
        handed.append(HandIn(student, result="not graded", why=why))
    return sorted(handed, key=lambda o: (o.student.name.casefold(), o.chapter, o.file))


def _hand_in(file: File, chapters: dict[str, Chapter], only: str) -> HandIn:
    """Return what counts of a file, or why it does not."""
    parts, _, content = file
    one = HandIn(_student(parts, chapters), "/".join(parts), _age(file))
    try:
        if isinstance(content, ClassroomError):
            raise content
        cells = read_cells(content)
        stem = _chapter_of(cells, chapters)
        if only and stem != only:
            one.result, one.why = "not used", f"this is {stem}, not {only}"
        else:
            one.chapter, one.answers = stem, _answers(cells, chapters[stem])
    except ClassroomError as error:
        is_meant = ".ipynb" in parts[-1].lower()
        one.result, one.why = "not graded" if is_meant else "not used", str(error)
    return one


# --- Files ------------------------------------------------------------------------


def _files(folder: Path) -> Iterator[File]:
    for parent, folders, files in os.walk(folder):
        folders[:] = filter(_kept, folders)
        for path in (Path(parent, name) for name in filter(_kept, files)):
            parts = path.relative_to(folder).parts
            try:
                when = time.localtime(path.lstat().st_mtime)[:6]
                if path.is_symlink() or not path.is_file():
                    raise OSError("it is a link or a device")
                with path.open("rb") as file:
                    yield from _opened(parts, when, file)
            except OSError as error:
                why = f"it cannot be read: {error.strerror or error}"
                yield parts, (0,) * 6, ClassroomError(why)


def _opened(
    parts: tuple[str, ...], when: tuple[int, ...], file: IO[bytes]
) -> Iterator[File]:
    """Yield a file, or what is in it if it is a zip, and in the zips in that."""
    content = file.read(LARGEST + 1)
    if len(content) > LARGEST:
        yield parts, when, ClassroomError(f"it is larger than {LARGEST >> 20} MB")
    elif not content.startswith(b"PK\x03\x04"):
        yield parts, when, content
    else:
        try:
            with zipfile.ZipFile(io.BytesIO(content)) as archive:
                for entry in archive.infolist():
                    names = re.split(r"[/\\]+", entry.filename)
                    if not entry.is_dir() and all(map(_kept, names)):
                        with archive.open(entry) as inner:
                            inside = *parts, *names
                            yield from _opened(inside, entry.date_time, inner)
        except Exception as error:  # whatever a damaged zip may raise
            yield parts, when, ClassroomError(f"this zip cannot be opened: {error}")


def _kept(name: str) -> bool:
    return not SKIPPED.match(name)


def _age(file: File) -> tuple[object, ...]:
    """Return a key: by time, of which a zip knows only two seconds, then by name."""
    parts, (*day, seconds), _ = file
    pieces = re.findall(r"\d+|\D+", "/".join(parts).removesuffix(".ipynb"))
    name = [(int(p), "") if p.isdecimal() else (-1, p) for p in pieces]
    return (*day, seconds // 2, name)


def _student(parts: tuple[str, ...], chapters: dict[str, Chapter]) -> Student:
    """Return whose a file is, by the names of its folders or by its own."""
    names = [unicodedata.normalize("NFC", part) for part in parts]
    for pattern, number in ((MOODLE, r"Participant \2"), (CANVAS, r"\2")):
        for found in filter(None, map(pattern.match, names)):
            return Student(found[1].strip(), found.expand(number))
    endings = r"\.ipynb|\.\w{1,5}$" if len(names) == 1 else r"\.zip$"
    name = rest = re.split(endings, names[0], flags=re.I)[0]
    for stem in chapters if len(names) == 1 else ():
        rest = COPY.sub("", rest).replace(stem, "").strip(" -_.")
    return Student(rest or name)


# --- Cells ------------------------------------------------------------------------


def _chapter_of(cells: list[Cell], chapters: dict[str, Chapter]) -> str:
    """Return the chapter of whose exercises a notebook has most cells.

    Raises
    ------
    ClassroomError
        If it has none of any.
    """
    signs = {sign for cell in cells for sign in (cell["id"], cell["source"])}
    shared = Counter[str]()
    for stem, chapter in chapters.items():
        for exercise in chapter.exercises:
            for cell in (exercise.text, *exercise.cells()):
                shared[stem] += len(signs & {cell["id"], cell["source"]})
    ((stem, count),) = shared.most_common(1)
    if not count:
        raise ClassroomError("this is a notebook, but no chapter of the book")
    return stem


def _answers(cells: list[Cell], chapter: Chapter) -> Answers:
    """Return the sources of the code cells that a student wrote for each exercise.

    The book's own cells do not count: they are run anyway. Of what stands above the
    exercises, definitions count.
    """
    own = {c["source"] for e in chapter.exercises for c in e.cells()} | {""}
    setup = {cell["source"] for cell in chapter.setup}
    known = {name for source in setup for name, _ in _definitions(source)}
    found: Answers = {}
    current = ""
    for cell, place in zip(cells, _places(cells, chapter), strict=True):
        current, source = place or current, cell["source"]
        if cell["cell_type"] != "code" or is_solution(cell) or HELP.fullmatch(source):
            continue
        if current and source not in own:
            found.setdefault(current, []).append(source)
        elif not current and source not in setup:  # what the book defines stays so
            added = [code for name, code in _definitions(source) if name not in known]
            found[""] = found.get("", []) + added
    return {name: sources for name, sources in found.items() if sources}


def _places(cells: list[Cell], chapter: Chapter) -> list[str]:
    """Return to which exercise each cell belongs, or "" if to that of the one before.

    That is the exercise whose heading a cell stands below. Where a heading was
    deleted, the book's cells tell, with what stands above them, down from another
    exercise or from the beginning of the chapter.
    """
    own, setup = dict[str, str](), set[str]()
    for exercise in chapter.exercises:
        for cell in exercise.cells():
            own |= dict.fromkeys((cell["id"], cell["source"]), exercise.name)
    for cell in chapter.setup:
        setup |= {cell["id"], cell["source"]}
    places = [_heading(cell, chapter) for cell in cells]
    there, below = set(places), ""
    for index, cell in reversed(list(enumerate(cells))):
        name = own.get(cell["id"]) or own.get(cell["source"], "")
        if name or places[index] or {cell["id"], cell["source"]} & setup:
            below = "" if name in there else name
        places[index] = places[index] or below
    return places


def _heading(cell: Cell, chapter: Chapter) -> str:
    """Return the name of the exercise that a cell is the heading of, or nothing."""
    found = HEADING.search(cell["source"])
    name = f"{chapter.stem[:2]}.{found[1]}" if found else ""
    is_known = name in {exercise.name for exercise in chapter.exercises}
    return name if is_known and cell["cell_type"] == "markdown" else ""


@cache  # the book's own cells come with every hand-in
def _definitions(source: str) -> list[tuple[str, str]]:
    """Return name and code of each import, function and class in a cell."""
    python = re.sub(r"\A%%.*\n", "", source)  # such as %%time
    try:
        # Magics and commands of the shell become calls.
        tree = ast.parse(TransformerManager().transform_cell(python))
        return [(name, ast.unparse(node)) for name, node in _defining(tree.body)]
    except Exception:  # whatever IPython and ast raise for odd code
        return []  # the student has seen it fail


def _defining(nodes: Iterable[ast.AST]) -> Iterator[tuple[str, ast.AST]]:
    """Yield what defines a name, also inside `try`: an import may have a way out."""
    for node in nodes:
        match node:
            case ast.Import():
                for each in node.names:
                    yield each.asname or each.name.partition(".")[0], ast.Import([each])
            case ast.ImportFrom():
                for each in node.names:
                    alone = ast.ImportFrom(node.module, [each], node.level)
                    yield each.asname or each.name, alone
            case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
                yield node.name, node
            case ast.Assign(targets=[ast.Name(id=name)], value=ast.Lambda()):
                yield name, node
            case ast.Try() | ast.ExceptHandler():
                yield from _defining(ast.iter_child_nodes(node))
