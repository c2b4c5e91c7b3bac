"""A course of nbgrader's made from what was handed in, and how it is run."""

import json
import multiprocessing
import os
import re
import sys
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
from helpers.classroom._collect import Answers

# The figures of the chapter are not drawn, which saves a third of the time; those of
# an answer are.
FIGURES = """import matplotlib.pyplot as plt
%matplotlib inline
plt.close('all')
exit = quit = __import__('sys').exit  # the notebook's own would end it, a cell later"""
CHECK_IMPORT = "from helpers.exercises import check\n\n"
CONFIG = """\
# Written by `python -m helpers.classroom grade`, and again each time.
from helpers.classroom._execute import ExecuteAnswers
from nbgrader.preprocessors import SaveAutoGrades

c = get_config()
c.CourseDirectory.course_id = "pytorch-by-hand"
c.CourseDirectory.root = {root!r}
c.ClearSolutions.enabled = False  # it would empty the cells for answers
c.Autograde.autograde_preprocessors = [ExecuteAnswers, SaveAutoGrades]
c.ExecuteAnswers.timeout = {seconds}
c.ExecuteAnswers.iopub_timeout = 10
"""

Job = tuple[str, str]  # a student and a chapter


class Limits(NamedTuple):
    """What a notebook may take: seconds per cell, MB, notebooks at a time."""

    seconds: int
    memory: int
    jobs: int


def graded_copy(chapter: Chapter, answers: Answers) -> str:
    """Return a notebook of the chapter's code with a student's answers, as text.

    The book's cells to fill in come before those of the student, since they may
    define what the answer needs, and the student may have deleted them.
    """
    cells = [_code(cell["source"]) for cell in chapter.setup] + [_code(FIGURES)]
    cells += [_code(source, "added") for source in answers.get("", [])]
    for exercise in chapter.exercises:
        name = exercise.name
        text = {"cell_type": "markdown", "metadata": {}, **exercise.text}
        sources = [cell["source"] for cell in exercise.stubs] + answers.get(name, [])
        cells += [text, *(_code(source, name) for source in sources)]
        cells[-1]["metadata"] |= nbgrader_mark(name, "answer")  # it takes one cell
        cells.append(_code(CHECK_IMPORT + exercise.check["source"], name))
        cells[-1]["metadata"] |= nbgrader_mark(name, "check")
    for number, cell in enumerate(cells):
        cell["id"] = f"cell-{number}"
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    notebook = {"nbformat": 4, "nbformat_minor": 5, "cells": cells}
    return json.dumps(notebook | {"metadata": {"kernelspec": kernel}})


def _code(source: str, exercise: str = "") -> Cell:
    cell: Cell = {"cell_type": "code", "source": source, "outputs": []}
    return cell | {"execution_count": None, "metadata": {METADATA: exercise}}


class Course:
    """A folder of nbgrader's: source, submitted, autograded, feedback, a gradebook."""

    def __init__(self, folder: Path, limits: Limits) -> None:
        self.folder = folder
        self.limits = limits
        (folder / "logs").mkdir(parents=True, exist_ok=True)
        config = CONFIG.format(root=str(folder), seconds=limits.seconds)
        (folder / "nbgrader_config.py").write_text(config, encoding="utf-8")

    def path(self, step: str, student: str, chapter: str) -> Path:
        """Return where nbgrader keeps a notebook."""
        return self.folder / step / student / chapter / f"{chapter}.ipynb"

    def put(self, step: str, student: str, chapter: str, notebook: str) -> None:
        """Write a notebook. What was made of another one before is deleted."""
        path = self.path(step, student, chapter)
        if not path.exists() or path.read_text(encoding="utf-8") != notebook:
            self._forget(student, chapter)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(notebook, encoding="utf-8")

    def call(self, step: str, chapter: str) -> None:
        """Run a step of nbgrader's for all students, and wait for it.

        Raises
        ------
        ClassroomError
            If it fails.
        """
        log = self._log(step, chapter)
        process = self._start(log, step, chapter)
        process.join()
        if process.exitcode:
            raise ClassroomError(f"nbgrader {step} failed; {log} says why")

    def grade(self, jobs: list[Job]) -> Iterator[Job]:
        """Run nbgrader for each job, some at a time, and yield those that ended."""
        waiting, running = list(jobs), dict[Job, BaseProcess]()
        try:
            while waiting or running:
                while waiting and len(running) < self.limits.jobs:
                    student, chapter = job = waiting.pop(0)
                    one = f"--student={student}"
                    log = self._log(*job)
                    running[job] = self._start(log, "autograde", chapter, one)
                wait([process.sentinel for process in running.values()])
                for job in [job for job, p in running.items() if not p.is_alive()]:
                    del running[job]
                    if not self.results(job):
                        self._forget(*job)  # it was begun, and feedback needs all
                    yield job
        finally:  # a kernel notices within a second that its process has ended
            for process in running.values():
                process.kill()

    def results(self, job: Job) -> dict[str, dict[str, str]]:
        """Return what was found out about each exercise; nothing if it was not run."""
        with suppress(OSError, ValueError):
            notebook = json.loads(self.path("autograded", *job).read_bytes())
            return dict(notebook["metadata"].get(METADATA, {}))
        return {}

    def points(self, job: Job, name: str) -> dict[str, float]:
        """Return the points for each exercise, those given by hand included.

        The gradebook learns the student's name by the way.
        """
        from nbgrader.api import Gradebook, MissingEntry

        points: dict[str, float] = {}
        database = f"sqlite:///{self.folder / 'gradebook.db'}"
        with Gradebook(database) as gradebook, suppress(MissingEntry):
            name = name.encode(errors="replace").decode()  # as a database wants it
            gradebook.update_or_create_student(job[0], last_name=name)
            notebook = gradebook.find_submission_notebook(job[1], job[1], job[0])
            for grade in notebook.grades:  # its name: exercise-01-2-check
                exercise = ".".join(grade.name.split("-")[1:3])
                points[exercise] = grade.score
                if grade.manual_score is not None and grade.needs_manual_grade:
                    print(f"{job[0]}, {exercise}: graded again, and your points kept")
        return points

    def problem(self, job: Job) -> str:
        """Return why there are no results."""
        log = self._log(*job)
        if not log.exists():
            return "it was not run yet"
        seen = re.findall(r"This is (.+)\.", log.read_text(errors="replace"))
        where = seen[-1] if seen else "nbgrader"
        return f"grading ended in {where}; see logs/{log.name}"

    def _forget(self, *job: str) -> None:
        from nbgrader.utils import rmtree  # can delete what is read-only

        for step in ("release", "autograded", "feedback"):
            if self.path(step, *job).parent.is_dir():
                rmtree(str(self.path(step, *job).parent))

    def _log(self, *names: str) -> Path:
        return self.folder / "logs" / f"{'-'.join(names)}.txt"

    def _start(self, log: Path, *command: str) -> BaseProcess:
        arguments = (self.folder, log, [*command, "--force"], self.limits)
        context: Any = multiprocessing.get_context("spawn")
        if os.name == "posix":  # nbgrader is imported once, not for each student
            context = multiprocessing.get_context("forkserver")
            context.set_forkserver_preload(["nbgrader.apps", "nbgrader.preprocessors"])
        process: BaseProcess = context.Process(target=_nbgrader, args=arguments)
        process.start()
        return process


def _nbgrader(folder: Path, log: Path, command: list[str], limits: Limits) -> None:
    """Be nbgrader, with limits that it and its kernel cannot raise again."""
    with log.open("wb") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    os.chdir(folder)
    os.environ["MPLBACKEND"] = "agg"  # until FIGURES says otherwise
    os.environ["IPYTHONDIR"] = str(folder / "ipython")  # no start-up files of anyone
    os.environ["CUDA_VISIBLE_DEVICES"] = ""  # one GPU would not do for all
    os.environ["PIP_NO_INDEX"] = "1"  # an answer's `pip install NAME` finds nothing
    os.environ["PYTORCH_BY_HAND_LANGUAGE"] = "en"  # the same messages everywhere
    threads = max(1, (os.cpu_count() or 1) // limits.jobs)
    os.environ.setdefault("OMP_NUM_THREADS", str(threads))
    first = [("PATH", Path(sys.executable).parent), ("PYTHONPATH", PACKAGE.parent)]
    for name, value in first:  # nbgrader calls alembic, and a kernel these helpers
        os.environ[name] = os.pathsep.join([str(value), os.environ.get(name, "")])
    with suppress(ImportError, ValueError, OSError):  # some systems cannot
        import resource

        resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 30, 1 << 30))
        most = limits.memory << 20
        # Not RLIMIT_AS: torch's libraries take GBs of that.
        resource.setrlimit(resource.RLIMIT_DATA, (most, most))
    from nbgrader.apps import NbGraderApp

    NbGraderApp.launch_instance(command)
