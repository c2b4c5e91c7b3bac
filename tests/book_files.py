"""Where the book's files are, and how to read a notebook."""

import json
from pathlib import Path

ROOT = Path(__file__).parent.parent
NOTEBOOKS = sorted((ROOT / "book").glob("*.ipynb"))
CHAPTERS = [path for path in NOTEBOOKS if path.name[:2].isdigit()]


def read_cells(path: Path, cell_type: str) -> list[dict]:
    """Return a notebook's cells of one type, source joined to one string."""
    notebook = json.loads(path.read_text(encoding="utf-8"))
    cells = [cell for cell in notebook["cells"] if cell["cell_type"] == cell_type]
    return [cell | {"source": "".join(cell["source"])} for cell in cells]
