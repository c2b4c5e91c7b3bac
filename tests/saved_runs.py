"""Runs of `python -m helpers.train`, and what they left in their folders.

Most runs are forked from a server that has imported torch and unpacked the digits
once; each is a process of its own and is killed as any other. Several that train
together are told who they are as torchrun tells its processes.
"""

import multiprocessing
import os
import socket
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import redirect_stderr, redirect_stdout
from functools import cache
from pathlib import Path

import pytest
import torch
from torch.utils.data import Dataset, Subset

from helpers import checkpoint, data, train

HERE = Path(__file__).parent
POSIX = os.name == "posix"
MNIST = data.mnist
CONTEXT = multiprocessing.get_context("forkserver" if POSIX else "spawn")


@cache
def few_test_digits(split: str) -> Dataset:
    """Return MNIST without most of its test digits, which take most of the time."""
    digits = MNIST(split)
    return Subset(digits, range(100)) if split == "test" else digits


if "DIGITS_IN_MEMORY" in os.environ:  # the server's, and so its children's
    few_test_digits("train")
    few_test_digits("test")


@pytest.fixture(scope="module", autouse=True)
def _server() -> Iterator[None]:
    """Have the children import torch only once, and use one thread."""
    with pytest.MonkeyPatch.context() as patch:
        path = os.pathsep.join([str(HERE), str(HERE.parent)])
        patch.setenv("PYTHONPATH", path)
        patch.setenv("OMP_NUM_THREADS", "1")
        patch.setenv("DIGITS_IN_MEMORY", "1")
        patch.setenv("USE_LIBUV", "0")  # PyTorch for Windows has none
        if POSIX:
            CONTEXT.set_forkserver_preload(["helpers.train", "saved_runs"])
        num_threads = torch.get_num_threads()
        torch.set_num_threads(1)
        yield
        torch.set_num_threads(num_threads)


def slow_disk(seconds: float) -> None:
    """Make every flush to the disk, and so every write, take its time."""
    fsync = os.fsync

    def slow_fsync(handle: int) -> None:
        time.sleep(seconds)
        fsync(handle)

    os.fsync = slow_fsync


def member(words: list[str], log: Path, place: dict[str, str], disk: float) -> None:
    """Be the command, or one of the processes that torchrun would start."""
    os.environ |= place
    torch.set_num_threads(1)
    data.mnist = few_test_digits
    if disk:
        slow_disk(disk)
    file = log.open("a", encoding="cp1252")  # lacks letters that a folder may have
    with file, redirect_stdout(file), redirect_stderr(file):
        status = train.main(words)
    if status:
        sys.exit(status)


class Command:
    """`python -m helpers.train` in forked processes, its folder among the options."""

    def __init__(
        self, folder: Path, *arguments: object, size: int = 1, disk: float = 0
    ) -> None:
        self.folder = folder
        words = [*map(str, arguments), "--out", str(folder)]
        self.logs = [folder.with_name(f"{folder.name}-log-{i}") for i in range(size)]
        self.processes = []
        port = free_port()
        for rank, log in enumerate(self.logs):
            log.write_text("")
            here = place(rank, size, port) if size > 1 else {}
            process = CONTEXT.Process(target=member, args=(words, log, here, disk))
            process.start()
            self.processes.append(process)

    def finish(self) -> tuple[int, str]:
        """Wait for the end; return the first one's exit status and all output."""
        for process in self.processes:
            process.join(500)
        status = self.processes[0].exitcode
        self.kill()
        output = "".join(log.read_text() for log in self.logs)
        assert status is not None, f"the command did not end: {output}"
        return status, output

    def wait_for(self, condition: Callable[[], object]) -> None:
        """Wait for a condition that comes before the end."""
        while not condition():
            assert all(process.is_alive() for process in self.processes), self.finish()
            time.sleep(0.002)

    def wait_for_text(self, text: str) -> None:
        self.wait_for(lambda: text in self.logs[0].read_text())

    def wait_for_checkpoint(self, number: int) -> None:
        self.wait_for(lambda: newest_number(self.folder) >= number)

    def kill(self) -> None:
        """Kill the processes as a power cut would."""
        for process in self.processes:
            process.kill()
        for process in self.processes:
            process.join()


def place(rank: int, size: int, port: int) -> dict[str, str]:
    """Return what torchrun tells a process."""
    return {
        "TORCHELASTIC_RUN_ID": "test",
        "RANK": str(rank),
        "LOCAL_RANK": str(rank),
        "WORLD_SIZE": str(size),
        "LOCAL_WORLD_SIZE": str(size),
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
    }


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


def run(folder: Path, *arguments: object, **options: int) -> str:
    """Run the command to its end, and return what it printed."""
    status, output = Command(folder, *arguments, **options).finish()
    assert status == 0, output
    return output


def newest_number(folder: Path) -> int:
    newest = checkpoint.latest(folder)
    return 0 if newest is None else int(newest.name.split("-")[0])


def result(folder: Path) -> dict:
    """Return the content of a run's newest checkpoint."""
    newest = checkpoint.latest(folder)
    assert newest is not None
    return checkpoint.read(newest)


def assert_same_result(first: Path, second: Path) -> None:
    """Compare everything two runs saved at their ends, to the bit."""
    assert flatten(result(first)) == flatten(result(second))


def flatten(value: object) -> object:
    """Return nested tensors as bytes, so that == compares them to the bit."""
    if isinstance(value, torch.Tensor):
        array = value.contiguous().numpy()
        return array.dtype.str, array.shape, array.tobytes()
    if isinstance(value, dict):
        return [(key, flatten(item)) for key, item in value.items()]
    if isinstance(value, list | tuple):
        return [flatten(item) for item in value]
    return value
