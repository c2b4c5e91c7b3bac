"""What a chapter's notebook holds."""

import json
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

PACKAGE = Path(__file__).parent.parent
BOOK = PACKAGE.parent / "book"  # there in a checkout and in an edition
METADATA = "pytorch_by_hand"  # where a notebook or a cell says what it belongs to
OWN_CODE = "the chapter's own code"  # where something went wrong before any exercise

HEADING = re.compile(r"^### Exercise (\d+): (.+)$", flags=re.M)
TITLE = re.compile(r"^# (.+)$", flags=re.M)

Cell = dict[str, Any]


class ClassroomError(Exception):
    """Something cannot be done; the message says what, and what to do."""


@dataclass
class Exercise:
    """One exercise: name ("01.1"), title, text, and its code cells."""

    name: str
    title: str
    text: Cell
    check: Cell = field(default_factory=dict)
    stubs: list[Cell] = field(default_factory=list)
    solutions: list[Cell] = field(default_factory=list)

    def cells(self) -> list[Cell]:
        """Return its cells, without the heading's."""
        return [*self.stubs, self.check, *self.solutions]


@dataclass
class Chapter:
    """A chapter: its file without ending, its title, the code before the exercises."""

    stem: str
    title: str = ""
    setup: list[Cell] = field(default_factory=list)
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
    chapter = Chapter(path.stem)
    exercise: Exercise | None = None
    try:
        cells = read_cells(path.read_bytes())
    except ClassroomError as error:
        raise ClassroomError(f"{path}: {error}") from None
    if any(cell["id"] == "None" for cell in cells):
        why = "its cells have no ids: copy them into a new notebook of JupyterLab 4"
        raise ClassroomError(f"{path}: {why}")
    for cell in cells:
        if cell["cell_type"] == "markdown":
            if heading := HEADING.search(cell["source"]):
                name = f"{path.stem[:2]}.{heading[1]}"
                exercise = Exercise(name, heading[2].strip(), cell)
                chapter.exercises.append(exercise)
            elif not chapter.title and (title := TITLE.search(cell["source"])):
                chapter.title = title[1].strip()
        elif exercise is None:
            chapter.setup.append(cell)
        elif is_solution(cell):
            exercise.solutions.append(cell)
        elif cell["source"].startswith("check("):
            exercise.check = cell
        else:
            exercise.stubs.append(cell)
    for each in chapter.exercises:
        if not (each.stubs and each.check):
            needs = "needs a cell for the answer, and one that begins with check("
            raise ClassroomError(f"{path}: exercise {each.name} {needs}")
    return chapter


def read_cells(content: bytes) -> list[Cell]:
    """Return the cells of a notebook, whatever its encoding: types, ids and sources.

    Raises
    ------
    ClassroomError
        If it is no notebook. The message says what it is instead.
    """
    try:
        return [
            {
                "cell_type": cell["cell_type"],
                "id": str(cell.get("id")),  # old notebooks and Colab's have none
                "source": _source(cell),
            }
            for cell in json.loads(content)["cells"]
        ]
    except Exception as error:  # whatever a damaged file may raise
        why = f"this is no notebook, or only a part of one: {error}"
        why = "this is a PDF" if content.startswith(b"%PDF") else why
        raise ClassroomError(why) from None


def _source(cell: Cell) -> str:
    """Return what stands in a cell; indented code stays so, as IPython runs it."""
    text = "".join(cell["source"]).replace("\r\n", "\n").rstrip().lstrip("\n")
    return text.encode(errors="replace").decode()  # half an emoji cannot be saved


def is_solution(cell: Cell) -> bool:
    """Tell whether a cell is one of a solution's: its first line is a magic."""
    return "".join(cell["source"]).startswith("%%solution")


def nbgrader_mark(exercise: str, kind: str) -> dict[str, Any]:
    """Return the metadata that makes a cell an "answer" or a "check" for nbgrader."""
    is_check = kind == "check"
    mark: dict[str, Any] = {"schema_version": 3, "task": False, "locked": is_check}
    mark |= {"grade_id": f"exercise-{exercise.replace('.', '-')}-{kind}"}
    mark |= {"grade": is_check, "solution": not is_check}
    mark |= {"points": 1} if is_check else {}
    return {"nbgrader": mark}
