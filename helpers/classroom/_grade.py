"""Grades a folder of what was handed in, from the files to the tables."""

import csv
import hashlib
import os
import re
from collections import Counter
from collections.abc import Iterable
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

from helpers.classroom._chapters import (
    OWN_CODE,
    Chapter,
    ClassroomError,
    Exercise,
    read_chapters,
)
from helpers.classroom._collect import HandIn, Student, collect
from helpers.classroom._course import Course, Limits, graded_copy
from helpers.files import locked

RESULTS = ["right", "wrong", "empty", "stopped", "not graded"]
FORMULA = tuple("=+-@\uff1d\uff0b\uff0d\uff20")  # a spreadsheet may run what begins so


class Row(NamedTuple):
    """One exercise of one student, or a file that is not graded."""

    name: str
    number: str
    chapter: str
    exercise: str
    result: str
    points: float | str
    message: str
    file: str


def grade(folder: Path, book: Path, limits: Limits, only: str) -> Path:
    """Grade what is below a folder and has not been graded yet.

    The checks come from `book`, and `only` names the chapter that is expected, such
    as "01", if it is only one. The folder returned holds the course and the tables.

    Raises
    ------
    ClassroomError
        If a folder cannot be used, or nbgrader is missing or fails.
    """
    if find_spec("nbgrader") is None:
        install = 'python -m pip install -e ".[teach]"'
        raise ClassroomError(f"grading needs nbgrader: {install}")
    if not folder.is_dir():
        raise ClassroomError(f"{folder} is no folder")
    chapters = {stem: c for stem, c in read_chapters(book).items() if c.exercises}
    asked = only.zfill(2)
    expected = next((s for s in chapters if only and asked in (s, s[:2])), "")
    if only and not expected:
        known = ", ".join(chapters)
        raise ClassroomError(f"there is no chapter {only!r}; choose from {known}")
    folder = Path(os.path.abspath(folder))  # without any ".." at its end
    if not folder.name:
        raise ClassroomError(f"{folder} is a whole drive: put hand-ins into a folder")
    out = folder.with_name(f"{folder.name}-grading")
    try:
        course = Course(out, limits)
        with locked(out / ".lock", timeout=0):
            _grade(course, collect(folder, chapters, expected), chapters)
    except TimeoutError:
        raise ClassroomError(f"another process is grading into {out}") from None
    except OSError as error:
        where = error.filename or out
        raise ClassroomError(f"{where}: {error.strerror or error}") from error
    return out


def _grade(course: Course, handed: list[HandIn], chapters: dict[str, Chapter]) -> None:
    ids = _ids({one.student: None for one in handed})
    work = {(ids[one.student], one.chapter): one for one in handed if not one.result}
    for job, one in work.items():
        copy = graded_copy(chapters[one.chapter], one.answers)
        course.put("submitted", *job, copy)
    jobs = [job for job in work if not _is_final(course.results(job))]
    about = f"{len(ids)} students, {len(work)} notebooks, {len(jobs)} to grade."
    print(about, flush=True)
    stems = sorted({stem for _, stem in work})
    for stem in stems:
        course.put("source", ".", stem, graded_copy(chapters[stem], {}))
        if not course.path("release", ".", stem).exists():
            course.call("generate_assignment", stem)
    try:
        for done, job in enumerate(course.grade(jobs), start=1):
            counts = Counter(r["result"] for r in course.results(job).values())
            found = ", ".join(f"{n} {result}" for result, n in counts.items())
            told = found or f"not graded: {course.problem(job)}"
            name = safe(work[job].student.name)
            print(f"[{done} of {len(jobs)}] {name}, {job[1]}: {told}", flush=True)
        for stem in stems:
            if any(course.folder.glob(f"autograded/*/{stem}")):
                course.call("generate_feedback", stem)
    finally:
        rows = []
        for one in handed:
            rows += _rows(course, ids[one.student], one, chapters)
        exercises = [e for stem in stems for e in chapters[stem].exercises]
        _write_tables(course.folder, rows, exercises)


def _is_final(results: dict[str, dict[str, str]]) -> bool:
    """Tell whether a notebook was graded, and did not fail before any exercise.

    One that failed there may succeed with more time or memory.
    """
    found = results.values()
    return bool(found) and not any(OWN_CODE in said["message"] for said in found)


def _ids(students: Iterable[Student]) -> dict[Student, str]:
    """Return a name for each student that is safe in paths and on command lines."""
    ids = {}
    for student in students:
        slug = re.sub(r"\W+", "-", f"{student.name} {student.number}").strip("-_")
        ids[student] = slug[:60] or "student"
    counts = Counter(name.casefold() for name in ids.values())
    for student, name in ids.items():
        if counts[name.casefold()] > 1:
            mark = hashlib.sha256(repr(student).encode()).hexdigest()[:6]
            ids[student] = f"{name}-{mark}"
    return ids


def _rows(
    course: Course, student: str, one: HandIn, chapters: dict[str, Chapter]
) -> list[Row]:
    who = one.student.name, one.student.number
    if one.result:
        return [Row(*who, "", "", one.result, "", one.why, one.file)]
    job = student, one.chapter
    results = course.results(job)
    points = course.points(job, one.student.name) if results else {}
    nothing = {"result": "not graded", "message": course.problem(job)}
    rows = []
    for name in (exercise.name for exercise in chapters[one.chapter].exercises):
        said = results.get(name, nothing)
        result, its = said["result"], points.get(name, "")
        row = Row(*who, one.chapter, name, result, its, said["message"], one.file)
        rows.append(row)
    return rows


# --- The tables -----------------------------------------------------------------------


def _write_tables(folder: Path, rows: list[Row], exercises: list[Exercise]) -> None:
    """Write a row for each exercise and each student, and what the class knows."""
    _write(folder / "exercises.csv", Row._fields, rows)
    names = [exercise.name for exercise in exercises]
    of_student: dict[tuple[str, ...], list[Row]] = {}
    for row in rows:
        of_student.setdefault(row[:2], []).append(row)
    # With these names, Moodle imports the table as a grading worksheet.
    head = ["Full name", "Identifier", *names, "Grade", "Maximum Grade"]
    head += ["Last modified (grade)", "not graded"]
    lines = [[*who, *_sums(its, names)] for who, its in of_student.items()]
    _write(folder / "gradebook.csv", head, lines)
    head = ["exercise", "title", *RESULTS, "commonest message", "times"]
    _write(folder / "class.csv", head, [_of_class(e, rows) for e in exercises])


def _sums(its: list[Row], names: list[str]) -> list[object]:
    """Return what the gradebook says of a student."""
    points = {row.exercise: row.points for row in its if row.exercise}
    total = round(sum(p for p in points.values() if isinstance(p, float)), 4)
    missing = sum(row.result == "not graded" for row in its)
    return [*(points.get(n, "") for n in names), total, len(names), "", missing]


def _of_class(exercise: Exercise, rows: list[Row]) -> list[object]:
    """Return what the view of the class says of an exercise."""
    its = [row for row in rows if row.exercise == exercise.name]
    counts = Counter(row.result for row in its)
    wrong = [row.message for row in its if row.result == "wrong"]
    times = Counter(map(_pattern, wrong))
    commonest = max(wrong, key=lambda message: times[_pattern(message)], default="")
    line = [exercise.name, exercise.title, *(counts[result] for result in RESULTS)]
    return [*line, commonest, times[_pattern(commonest)]]


def _pattern(message: str) -> str:
    """Return a message without what differs from one student to the next."""
    return re.sub(r"`[^`]*`|\d[\d.,]*", "…", message)


def _write(path: Path, head: Iterable[str], lines: Iterable[Iterable[object]]) -> None:
    # The mark at the start tells spreadsheets that this is UTF-8.
    with path.open("w", encoding="utf-8-sig", errors="replace", newline="") as file:
        for line in (head, *lines):
            safely = [safe(x) if isinstance(x, str) else x for x in line]
            csv.writer(file).writerow(safely)


def safe(text: str) -> str:
    """Return a text that is safe in a table and on a terminal.

    It is one line, not too long, and no spreadsheet takes it for a formula.
    """
    text = "".join(c if c.isprintable() else " " for c in text)
    text = " ".join(text.split())[:500]
    return f"'{text}" if text.startswith(FORMULA) else text
