"""Runs one handed-in notebook and reports each exercise's result.

This is a process of its own, started by `_grading`, and the kernel that runs the
student's code is its child. Nothing that the kernel or the kernel's children do
is trusted: they have limits of time and memory, a working folder of their own,
and they are ended when they leave these limits. What they print is not kept.

What is reported goes to standard output, one JSON object a line.
"""

import asyncio
import contextlib
import ctypes
import json
import os
import signal
import sys
import threading
from typing import Any

import psutil

from helpers.classroom._watch import MB, MOST_PROCESSES, end_children

LARGEST_FILE = 1024 * MB
SUBREAPER = 36  # PR_SET_CHILD_SUBREAPER of Linux's prctl


def _limit(memory: int) -> None:
    """Give this process and its children limits that they cannot raise again.

    Windows has none of these; there, `Watch` alone sees to the memory.
    """
    with contextlib.suppress(ImportError):
        import resource

        limits = {
            "RLIMIT_DATA": memory,  # not RLIMIT_AS: torch's libraries take GBs of that
            "RLIMIT_FSIZE": LARGEST_FILE,
            "RLIMIT_CORE": 0,
            "RLIMIT_NPROC": _tasks() + 8 * MOST_PROCESSES,  # of this user in all
        }
        for name, value in limits.items():
            with contextlib.suppress(AttributeError, ValueError, OSError):
                kind = getattr(resource, name)
                hard = resource.getrlimit(kind)[1]
                if hard != resource.RLIM_INFINITY:
                    value = min(value, hard)
                resource.setrlimit(kind, (value, value))
    if sys.platform.startswith("linux"):
        # Grandchildren whose parent ended become children of this process, so
        # that they can be found.
        ctypes.CDLL(None).prctl(SUBREAPER, 1, 0, 0, 0)


def _tasks() -> int:
    """Return the number of threads that this user has now."""
    user = psutil.Process().uids().real
    count = 0
    for process in psutil.process_iter(["uids", "num_threads"]):
        uids = process.info["uids"]
        if uids is not None and uids.real == user:
            count += process.info["num_threads"] or 1
    return count


def _end_with_parent() -> None:
    """End everything when whoever started this process is gone."""
    os.read(0, 1)  # nothing is ever written: this returns at the end of the pipe
    end_children()
    os._exit(1)


def main() -> None:
    """Read a job, one line of JSON, from standard input and do it."""
    line = b""
    while not line.endswith(b"\n"):
        line += os.read(0, 1) or b"\n"
    job = json.loads(line)
    # The kernel inherits the numbers 1 and 2, and not this copy.
    report = os.fdopen(os.dup(1), "w", encoding="utf-8", errors="replace")
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for number in (1, 2):
        os.dup2(nowhere, number)

    def say(content: dict[str, Any]) -> None:
        report.write(json.dumps(content) + "\n")
        report.flush()

    # The kernel is interrupted by Ctrl-C's signal, which programs that a shell
    # started in the background ignore, with all that they start.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    _limit(job["memory"] * MB)
    # nbclient's schemas would spend a second on the grammar of web addresses. With
    # None there an import fails, which typeshed does not know.
    sys.modules["rfc3987_syntax"] = None  # type: ignore[assignment]
    try:
        from helpers.classroom._session import run_notebook

        asyncio.run(run_notebook(job, say))
    except BaseException as error:
        say({"problem": f"the grader failed: {type(error).__name__}: {error}"})
    finally:
        end_children()
        report.flush()
        os._exit(0)  # no thread of nbclient's may hold this up


if __name__ == "__main__":
    main()
