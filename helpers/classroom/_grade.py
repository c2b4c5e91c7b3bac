"""Grades a folder of what was handed in, from the files to the tables."""

import csv
import hashlib
import io
import re
import sys
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from helpers.classroom._chapters import Chapter, ClassroomError, read_chapters
from helpers.classroom._collect import Student, Work, collect
from helpers.classroom._course import Course, Limits, graded_copy
from helpers.files import locked, replacing

RESULTS = ["right", "wrong", "empty", "stopped", "not graded"]
FORMULA = "=+-@\uff1d\uff0b\uff0d\uff20"  # a spreadsheet may run what begins so


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


def grade(folder: Path, out: Path, book: Path, limits: Limits, only: str = "") -> None:
    """Grade what is below a folder and has not been graded yet.

    Course and tables are made in the folder `out`, the checks come from `book`, and
    `only` names the chapter that is expected, such as "01", if it is only one.

    Raises
    ------
    ClassroomError
        If a folder cannot be used, or nbgrader fails.
    """
    if not folder.is_dir():
        raise ClassroomError(f"{folder} is no folder")
    chapters = {stem: c for stem, c in read_chapters(book).items() if c.exercises}
    expected = next((s for s in chapters if only and s.startswith(only)), "")
    if only and not expected:
        known = ", ".join(chapters)
        raise ClassroomError(f"there is no chapter {only!r}; choose from {known}")
    try:
        course = Course(out, limits)
        with locked(out / ".lock", timeout=0):
            _grade(course, collect(folder, chapters, expected), chapters)
    except TimeoutError:
        raise ClassroomError(f"another process is grading into {out}") from None
    except OSError as error:
        where = error.filename or out
        raise ClassroomError(f"{where}: {error.strerror or error}") from error


def _grade(
    course: Course, students: dict[Student, Work], chapters: dict[str, Chapter]
) -> None:
    ids = _ids(students)
    stems = sorted({stem for work in students.values() for stem in work.chapters})
    names, jobs = {}, []
    for student, work in students.items():
        for stem, (_, answers) in work.chapters.items():
            job = ids[student], stem
            names[job] = student.name
            is_new = course.put("submitted", *job, graded_copy(chapters[stem], answers))
            jobs += [job] if is_new or not course.results(job) else []
    about = f"{len(students)} students, {len(names)} notebooks, {len(jobs)} to grade."
    print(about, flush=True)
    if not sys.platform.startswith("linux"):
        print("Note: this system sets no limit to the memory of a notebook.")
    for stem in stems:
        is_new = course.put("source", ".", stem, graded_copy(chapters[stem], {}))
        if is_new or not course.path("release", ".", stem).exists():
            course.call("generate_assignment", stem, "--force")
    try:
        for done, job in enumerate(course.grade(jobs), start=1):
            counts = Counter(r["result"] for r in course.results(job).values())
            found = ", ".join(f"{n} {result}" for result, n in counts.items())
            told = found or f"not graded: {course.problems[job]}"
            title = f"[{done} of {len(jobs)}] {safe(names[job])}, {job[1]}"
            print(f"{title}: {told}", flush=True)
        for stem in stems:
            if any(course.folder.glob(f"autograded/*/{stem}")):
                course.call("generate_feedback", stem, "--force")
    finally:
        rows = {
            student: _rows(course, student, ids[student], students[student], chapters)
            for student in students
        }
        _write_tables(course.folder, rows, [chapters[stem] for stem in stems])


def _ids(students: Iterable[Student]) -> dict[Student, str]:
    """Return a name for each student that is safe in paths and on command lines."""
    ids = {}
    for student in students:
        slug = re.sub(r"\W+", "-", f"{student.name} {student.number}").strip("-_")
        ids[student] = f"s{slug[:60]}" if slug[:1].isdecimal() else slug[:60] or "s"
    counts = Counter(name.casefold() for name in ids.values())
    for student, name in ids.items():
        if counts[name.casefold()] > 1:
            mark = hashlib.sha256(repr(student).encode()).hexdigest()[:6]
            ids[student] = f"{name}-{mark}"
    return ids


def _rows(
    course: Course,
    student: Student,
    name: str,
    work: Work,
    chapters: dict[str, Chapter],
) -> list[Row]:
    who, rows = (student.name, student.number), list[Row]()
    for stem, (file, _) in sorted(work.chapters.items()):
        results = course.results((name, stem))
        points = course.points((name, stem), student.name) if results else {}
        why = course.problems.get((name, stem), "it was not run yet")
        for e in (exercise.name for exercise in chapters[stem].exercises):
            said = results.get(e, {"result": "not graded", "message": why})
            result, its = said["result"], points.get(e, "")
            rows.append(Row(*who, stem, e, result, its, said["message"], file))
    return rows + [Row(*who, "", "", what, "", why, f) for f, what, why in work.rest]


# --- The tables -----------------------------------------------------------------------


def _write_tables(
    folder: Path, rows: dict[Student, list[Row]], chapters: list[Chapter]
) -> None:
    """Write a row for each exercise and each student, and what the class knows."""
    every = [row for student in rows for row in rows[student]]
    _write(folder / "exercises.csv", Row._fields, every)
    exercises = [exercise for chapter in chapters for exercise in chapter.exercises]
    names = [exercise.name for exercise in exercises]
    lines: list[list[object]] = []
    for student, its in rows.items():
        points = {row.exercise: row.points for row in its if row.exercise}
        missing = sum(row.result == "not graded" for row in its)
        total = sum(p for p in points.values() if isinstance(p, float))
        line = [student.name, student.number, *(points.get(n, "") for n in names)]
        lines.append([*line, round(total, 4), len(names), "", missing])
    # With these names, Moodle imports the table as a grading worksheet.
    head = ["Full name", "Identifier", *names, "Grade", "Maximum Grade"]
    head += ["Last modified (grade)", "not graded"]
    _write(folder / "gradebook.csv", head, lines)
    lines = []
    for exercise in exercises:
        its = [row for row in every if row.exercise == exercise.name]
        counts = Counter(row.result for row in its)
        said = Counter(_pattern(row.message) for row in its if row.result == "wrong")
        (pattern, times), *_ = said.most_common(1) or [("", 0)]
        shown = next((r.message for r in its if _pattern(r.message) == pattern), "")
        line = [exercise.name, exercise.title, *(counts[result] for result in RESULTS)]
        lines.append([*line, shown, times])
    head = ["exercise", "title", *RESULTS, "commonest message", "times"]
    _write(folder / "class.csv", head, lines)


def _pattern(message: str) -> str:
    """Return a message without what differs from one student to the next."""
    return re.sub(r"`[^`]*`|\d[\d.,]*", "…", message)


def _write(path: Path, head: Iterable[str], lines: Iterable[Iterable[object]]) -> None:
    with replacing(path) as file:
        # The mark at the start tells spreadsheets that this is UTF-8.
        text = io.TextIOWrapper(file, encoding="utf-8-sig", newline="")
        writer = csv.writer(text)
        writer.writerow(head)
        for line in lines:
            writer.writerow([safe(x) if isinstance(x, str) else x for x in line])
        text.detach()


def safe(text: str) -> str:
    """Return a text that is safe in a table and on a terminal.

    It is one line, not too long, and no spreadsheet takes it for a formula.
    """
    text = text.encode("utf-8", "replace").decode("utf-8")
    text = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    text = text if len(text) <= 500 else text[:499] + "…"
    return f"'{text}" if text.startswith(tuple(FORMULA)) else text
