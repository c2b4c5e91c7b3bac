"""Several processes that train together end up where one process would.

Most processes here are forked from a server that has imported torch once, and
are told who they are as torchrun tells its processes. One test runs torchrun.
"""

import multiprocessing
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

import pytest
import torch
from saved_runs import assert_same_result, result
from torch.utils.data import BatchSampler, Dataset, SequentialSampler, Subset

from helpers import checkpoint, data, distributed, train
from helpers.checkpoint import CheckpointError
from helpers.distributed import ShareOfEachBatch, Team

HERE = Path(__file__).parent
POSIX = os.name == "posix"
MNIST = data.mnist
CONTEXT = multiprocessing.get_context("forkserver" if POSIX else "spawn")

RECIPE = ["--validation", "40", "--epochs", "2", "--device", "cpu"]
# Two processes: ten steps of 16 an epoch, the last one of 6.
DROPOUT = [*RECIPE, "--limit", "150", "--batch-size", "8", "--save-every", "3"]
# Three: eight steps of 21, the last one of a single digit, which goes to all.
PADDED = [*RECIPE, "--limit", "148", "--model", "small-padded", "--lr", "0.05"]
THREE = [*PADDED, "--batch-size", "7", "--save-every", "3"]


@pytest.fixture(scope="module", autouse=True)
def _server() -> Iterator[None]:
    """Have the children import torch only once, and use one thread."""
    with pytest.MonkeyPatch.context() as patch:
        path = os.pathsep.join([str(HERE), str(HERE.parent)])
        patch.setenv("PYTHONPATH", path)
        patch.setenv("OMP_NUM_THREADS", "1")
        patch.setenv("USE_LIBUV", "0")  # PyTorch for Windows has none
        patch.setattr(data, "mnist", few_test_digits)
        if POSIX:
            CONTEXT.set_forkserver_preload(["helpers.train", Path(__file__).stem])
        num_threads = torch.get_num_threads()
        torch.set_num_threads(1)
        yield
        torch.set_num_threads(num_threads)


def few_test_digits(split: str) -> Dataset:
    """Return MNIST without most of its test digits, which take most of the time."""
    digits = MNIST(split)
    return Subset(digits, range(100)) if split == "test" else digits


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


# --- What runs in a child -------------------------------------------------------------


def sleep() -> None:
    time.sleep(1_000)


def stop_myself() -> None:
    os.kill(os.getpid(), signal.SIGTERM)


def fail(*_: object) -> None:
    raise CheckpointError("the disk is full")


def at_step(number: int, action: Callable[[], None]) -> None:
    """Do something when a step is done and not yet recorded."""
    after_step, steps = train._after_step, 0

    def act_then(*arguments: object) -> None:
        nonlocal steps
        steps += 1
        if steps == number:
            action()
        after_step(*arguments)

    train._after_step = act_then


def sleep_at_step_7(_: int) -> None:
    at_step(7, sleep)


def second_stops_itself_at_step_5(rank: int) -> None:
    if rank == 1:
        at_step(5, stop_myself)


def second_cannot_begin(rank: int) -> None:
    if rank == 1:
        train._prepare = fail


def first_cannot_save(rank: int) -> None:
    if rank == 0:
        checkpoint.save = fail


def as_ever(_: int) -> None:
    pass


def member(
    rank: int,
    size: int,
    port: int,
    arguments: list[str],
    log: Path,
    prepare: Callable[[int], None],
) -> None:
    """Be one of the processes that torchrun would start."""
    os.environ |= {
        "TORCHELASTIC_RUN_ID": "test",
        "RANK": str(rank),
        "LOCAL_RANK": str(rank),
        "WORLD_SIZE": str(size),
        "LOCAL_WORLD_SIZE": str(size),
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
    }
    torch.set_num_threads(1)
    data.mnist = few_test_digits
    prepare(rank)
    with log.open("a") as file, redirect_stdout(file), redirect_stderr(file):
        sys.exit(train.main(arguments))


class Members:
    """Several processes of `python -m helpers.train` that train together."""

    def __init__(
        self,
        folder: Path,
        *arguments: str,
        size: int = 2,
        prepare: Callable[[int], None] = as_ever,
    ) -> None:
        self.folder = folder
        port, words = free_port(), [*arguments, "--out", str(folder)]
        self.logs = [folder.with_name(f"log-{rank}") for rank in range(size)]
        self.processes = []
        for rank, log in enumerate(self.logs):
            log.write_text("")
            process = CONTEXT.Process(
                target=member, args=(rank, size, port, words, log, prepare)
            )
            process.start()
            self.processes.append(process)

    def finish(self) -> tuple[list[int], list[str]]:
        """Wait for the end; return exit statuses and outputs, by rank."""
        for process in self.processes:
            process.join(500)
        statuses = [process.exitcode for process in self.processes]
        self.kill()
        outputs = [log.read_text() for log in self.logs]
        assert None not in statuses, f"a process did not end: {outputs}"
        return statuses, outputs

    def wait_for(self, number: int) -> None:
        """Wait for the checkpoint of that number."""
        while numbers(self.folder) < number:
            ended = [not process.is_alive() for process in self.processes]
            assert not any(ended), self.finish()
            time.sleep(0.005)

    def kill(self) -> None:
        for process in self.processes:
            process.kill()
        for process in self.processes:
            process.join()


def run(folder: Path, *arguments: str, size: int = 2) -> list[str]:
    statuses, outputs = Members(folder, *arguments, size=size).finish()
    assert statuses == [0] * size, outputs
    return outputs


def numbers(folder: Path) -> int:
    newest = checkpoint.latest(folder)
    return 0 if newest is None else int(newest.name.split("-")[0])


@pytest.fixture(scope="module")
def two(tmp_path_factory):
    """A run of two processes, with dropout, that nothing interrupted."""
    folder = tmp_path_factory.mktemp("two") / "run"
    outputs = run(folder, *DROPOUT)
    lines = outputs[0].splitlines()
    assert lines[0].startswith("Training dropout in 2 processes, saving in")
    assert lines[-1].startswith("After epoch 2: test loss")
    assert outputs[1] == "", "one process speaks for all"
    return folder


@pytest.fixture(scope="module")
def three(tmp_path_factory):
    """A run of three processes, without dropout, that nothing interrupted."""
    folder = tmp_path_factory.mktemp("three") / "run"
    run(folder, *THREE, size=3)
    return folder


# --- The same as one process ----------------------------------------------------------


def assert_like_one_process(folder: Path, alone: Path, batch_size: int) -> None:
    """Compare a run of several processes with one that takes the whole batches."""
    options = ["--batch-size", str(batch_size), "--out", str(alone)]
    assert train.main([*PADDED, *options]) == 0
    ours, theirs = result(folder), result(alone)
    for name, weight in theirs["model"].items():
        torch.testing.assert_close(ours["model"][name], weight, atol=1e-4, rtol=1e-3)
    steps = [content["history"]["steps"] for content in (ours, theirs)]
    for our_step, their_step in zip(*steps, strict=True):
        assert our_step["examples"] == their_step["examples"]
        assert our_step["loss"] == pytest.approx(their_step["loss"], abs=1e-4)
        assert abs(our_step["correct"] - their_step["correct"]) <= 1
    ends = [content["history"]["epochs"][-1] for content in (ours, theirs)]
    for name in ("train_loss", "validation_loss"):
        assert ends[0][name] == pytest.approx(ends[1][name], abs=1e-4)


def test_three_processes_equal_one_with_three_times_the_batch(three, tmp_path):
    assert_like_one_process(three, tmp_path / "alone", 3 * 7)


DIES_ONCE = """
import os, sys
import test_distributed
from helpers import data, train

data.mnist = test_distributed.few_test_digits
if os.environ["RANK"] == "1" and os.environ["TORCHELASTIC_RESTART_COUNT"] == "0":
    test_distributed.at_step(5, lambda: os._exit(9))
sys.exit(train.main(sys.argv[1:]))
"""


def test_torchrun_starts_again_after_a_death_and_goes_on(tmp_path):
    program, folder = tmp_path / "program.py", tmp_path / "run"
    program.write_text(DIES_ONCE)
    torchrun = ["--nproc-per-node=2", "--max-restarts=1", "--monitor-interval=0.1"]
    torchrun += ["--master-addr=127.0.0.1", f"--master-port={free_port()}"]
    command = [sys.executable, "-m", "torch.distributed.run", *torchrun, str(program)]
    finished = subprocess.run(
        [*command, *PADDED, "--batch-size=8", "--save-every=2", f"--out={folder}"],
        capture_output=True,
        text=True,
        timeout=500,
    )
    assert finished.returncode == 0, finished.stderr
    assert finished.stdout.count("Training small-padded in 2 processes") == 1
    assert finished.stdout.count("Going on from") == 1
    assert "epoch-000-step-00004.pt" in finished.stdout
    assert_like_one_process(folder, tmp_path / "alone", 2 * 8)


@pytest.mark.parametrize(("total", "size"), [(150, 2), (148, 3), (145, 3), (7, 4)])
def test_every_example_comes_once_or_to_all(total, size):
    batches = BatchSampler(SequentialSampler(range(total)), 12, drop_last=False)
    shares = [ShareOfEachBatch(batches, Team(rank, size)) for rank in range(size)]
    for step, parts in enumerate(zip(*shares, strict=True), start=1):
        together = sorted(index for part in parts for index in part)
        start = 12 * (step - 1)
        whole = list(range(start, min(start + 12, total)))
        assert len(whole) == shares[0].whole_size(step)
        assert all(parts), "nobody is left without an example"
        assert together == whole or all(part == whole for part in parts)
    assert len(shares[0]) == step


# --- Killed, stopped, resumed ---------------------------------------------------------


def test_killed_and_resumed_equals_unbroken(three, tmp_path):
    folder = tmp_path / "run"
    members = Members(folder, *THREE, size=3, prepare=sleep_at_step_7)
    members.wait_for(3)
    members.kill()
    assert result(folder)["step"] == 6
    run(folder, "--resume", size=3)
    assert_same_result(folder, three)


@pytest.mark.skipif(not POSIX, reason="Windows has no such signals")
def test_a_signal_to_one_process_stops_all_at_the_same_step(two, tmp_path):
    folder = tmp_path / "run"
    prepare = second_stops_itself_at_step_5
    statuses, outputs = Members(folder, *DROPOUT, prepare=prepare).finish()
    assert statuses == [143, 143]
    assert "torchrun --nproc-per-node=2 -m helpers.train --resume" in outputs[0]
    assert outputs[1] == ""
    assert result(folder)["step"] == 5
    run(folder, "--resume")
    assert_same_result(folder, two)


def test_only_the_torchrun_that_began_a_run_goes_on_unasked(tmp_path, monkeypatch):
    """Else a folder that was refused would be trained on after the restart."""

    def start(name: str, restarts: int) -> int:
        error_file = tmp_path / name / f"attempt_{restarts}" / "0" / "error.json"
        monkeypatch.setenv("TORCHELASTIC_ERROR_FILE", str(error_file))
        monkeypatch.setenv("TORCHELASTIC_RESTART_COUNT", str(restarts))
        options = ["--limit", "8", "--epochs", "1", "--out", str(tmp_path / "run")]
        return train.main([*RECIPE, *options])

    for name, value in {"RUN_ID": "none", "MAX_RESTARTS": "3"}.items():
        monkeypatch.setenv(f"TORCHELASTIC_{name}", value)
    for name, value in {"RANK": "0", "WORLD_SIZE": "1"}.items():
        monkeypatch.setenv(name, value)
    assert start("first", 0) == 0
    assert start("first", 1) == 0  # already finished
    for restarts in (0, 1):
        with pytest.raises(SystemExit) as caught:
            start("second", restarts)
        assert caught.value.code == 2


# --- Refused --------------------------------------------------------------------------


def test_another_number_of_processes_is_refused(two, capsys):
    with pytest.raises(SystemExit) as caught:
        train.main(["--resume", "--out", str(two), "--epochs", "3"])
    assert caught.value.code == 2
    message = capsys.readouterr().err
    assert "2 and not 1: torchrun --nproc-per-node=2 -m helpers.train" in message


@pytest.mark.parametrize("arguments", [["--model", "resnet"], ["--resume"]])
def test_a_wrong_option_is_told_once(arguments, tmp_path):
    statuses, outputs = Members(tmp_path / "run", *arguments).finish()
    assert statuses == [2, 2]
    assert outputs[0].count("error:") == 1
    assert outputs[1] == ""


@pytest.mark.parametrize("prepare", [second_cannot_begin, first_cannot_save])
def test_if_one_process_fails_all_end(prepare, tmp_path):
    statuses, outputs = Members(tmp_path / "run", *DROPOUT, prepare=prepare).finish()
    assert statuses == [1, 1]
    assert outputs[0].endswith("error: the disk is full\n")
    assert "Traceback" not in outputs[0]
    assert outputs[1] == ""


def test_devices_of_several_processes(monkeypatch):
    monkeypatch.setenv("LOCAL_RANK", "1")
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "2")
    team = Team(rank=1, size=2)
    assert team.choose_device("cpu").type == "cpu"
    with pytest.raises(ValueError, match="cannot be shared by several processes"):
        team.choose_device("cuda:0")
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)  # not enough
    assert team.choose_device().type == "cpu"
    chosen = []
    monkeypatch.setattr(torch.cuda, "set_device", chosen.append)
    monkeypatch.setattr(distributed, "choose_device", torch.device)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert team.choose_device() == team.choose_device("cuda") == chosen[0]
    assert chosen[0] == torch.device("cuda", 1)
