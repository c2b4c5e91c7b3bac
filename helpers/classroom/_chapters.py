"""What a chapter's notebook holds, and what a student made of it."""

import ast
import json
import re
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

PACKAGE = Path(__file__).parent.parent
BOOK = PACKAGE.parent / "book"  # there in a checkout and in an edition
METADATA = "pytorch_by_hand"  # where an edition's notebook names its chapter

HEADING = re.compile(r"^### Exercise (\d+): (.+)$", flags=re.M)
CHECK = re.compile(r"\bcheck\(\s*[\"'](\d\d\.\d+)[\"']")
HELP = {"check", "hint", "solution"}  # calls that are no part of an answer
LARGEST = 50 << 20  # bytes of a notebook; figures in it take some

Cell = dict[str, Any]


class ClassroomError(Exception):
    """Something cannot be done; the message says what, and what to do."""


class NotANotebook(ClassroomError):
    """A file cannot be read as a notebook of this book."""


@dataclass
class Exercise:
    """One exercise of a chapter.

    Attributes
    ----------
    name : str
        Chapter and number, such as "01.1".
    title : str
        As in the heading.
    stubs, checks, solutions : list of dict
        Its code cells.
    """

    name: str
    title: str
    stubs: list[Cell] = field(default_factory=list)
    checks: list[Cell] = field(default_factory=list)
    solutions: list[Cell] = field(default_factory=list)


@dataclass
class Chapter:
    """A chapter as the book has it.

    Attributes
    ----------
    stem : str
        The file's name without its ending, such as "01-tensors".
    title : str
        The first heading.
    setup : list of str
        The code before the first exercise.
    exercises : list of Exercise
        In order.
    cells : list of dict
        All cells.
    """

    stem: str
    title: str
    setup: list[str]
    exercises: list[Exercise]
    cells: list[Cell]

    @property
    def checked(self) -> list[Exercise]:
        """The exercises that have a check."""
        return [exercise for exercise in self.exercises if exercise.checks]


def chapter_files(book: Path) -> list[Path]:
    """Return the chapters' notebooks, in order.

    Raises
    ------
    ClassroomError
        If there are none.
    """
    files = sorted(book.glob("[0-9][0-9]-*.ipynb"))
    if not files:
        raise ClassroomError(
            f"there are no chapters in {book}: run this in the book's folder, or name "
            f"the folder of the notebooks with --book"
        )
    return files


def read_chapter(path: Path) -> Chapter:
    """Read one of the book's own notebooks."""
    cells = cells_of(path.read_bytes())
    chapter = Chapter(path.stem, title_of(cells), [], [], cells)
    current: Exercise | None = None
    ended = False
    for cell in cells:
        source = cell["source"]
        if cell["cell_type"] == "markdown":
            for number, title in HEADING.findall(source):
                name = f"{path.stem[:2]}.{number}"
                current = Exercise(name, title.strip())
                chapter.exercises.append(current)
            if current and re.search(r"^## ", source, flags=re.M):
                ended = not HEADING.search(source)
        elif cell["cell_type"] == "code" and not ended:
            if current is None:
                chapter.setup.append(source)
            elif is_solution(cell):
                current.solutions.append(cell)
            elif CHECK.search(source):
                current.checks.append(cell)
            else:
                current.stubs.append(cell)
    return chapter


def is_solution(cell: Cell) -> bool:
    """Tell whether a cell is one of a solution's."""
    tags = cell.get("metadata", {}).get("tags")
    return isinstance(tags, list) and "solution" in tags


def title_of(cells: list[Cell]) -> str:
    """Return the first heading, or nothing."""
    for cell in cells:
        found = re.search(r"^# (.+)$", cell["source"], flags=re.M)
        if cell["cell_type"] == "markdown" and found:
            return found[1].strip()
    return ""


# --- What was handed in -----------------------------------------------------------


def load(content: bytes) -> dict[str, Any]:
    """Return a notebook's content.

    Raises
    ------
    NotANotebook
        If it is none. The message says what it is instead.
    """
    if not content.strip():
        raise NotANotebook("the file is empty")
    if len(content) > LARGEST:
        raise NotANotebook(f"the file is too large ({len(content) >> 20} MB)")
    if content.startswith(b"%PDF"):
        raise NotANotebook("this is a PDF, no notebook")
    if content.startswith(b"PK\x03\x04"):
        raise NotANotebook("this is a zip file (or an office document), no notebook")
    try:
        notebook = json.loads(content.decode("utf-8-sig"))
    except UnicodeDecodeError:
        raise NotANotebook("this is no notebook: it is not text") from None
    except RecursionError:
        raise NotANotebook("this is no notebook: it is nested too deeply") from None
    except ValueError as error:
        raise NotANotebook(
            f"this is no notebook, or only a part of one: {error}"
        ) from None
    if not isinstance(notebook, dict) or not isinstance(notebook.get("cells"), list):
        raise NotANotebook(
            "this is no notebook that can be read here: it has no list of cells. "
            "Open it in JupyterLab and save it again"
        )
    return notebook


def cells_of(content: bytes) -> list[Cell]:
    """Return a notebook's cells with their types, sources, ids and metadata.

    What is missing or of a wrong type is replaced by something empty.
    """
    return [_cleaned(cell) for cell in load(content)["cells"] if isinstance(cell, dict)]


def _cleaned(cell: Cell) -> Cell:
    source = cell.get("source", "")
    if isinstance(source, list):
        source = "".join(part for part in source if isinstance(part, str))
    metadata = cell.get("metadata")
    return {
        "cell_type": cell.get("cell_type"),
        "id": cell.get("id") if isinstance(cell.get("id"), str) else "",
        "source": source if isinstance(source, str) else "",
        "metadata": metadata if isinstance(metadata, dict) else {},
    }


def chapter_of(content: bytes, file_name: str, chapters: dict[str, Chapter]) -> str:
    """Return the stem of the chapter that a notebook is of.

    What the notebook says of itself counts before what its file is called.

    Raises
    ------
    NotANotebook
        If it is no notebook, or none of this book.
    """
    metadata = load(content).get("metadata")
    named = metadata.get(METADATA) if isinstance(metadata, dict) else None
    if isinstance(named, dict) and named.get("chapter") in chapters:
        return str(named["chapter"])
    cells = cells_of(content)
    by_number = {stem[:2]: stem for stem in chapters}
    code = "\n".join(cell["source"] for cell in cells if cell["cell_type"] == "code")
    numbers: Counter[str] = Counter(name[:2] for name in CHECK.findall(code))
    for number, _ in numbers.most_common():
        if number in by_number:
            return by_number[number]
    ids: Counter[str] = Counter(cell["id"].rsplit("-", 1)[0] for cell in cells)
    for stem, _ in ids.most_common():
        if stem in chapters:
            return stem
    title = title_of(cells)
    for chapter in chapters.values():
        if title and title == chapter.title or chapter.stem in file_name:
            return chapter.stem
    raise NotANotebook("this is a notebook, but no chapter of the book")


def answers(cells: list[Cell], chapter: Chapter) -> dict[str, list[str]]:
    """Return the code that a student wrote for each exercise.

    A cell belongs to the exercise whose heading it stands under. Where a
    heading was deleted, the cells' ids tell, or the check below. Checks are
    left out: they are the book's own.

    Returns
    -------
    dict of str to list of str
        By the exercise's name, the sources in order. Under "" what the student
        added above the exercises and later cells may need: imports, functions
        and classes.
    """
    headings = {f"{chapter.stem[:2]}.{n}" for cell in cells for n in _headings(cell)}
    by_id = {
        cell["id"]: exercise.name
        for exercise in chapter.exercises
        for cell in [*exercise.stubs, *exercise.checks]
        if exercise.name not in headings
    }
    exercises = {id(c) for e in chapter.exercises for c in (*e.stubs, *e.checks)}
    books_own = [cell for cell in chapter.cells if id(cell) not in exercises]
    own_ids = {cell["id"] for cell in books_own}
    own_sources = {cell["source"].strip() for cell in books_own}
    found: dict[str, list[str]] = {"": []}
    places = [_place(cell, chapter, by_id) for cell in cells]
    current = ""
    for index, cell in enumerate(cells):
        place, is_heading = places[index]
        is_own = cell["id"] in own_ids or cell["source"].strip() in own_sources
        if place and (is_heading or place not in headings):
            current = place
        elif cell["cell_type"] == "code" and current not in headings and not is_own:
            # With no heading above it, a cell goes with the check below it.
            current = _next_check(places[index:], headings) or current
        if cell["cell_type"] != "code" or is_solution(cell):
            continue  # the full book has solutions below the exercises
        if is_own and current not in headings:
            continue
        source = (without_help if current else definitions)(cell["source"])
        if source:
            found.setdefault(current, []).append(source)
    return found


def _headings(cell: Cell) -> list[str]:
    if cell["cell_type"] != "markdown":
        return []
    return [number for number, _ in HEADING.findall(cell["source"])]


def _place(cell: Cell, chapter: Chapter, by_id: dict[str, str]) -> tuple[str, bool]:
    """Return the exercise that a cell shows to be in, and whether by a heading."""
    numbers = _headings(cell)
    if numbers:
        return f"{chapter.stem[:2]}.{numbers[-1]}", True
    if cell["id"] in by_id:
        return by_id[cell["id"]], False
    checks = CHECK.findall(cell["source"]) if cell["cell_type"] == "code" else []
    return (checks[-1] if checks else ""), False


def _next_check(places: list[tuple[str, bool]], headings: set[str]) -> str:
    """Return the exercise of the next check, if no heading comes before it."""
    for place, is_heading in places:
        if place:
            return "" if is_heading or place in headings else place
    return ""


def without_help(source: str) -> str:
    """Return a cell's code without its calls of check, hint and solution."""
    if not any(f"{name}(" in source for name in HELP):
        return source if source.strip() else ""
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return source  # it will say so when it is run
    kept = [node for node in tree.body if not _is_help(node)]
    if len(kept) == len(tree.body):
        return source
    return ast.unparse(ast.Module(kept, type_ignores=[]))


def _is_help(node: ast.stmt) -> bool:
    return (
        isinstance(node, ast.Expr)
        and isinstance(node.value, ast.Call)
        and isinstance(node.value.func, ast.Name)
        and node.value.func.id in HELP
    )


def definitions(source: str) -> str:
    """Return the imports, functions and classes of a cell."""
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return ""
    kinds = (ast.Import, ast.ImportFrom, ast.FunctionDef, ast.ClassDef)
    kept: list[ast.stmt] = [node for node in tree.body if isinstance(node, kinds)]
    return ast.unparse(ast.Module(kept, type_ignores=[]))


def imports_for(chapter: Chapter, code: str) -> str:
    """Return the chapter's own imports of the names that some code uses.

    They are run again before each check, so that an answer that happens to
    define `check` is judged all the same.
    """
    used = {node.id for node in ast.walk(ast.parse(code)) if isinstance(node, ast.Name)}
    lines = []
    for source in chapter.setup:
        try:
            tree = ast.parse(source)
        except SyntaxError:  # a line such as %pip
            continue
        for node in tree.body:
            if isinstance(node, ast.Import | ast.ImportFrom):
                names = {alias.asname or alias.name for alias in node.names}
                if names & used:
                    lines.append(ast.unparse(node))
    return "\n".join(lines)
