"""Editions of the notebooks, each in one zip with all that they need."""

import ast
import copy
import inspect
import io
import json
import os
import re
import sys
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from helpers import __version__
from helpers.classroom._chapters import (
    METADATA,
    PACKAGE,
    Cell,
    Chapter,
    ClassroomError,
    Exercise,
    chapter_files,
    is_solution,
    read_chapter,
)

WHEN = (2000, 1, 1, 0, 0, 0)  # of all files: the same sources, the same zip
LEFT_OUT = {"__pycache__", ".ipynb_checkpoints", ".ruff_cache", ".DS_Store"}
REQUIREMENTS = """\
# All that the notebooks need. The last line is this folder's own package.
jupyterlab>=4
-e .
"""
FOR_STUDENTS = (
    "This is the student's edition. Your teacher has the solutions. Leave the cells "
    "with `check` as they are, and put all code of an answer between its heading and "
    "the next one: that is what counts when you hand this notebook in."
)


def write_edition(edition: str, out: Path, book: Path, force: bool = False) -> Path:
    """Write an edition as a zip file, all of it or nothing.

    Parameters
    ----------
    edition : {"student", "instructor"}
        Without solutions, or with them and with notes.
    out : Path
        The zip file.
    book : Path
        The folder of the book's notebooks.
    force : bool
        Whether a file of that name may be replaced.

    Returns
    -------
    Path
        The file that was written.

    Raises
    ------
    ClassroomError
        If the file is there already or cannot be written, or `book` holds no
        chapters.
    """
    if out.suffix != ".zip":
        out = out.with_name(out.name + ".zip")
    if out.exists() and not force:
        raise ClassroomError(
            f"{out} is there already: name another file, or replace it with --force"
        )
    content = _zipped(edition, book)
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=out.parent, delete=False) as file:
            partial = Path(file.name)
            try:
                file.write(content)
            except OSError:
                file.close()
                partial.unlink()
                raise
        partial.chmod(0o644)
        os.replace(partial, out)
    except OSError as error:
        raise ClassroomError(
            f"{out} cannot be written: {error.strerror or error}"
        ) from error
    return out


def _zipped(edition: str, book: Path) -> bytes:
    folder = f"pytorch-by-hand-{edition}"
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in _files(edition, book):
            entry = zipfile.ZipInfo(f"{folder}/{name}", WHEN)
            entry.external_attr = 0o644 << 16
            packed = zipfile.ZIP_STORED if name.endswith(".gz") else None
            archive.writestr(entry, content, packed or zipfile.ZIP_DEFLATED)
    return buffer.getvalue()


def _files(edition: str, book: Path) -> Iterator[tuple[str, bytes]]:
    """Yield name and content of each file of an edition."""
    chapters = [read_chapter(path) for path in chapter_files(book)]
    yield "README.md", _readme(edition, chapters).encode()
    yield "requirements.txt", REQUIREMENTS.encode()
    for name in ("pyproject.toml", "LICENSE"):
        path = PACKAGE.parent / name
        if path.exists():
            yield name, path.read_bytes()
    for path in sorted(PACKAGE.rglob("*")):
        inside = path.relative_to(PACKAGE)
        if path.is_file() and not LEFT_OUT & set(inside.parts):
            yield f"helpers/{inside.as_posix()}", path.read_bytes()
    left_out = {"index.md"} | ({"teaching.md"} if edition == "student" else set())
    for path in sorted(book.glob("*.md")):
        if path.name not in left_out:
            yield f"book/{path.name}", path.read_bytes()
    for path, chapter in zip(chapter_files(book), chapters, strict=True):
        notebook = json.loads(path.read_text(encoding="utf-8"))
        make = student_notebook if edition == "student" else instructor_notebook
        text = json.dumps(make(notebook, chapter), ensure_ascii=False, indent=1)
        yield f"book/{path.name}", (text + "\n").encode()


# --- Notebooks ----------------------------------------------------------------------


def student_notebook(notebook: dict[str, Any], chapter: Chapter) -> dict[str, Any]:
    """Return a chapter without its solutions, marked for handing in."""
    made = copy.deepcopy(notebook)
    made["cells"] = [cell for cell in made["cells"] if not is_solution(cell)]
    _mark(made, chapter, "student")
    for cell in made["cells"]:
        source = "".join(cell["source"])
        if cell["cell_type"] == "markdown" and "## Exercises\n" in source + "\n":
            _set_source(cell, _instructions(source))
    return made


def _instructions(source: str) -> str:
    """Return the head of the exercises without what it says of solutions."""
    before, heading, after = re.split(r"^(## Exercises)$", source, flags=re.M)
    task = re.search(r"^### ", after, flags=re.M)
    start = task.start() if task else len(after)
    instructions, rest = after[:start], after[start:]
    sentences = re.split(r"(?<=[.?!])\s+", instructions.strip())
    kept = " ".join(text for text in sentences if "solution" not in text.lower())
    parts = [heading, kept, FOR_STUDENTS, rest]
    return before + "\n\n".join(part for part in parts if part)


def instructor_notebook(notebook: dict[str, Any], chapter: Chapter) -> dict[str, Any]:
    """Return a chapter with its solutions, and notes below them."""
    made = copy.deepcopy(notebook)
    _mark(made, chapter, "instructor")
    last = {
        exercise.solutions[-1]["id"]: exercise
        for exercise in chapter.exercises
        if exercise.solutions
    }
    cells = []
    for cell in made["cells"]:
        cells.append(cell)
        note = _note(last[cell["id"]]) if cell.get("id") in last else ""
        if note:
            added = {"cell_type": "markdown", "metadata": {"tags": ["teaching"]}}
            added |= {"id": f"{cell['id']}-note"[-64:], "source": []}
            _set_source(added, note)
            cells.append(added)
    made["cells"] = cells
    return made


def _mark(notebook: dict[str, Any], chapter: Chapter, edition: str) -> None:
    """Name chapter and edition, and mark cells as nbgrader does."""
    notebook["metadata"][METADATA] = {
        "chapter": chapter.stem,
        "edition": edition,
        "version": __version__,
    }
    marks: dict[str, tuple[str, bool]] = {}
    for exercise in chapter.exercises:
        for kind, cells in (("answer", exercise.stubs), ("check", exercise.checks)):
            for number, cell in enumerate(cells, start=1):
                suffix = f"-{number}" if number > 1 else ""
                name = f"exercise-{exercise.name.replace('.', '-')}-{kind}{suffix}"
                marks[cell["id"]] = (name, kind == "check")
    for cell in notebook["cells"]:
        if cell.get("id") not in marks:
            continue
        name, is_check = marks[cell["id"]]
        mark = {"grade_id": name, "schema_version": 3, "task": False}
        mark |= {"grade": is_check, "locked": is_check, "solution": not is_check}
        cell["metadata"]["nbgrader"] = mark | ({"points": 1} if is_check else {})


def _set_source(cell: Cell, text: str) -> None:
    cell["source"] = text.splitlines(keepends=True)


# --- What the instructor's edition adds -----------------------------------------------


def _note(exercise: Exercise) -> str:
    """Return what a teacher wants to know about an exercise, or nothing."""
    try:
        from helpers.exercises import find

        known = find(exercise.name)
    except (ImportError, ValueError):
        return ""
    parts = [f"**For the teacher: exercise {exercise.name}**"]
    if known.hints:
        hints = (f"{n}. {text}" for n, text in enumerate(known.hints, start=1))
        parts += ["The hints, one at a time:", "\n".join(hints)]
    remarks = remarks_of(known.judge)
    if remarks:
        listed = "\n".join(f"- {text}" for text in remarks)
        parts += ["What the check says to wrong answers:", listed]
    return "\n\n".join(parts) if len(parts) > 1 else ""


def remarks_of(judge: Callable[..., object]) -> list[str]:
    """Return what a check may say of a wrong answer, from its source.

    That is the text of each `Wrong` which the judge or a function that it calls
    in its module raises, of what such functions return, and of the sentences in
    what they name `remarks` or `known`. What is only known when an answer is there
    stands as "…".
    """
    try:
        module = sys.modules[judge.__module__]
        tree = ast.parse(inspect.getsource(module))
    except (KeyError, OSError, TypeError, SyntaxError):
        return []
    functions = {n.name: n for n in tree.body if isinstance(n, ast.FunctionDef)}
    found: list[str] = []
    waiting, seen = [judge.__name__], set()
    while waiting:
        name = waiting.pop(0)
        if name in seen or name not in functions:
            continue
        seen.add(name)
        for node in ast.walk(functions[name]):
            texts: list[str | None] = []
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
                waiting.append(node.func.id)
                if node.func.id == "Wrong" and node.args:
                    texts = [_literal(node.args[0])]
            elif isinstance(node, ast.Return) and name != judge.__name__:
                texts = [_literal(node.value)]
            elif isinstance(node, ast.Assign | ast.AnnAssign) and _is_remarks(node):
                texts = [_sentence(text) for text in _literals(node.value)]
            for text in texts:
                if text and len(re.sub(r"\W|…", "", text)) > 12 and text not in found:
                    found.append(text)
    return found


def _is_remarks(node: ast.Assign | ast.AnnAssign) -> bool:
    targets = node.targets if isinstance(node, ast.Assign) else [node.target]
    return any(
        isinstance(t, ast.Name) and t.id in ("remarks", "known") for t in targets
    )


def _sentence(text: str) -> str | None:
    """Return a text of several words; what is only the end of one begins with "…"."""
    if " " not in text:
        return None
    return f"… {text}" if text[0].islower() else text


def _literals(node: ast.AST | None) -> Iterator[str]:
    """Yield all texts in an expression, each in one piece."""
    text = _literal(node) if isinstance(node, ast.expr) else None
    if text is not None:
        yield text
        return
    if node is None:
        return
    for child in ast.iter_child_nodes(node):
        yield from _literals(child)


def _literal(node: ast.expr | None) -> str | None:
    """Return a text as it is written, with "…" for what is put in later."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return " ".join(node.value.split())
    if isinstance(node, ast.JoinedStr):
        parts = (
            str(v.value) if isinstance(v, ast.Constant) else "…" for v in node.values
        )
        return " ".join("".join(parts).split())
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        left, right = _literal(node.left), _literal(node.right)
        return (
            None if left is None and right is None else f"{left or '…'}{right or '…'}"
        )
    return None


# --- The read-me ----------------------------------------------------------------------


def _readme(edition: str, chapters: list[Chapter]) -> str:
    rows = "\n".join(
        f"| [{chapter.title}](book/{chapter.stem}.ipynb) | {_time(chapter)} | "
        f"{len(chapter.exercises)} |"
        for chapter in chapters
    )
    grading = """
## Grade

Put what was handed in into a folder, and run

```bash
python -m helpers.classroom grade FOLDER
```

The page [Teaching with this book](book/teaching.md) says the rest.
"""
    whose = "student" if edition == "student" else "instructor"
    return f"""\
# PyTorch by Hand: the {whose}'s edition

You need Python 3.11 or newer. In this folder, run one command, once:

```bash
python -m pip install -r requirements.txt
```

(Better into a virtual environment of its own: `python -m venv .venv`, and then
activate it.) From then on you need no network: the digits are in this folder.

```bash
python -m jupyter lab book
```

Does something not work? `python -m helpers.doctor` says what is wrong.

| chapter | time | exercises |
|---|---|---|
{rows}
{grading if edition == "instructor" else ""}"""


def _time(chapter: Chapter) -> str:
    """Return what a chapter's opening says about its time."""
    for cell in chapter.cells:
        found = re.search(r"\*\*Time\*\*([^.]+)", cell["source"])
        if cell["cell_type"] == "markdown" and found:
            return " ".join(found[1].replace("|", " ").split())
    return ""
