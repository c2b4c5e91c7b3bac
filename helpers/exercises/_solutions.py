"""Solutions, found where they are written: in the chapters' notebooks."""

import json
import re
from pathlib import Path

from helpers.exercises._registry import find

BOOK = Path(__file__).parents[2] / "book"  # there in a checkout


class Solution(str):
    """The source of a solution, or where it is to be found.

    A notebook shows it as highlighted code.
    """

    found = False

    def __repr__(self) -> str:
        return str(self)

    def _repr_markdown_(self) -> str:
        return f"```python\n{self}\n```" if self.found else str(self)


def solution(exercise: str) -> Solution:
    """Return the source of an exercise's solution.

    Raises
    ------
    ValueError
        If there is no such exercise.
    """
    chapter, _, number = find(exercise).name.partition(".")
    for path in sorted(BOOK.glob(f"{chapter}-*.ipynb")):
        cells = _solution_cells(path, number)
        if cells:
            answer = Solution("\n\n\n".join(cells))
            answer.found = True
            return answer
    return Solution(
        f"The solution of {exercise} is in the chapter's notebook, in the folded "
        "cells below the exercise. If there are none, you have a classroom's "
        "edition: your teacher has it."
    )


def _solution_cells(path: Path, number: str) -> list[str]:
    """Return the sources of one exercise's solution cells."""
    found, inside = [], False
    for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]:
        source = "".join(cell["source"])
        if cell["cell_type"] == "markdown":
            for heading in re.findall(r"^##+ .*$", source, flags=re.M):
                inside = heading.startswith(f"### Exercise {number}:")
        elif inside and "solution" in cell["metadata"].get("tags", ()):
            found.append(source)
    return found
