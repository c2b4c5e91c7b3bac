"""A kernel that has run a chapter's code, and judges answers to its exercises."""

import contextlib
import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nbformat
from jupyter_client.manager import AsyncKernelManager
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, DeadKernelError

from helpers.classroom._chapters import (
    Chapter,
    Exercise,
    answers,
    cells_of,
    imports_for,
    read_chapter,
)
from helpers.classroom._watch import MB, Watch, end_children, too_much_memory

MIME_TYPE = "application/vnd.pytorch-by-hand.check+json"
START_SECONDS = 120
REPLY_SECONDS = 5  # for a kernel that was interrupted
OUTPUT_SECONDS = 10  # for a cell's output, after the cell has ended
TIME_IS_UP = {"ename": "TimeIsUp", "evalue": "", "traceback": []}

Say = Callable[[dict[str, Any]], None]

# Standard output goes nowhere, whether written by Python or below it: a cell
# that prints without end would fill the memory of whoever listens.
SILENCE = """
import os, sys
sys.stdout = sys.stderr = open(os.devnull, "w")
for number in (1, 2):
    os.dup2(sys.stdout.fileno(), number)
del number
"""
BACK = "__import__('os').makedirs({0!r}, exist_ok=True); __import__('os').chdir({0!r})"


class SetupFailed(Exception):
    """The chapter's own code did not run. No student is at fault."""


class Stopped(Exception):
    """A cell was stopped; the message says why."""


class CellFailed(Exception):
    """A cell raised an error."""

    def __init__(self, name: str, text: str) -> None:
        super().__init__(f"{name}: {text[:300]}".rstrip(": "))
        self.name = name


class Quiet(NotebookClient):
    """Keeps the result of a check, and no other output."""

    def process_message(self, msg: dict[str, Any], cell: Any, cell_index: int) -> Any:
        """Pass on what tells the end of a cell, and a check's result."""
        kept = {"status"}
        if cell.metadata.get("is_check"):
            kept.add("execute_result")
        if msg["msg_type"] in kept:
            return super().process_message(msg, cell, cell_index)
        return None


class Session:
    """A kernel in which the chapter's own code has been run."""

    def __init__(self, chapter: Chapter, folder: Path, job: dict[str, Any]) -> None:
        self.chapter = chapter
        self.folder = folder
        self.seconds: float = job["seconds"]
        self.setup_seconds: float = job["setup_seconds"]
        self.memory: int = job["memory"] * MB
        self.watch = Watch(self.memory)
        self.watch.start()
        self.client: Quiet | None = None
        self.again: list[str] = []  # answers that ended well, for a new kernel

    async def start(self) -> None:
        """Start a kernel, run the chapter's code and what ended well before.

        Raises
        ------
        SetupFailed
            If the chapter's code raises an error or takes too long.
        """
        await self.end()
        self.watch.reason = ""
        self.folder.mkdir(parents=True, exist_ok=True)
        manager = AsyncKernelManager(kernel_name="python3")
        notebook = nbformat.v4.new_notebook()
        self.client = Quiet(
            notebook,
            manager,
            startup_timeout=START_SECONDS,
            iopub_timeout=OUTPUT_SECONDS,
            interrupt_on_timeout=True,
            error_on_timeout=TIME_IS_UP,
        )
        deadline = time.monotonic() + self.setup_seconds
        try:
            await self.client.async_start_new_kernel(cwd=str(self.folder))
            await self.client.async_start_new_kernel_client()
            await self.run(SILENCE, START_SECONDS)
            for source in self.chapter.setup:
                await self.run(source, deadline - time.monotonic())
        except (CellFailed, Stopped, RuntimeError) as error:
            raise SetupFailed(str(error)) from error
        for source in self.again:
            with contextlib.suppress(CellFailed):
                await self.run(source, self.seconds)

    async def end(self) -> None:
        """End the kernel and all that it started."""
        client, self.client = self.client, None
        end_children()
        with contextlib.suppress(Exception):
            if client is not None and client.kc is not None:
                client.kc.stop_channels()
            if client is not None and isinstance(client.km, AsyncKernelManager):
                await client.km.cleanup_resources()

    async def run(self, source: str, seconds: float, is_check: bool = False) -> Any:
        """Run a cell and return it.

        Raises
        ------
        CellFailed
            If the cell raises an error.
        Stopped
            If it takes too long or too much memory, or ends its own process.
            Afterwards there may be no kernel: see `is_alive`.
        """
        client = self.client
        assert client is not None
        cell = nbformat.v4.new_code_cell(source, metadata={"is_check": is_check})
        client.nb.cells = [cell]
        client.timeout = max(1, math.ceil(seconds))
        try:
            await client.async_execute_cell(cell, 0)
        except CellExecutionError as error:
            if error.ename == TIME_IS_UP["ename"]:
                await self._end_if_stuck()
                raise Stopped(f"it took longer than {seconds:.0f} seconds") from None
            text = f"{error.ename} {error.evalue}"
            if error.ename == "MemoryError" or "can't allocate memory" in text:
                raise Stopped(too_much_memory(self.memory)) from None
            raise CellFailed(error.ename, " ".join(error.evalue.split())) from None
        except DeadKernelError:
            await self.end()
            raise Stopped(self.watch.reason or "it ended its own process") from None
        return cell

    @property
    def is_alive(self) -> bool:
        """Whether there is a kernel to run cells in."""
        return self.client is not None

    async def _end_if_stuck(self) -> None:
        """End the kernel if it does not answer, though it was interrupted."""
        client = self.client
        assert client is not None
        cell = nbformat.v4.new_code_cell("pass", metadata={"is_check": False})
        client.nb.cells = [cell]
        client.timeout = REPLY_SECONDS
        try:
            await client.async_execute_cell(cell, 0)
        except CellExecutionError as error:
            if error.ename == TIME_IS_UP["ename"]:
                await self.end()
            # Another error is the interrupt, which came late and met this cell.
        except DeadKernelError:
            await self.end()

    async def judge(self, exercise: Exercise, sources: list[str]) -> tuple[str, str]:
        """Run a student's answer and the book's check; return result and message."""
        deadline = time.monotonic() + self.seconds
        error = ""
        try:
            for source in sources:
                try:
                    await self.run(source, deadline - time.monotonic())
                except CellFailed as failed:
                    error = error or str(failed)
            found = await self._check(exercise, deadline)
        except Stopped as stopped:
            return "stopped", str(stopped)
        self.again += sources
        result, message = found
        if error and result != "right":
            message = f"{message} A cell of the answer raised {error}".strip()
        return result, message

    async def _check(self, exercise: Exercise, deadline: float) -> tuple[str, str]:
        """Return the first result that is not "right", or else the last."""
        result, message = "not graded", "the check gave no result"
        for check in exercise.checks:
            source = check["source"]
            before = imports_for(self.chapter, source)
            left = deadline - time.monotonic()
            try:
                await self.run(before or "pass", left)
                cell = await self.run(source, left, is_check=True)
            except CellFailed as failed:
                if failed.name == "NameError":
                    return "empty", f"There is no answer: {failed}"
                return "wrong", f"The check ended with {failed}"
            result, message = _result_in(cell, exercise.name) or (result, message)
            if result != "right":
                break
        return result, message


def _result_in(cell: Any, exercise: str) -> tuple[str, str] | None:
    for output in cell.outputs:
        found = output.get("data", {}).get(MIME_TYPE)
        if isinstance(found, dict) and found.get("exercise") == exercise:
            status, message = found.get("status"), found.get("message")
            if status in {"right", "wrong", "empty"}:
                return status, str(message or "")[:2_000]
    return None


async def run_notebook(job: dict[str, Any], say: Say) -> None:
    """Run the chapter's code; then, if there is a notebook, all its answers."""
    chapter = read_chapter(Path(job["chapter"]))
    session = Session(chapter, Path(job["folder"]), job)
    began = time.monotonic()
    try:
        code: dict[str, list[str]] = {}
        if job["notebook"]:
            code = answers(cells_of(Path(job["notebook"]).read_bytes()), chapter)
            session.again = list(code[""])
        await session.start()
        say({"setup": time.monotonic() - began})
        for exercise in chapter.checked if job["notebook"] else []:
            if not session.is_alive:
                await session.start()
            with contextlib.suppress(CellFailed, Stopped):
                await session.run(BACK.format(job["folder"]), REPLY_SECONDS)
            if not session.is_alive:
                await session.start()
            result, message = await session.judge(exercise, code.get(exercise.name, []))
            say({"exercise": exercise.name, "result": result, "message": message})
    except SetupFailed as error:
        say({"problem": f"the chapter's own code did not run here: {error}"})
    except Stopped as error:  # while a new kernel repeated earlier answers
        say({"stopped": str(error)})
    finally:
        await session.end()
