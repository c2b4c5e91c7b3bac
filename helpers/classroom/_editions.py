"""Editions of the notebooks, each in one zip with all that they need."""

import copy
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from helpers import __version__
from helpers.classroom._chapters import (
    METADATA,
    PACKAGE,
    Chapter,
    ClassroomError,
    is_solution,
    nbgrader_mark,
    read_chapters,
)
from helpers.files import write_zip

LEFT_OUT = {"__pycache__", ".ipynb_checkpoints", ".ruff_cache", ".DS_Store"}
REQUIREMENTS = "# The last line is this folder's own package.\njupyterlab>=4\n-e .{}\n"
DIRECTIVE = re.compile(r"^(`{3,}|:{3,})\{.*?^\1$", flags=re.M | re.S)
INSTEAD = "*Here the book's site has something to try out in the browser.*"


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
    text = _text(f"{edition}.md").replace("| CHAPTERS |", "\n".join(rows))
    yield "README.md", text.encode()
    extra = "[teach]" if edition == "instructor" else ""
    yield "requirements.txt", REQUIREMENTS.format(extra).encode()
    root = PACKAGE.parent
    package = sorted(path for path in PACKAGE.rglob("*") if path.is_file())
    for path in (root / "pyproject.toml", root / "LICENSE", *package):
        inside = path.relative_to(root)
        if path.exists() and not LEFT_OUT & set(inside.parts):
            yield inside.as_posix(), path.read_bytes()
    left_out = {"index.md"} | ({"teaching.md"} if edition == "student" else set())
    for path in sorted(book.glob("*.md")):
        if path.name not in left_out:
            page = DIRECTIVE.sub(INSTEAD, path.read_text(encoding="utf-8"))
            yield f"book/{path.name}", page.encode()
    for stem, chapter in chapters.items():
        path = book / f"{stem}.ipynb"
        notebook = json.loads(path.read_text(encoding="utf-8"))
        make = student_notebook if edition == "student" else instructor_notebook
        made = json.dumps(make(notebook, chapter), ensure_ascii=False, indent=1)
        yield f"book/{path.name}", (made + "\n").encode()


def student_notebook(notebook: dict[str, Any], chapter: Chapter) -> dict[str, Any]:
    """Return a chapter without its solutions, marked for handing in.

    What stands between the heading of the exercises and the first of them says how
    to work with the book's edition; here it is this edition's own text.
    """
    made = _marked(notebook, chapter, "student")
    made["cells"] = [cell for cell in made["cells"] if not is_solution(cell)]
    text = _text("exercises.md").replace("NN", chapter.stem[:2]) + "\n"
    head = re.compile(r"^## Exercises$.*?(?=^### |\Z)", flags=re.M | re.S)
    for cell in made["cells"]:
        if cell["cell_type"] == "markdown":
            source = head.sub(lambda _: text, "".join(cell["source"]))
            cell["source"] = source.rstrip("\n").splitlines(keepends=True)
    return made


def instructor_notebook(notebook: dict[str, Any], chapter: Chapter) -> dict[str, Any]:
    """Return a chapter with its solutions, and the hints below them."""
    from helpers.exercises import find  # brings torch, which grading does without

    made = _marked(notebook, chapter, "instructor")
    last = {e.solutions[-1]["id"]: e.name for e in chapter.exercises if e.solutions}
    cells = []
    for cell in made["cells"]:
        cells.append(cell)
        if name := last.get(cell.get("id")):
            text = f'**For the teacher: the hints that `hint("{name}")` gives**\n\n'
            text += "".join(f"1. {hint}\n" for hint in find(name).hints)
            note = {"cell_type": "markdown", "metadata": {"tags": ["teaching"]}}
            cells.append(note | {"id": f"{cell['id']}-note"[-64:], "source": text})
    return made | {"cells": cells}


def _marked(notebook: dict[str, Any], chapter: Chapter, edition: str) -> dict[str, Any]:
    """Return a copy that names chapter and edition, with nbgrader's marks."""
    made = copy.deepcopy(notebook)
    about = {"chapter": chapter.stem, "edition": edition, "version": __version__}
    made["metadata"][METADATA] = about
    marks = {}
    for exercise in chapter.exercises:
        marks[exercise.check["id"]] = nbgrader_mark(exercise.name, "check")
        marks[exercise.stubs[-1]["id"]] = nbgrader_mark(exercise.name, "answer")
    for cell in made["cells"]:
        cell["metadata"] |= marks.get(cell.get("id"), {})
    return made


def _text(name: str) -> str:
    """Return one of the texts beside this module."""
    return Path(__file__).with_name(name).read_text(encoding="utf-8")
