"""Solutions, found where they are written: in the chapters' notebooks."""

import json
import re
from pathlib import Path

from helpers.exercises._registry import find
from helpers.exercises._result import Shown

BOOK = Path(__file__).parents[2] / "book"  # there in a checkout


class Solution(Shown):
    """The source of a solution, or where it is to be found.

    A notebook shows it as highlighted code.
    """

    found = False

    def _repr_markdown_(self) -> str:
        return f"```python\n{self}\n```" if self.found else str(self)


def solution(exercise: str) -> Solution:
    """Return the source of an exercise's solution.

    Raises
    ------
    ValueError
        If there is no such exercise.
    """
    name = find(exercise).name
    for path in sorted(BOOK.glob(f"{name[:2]}-*.ipynb")):
        cells = _solution_cells(path, name)
        if cells:
            answer = Solution("\n\n\n".join(cells))
            answer.found = True
            return answer
    return Solution(
        f"The solution of {name} is in the chapter's notebook, in the folded "
        "cells below the exercise. If there are none, you have a classroom's "
        "edition: your teacher has it."
    )


def _solution_cells(path: Path, name: str) -> list[str]:
    """Return one exercise's solution cells, without the magic and what is seen."""
    found = []
    for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]:
        magic, _, code = "".join(cell["source"]).partition("\n")
        if cell["cell_type"] == "code" and magic.split()[:2] == ["%%solution", name]:
            found.append(re.sub(r"\A# Seen: .*\n", "", code))
    return found
