"""Runs a graded copy inside nbgrader, and gives each check cell its points.

``nbgrader_config.py`` of a course names `ExecuteAnswers`, so that formgrader's own
button grades as the command does.
"""

import html
from typing import Any

from nbclient.exceptions import CellTimeoutError, DeadKernelError
from nbformat.v4 import new_output
from nbgrader.preprocessors import Execute
from nbgrader.utils import is_grade

from helpers.classroom._chapters import METADATA, OWN_CODE
from helpers.exercises._result import MIME_TYPE

SETUP_SECONDS = 1_800  # for a cell of the chapter's own
LONGEST = 20_000  # characters that a cell may print


class ExecuteAnswers(Execute):
    """Runs the chapter's code and a student's answers.

    A kernel that ends takes with it what comes after, and nothing else. A check
    cell whose value is not the book's own gets no point.
    """

    def preprocess(self, nb: Any, resources: Any = None, km: Any = None) -> Any:
        """Run all cells, then write a verdict on each check into the notebook."""
        self.over = ""  # why nothing more can be run
        self.errors: dict[str, tuple[str, str]] = {}
        nb.metadata[METADATA] = {}
        nb, resources = super().preprocess(nb, resources, km)
        for cell in filter(is_grade, nb.cells):
            exercise = cell.metadata[METADATA]
            result, message, output = self._verdict(cell, exercise)
            nb.metadata[METADATA][exercise] = {"result": result, "message": message}
            cell.outputs = [output]
        return nb, resources

    def preprocess_cell(self, cell: Any, resources: Any, index: int) -> Any:
        """Run a cell, unless nothing more can be run."""
        if cell.cell_type != "code" or self.over:
            return cell, resources
        exercise = cell.metadata.get(METADATA, "")
        where = f"exercise {exercise}" if exercise else OWN_CODE
        self.log.info("This is %s.", where)
        self.timeout_func = lambda _: self.timeout if exercise else SETUP_SECONDS
        self.printed = 0
        try:
            super().preprocess_cell(cell, resources, index)
        except DeadKernelError:
            self.over = f"its process ended in {where}"
        except CellTimeoutError:
            self.over = f"{where} took too long and could not be stopped"
        error = next((o for o in cell.outputs if o.output_type == "error"), None)
        if not exercise:
            cell.outputs = []  # the chapter's figures are no feedback
            if error:
                self.over = f"{where} does not run here: {_told(error)}"
        elif error and not self.over and not is_grade(cell):
            self.errors.setdefault(exercise, self._about(cell, error))
        return cell, resources

    def output(self, outs: Any, msg: Any, display_id: Any, cell_index: int) -> Any:
        """Keep an output, but not all of what is printed without end."""
        self.printed += len(msg["content"].get("text", ""))
        if msg["msg_type"] == "stream" and self.printed > LONGEST:
            return None
        return super().output(outs, msg, display_id, cell_index)

    def _about(self, cell: Any, error: Any) -> tuple[str, str]:
        """Return result and message of an answer that raised an error."""
        names = {o.ename for o in cell.outputs if o.output_type == "error"}
        if "CellTimeoutError" in names:
            return "stopped", f"It took longer than {self.timeout} seconds."
        if "MemoryError" in names or "can't allocate memory" in error.evalue:
            return "stopped", "It took more memory than a notebook may have."
        what = "The check ended with" if is_grade(cell) else "Your cell does not run:"
        return "wrong", f"{what} {_told(error)}"

    def _verdict(self, cell: Any, exercise: str) -> tuple[str, str, Any]:
        """Return result and message of a check, and its output with the points."""
        why = f"The notebook cannot be graded further: {self.over}."
        why = why if self.over else "The check gave no result."
        result, message = self.errors.get(exercise, ("not graded", why))
        points, shown = "0.0", ""
        for output in cell.outputs:
            said = output.get("data", {}).get(MIME_TYPE, {})
            if exercise in self.errors and said.get("status") in (None, "empty"):
                continue  # the answer's own error says why there is nothing
            if said.get("exercise") == exercise:
                result, message = said["status"], said["message"]
                points, shown = output.data["text/plain"], output.data["text/html"]
            elif output.output_type == "error":
                result, message = self._about(cell, output)
        shown = shown or f"<p>{html.escape(f'{exercise} {result}. {message}')}</p>"
        data = {"text/plain": points, "text/html": shown}
        return result, message, new_output("execute_result", data)


def _told(error: Any) -> str:
    return f"{error.ename}: {' '.join(error.evalue.split())[:300]}".rstrip(": ")
