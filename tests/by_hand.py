"""The small PyTorch of chapter 14, taken from the cells that make it up."""

import ast
from functools import cache
from types import SimpleNamespace

from book_files import ROOT, read_cells

CHAPTER = ROOT / "book" / "14-pytorch-by-hand.ipynb"


def library_cells() -> list[str]:
    """Return the sources of the cells with the tag "library"."""
    return [
        cell["source"]
        for cell in read_cells(CHAPTER, "code")
        if "library" in cell["metadata"].get("tags", ())
    ]


@cache
def library() -> SimpleNamespace:
    """Run these cells after the chapter's imports; return the names they make.

    They come out the same without the cells in between, which try them out.
    """
    first = ast.parse(read_cells(CHAPTER, "code")[0]["source"])
    imports = [n for n in first.body if isinstance(n, ast.Import | ast.ImportFrom)]
    names = {"__name__": "by_hand"}
    exec(compile(ast.Module(imports, []), "imports", "exec"), names)
    for source in library_cells():
        exec(compile(source, "a cell of chapter 14", "exec"), names)
    return SimpleNamespace(**names)
