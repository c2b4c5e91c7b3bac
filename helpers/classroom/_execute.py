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
from traitlets import Integer

from helpers.classroom._chapters import METADATA
from helpers.exercises._result import MIME_TYPE

LONGEST = 20_000  # characters that a cell may print
OWN = {"right", "wrong", "empty"}  # what a check may say


class ExecuteAnswers(Execute):
    """Runs the chapter's code and a student's answers.

    A kernel that ends takes with it what comes after, and nothing else. A check
    cell whose value is not the book's own gets no point.
    """

    setup_timeout = Integer(1800, help="Seconds for a cell of the chapter's own.")

    def preprocess(self, nb: Any, resources: Any = None, km: Any = None) -> Any:
        """Run all cells, then write a verdict into each check cell."""
        self.broken = self.ended = ""
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
        self.timeout_func = lambda _: self.timeout if exercise else self.setup_timeout
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
        if msg["msg_type"] == "stream":
            self.printed += len(msg["content"]["text"])
            if self.printed > LONGEST:
                return None
        return super().output(outs, msg, display_id, cell_index)

    def _about(self, cell: Any, error: Any) -> tuple[str, str]:
        """Return result and message of an answer that raised an error."""
        names = {o.ename for o in cell.outputs if o.output_type == "error"}
        if "CellTimeoutError" in names:
            return "stopped", f"It took longer than {self.timeout} seconds."
        if "MemoryError" in names or "can't allocate memory" in error.evalue:
            return "stopped", "It took more memory than a notebook may have."
        if is_grade(cell):
            return "wrong", f"The check ended with {_told(error)}"
        return "wrong", f"Your cell does not run: {_told(error)}"

    def _verdict(self, cell: Any) -> Any:
        """Return the one output of a check cell: its points, and why."""
        exercise = cell.metadata[METADATA]
        result, message, points, shown = (
            "not graded",
            "The check gave no result.",
            0.0,
            "",
        )
        for output in cell.outputs:
            said = output.get("data", {}).get(MIME_TYPE, {})
            if said.get("exercise") == exercise and said.get("status") in OWN:
                result, message = said["status"], str(said.get("message"))[:2_000]
                points = min(1.0, float(output.data["text/plain"]))
                shown = output.data["text/html"]
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
        return new_output(
            "execute_result",
            {"text/plain": f"{points}", "text/html": shown},
            execution_count=cell.execution_count,
            metadata={
                METADATA: {"exercise": exercise, "status": result, "message": message}
            },
        )


def _told(error: Any) -> str:
    return f"{error.ename}: {' '.join(error.evalue.split())[:300]}".rstrip(": ")
