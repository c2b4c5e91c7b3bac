"""A course of nbgrader's made from what was handed in, and how it is run."""

import json
import multiprocessing
import os
import re
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from multiprocessing.connection import wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any, NamedTuple

from helpers.classroom._chapters import (
    METADATA,
    PACKAGE,
    Cell,
    Chapter,
    ClassroomError,
    nbgrader_mark,
)

# Figures of the chapter are drawn for nobody; those of an answer are shown.
FIGURES = """\
if "matplotlib" in __import__("sys").modules:
    %matplotlib inline
    __import__("matplotlib.pyplot").pyplot.close("all")"""
CHECK_IMPORT = "from helpers.exercises import check\n\n"
CONFIG = """\
# Written by `python -m helpers.classroom grade`, and again each time.
from helpers.classroom._execute import ExecuteAnswers
from nbgrader.converters import Autograde

c = get_config()
c.CourseDirectory.course_id = "pytorch-by-hand"
c.CourseDirectory.root = {root!r}
c.ClearSolutions.enabled = False  # it would empty the cells for answers
steps = Autograde.class_traits()["autograde_preprocessors"].default()
c.Autograde.autograde_preprocessors = [ExecuteAnswers, *steps[1:]]
c.ExecuteAnswers.timeout = {seconds}
c.ExecuteAnswers.iopub_timeout = 10
"""

Job = tuple[str, str]  # a student and a chapter


class Limits(NamedTuple):
    """What a notebook may take: seconds per cell, MB, notebooks at a time."""

    seconds: int
    memory: int
    jobs: int


def graded_copy(chapter: Chapter, answers: dict[str, list[Cell]]) -> str:
    """Return a notebook of the chapter's code with a student's answers, as text.

    A cell to fill in that a student deleted comes back, since it may define what
    the answer needs. Without answers, all of them do.
    """
    cells: list[Cell] = []

    def add(source: str, exercise: str = "", kind: str = "code", **more: Any) -> None:
        cell: Cell = {"id": f"cell-{len(cells)}", "cell_type": kind, "source": source}
        cell["metadata"] = {METADATA: exercise} | more
        if kind == "code":
            cell |= {"outputs": [], "execution_count": None}
        cells.append(cell)

    for cell in [*chapter.setup, {"source": FIGURES}]:
        add(cell["source"])
    for cell in answers.get("", []):
        add(cell["source"], "added")
    for exercise in chapter.exercises:
        add(exercise.text, kind="markdown")
        given = answers.get(exercise.name, [])
        there = {c["id"] for c in given} | {c["source"].strip() for c in given}
        missing = [
            c for c in exercise.stubs if not {c["id"], c["source"].strip()} & there
        ]
        mark = nbgrader_mark(exercise.name, "answer")
        for cell in [*missing, *given]:
            add(cell["source"], exercise.name, **mark)
            mark = {}  # nbgrader takes one cell for the answer
        mark = nbgrader_mark(exercise.name, "check")
        add(CHECK_IMPORT + exercise.check["source"], exercise.name, **mark)
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    notebook = {"nbformat": 4, "nbformat_minor": 5, "cells": cells}
    notebook["metadata"] = {"kernelspec": kernel}
    return json.dumps(notebook, ensure_ascii=False)


class Course:
    """A folder of nbgrader's: source, submitted, autograded, feedback, a gradebook."""

    def __init__(self, folder: Path, limits: Limits) -> None:
        self.folder = folder
        self.limits = limits
        self.problems: dict[Job, str] = {}  # why there is no result
        start = "forkserver" if os.name == "posix" else "spawn"
        self._context: Any = multiprocessing.get_context(start)
        if os.name == "posix":  # nbgrader is imported once, not for each student
            modules = ["nbgrader.apps", "helpers.classroom._execute"]
            self._context.set_forkserver_preload(modules)
        (folder / "logs").mkdir(parents=True, exist_ok=True)
        config = CONFIG.format(root=str(folder), seconds=limits.seconds)
        (folder / "nbgrader_config.py").write_text(config, encoding="utf-8")

    def path(self, step: str, student: str, chapter: str) -> Path:
        """Return where nbgrader keeps a notebook."""
        return self.folder / step / student / chapter / f"{chapter}.ipynb"

    def put(self, step: str, student: str, chapter: str, notebook: str) -> bool:
        """Write a notebook, and return whether it was another one before.

        What was found out about the other one is deleted.
        """
        path = self.path(step, student, chapter)
        if path.exists() and path.read_text(encoding="utf-8") == notebook:
            return False
        self._forget((student, chapter))
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(notebook, encoding="utf-8")
        return True

    def call(self, *command: str) -> None:
        """Run nbgrader and wait for it."""
        process = self._start(
            command, log := self._log(command[0]), dict(os.environ), 0
        )
        process.join()
        if process.exitcode:
            raise ClassroomError(f"nbgrader {command[0]} failed; {log} says why")

    def results(self, job: Job) -> dict[str, dict[str, str]]:
        """Return what was found out about each exercise; nothing if it was not run."""
        found: dict[str, dict[str, str]] = {}
        with suppress(OSError, ValueError):
            notebook = json.loads(self.path("autograded", *job).read_bytes())
            for cell in notebook["cells"]:
                for output in cell.get("outputs", ()):
                    if said := output.get("metadata", {}).get(METADATA):
                        found[said["exercise"]] = said
        return found

    def points(self, job: Job, name: str) -> dict[str, float]:
        """Return the points for each exercise, those given by hand included.

        The gradebook learns the student's name by the way.
        """
        from nbgrader.api import Gradebook, MissingEntry

        points: dict[str, float] = {}
        database = f"sqlite:///{self.folder / 'gradebook.db'}"
        with Gradebook(database) as gradebook, suppress(MissingEntry):
            gradebook.update_or_create_student(job[0], last_name=name)
            notebook = gradebook.find_submission_notebook(job[1], job[1], job[0])
            for grade in notebook.grades:  # its name: exercise-01-2-check
                points[".".join(grade.name.split("-")[1:3])] = grade.score
        return points

    def grade(self, jobs: list[Job]) -> Iterator[Job]:
        """Run nbgrader for each job, some at a time, and yield those that ended."""
        waiting, running = list(jobs), dict[Job, tuple[BaseProcess, float]]()
        with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
            try:
                while waiting or running:
                    while waiting and len(running) < self.limits.jobs:
                        job = waiting.pop(0)
                        running[job] = self._autograde(job, folder)
                    wait([process.sentinel for process, _ in running.values()], 1)
                    for job, (process, latest) in list(running.items()):
                        is_late = time.monotonic() > latest
                        if is_late or not process.is_alive():
                            end(process)
                            del running[job]
                            self._note(job, is_late)
                            yield job
            finally:
                for process, _ in running.values():
                    end(process)

    def _autograde(self, job: Job, folder: str) -> tuple[BaseProcess, float]:
        """Start a job; return its process, and the latest time for it."""
        own = tempfile.mkdtemp(dir=folder)
        threads = max(1, (os.cpu_count() or 1) // self.limits.jobs)
        environment = os.environ | {
            "TMPDIR": own,
            "IPYTHONDIR": own,
            "MPLBACKEND": "agg",
            "CUDA_VISIBLE_DEVICES": "",  # one GPU would not do for all
            "PYTORCH_BY_HAND_LANGUAGE": "en",  # the same messages on every machine
            "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", str(threads)),
        }
        command = ("autograde", job[1], f"--student={job[0]}", "--force")
        process = self._start(command, self._log(*job), environment, self.limits.memory)
        cells = self.path("submitted", *job).read_bytes().count(b'"cell_type"')
        return process, time.monotonic() + 1_800 + cells * self.limits.seconds

    def _note(self, job: Job, is_late: bool) -> None:
        """Note why there is no result, if there is none."""
        if not self.results(job):
            self._forget(job)
            log = self._log(*job)
            seen = re.findall(r"exercise (\d\d\.\d+)", log.read_text(errors="replace"))
            where = f"exercise {seen[-1]}" if seen else "the chapter's own code"
            what = "did not end" if is_late else "ended the process that graded it"
            self.problems[job] = f"it {what} in {where}; see logs/{log.name}"

    def _forget(self, job: Job) -> None:
        from nbgrader.utils import rmtree  # can delete what is read-only

        for step in ("autograded", "feedback"):
            if self.path(step, *job).parent.is_dir():
                rmtree(str(self.path(step, *job).parent))

    def _log(self, *names: str) -> Path:
        return self.folder / "logs" / f"{'-'.join(names)}.txt"

    def _start(self, *arguments: object) -> BaseProcess:
        process: BaseProcess = self._context.Process(
            target=_nbgrader, args=(self.folder, *arguments)
        )
        process.start()
        return process


def _nbgrader(
    folder: Path,
    command: tuple[str, ...],
    log: Path,
    environment: dict[str, str],
    memory: int,
) -> None:
    """Be nbgrader, with limits that it and its kernel cannot raise again."""
    with log.open("wb") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    os.environ |= environment
    first = [("PATH", Path(sys.executable).parent), ("PYTHONPATH", PACKAGE.parent)]
    for name, value in first:  # nbgrader calls alembic
        os.environ[name] = os.pathsep.join([str(value), os.environ.get(name, "")])
    os.chdir(folder)
    if os.name == "posix":
        import resource

        os.setsid()  # Ctrl-C is for the command, which ends this process itself
        signal.signal(signal.SIGINT, signal.default_int_handler)
        limits = [(resource.RLIMIT_CORE, 0), (resource.RLIMIT_FSIZE, 1 << 30)]
        if memory:  # not RLIMIT_AS: torch's libraries take GBs of that
            limits.append((resource.RLIMIT_DATA, memory << 20))
        for kind, most in limits:
            with suppress(ValueError, OSError):
                resource.setrlimit(kind, (most, most))
    from nbgrader.apps import NbGraderApp

    NbGraderApp.launch_instance(list(command))


def end(process: BaseProcess) -> None:
    """Kill a job's process, and all that it has started.

    A kernel whose process ended without it notices that, and ends within a second.
    """
    import psutil

    with suppress(psutil.Error):
        for child in psutil.Process(process.pid).children(recursive=True):
            with suppress(psutil.Error):
                child.kill()
    process.kill()
    process.join()
