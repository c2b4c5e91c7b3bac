"""Finds what was handed in: whose it is, which chapter, and what counts."""

import io
import os
import re
import stat
import time
import unicodedata
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from helpers.classroom._chapters import (
    Cell,
    Chapter,
    NotANotebook,
    answers,
    cells_of,
    chapter_of,
    load,
)

LARGEST = 50 << 20  # bytes of a file; figures in a notebook take some
MOST = 2_000  # files in a zip
SHOWN = 20  # other files of a student, one by one
SKIPPED = re.compile(r"\.|__MACOSX$|__pycache__$|site-packages$|Thumbs\.db$")
MOODLE = re.compile(r"(.+)_(\d+)_assignsubmission_")
CANVAS = re.compile(r"([^_]+)_(?:LATE_)?(\d{3,})_\d{3,}_")
COPY = re.compile(r"( ?\(\d+\)|[ -]+Copy ?\d*)$")  # as browsers and Jupyter name them

# Parts of a file's name, when it was written, and the notebook or what it is instead.
File = tuple[tuple[str, ...], tuple[int, ...], dict[str, Any] | str]


@dataclass(frozen=True)
class Student:
    """A name, and what Moodle ("Participant 77") or Canvas ("77") calls the student."""

    name: str
    number: str = ""


@dataclass
class Work:
    """What one student handed in.

    Attributes
    ----------
    chapters : dict of str to (str, dict)
        What counts: by the chapter, the notebook's file and the answers in it.
    rest : list of (str, str, str)
        Of each other file: its name, a result, and the reason.
    """

    chapters: dict[str, tuple[str, dict[str, list[Cell]]]] = field(default_factory=dict)
    rest: list[tuple[str, str, str]] = field(default_factory=list)


def collect(
    folder: Path, chapters: dict[str, Chapter], only: str = ""
) -> dict[Student, Work]:
    """Return what each student handed in, in the order of names.

    Of several notebooks of one chapter the newest counts; of equally new ones the
    last by name, where "(10)" comes after "(2)". Links are not followed, so that
    nothing outside the folder is read.
    """
    names = [p.name for p in folder.iterdir() if p.is_dir() and not p.is_symlink()]
    students = {_student((name, ""), chapters): Work() for name in names if _kept(name)}
    for parts, _, content in sorted(_files(folder), key=_age):
        work = students.setdefault(_student(parts, chapters), Work())
        _put(work, "/".join(parts), content, chapters, only)
    for work in students.values():
        touched = {stem for stem in work.chapters if _is_touched(work, chapters[stem])}
        for stem in set(work.chapters) - touched if touched else ():
            work.rest.append((work.chapters.pop(stem)[0], "not used", "unchanged"))
        if not work.chapters and all(row[1] == "not used" for row in work.rest):
            there = ", ".join(Path(file).name for file, _, _ in work.rest[:3])
            why = "no notebook was handed in" + (f"; there is {there}" if there else "")
            work.rest.insert(0, ("", "not graded", why))
        if len(work.rest) > SHOWN:
            more = f"{len(work.rest) - SHOWN} more files"
            work.rest[SHOWN:] = [(more, "not used", "too many to list")]
    return dict(sorted(students.items(), key=lambda item: item[0].name.casefold()))


def _put(
    work: Work,
    file: str,
    content: dict[str, Any] | str,
    chapters: dict[str, Chapter],
    only: str,
) -> None:
    """Note a file among what counts, or among the rest with the reason."""
    try:
        if isinstance(content, str):
            raise NotANotebook(content)
        stem = chapter_of(content, file, chapters)
        if only and stem != only:
            raise NotANotebook(f"this is {stem}, and {only} was asked for")
    except NotANotebook as error:
        is_meant = ".ipynb" in Path(file).name.lower()
        row = (file, "not graded" if is_meant else "not used", str(error))
        work.rest.insert(0 if is_meant else len(work.rest), row)
        return
    if stem in work.chapters:
        older = work.chapters[stem][0]
        work.rest.append((older, "not used", f"another one counts: {file}"))
    work.chapters[stem] = file, answers(content["cells"], chapters[stem])


def _is_touched(work: Work, chapter: Chapter) -> bool:
    stubs = {c["source"].strip() for e in chapter.exercises for c in e.stubs}
    cells = [c for found in work.chapters[chapter.stem][1].values() for c in found]
    return any(cell["source"].strip() not in stubs for cell in cells)


def _files(folder: Path) -> Iterator[File]:
    for parent, folders, files in os.walk(folder):
        folders[:] = filter(_kept, folders)
        for path in (Path(parent, name) for name in filter(_kept, files)):
            parts, when = path.relative_to(folder).parts, (0,) * 6
            try:
                state = path.lstat()
                when = time.localtime(state.st_mtime)[:6]
                if stat.S_ISREG(state.st_mode):
                    with path.open("rb") as file:
                        yield from _opened(parts, when, file, 0)
                else:
                    yield parts, when, "this is a link or a device, no file"
            except OSError as error:
                yield parts, when, f"it cannot be read: {error.strerror or error}"


def _opened(
    parts: tuple[str, ...], when: tuple[int, ...], file: IO[bytes], depth: int
) -> Iterator[File]:
    """Yield a file, or what is in it if it is a zip, and in the zips in that."""
    content = file.read(LARGEST + 1)
    if len(content) > LARGEST:
        yield parts, when, f"it is larger than {LARGEST >> 20} MB"
    elif depth > 3 or not content.startswith(b"PK\x03\x04"):
        try:
            notebook = load(content)
            yield parts, when, notebook | {"cells": cells_of(notebook)}
        except NotANotebook as error:
            yield parts, when, str(error)
    else:
        try:
            with zipfile.ZipFile(io.BytesIO(content)) as archive:
                for entry in archive.infolist()[:MOST]:
                    names = re.split(r"[/\\]+", entry.filename)
                    if not entry.is_dir() and all(map(_kept, names)):
                        with archive.open(entry) as inner:
                            inside = (*parts, *names)
                            yield from _opened(
                                inside, entry.date_time, inner, depth + 1
                            )
        except Exception as error:  # whatever a damaged zip may raise
            yield parts, when, f"this zip cannot be opened: {error}"


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
    name = re.split(endings, names[0], flags=re.I)[0]
    for stem in chapters if len(names) == 1 else ():
        name = COPY.sub("", name).replace(stem, "").strip(" -_.") or name
    return Student(name)
