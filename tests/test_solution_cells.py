"""Cells that begin with %%solution, in a kernel as JupyterLab starts it."""

import html
import re

import nbformat
import pytest
from book_files import CHAPTERS, ROOT, tags
from nbclient import NotebookClient
from nbformat.v4 import new_code_cell, new_notebook

CHECK = "application/vnd.pytorch-by-hand.check+json"
SEEN = 'A line that rises from $0 to {n}, "steeply".'
# Of chapter 2, since the solutions of chapter 1 have run before in this kernel.
FIRST = "%%solution 02.1\nmy_shapes = n = n + 1\nprint('made', my_shapes)"
OTHERS = {
    "names": "my_shapes, n = 'mine', 1",
    "once": FIRST,
    "again": FIRST,  # run once more: from the reader's names, not from its own
    "second": "%%solution 02.1\nprint('goes on with', my_shapes)\nseen_by = lambda: n",
    "other": "%%solution 02.2\nprint('has', my_shapes)",
    "mine": "print(my_shapes, n, 'seen_by' in globals())",
    "draws": f"""%%solution 02.2
# Seen: {SEEN}
import sys
import matplotlib.pyplot as plt
plt.plot([0, 1])
plt.show()
print("1 < 2")
print("10 %\\r90 %\\rdone", file=sys.stderr)
display(3.5)
""",
    "fails": "%%solution 01.1\nassert check('01.1', None).status == 'right'",
    "unknown": "%%solution 01.9\n1",
}


@pytest.fixture(scope="module")
def done():
    """Return the cells of chapter 1 after "Run All", and the outputs of the others.

    The reader gives a wrong answer to the first exercise and none to the rest, and
    runs the checks once more at the end.
    """
    cells = nbformat.read(CHAPTERS[0], as_version=4).cells
    plot = r"plt\.show\(|interactive\.explore\("  # the text's figures take time
    cells = [c for c in cells if "solution" in tags(c) or not re.search(plot, c.source)]
    checks = [c for c in cells if "check" in tags(c)]
    name = re.search(r"my_\w+", checks[0].source)[0]
    cells.insert(cells.index(checks[0]), new_code_cell(f"{name} = 'a wrong answer'"))
    cells += [new_code_cell(cell.source, metadata=cell.metadata) for cell in checks]
    may_fail = {"metadata": {"tags": ["raises-exception"]}}
    others = [new_code_cell(source, **may_fail) for source in OTHERS.values()]
    resources = {"metadata": {"path": str(ROOT / "book")}}
    client = NotebookClient(
        new_notebook(cells=cells + others),
        timeout=300,
        kernel_name="python3",
        resources=resources,
    )
    ran = client.execute().cells
    outputs = [cell.outputs for cell in ran[len(cells) :]]
    return ran[: len(cells)], dict(zip(OTHERS, outputs, strict=True))


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


def test_run_all_makes_no_wrong_answer_right(done):
    for cell in done[0]:
        if "solution" in tags(cell):
            shown_by(cell.outputs)
    checks = [c for c in done[0] if "check" in tags(c)]
    verdicts = [status(cell.outputs) for cell in checks]
    expected = ["wrong"] + ["empty"] * (len(checks) // 2 - 1)
    assert verdicts == expected * 2, "below the answer, and after everything has run"


def test_the_readers_names_stay_and_the_cells_of_one_solution_go_together(done):
    shown = done[1]
    assert "made 2" in shown_by(shown["once"])
    assert "made 2" in shown_by(shown["again"])
    assert "goes on with 2" in shown_by(shown["second"])
    assert "<summary>Solution: " in shown_by(shown["again"])
    assert "<summary>Solution, continued: " in shown_by(shown["second"])
    assert "has mine" in shown_by(shown["other"])
    assert shown["mine"][0]["text"] == "mine 1 False\n"


def test_what_a_solution_prints_and_draws_opens_with_it(done):
    outputs = done[1]["draws"]
    page = shown_by(outputs)
    assert f'alt="{html.escape(SEEN)}"' in page
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


def test_a_solution_that_fails_stops_the_notebook(done):
    told = {"fails": "AssertionError", "unknown": "there is no exercise 01.9"}
    for name, message in told.items():
        (error,) = [o for o in done[1][name] if o.output_type == "error"]
        assert message in error.ename + error.evalue
