"""Cells that begin with %%solution, in a kernel as JupyterLab starts it."""

import html
import re
from copy import deepcopy

import nbformat
import pytest
from book_files import CHAPTERS, ROOT
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError
from nbformat.v4 import new_code_cell, new_notebook

CHECK = "application/vnd.pytorch-by-hand.check+json"


def run(cells):
    """Return the cells after "Run All", each with its outputs."""
    notebook = new_notebook(cells=[deepcopy(cell) for cell in cells])
    resources = {"metadata": {"path": str(ROOT / "book")}}
    client = NotebookClient(
        notebook, timeout=300, kernel_name="python3", resources=resources
    )
    return client.execute().cells


def run_code(*sources):
    head = "from helpers.exercises import check, hint, solution"
    return [cell.outputs for cell in run(map(new_code_cell, [head, *sources]))[1:]]


def shown_by(outputs):
    """Return what a solution shows: one output, all of it closed."""
    (output,) = outputs
    page = output["data"]["text/html"]
    assert re.fullmatch(r'<details class="solution"><summary>.*</details>', page, re.S)
    assert page.count("<details") == 1
    return page


def status(outputs):
    (output,) = outputs
    return output["data"][CHECK]["status"]


def test_run_all_makes_no_wrong_answer_right():
    """A wrong answer to the first exercise, none to the others, and then Run All."""
    cells = nbformat.read(CHAPTERS[0], as_version=4).cells
    checks = [c for c in cells if "check" in c.metadata.get("tags", ())]
    name = re.search(r"my_\w+", checks[0].source)[0]
    cells.insert(cells.index(checks[0]), new_code_cell(f"{name} = 'a wrong answer'"))
    again = [new_code_cell(cell.source, metadata=cell.metadata) for cell in checks]
    done = run([*cells, *again])
    for cell in done:
        if "solution" in cell.metadata.get("tags", ()):
            shown_by(cell.outputs)
    where_it_stands = [c for c in done if "check" in c.metadata.get("tags", ())]
    verdicts = [status(cell.outputs) for cell in where_it_stands]
    expected = ["wrong"] + ["empty"] * (len(checks) - 1)
    assert verdicts == expected * 2, "below the answer, and after everything has run"


def test_the_readers_names_stay_and_the_cells_of_one_solution_go_together():
    first = "%%solution 01.1\nmy_shapes = n = n + 1\nprint('made', my_shapes)"
    *_, once, again, second, other, mine = run_code(
        "my_shapes, n = 'mine', 1",
        first,
        first,  # run once more: from the reader's names, not from its own
        "%%solution 01.1\nprint('goes on with', my_shapes)\nseen_by = lambda: n",
        "%%solution 01.2\nprint('has', my_shapes)",
        "print(my_shapes, n, 'seen_by' in globals())",
    )
    assert "made 2" in shown_by(once)
    assert "made 2" in shown_by(again)
    assert "goes on with 2" in shown_by(second)
    assert "<summary>Solution: " in shown_by(again)
    assert "<summary>Solution, continued: " in shown_by(second)
    assert "has mine" in shown_by(other)
    assert mine[0]["text"] == "mine 1 False\n"


def test_what_a_solution_prints_and_draws_opens_with_it():
    seen = 'A line that rises from $0 to {n}, "steeply".'
    draws = f"""%%solution 01.2
# Seen: {seen}
import sys
import matplotlib.pyplot as plt
plt.plot([0, 1])
plt.show()
print("1 < 2")
print("10 %\\r90 %\\rdone", file=sys.stderr)
display(3.5)
"""
    (outputs,) = run_code(draws)
    page = shown_by(outputs)
    assert f'alt="{html.escape(seen)}"' in page
    assert re.search(r'<img src="data:image/(png|svg\+xml);base64,\w', page)
    assert "1 &lt; 2" in page
    assert "done" in page
    assert "90 %" not in page.partition("</div>")[2], "only a bar's last state"
    assert ">3.5</pre>" in page
    code = re.sub(r"<[^>]+>", "", page)
    assert "plt.plot([0, 1])" in code
    assert "%%solution" not in code
    assert "# Seen" not in code, "it is the picture's text alternative"
    assert outputs[0]["data"]["text/plain"].count("\n") == 0


@pytest.mark.parametrize(
    ("cell", "told"),
    [
        ("%%solution 01.1\nassert check('01.1', None).status == 'right'", "AssertionE"),
        ("%%solution 01.9\n1", "there is no exercise 01.9"),
    ],
)
def test_a_solution_that_fails_stops_the_notebook(cell, told):
    with pytest.raises(CellExecutionError, match=told):
        run_code(cell)
