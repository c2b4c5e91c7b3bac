"""The cell magic ``%%solution``: a solution runs, touches nothing, stays closed.

A cell that begins with ``%%solution 05.3`` runs in a copy of the notebook's names:
it may call its answer `my_train`, as the task does, and the reader's `my_train`
stays what it is. Its code, and what it printed and drew, open at a click.
"""

import base64
import html
import re
from itertools import takewhile
from typing import Any

from IPython import get_ipython
from IPython.core.magic import no_var_expand
from IPython.utils.capture import RichOutput, capture_output
from pygments import highlight
from pygments.formatters import HtmlFormatter
from pygments.lexers import PythonLexer

from helpers.exercises._registry import find

PICTURE = '<p><img src="data:{kind};base64,{data}" alt="{text}" style="{style}"></p>'
PICTURE_STYLE = "max-width: 100%; height: auto"
TEXT = '<pre style="overflow-x: auto">{}</pre>'


class SolutionCells:
    """What runs the solution cells of one notebook.

    Parameters
    ----------
    shell : InteractiveShell
        The notebook's IPython.
    """

    def __init__(self, shell: Any) -> None:
        self.shell = shell
        # Of each exercise the cells that have run, and the names that they made: a
        # solution of two cells goes on where the first one ended.
        self.ran: dict[str, list[tuple[str, dict[str, Any]]]] = {}

    @no_var_expand
    def solution(self, line: str, cell: str) -> None:
        """Run a cell that begins with ``%%solution NN.M``.

        If the next line is ``# Seen: ...``, it says what there is to see in the
        cell's figure. It stands there, and not in the line of the magic, because
        JupyterLab shows the first line of a folded cell.

        Raises
        ------
        Exception
            Whatever the cell raises: a solution that fails stops the notebook.
        """
        name, seen = line.strip(), re.match(r"# Seen: (.+)\n", cell)
        alternative = seen[1] if seen else ""
        cell = cell[seen.end() :] if seen else cell
        before = self.shell.user_ns | self._earlier(find(name).name, cell)
        namespace = dict(before)
        file = self.shell.compile.cache(cell)  # for tracebacks, and for inspect
        with capture_output() as shown:
            exec(compile(cell, file, "exec"), namespace)
        parts = [TEXT.format(html.escape(text)) for text in _printed(shown)]
        parts += [_as_html(output, alternative) for output in shown.outputs]
        again = ", continued" if self.ran[name] else ""
        made = {k: v for k, v in namespace.items() if before.get(k, before) is not v}
        self.ran[name].append((cell, made))
        bundle = {
            "text/html": (
                f'<details class="solution"><summary>Solution{again}: click to open'
                f"</summary>\n{_highlighted(cell)}{''.join(parts)}</details>"
            ),
            "text/plain": f'solution("{name}") shows the solution of {name}.',
        }
        self.shell.display_pub.publish(bundle)

    def _earlier(self, name: str, cell: str) -> dict[str, Any]:
        """Return the names made by those solution cells that stand above this one."""
        runs = self.ran.setdefault(name, [])
        runs[:] = takewhile(lambda run: run[0] != cell, runs)  # it runs again
        return {k: v for _, made in runs for k, v in made.items()}


def register() -> None:
    """Make the magic known to IPython, if this is a notebook."""
    shell = get_ipython()
    if shell is not None:
        cells = SolutionCells(shell)
        shell.register_magic_function(cells.solution, "cell", "solution")


def _printed(shown: Any) -> list[str]:
    """Return what was printed; of a progress bar, its last state."""
    texts = (re.sub(r"[^\n]*\r(?!\n)", "", t) for t in (shown.stdout, shown.stderr))
    return [text for text in texts if text.strip()]


def _highlighted(code: str) -> str:
    return str(highlight(code, PythonLexer(), HtmlFormatter()))


def _as_html(output: RichOutput, alternative: str) -> str:
    """Return what a cell displayed as HTML that needs no file."""
    for kind in ("image/svg+xml", "image/png"):
        if kind in output.data:
            data = output.data[kind]
            if kind == "image/svg+xml":
                data = base64.b64encode(data.encode()).decode()
            text = html.escape(alternative)
            return PICTURE.format(kind=kind, data=data, text=text, style=PICTURE_STYLE)
    if "text/html" in output.data:
        return str(output.data["text/html"])
    return TEXT.format(html.escape(output.data.get("text/plain", "")))
