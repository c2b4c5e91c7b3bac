"""Grades a folder of handed-in notebooks into a table."""

import contextlib
import csv
import hashlib
import json
import os
import re
import shutil
import site
import stat
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from filelock import FileLock, Timeout

from helpers import doctor
from helpers.classroom._chapters import (
    LARGEST,
    PACKAGE,
    Chapter,
    ClassroomError,
    NotANotebook,
    chapter_files,
    chapter_of,
    read_chapter,
)

if TYPE_CHECKING:
    import psutil

COLUMNS = ["name", "chapter", "exercise", "result", "message", "file", "checksum"]
LONGEST = 500  # characters of a field
FORMULA = "=+-@\uff1d\uff0b\uff0d\uff20"  # a spreadsheet may run what begins so
TOKEN = "PYTORCH_BY_HAND_GRADING"  # marks all processes of one notebook
REFERENCE_SECONDS = 1_800
SKIPPED = {".ipynb_checkpoints", "__MACOSX"}

Row = dict[str, str]


@dataclass(frozen=True)
class HandedIn:
    """One file that a student handed in.

    Attributes
    ----------
    path : Path
        Where it is.
    file : str
        The same within the folder, as the table has it.
    name : str
        The student, from the folder or the file's name.
    checksum : str
        Of the content, to notice a file that was handed in again.
    chapter : str
        The chapter's stem, or nothing if there is a problem.
    problem : str
        Why it cannot be graded, or nothing.
    """

    path: Path
    file: str
    name: str
    checksum: str
    chapter: str
    problem: str


@dataclass(frozen=True)
class Limits:
    """What a notebook may take: seconds an exercise, MB, notebooks at a time."""

    seconds: float
    memory: int
    jobs: int


# --- What was handed in -------------------------------------------------------------


def find(folder: Path, chapters: dict[str, Chapter], only: str = "") -> list[HandedIn]:
    """Return all notebooks below a folder, in the order of their names.

    Links are not followed, so that nothing outside the folder is read. A student's
    folder without a notebook is returned as one that cannot be graded.

    Parameters
    ----------
    only : str
        The chapter that is expected, if it is only one.
    """
    found = []
    for parent, folders, files in os.walk(folder):
        folders[:] = sorted(f for f in folders if f not in SKIPPED)
        for name in sorted(files):
            path = Path(parent, name)
            hidden = name.startswith("._")  # macOS puts these into zips
            if path.suffix.lower() == ".ipynb" and not hidden:
                found.append(_handed_in(folder, path, chapters, only))
    there = {handed_in.path.relative_to(folder).parts[0] for handed_in in found}
    for path in sorted(folder.iterdir()):
        if path.name not in there | SKIPPED and path.is_dir():
            found.append(_without_notebook(path))
    return found


def _without_notebook(path: Path) -> HandedIn:
    problem = "no notebook was handed in: no file here ends in .ipynb"
    others = sorted(f.name for f in path.rglob("*") if not f.is_dir())
    if others:
        problem += f"; there is {', '.join(others[:3])}"
    return HandedIn(path, safe(path.name), _student(path.name), "", "", problem)


def _student(folder: str) -> str:
    """Return a student's name, without what Moodle adds to the folder's."""
    return safe(re.sub(r"_\d+_assignsubmission_.*$", "", folder))


def _handed_in(
    folder: Path, path: Path, chapters: dict[str, Chapter], only: str
) -> HandedIn:
    inside = path.relative_to(folder)
    chapter = problem = checksum = ""
    try:
        content = _content(path)
        checksum = _checksum(content)
        chapter = chapter_of(content, path.name, chapters)
        if only and chapter != only:
            problem = f"wrong chapter: this is {chapter}, and {only} was asked for"
        elif not chapters[chapter].checked:
            problem = f"{chapter} has no exercise with a check"
    except NotANotebook as error:
        problem = str(error)
    except OSError as error:
        problem = f"the file cannot be read: {error.strerror or error}"
    name = inside.parts[0] if len(inside.parts) > 1 else path.stem
    for stem in chapters if len(inside.parts) == 1 else ():
        shorter = name.replace(stem, "").strip(" -_.")
        name = shorter or name
    return HandedIn(
        path, safe(inside.as_posix()), _student(name), checksum, chapter, problem
    )


def _checksum(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:12]


def _content(path: Path) -> bytes:
    """Return a plain file's content, and at most so much that it is too large."""
    if not stat.S_ISREG(path.lstat().st_mode):
        raise NotANotebook("this is a link or a device, no file")
    with path.open("rb") as file:
        return file.read(LARGEST + 1)


def safe(text: str) -> str:
    """Return a text that is safe in a table and on a terminal.

    It is one line, not too long, and no spreadsheet takes it for a formula.
    """
    text = text.encode("utf-8", "replace").decode("utf-8")
    text = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    if len(text) > LONGEST:
        text = text[: LONGEST - 1] + "…"
    return f"'{text}" if text.startswith(tuple(FORMULA)) else text


# --- The table ------------------------------------------------------------------------


class Table:
    """The results, in a file that is whole after each row."""

    def __init__(self, path: Path, chapters: dict[str, Chapter]) -> None:
        self.path = path
        self.rows = _read_rows(path)
        self._needed = {
            stem: {exercise.name for exercise in chapter.checked}
            for stem, chapter in chapters.items()
        }
        self._lock = threading.Lock()

    def has(self, handed_in: HandedIn) -> bool:
        """Return whether all results of this very file are there."""
        rows = [row for row in self.rows if _key(row) == _key_of(handed_in)]
        if any(row["result"] == "not graded" and row["exercise"] for row in rows):
            return False  # that was this machine's fault
        if handed_in.problem:
            return any(row["message"] == safe(handed_in.problem) for row in rows)
        found = {row["exercise"] for row in rows}
        return found == self._needed.get(handed_in.chapter)

    def begin(self, to_grade: list[HandedIn]) -> None:
        """Drop earlier rows of what is graded now, and write the file.

        With a notebook, the row that says that its folder has none goes, too.
        """
        files = {handed_in.file for handed_in in to_grade}
        files |= {file.partition("/")[0] for file in files}
        self.rows = [row for row in self.rows if row["file"] not in files]
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._write()

    def finish(self) -> None:
        """Put the rows in order: by student, chapter and exercise."""
        order = ("name", "chapter", "file", "exercise")
        self.rows.sort(key=lambda row: [row[column].casefold() for column in order])
        self._write()

    def _write(self) -> None:
        partial = self.path.with_name(self.path.name + ".partial")
        # The mark at the start tells spreadsheets that this is UTF-8.
        with partial.open("w", encoding="utf-8-sig", newline="") as file:
            writer = csv.DictWriter(file, COLUMNS)
            writer.writeheader()
            writer.writerows(self.rows)
        os.replace(partial, self.path)

    def add(self, handed_in: HandedIn, exercise: str, result: str, text: str) -> None:
        """Add a row and have it on the disk when this returns."""
        row = {
            "name": handed_in.name,
            "chapter": handed_in.chapter,
            "exercise": exercise,
            "result": result,
            "message": safe(text),
            "file": handed_in.file,
            "checksum": handed_in.checksum,
        }
        with self._lock:
            self.rows.append(row)
            with self.path.open("a", encoding="utf-8", newline="") as file:
                csv.DictWriter(file, COLUMNS).writerow(row)
                file.flush()
                os.fsync(file.fileno())


def _read_rows(path: Path) -> list[Row]:
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file)
            if reader.fieldnames != COLUMNS:
                raise ClassroomError(
                    f"{path} is no table of this command: name another file with --out"
                )
            return [row for row in reader if None not in row.values()]
    except FileNotFoundError:
        return []
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise ClassroomError(f"{path} cannot be read: {error}") from error


def _key(row: Row) -> tuple[str, str]:
    return row["file"], row["checksum"]


def _key_of(handed_in: HandedIn) -> tuple[str, str]:
    return handed_in.file, handed_in.checksum


# --- Grading --------------------------------------------------------------------------


def grade(folder: Path, out: Path, book: Path, limits: Limits, only: str = "") -> int:
    """Grade all notebooks below a folder that the table does not have yet.

    Parameters
    ----------
    folder : Path
        A folder for each student, or a file for each.
    out : Path
        The table, a CSV file. Rows that it has already are kept.
    book : Path
        The folder of the book's notebooks, which hold the checks.
    only : str
        The chapter that is expected, such as "01" or "01-tensors".

    Returns
    -------
    int
        0 if every notebook was handled, 1 if a chapter's own code does not run
        here.

    Raises
    ------
    ClassroomError
        If the folder or the table cannot be used.
    """
    if not folder.is_dir():
        raise ClassroomError(f"{folder} is no folder")
    chapters = {path.stem: read_chapter(path) for path in chapter_files(book)}
    expected = _expected(only, chapters)
    out.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(out.with_name(f".{out.name}.lock"), timeout=0)
    try:
        with lock:
            table = Table(out, chapters)
            found = find(folder, chapters, expected)
            to_grade = [handed_in for handed_in in found if not table.has(handed_in)]
            _say_what_there_is(found, to_grade, out)
            table.begin(to_grade)
            grader = Grader(book, chapters, table, limits)
            is_well = grader.grade(to_grade)
            table.finish()
    except Timeout:
        raise ClassroomError(f"another process is writing {out}") from None
    except OSError as error:
        raise ClassroomError(
            f"{error.filename or out} cannot be written: {error.strerror or error}"
        ) from error
    Path(lock.lock_file).unlink(missing_ok=True)
    files = {handed_in.file for handed_in in found}
    counts = Counter(row["result"] for row in table.rows if row["file"] in files)
    summary = ", ".join(f"{count} {result}" for result, count in counts.most_common())
    print(f"Results in {out}: {summary or 'none'}.")
    return 0 if is_well else 1


def _expected(only: str, chapters: dict[str, Chapter]) -> str:
    for stem in chapters:
        if only and stem.startswith(only):
            return stem
    if only:
        raise ClassroomError(
            f"there is no chapter {only!r}; choose from {', '.join(chapters)}"
        )
    return ""


def _say_what_there_is(
    found: list[HandedIn], to_grade: list[HandedIn], out: Path
) -> None:
    known = len(found) - len(to_grade)
    print(f"{len(found)} notebooks, {len(to_grade)} to grade.")
    if known:
        print(f"{known} are in {out} already and are kept; to grade all, delete it.")
    pairs = Counter((h.name, h.chapter) for h in found if h.chapter)
    for (name, chapter), count in pairs.items():
        if count > 1:
            print(
                f"Note: {name} handed in {count} files for {chapter}; all are graded."
            )


class Grader:
    """Grades notebooks, several at a time, each in processes of its own."""

    def __init__(
        self, book: Path, chapters: dict[str, Chapter], table: Table, limits: Limits
    ) -> None:
        self.book = book
        self.chapters = chapters
        self.table = table
        self.limits = limits
        self.setup_seconds: dict[str, float] = {}
        self._running: dict[str, subprocess.Popen[bytes]] = {}
        self._is_stopping = False
        self._done = 0

    def grade(self, to_grade: list[HandedIn]) -> bool:
        """Grade all; return whether the chapters' own code ran."""
        for handed_in in (h for h in to_grade if h.problem):
            self.table.add(handed_in, "", "not graded", handed_in.problem)
            print(f"{handed_in.file}: not graded: {handed_in.problem}")
        rest = [h for h in to_grade if not h.problem]
        with ThreadPoolExecutor(self.limits.jobs) as pool:
            try:
                failed = self._run_chapters({h.chapter for h in rest})
                for handed_in in (h for h in rest if h.chapter in failed):
                    self._not_graded(handed_in, failed[handed_in.chapter])
                rest = [h for h in rest if h.chapter not in failed]
                futures = [pool.submit(self._one, h, len(rest)) for h in rest]
                for future in futures:
                    future.result()
            except BaseException:
                self._is_stopping = True
                pool.shutdown(wait=False, cancel_futures=True)
                for token, process in list(self._running.items()):
                    end(process, token)
                raise
        return not failed

    def _run_chapters(self, stems: set[str]) -> dict[str, str]:
        """Run each chapter's own code once; return what failed, and why.

        It shows whether this machine can run the chapter at all, fills the
        cache of which each notebook gets a copy, and tells how long it takes.
        """
        failed = {}
        for stem in sorted(stems):
            problem = "its process ended"
            for message in self._messages(stem, None, REFERENCE_SECONDS):
                if "setup" in message:
                    self.setup_seconds[stem] = message["setup"]
                    seconds = f"{message['setup']:.0f} seconds"
                    print(
                        f"{stem}: the chapter's own code takes {seconds}.", flush=True
                    )
                problem = message.get("problem", problem)
            if stem not in self.setup_seconds:
                failed[stem] = problem
                print(f"{stem}: {problem}", flush=True)
        return failed

    def _not_graded(self, handed_in: HandedIn, problem: str) -> None:
        for exercise in self.chapters[handed_in.chapter].checked:
            self.table.add(handed_in, exercise.name, "not graded", problem)

    def _one(self, handed_in: HandedIn, count: int) -> None:
        """Grade one notebook."""
        content = _unchanged(handed_in)
        if content is None:
            problem = "the file was changed or deleted while the class was graded"
            self._not_graded(handed_in, problem)
            print(f"{handed_in.file}: not graded: {problem}", flush=True)
            return
        exercises = [e.name for e in self.chapters[handed_in.chapter].checked]
        left = list(exercises)
        right = 0
        result, why = "stopped", "the notebook ended the process that graded it"
        setup = 60 + 5 * self.setup_seconds[handed_in.chapter]
        for message in self._messages(handed_in.chapter, content, setup):
            name = message.get("exercise")
            if name in left:
                left.remove(name)
                right += message["result"] == "right"
                self.table.add(handed_in, name, message["result"], message["message"])
            elif "problem" in message:
                result, why = "not graded", message["problem"]
            elif "stopped" in message:
                why = message["stopped"]
        if self._is_stopping:
            return
        for name in left:
            self.table.add(handed_in, name, result, why)
        self._done += 1
        figures = f"{right} of {len(exercises)} right"
        title = f"{handed_in.name}, {handed_in.chapter}"
        print(f"[{self._done} of {count}] {title}: {figures}", flush=True)

    def _messages(
        self, stem: str, content: bytes | None, setup_seconds: float
    ) -> Iterator[dict[str, Any]]:
        """Start a process for one notebook and yield what it reports."""
        rounds = len(self.chapters[stem].checked) + 1
        longest = rounds * (setup_seconds + 2 * self.limits.seconds + 60)
        token = uuid.uuid4().hex
        with tempfile.TemporaryDirectory(
            prefix="grading-", ignore_cleanup_errors=True
        ) as name:
            base = Path(name)
            environment = _environment(base, token, self.limits.jobs)
            notebook = base / "handed-in.ipynb"
            if content is not None:
                _copy_cache(Path(environment["PYTORCH_BY_HAND_CACHE"]))
                notebook.write_bytes(content)
            else:  # what the chapter itself puts into the cache is kept
                environment["PYTORCH_BY_HAND_CACHE"] = str(doctor.cache_folder())
            job = {
                "chapter": str((self.book / f"{stem}.ipynb").absolute()),
                "notebook": str(notebook) if content is not None else "",
                "folder": str(base / "work"),
                "seconds": self.limits.seconds,
                "setup_seconds": setup_seconds,
                "memory": self.limits.memory,
            }
            process = subprocess.Popen(
                [sys.executable, "-m", "helpers.classroom._runner"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                cwd=base,
                env=environment,
                start_new_session=True,  # Ctrl-C is for this process alone
            )
            assert process.stdin is not None
            assert process.stdout is not None
            self._running[token] = process
            done = threading.Event()
            guard = threading.Thread(
                target=_guard, args=(process, token, longest, done), daemon=True
            )
            guard.start()
            try:
                with contextlib.suppress(BrokenPipeError):
                    process.stdin.write(json.dumps(job).encode() + b"\n")
                    process.stdin.flush()
                for line in process.stdout:
                    with contextlib.suppress(ValueError):
                        yield json.loads(line)
            finally:
                done.set()
                end(process, token)
                del self._running[token]
                process.stdin = None


def _unchanged(handed_in: HandedIn) -> bytes | None:
    """Return a file's content, if it is still what it was at the start."""
    with contextlib.suppress(OSError, NotANotebook):
        content = _content(handed_in.path)
        if _checksum(content) == handed_in.checksum:
            return content
    return None


def _environment(base: Path, token: str, jobs: int) -> dict[str, str]:
    """Return the environment of one notebook's processes.

    Home, temporary and cache folder are its own. The packages, also those that
    are installed for the user only, are found as here.
    """
    folders = {
        "PYTORCH_BY_HAND_CACHE": base / "cache",
        "TMPDIR": base / "temporary",
        "IPYTHONDIR": base / "ipython",
        "JUPYTER_CONFIG_DIR": base / "jupyter",
        "JUPYTER_DATA_DIR": base / "jupyter",
        "JUPYTER_RUNTIME_DIR": base / "runtime",
        "MPLCONFIGDIR": base / "matplotlib",
    }
    _copy_fonts(folders["MPLCONFIGDIR"])
    if os.name == "posix":
        folders["HOME"] = base / "home"
    for folder in {*folders.values(), base / "work"}:
        folder.mkdir(exist_ok=True)
    path = [str(PACKAGE.parent), os.environ.get("PYTHONPATH", "")]
    threads = max(1, (os.cpu_count() or 1) // jobs)
    chosen = {
        "PYTHONPATH": os.pathsep.join(filter(None, path)),
        "PYTHONUSERBASE": site.getuserbase(),
        "PYTHONDONTWRITEBYTECODE": "1",
        "JUPYTER_PREFER_ENV_PATH": "1",
        "MPLBACKEND": "agg",  # nobody looks at the figures
        "CUDA_VISIBLE_DEVICES": "",  # one GPU would not do for all
        "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", str(threads)),
        TOKEN: token,
    }
    return os.environ | chosen | {name: str(path) for name, path in folders.items()}


def _copy_cache(target: Path) -> None:
    """Copy the unpacked digits and trained networks for one notebook."""
    source = doctor.cache_folder()
    for name in ("MNIST", "trained", "cifar-10-batches-py"):
        if source and (source / name).is_dir():
            ignored = shutil.ignore_patterns("*.lock", "*.partial", ".lock")
            shutil.copytree(source / name, target / name, ignore=ignored)


def _copy_fonts(target: Path) -> None:
    """Copy matplotlib's list of fonts, which takes it seconds to make."""
    with contextlib.suppress(Exception):
        import matplotlib

        source = Path(matplotlib.get_cachedir())
        target.mkdir(exist_ok=True)
        for path in source.glob("fontlist*.json"):
            shutil.copy(path, target)


def _guard(
    process: "subprocess.Popen[bytes]",
    token: str,
    longest: float,
    done: threading.Event,
) -> None:
    """End a notebook's processes if they take too long, or stop their grader."""
    import psutil

    latest = time.monotonic() + longest
    while not done.wait(2):
        is_stopped = False
        with contextlib.suppress(psutil.Error):
            state = psutil.Process(process.pid).status()
            is_stopped = state == psutil.STATUS_STOPPED
        if is_stopped or time.monotonic() > latest:
            end(process, token)
            return


def end(process: subprocess.Popen[bytes], token: str) -> None:
    """Kill a notebook's processes: its family, and all that bear its token."""
    import psutil

    for _ in range(20):
        family = _family(process.pid) if process.poll() is None else []
        for one in psutil.process_iter(["environ"]):
            if (one.info["environ"] or {}).get(TOKEN) == token:
                family.append(one)
        if not family:
            break
        for one in family:
            with contextlib.suppress(psutil.Error):
                one.kill()
        psutil.wait_procs(family, timeout=0.2)
        time.sleep(0.01)
    process.wait()


def _family(pid: int) -> "list[psutil.Process]":
    import psutil

    try:
        process = psutil.Process(pid)
        return [*process.children(recursive=True), process]
    except psutil.Error:
        return []
