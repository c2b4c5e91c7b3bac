"""What a chapter's notebook holds, and what a student made of it."""

import ast
import json
import re
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from IPython.core.inputtransformer2 import TransformerManager

PACKAGE = Path(__file__).parent.parent
BOOK = PACKAGE.parent / "book"  # there in a checkout and in an edition
METADATA = "pytorch_by_hand"  # where a notebook or a cell says what it belongs to

HEADING = re.compile(r"^### Exercise (\d+): (.+)$", flags=re.M)
CHECK = re.compile(r"\bcheck\(\s*[\"'](\d\d\.\d+)[\"']")
HELP = {"check", "hint", "quiz", "solution"}  # calls that are no part of an answer

Cell = dict[str, Any]


class ClassroomError(Exception):
    """Something cannot be done; the message says what, and what to do."""


class NotANotebook(ClassroomError):
    """A file cannot be read as a notebook of this book."""


@dataclass
class Exercise:
    """One exercise: name ("01.1"), title, text, and its code cells."""

    name: str
    title: str
    text: str
    check: Cell = field(default_factory=dict)
    stubs: list[Cell] = field(default_factory=list)
    solutions: list[Cell] = field(default_factory=list)


@dataclass
class Chapter:
    """A chapter as the book has it: file name without ending, title, cells."""

    stem: str
    title: str
    cells: list[Cell]
    setup: list[Cell] = field(default_factory=list)  # code before the exercises
    exercises: list[Exercise] = field(default_factory=list)


def read_chapters(book: Path) -> dict[str, Chapter]:
    """Return all chapters in order, by file name without ending.

    Raises
    ------
    ClassroomError
        If there are none.
    """
    files = sorted(book.glob("[0-9][0-9]-*.ipynb"))
    if not files:
        raise ClassroomError(f"there are no chapters in {book}: name their folder")
    return {path.stem: read_chapter(path) for path in files}


def read_chapter(path: Path) -> Chapter:
    """Read one of the book's own notebooks."""
    cells = cells_of(load(path.read_bytes()))
    chapter = Chapter(path.stem, _title(cells), cells)
    current: Exercise | None = None
    for cell in cells:
        source = cell["source"]
        if cell["cell_type"] == "markdown":
            for number, title in HEADING.findall(source):
                name = f"{path.stem[:2]}.{number}"
                current = Exercise(name, title.strip(), source)
                chapter.exercises.append(current)
            if current and re.search(r"^## ", source, re.M) and not _headings(cell):
                break
        elif current is None:
            chapter.setup += [cell] if cell["cell_type"] == "code" else []
        elif is_solution(cell):
            current.solutions.append(cell)
        elif CHECK.search(source):
            current.check = cell
        else:
            current.stubs.append(cell)
    return chapter


def is_solution(cell: Cell) -> bool:
    """Tell whether a cell is one of a solution's: by its tag, or by its magic."""
    tags = cell.get("metadata", {}).get("tags")
    tagged = isinstance(tags, list) and "solution" in tags
    return tagged or "".join(cell["source"]).startswith("%%solution")


def nbgrader_mark(exercise: str, kind: str) -> dict[str, Any]:
    """Return the metadata that makes a cell an "answer" or a "check" for nbgrader."""
    is_check = kind == "check"
    mark: dict[str, Any] = {"schema_version": 3, "task": False, "locked": is_check}
    mark |= {"grade_id": f"exercise-{exercise.replace('.', '-')}-{kind}"}
    mark |= {"grade": is_check, "solution": not is_check}
    mark |= {"points": 1} if is_check else {}
    return {"nbgrader": mark}


# --- What was handed in -----------------------------------------------------------


def load(content: bytes) -> dict[str, Any]:
    """Return a notebook, whatever its encoding.

    Raises
    ------
    NotANotebook
        If it is none. The message says what it is instead.
    """
    try:
        notebook = json.loads(content)  # UTF-8 with a mark at its start or not, UTF-16
        if isinstance(notebook["cells"], list):
            return dict(notebook)
    except (LookupError, TypeError):
        pass
    except (ValueError, RecursionError) as error:
        kinds = {b"": "the file is empty", b"%PDF": "this is a PDF"}
        known = kinds.get(content.strip()[:4])
        if isinstance(error, UnicodeDecodeError):
            known = known or "this is no notebook: it is not text"
        why = known or f"this is no notebook, or only a part of one: {error}"
        raise NotANotebook(why) from None
    raise NotANotebook("this is no notebook: it has no list of cells")


def cells_of(notebook: dict[str, Any]) -> list[Cell]:
    """Return a notebook's cells with their types, sources, ids and metadata.

    What is missing or of a wrong type is replaced by something empty.
    """
    cells: list[Cell] = []
    for cell in notebook["cells"]:
        if isinstance(cell, dict):
            source = cell.get("source")
            lines = source if isinstance(source, list) else [source]
            text = "".join(line for line in lines if isinstance(line, str))
            kind, metadata = cell.get("cell_type"), cell.get("metadata")
            one: Cell = {"cell_type": kind, "source": text.replace("\r\n", "\n")}
            one["id"] = cell["id"] if isinstance(cell.get("id"), str) else ""
            one["metadata"] = metadata if isinstance(metadata, dict) else {}
            cells.append(one)
    return cells


def chapter_of(
    notebook: dict[str, Any], file: str, chapters: dict[str, Chapter]
) -> str:
    """Return which chapter a notebook is of.

    What the notebook says of itself counts before what its file is called.

    Raises
    ------
    NotANotebook
        If it is no chapter of this book.
    """
    cells = cells_of(notebook)
    code = "\n".join(cell["source"] for cell in cells if cell["cell_type"] == "code")
    numbers = Counter(name[:2] for name in CHECK.findall(code)).most_common()
    starts = Counter(cell["id"].rpartition("-")[0] for cell in cells).most_common()
    title = _title(cells)
    signs: list[str] = [
        *(stem for number, _ in numbers for stem in chapters if stem[:2] == number),
        *(stem for stem, _ in starts),
        *(stem for stem in chapters if title and title == chapters[stem].title),
        *(stem for stem in chapters if stem in file),
    ]
    metadata = notebook.get("metadata")
    named = metadata.get(METADATA) if isinstance(metadata, dict) else None
    if isinstance(named, dict):
        signs.insert(0, str(named.get("chapter")))
    for stem in signs:
        if stem in chapters:
            return stem
    raise NotANotebook("this is a notebook, but no chapter of the book")


def answers(cells: list[Cell], chapter: Chapter) -> dict[str, list[Cell]]:
    """Return the code cells that a student wrote for each exercise, by its name.

    A cell belongs to the exercise whose heading it stands under. Where a heading
    was deleted, the book's ids tell, or the check below. Under "" stands what was
    added above the exercises and later cells may need: imports, functions, classes.
    """
    there = {f"{chapter.stem[:2]}.{n}" for cell in cells for n in _headings(cell)}
    of_exercises = [(e, c) for e in chapter.exercises for c in (*e.stubs, e.check)]
    by_id = {cell["id"]: exercise.name for exercise, cell in of_exercises}
    others = [c for c in chapter.cells if c["id"] not in by_id]
    ids, sources = {c["id"] for c in others}, {c["source"].strip() for c in others}
    known = set().union(*(_bound(cell["source"]) for cell in chapter.setup))

    def place(cell: Cell) -> tuple[str, str]:
        """Return an exercise, and what shows that the cell belongs to it."""
        if _headings(cell):
            return f"{chapter.stem[:2]}.{_headings(cell)[-1]}", "heading"
        names = CHECK.findall(cell["source"]) if cell["cell_type"] == "code" else []
        name = names[-1] if names else by_id.get(cell["id"], "")
        return ("", "") if name in there else (name, "check" if names else "id")

    places = [place(cell) for cell in cells]
    found: dict[str, list[Cell]] = {"": []}
    name = kind = ""
    for index, cell in enumerate(cells):
        is_book, is_edited = cell["source"].strip() in sources, cell["id"] in ids
        if places[index][0]:
            name, kind = places[index]
        elif kind in ("", "check") and not is_book and not is_edited:
            after = next((p for p in places[index:] if p[0]), ("", "heading"))
            name, kind = (name, kind) if after[1] == "heading" else after
        if cell["cell_type"] != "code" or is_solution(cell) or is_help(cell["source"]):
            continue
        if name in there or (name and not is_book and not is_edited):
            found.setdefault(name, []).append(cell)
        elif not is_book:  # in a cell of the book, what the book defines stays so
            added = _definitions(cell["source"], known if is_edited else set())
            found[""] += [cell | {"source": added}] if added else []
    return found


def is_help(source: str) -> bool:
    """Tell whether a cell does nothing but call check, hint and the like."""
    calls = [getattr(node, "value", None) for node in _parsed(source)]
    names = [getattr(getattr(call, "func", None), "id", "") for call in calls]
    return not source.strip() or bool(names) and set(names) <= HELP


def _title(cells: list[Cell]) -> str:
    prose = (cell["source"] for cell in cells if cell["cell_type"] == "markdown")
    found = re.search(r"^# (.+)$", "\n".join(prose), flags=re.M)
    return found[1].strip() if found else ""


def _headings(cell: Cell) -> list[str]:
    is_prose = cell["cell_type"] == "markdown"
    return [n for n, _ in HEADING.findall(cell["source"])] if is_prose else []


def _parsed(source: str) -> list[ast.stmt]:
    """Return a cell's statements; magics and commands of the shell become calls."""
    source = re.sub(r"\A%%(time|timeit|capture|prun)\b.*\n", "", source)
    try:
        return ast.parse(TransformerManager().transform_cell(source)).body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return []  # it will say so when it is run


def _bound(source: str) -> set[str]:
    return set().union(*map(_names, _parsed(source)))


def _definitions(source: str, known: set[str]) -> str:
    """Return a cell's imports, functions and classes that bind a name not known."""
    kept = _only_definitions(_parsed(source))
    kept = [node for node in kept if not _names(node) <= known]
    return ast.unparse(ast.Module(kept, type_ignores=[]))


def _only_definitions(statements: list[ast.stmt]) -> list[ast.stmt]:
    for node in statements:
        if isinstance(node, ast.Try):  # such as an import with a way out
            blocks: list[ast.Try | ast.ExceptHandler] = [node, *node.handlers]
            for block in blocks:
                block.body = _only_definitions(block.body) or [ast.Pass()]
            node.orelse = _only_definitions(node.orelse)
            node.finalbody = _only_definitions(node.finalbody)
    return [node for node in statements if _names(node)]


def _names(node: ast.stmt) -> set[str]:
    """Return the names that a definition binds; none for other statements."""
    match node:
        case ast.Import() | ast.ImportFrom():
            return {(a.asname or a.name).partition(".")[0] for a in node.names}
        case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
            return {node.name}
        case ast.Assign(value=ast.Lambda()):
            return {t.id for t in node.targets if isinstance(t, ast.Name)}
        case ast.Try():
            handlers = [inner for handler in node.handlers for inner in handler.body]
            return set().union(*map(_names, [*node.body, *handlers, *node.orelse]))
    return set()
