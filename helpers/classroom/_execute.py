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

from helpers.classroom._chapters import METADATA
from helpers.exercises._result import MIME_TYPE

SETUP_SECONDS = 1_800  # for a cell of the chapter's own
LONGEST = 20_000  # characters that a cell may print


class ExecuteAnswers(Execute):
    """Runs the chapter's code and a student's answers.

    A kernel that ends takes with it what comes after, and nothing else. A check
    cell whose value is not the book's own gets no point.
    """

    def preprocess(self, nb: Any, resources: Any = None, km: Any = None) -> Any:
        """Run all cells, then write a verdict into each check cell."""
        self.broken = self.ended = ""  # what is wrong with the chapter, the kernel
        self.errors: dict[str, tuple[str, str]] = {}
        nb, resources = super().preprocess(nb, resources, km)
        for cell in filter(is_grade, nb.cells):
            cell.outputs = [self._verdict(cell)]
        return nb, resources

    def preprocess_cell(self, cell: Any, resources: Any, index: int) -> Any:
        """Run a cell, unless there is no kernel any more."""
        exercise = cell.metadata.get(METADATA, "")
        if cell.cell_type != "code" or self.broken or self.ended:
            return cell, resources
        self.log.info("exercise %s", exercise)
        self.timeout_func = lambda _: self.timeout if exercise else SETUP_SECONDS
        self.printed = 0
        try:
            super().preprocess_cell(cell, resources, index)
        except DeadKernelError:
            self.ended = f"its process ended in exercise {exercise}"
        except CellTimeoutError:
            self.ended = f"exercise {exercise} took too long and could not be stopped"
        error = next((o for o in cell.outputs if o.output_type == "error"), None)
        if not exercise:
            if error or self.ended:
                self.broken = _told(error) if error else "its process ended"
            cell.outputs = []  # the chapter's figures are no feedback
        elif error and not is_grade(cell):
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

    def _verdict(self, cell: Any) -> Any:
        """Return the one output of a check cell: its points, and why."""
        exercise = cell.metadata[METADATA]
        result, message = "not graded", "The check gave no result."
        points, shown = "0.0", ""
        for output in cell.outputs:
            said = output.get("data", {}).get(MIME_TYPE, {})
            if said.get("exercise") == exercise:
                result, message = said["status"], said["message"]
                points, shown = output.data["text/plain"], output.data["text/html"]
            elif output.output_type == "error":
                result, message = self._about(cell, output)
        if self.broken:
            message = f"The chapter's own code does not run here: {self.broken}"
        elif self.ended and result == "not graded":
            message = f"The notebook cannot be graded further: {self.ended}."
        elif exercise in self.errors and result != "right":
            before = message if shown and result == "wrong" else ""
            result, message = self.errors[exercise]
            message, shown = f"{message} {before}".strip(), ""
        shown = shown or f"<p>{html.escape(f'{exercise} {result}. {message}')}</p>"
        made = new_output("execute_result", {"text/plain": points, "text/html": shown})
        found = {"exercise": exercise, "result": result, "message": message[:2_000]}
        made.metadata[METADATA] = found
        return made


def _told(error: Any) -> str:
    return f"{error.ename}: {' '.join(error.evalue.split())[:300]}".rstrip(": ")
