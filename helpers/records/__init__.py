"""What was measured: by which program, when, and on what machine.

Each JSON file beside this one was written by a program in ``tests/benchmarks/``
of the book's repository. Chapters read it where measuring would take too long.
"""

import json
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent


def names() -> list[str]:
    """Return the names of all records, in alphabetical order."""
    return sorted(path.stem for path in FOLDER.glob("*.json"))


def read(name: str) -> dict[str, Any]:
    """Return a record.

    Parameters
    ----------
    name : str
        The file's name without its ending, such as "digits".

    Raises
    ------
    ValueError
        If there is no record of this name.
    """
    if name not in names():
        raise ValueError(f"there is no record {name!r}, only {', '.join(names())}")
    text = (FOLDER / f"{name}.json").read_text(encoding="utf-8")
    content: dict[str, Any] = json.loads(text)
    return content
