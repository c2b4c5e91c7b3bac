"""Editions of the notebooks, each in one zip with all that they need."""

import json
import re
from collections.abc import Iterator
from pathlib import Path

from helpers import __version__
from helpers.classroom._chapters import (
    METADATA,
    PACKAGE,
    Cell,
    Chapter,
    ClassroomError,
    is_solution,
    nbgrader_mark,
    read_chapters,
)
from helpers.files import write_zip

HERE = Path(__file__).parent
REQUIREMENTS = "# The last line is this folder's own package.\njupyterlab>=4\n-e .{}\n"
DIRECTIVE = re.compile(r"^(`{3,}|:{3,})\{.*?^\1$", flags=re.M | re.S)
INSTEAD = "*Here the book's site has something to try out in the browser.*"
# What stands above the first exercise says how to work with the book's edition.
HEAD = re.compile(r"^## Exercises$.*?(?=^### |\Z)", flags=re.M | re.S)


def write_edition(edition: str, out: Path, book: Path, force: bool = False) -> Path:
    """Write an edition, "student" or "instructor", as a zip file, and return its path.

    Raises
    ------
    ClassroomError
        If the file is there already and `force` is not set, if it cannot be
        written, or if the folder `book` holds no chapters.
    """
    if out.suffix != ".zip":
        out = out.with_name(out.name + ".zip")
    if out.exists() and not force:
        raise ClassroomError(
            f"{out} is there already: name another file, or replace it with --force"
        )
    top = f"pytorch-by-hand-{edition}"
    files = [(f"{top}/{name}", content) for name, content in _files(edition, book)]
    try:
        write_zip(out, files)
    except OSError as error:
        why = error.strerror or error
        raise ClassroomError(f"{out} cannot be written: {why}") from error
    return out


def _files(edition: str, book: Path) -> Iterator[tuple[str, bytes]]:
    """Yield name and content of each file of an edition."""
    chapters = read_chapters(book)
    rows = [
        f"| [{chapter.title}](book/{stem}.ipynb) | {len(chapter.exercises)} |"
        for stem, chapter in chapters.items()
    ]
    text = HERE.joinpath(f"{edition}.md").read_text(encoding="utf-8")
    yield "README.md", text.replace("| CHAPTERS |", "\n".join(rows)).encode()
    extra = "[teach]" if edition == "instructor" else ""
    yield "requirements.txt", REQUIREMENTS.format(extra).encode()
    root = PACKAGE.parent
    for path in (
        root / "pyproject.toml",
        root / "LICENSE",
        *sorted(PACKAGE.rglob("*")),
    ):
        inside = path.relative_to(root)
        if path.is_file() and not re.search(
            r"(^|/)(\.|__pycache__)", inside.as_posix()
        ):
            yield inside.as_posix(), path.read_bytes()
    left_out = {"index.md"} | ({"teaching.md"} if edition == "student" else set())
    for path in sorted(book.glob("*.md")):
        if path.name not in left_out:
            page = DIRECTIVE.sub(INSTEAD, path.read_text(encoding="utf-8"))
            yield f"book/{path.name}", page.encode()
    for stem, chapter in chapters.items():
        path = book / f"{stem}.ipynb"
        yield f"book/{path.name}", _notebook(path, chapter, edition).encode()


def _notebook(path: Path, chapter: Chapter, edition: str) -> str:
    """Return a chapter with nbgrader's marks, and what differs between editions."""
    notebook = json.loads(path.read_bytes())
    about = {"chapter": chapter.stem, "edition": edition, "version": __version__}
    notebook["metadata"][METADATA] = about
    marks, last = dict[str, Cell](), dict[str, str]()
    for exercise in chapter.exercises:
        marks[exercise.check["id"]] = nbgrader_mark(exercise.name, "check")
        marks[exercise.stubs[-1]["id"]] = nbgrader_mark(exercise.name, "answer")
        last |= {cell["id"]: exercise.name for cell in exercise.solutions[-1:]}
    text = HERE.joinpath("exercises.md").read_text(encoding="utf-8")
    text = text.replace("NN", chapter.stem[:2]).rstrip()
    cells = []
    for cell in notebook["cells"]:
        cell["metadata"] |= marks.get(cell["id"], {})
        if edition == "instructor":
            cells += [cell, _hints(last[cell["id"]])] if cell["id"] in last else [cell]
        elif not is_solution(cell):
            source = HEAD.sub(lambda _: text, "".join(cell["source"]))
            cells.append(cell | {"source": source.splitlines(keepends=True)})
    made = notebook | {"cells": cells}
    return json.dumps(made, ensure_ascii=False, indent=1) + "\n"


def _hints(exercise: str) -> Cell:
    """Return a cell with an exercise's hints."""
    from helpers.exercises import find  # brings torch, which grading does without

    text = f'**For the teacher: the hints that `hint("{exercise}")` gives**\n\n'
    text += "".join(f"1. {hint}\n" for hint in find(exercise).hints)
    cell: Cell = {"cell_type": "markdown", "metadata": {"tags": ["teaching"]}}
    return cell | {"id": f"hints-{exercise.replace('.', '-')}", "source": text}
