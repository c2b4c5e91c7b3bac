"""Where the book's files are, and how to read a notebook."""

import ast
import json
import re
from pathlib import Path

ROOT = Path(__file__).parent.parent
CHAPTERS = sorted((ROOT / "book").glob("*.ipynb"))
# What belittles the reader's effort.
BELITTLING = r"\b(simply|just|obviously|of course|easy|easily)\b"


def read_cells(path: Path, cell_type: str = "") -> list[dict]:
    """Return a notebook's cells, or those of one type, source joined to one string."""
    notebook = json.loads(path.read_text(encoding="utf-8"))
    cells = [c for c in notebook["cells"] if cell_type in ("", c["cell_type"])]
    return [cell | {"source": "".join(cell["source"])} for cell in cells]


def definitions(chapter: str, *wanted: str, **names: object) -> dict:
    """Return what a chapter's code cells define under these names.

    `names` are what the definitions use besides each other.
    """
    (path,) = (path for path in CHAPTERS if path.name.startswith(chapter))
    for cell in read_cells(path, "code"):
        if cell["source"].startswith("%%"):
            continue  # the first line of a solution is no Python
        for node in ast.parse(cell["source"]).body:
            if getattr(node, "name", "") in wanted:
                exec(compile(ast.Module([node], []), path.name, "exec"), names)
    assert {*wanted} <= names.keys(), f"{path.name} no longer defines all of {wanted}"
    return names


def tags(cell: dict) -> list[str]:
    """Return a cell's tags."""
    return cell["metadata"].get("tags", [])


def glossary_entries() -> dict[str, str]:
    """Return the entries of the glossary by their English names."""
    text = (ROOT / "book" / "glossary.md").read_text(encoding="utf-8")
    entries = re.split(r"^## ", text, flags=re.M)[1:]
    return {entry.splitlines()[0]: entry for entry in entries}
