"""Ends the processes of a notebook when they take too much."""

import contextlib
import threading
import time

import psutil

MB = 1 << 20
MOST_PROCESSES = 64  # of one notebook at a time


class Watch(threading.Thread):
    """Ends all children when together they take too much memory.

    Attributes
    ----------
    reason : str
        Why they were ended, or nothing.
    """

    def __init__(self, memory: int) -> None:
        super().__init__(daemon=True)
        self.memory = memory
        self.reason = ""

    def run(self) -> None:
        """Look several times a second."""
        while True:
            time.sleep(0.2)
            children = psutil.Process().children(recursive=True)
            if len(children) > MOST_PROCESSES:
                self.reason = f"it started more than {MOST_PROCESSES} processes"
            elif _memory_of(children, self.memory) > self.memory:
                self.reason = too_much_memory(self.memory)
            else:
                continue
            end_children()


def too_much_memory(memory: int) -> str:
    """Return what is said of a notebook that took too much."""
    return f"it took more than {memory // MB} MB of memory"


def _memory_of(processes: list[psutil.Process], limit: int) -> int:
    """Return the memory of some processes, in bytes.

    Pages that they share count several times in a first sum, which is cheap; if
    that is above the limit, each page is counted once, where the system can.
    """
    total = 0
    for process in processes:
        with contextlib.suppress(psutil.Error):
            total += process.memory_info().rss
    if total <= limit:
        return total
    exact = 0
    for process in processes:
        with contextlib.suppress(psutil.Error):
            info = process.memory_full_info()
            exact += getattr(info, "pss", info.uss)
    return exact


def end_children() -> None:
    """Kill all descendants, also those that left their parents."""
    for _ in range(50):
        children = psutil.Process().children(recursive=True)
        alive = [c for c in children if _is_running(c)]
        if not alive:
            return
        for child in alive:
            with contextlib.suppress(psutil.Error):
                child.kill()
        psutil.wait_procs(alive, timeout=0.1)


def _is_running(process: psutil.Process) -> bool:
    try:
        return bool(process.status() != psutil.STATUS_ZOMBIE)
    except psutil.Error:
        return False
