"""Several processes that train together, started by torchrun and as it starts them."""

import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import saved_runs
import torch
import torch.distributed as dist
from saved_runs import CONTEXT, Command, newest_number, result, run
from saved_runs import _server as _server
from torch import nn
from torch.distributed.launcher.api import LaunchConfig, elastic_launch
from torch.utils.data import DistributedSampler, Subset

from helpers import checkpoint, data, distributed, train
from helpers.models import SmallPaddedNet

# Two processes: ten steps of 2 * 8 digits an epoch, the last one of 2 * 3.
COMMON = ["--limit", "150", "--batch-size", "8", "--validation", "40"]
COMMON += ["--epochs", "2", "--device", "cpu", "--save-every", "3"]
PADDED = [*COMMON, "--model", "small-padded", "--lr", "0.05"]


@pytest.fixture(scope="module")
def dropout(tmp_path_factory):
    """A run of two processes, with dropout, that nothing interrupted."""
    folder = tmp_path_factory.mktemp("dropout") / "run"
    lines = run(folder, *COMMON, size=2).splitlines()
    assert lines[0].startswith("Training dropout in 2 processes, saving in")
    assert lines[-1].startswith("After epoch 2: test loss")
    assert len(lines) == 5, "one process speaks for all"
    return folder


def assert_equal_to_rounding(first: Path, second: Path) -> None:
    for part in ("model", "history"):
        ours, theirs = result(first)[part], result(second)[part]
        if part == "model":
            for name, weight in theirs.items():
                torch.testing.assert_close(ours[name], weight, atol=1e-5, rtol=1e-4)
        else:
            losses = [[row["loss"] for row in one["steps"]] for one in (ours, theirs)]
            assert losses[0] == pytest.approx(losses[1], abs=1e-5)


def test_two_processes_equal_a_plain_loop_over_their_batches(tmp_path):
    folder = tmp_path / "run"
    run(folder, *PADDED, size=2)
    torch.manual_seed(0)
    model = SmallPaddedNet()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    digits, _ = data.split_train_validation(data.mnist("train"), 40)
    images, labels = data.to_tensors(Subset(digits, range(150)))[:]
    samplers = [DistributedSampler(labels, 2, rank, seed=0) for rank in (0, 1)]
    for epoch in range(2):
        for sampler in samplers:
            sampler.set_epoch(epoch)
        shares = [torch.tensor(list(sampler)).split(8) for sampler in samplers]
        for parts in zip(*shares, strict=True):
            batch = torch.cat(parts)
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(images[batch]), labels[batch]).backward()
            optimizer.step()
    for name, weight in model.state_dict().items():
        ours = result(folder)["model"][name]
        torch.testing.assert_close(ours, weight, atol=1e-4, rtol=1e-3)


@pytest.mark.skipif(os.name != "posix", reason="Windows has no such signals")
def test_a_signal_to_one_process_stops_all_at_the_same_step(dropout, tmp_path):
    folder = tmp_path / "run"
    options = [*COMMON, "--save-every", "1"]
    members = Command(folder, *options, size=2, disk=0.1)
    members.wait_for_checkpoint(2)
    os.kill(members.processes[1].pid, signal.SIGTERM)
    status, output = members.finish()
    assert status == 143
    assert [process.exitcode for process in members.processes] == [143, 143]
    assert output.count("To go on: the same torchrun") == 1
    assert (result(folder)["epoch"], result(folder)["step"]) == (1, 0)
    run(folder, "--resume", "--device", "cpu", size=2)
    assert_equal_to_rounding(folder, dropout)


def dies_once(folder: Path, log: Path) -> None:
    """Be the command, of which one process dies on the way, as long as it is new."""
    is_new = os.environ["TORCHELASTIC_RESTART_COUNT"] == "0"
    if is_new and os.environ["RANK"] == "1":
        threading.Thread(target=die, args=[folder], daemon=True).start()
    # The other one waits meanwhile, or it would be through too soon.
    saved_runs.member(["--resume", *COMMON, "--out", str(folder)], log, {}, is_new / 5)


def die(folder: Path) -> None:
    while newest_number(folder) < 3:
        time.sleep(0.001)
    os._exit(9)


@pytest.fixture
def _same_signals() -> Iterator[None]:
    """Forget whom torchrun's functions would have signals sent to."""
    before = {number: signal.getsignal(number) for number in signal.valid_signals()}
    yield
    for number, handler in before.items():
        if handler != signal.getsignal(number):
            signal.signal(number, handler)


@pytest.mark.usefixtures("_same_signals")
def test_torchrun_starts_again_after_a_death_and_goes_on(dropout, tmp_path):
    """One command serves the start and what comes after a death.

    With dropout, too: every process goes on with the random numbers it had. It is
    done as torchrun does it, but with forked functions in the place of programs, which
    would all have to import torch; chapter 11 runs torchrun itself.
    """
    folder, log = tmp_path / "run", tmp_path / "log"
    config = LaunchConfig(
        min_nodes=1,
        max_nodes=1,
        nproc_per_node=2,
        max_restarts=1,
        monitor_interval=0.1,
        rdzv_backend="c10d",
        rdzv_endpoint="localhost:0",
        local_addr="localhost",
        start_method=CONTEXT.get_start_method(),
    )
    elastic_launch(config, dies_once)(folder, log)
    printed = log.read_text()
    assert printed.count("Training dropout in 2 processes") == 1
    assert printed.count("Going on from") == 1
    assert_equal_to_rounding(folder, dropout)


def test_as_many_processes_go_on_as_began(dropout, capsys):
    with pytest.raises(SystemExit):
        train.main(["--resume", "--out", str(dropout)])
    assert "as it began in: 2, and not 1" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("kind", "count", "chosen"),
    [("xpu", 2, "xpu:1"), ("xpu", 1, "cpu"), ("cuda", 3, "cuda:1"), ("mps", 2, "cpu")],
)
def test_a_gpu_for_each_process(kind, count, chosen, monkeypatch):
    """As a machine with such GPUs would choose; here there are none."""
    for name, value in saved_runs.place(1, 2, 0).items():
        monkeypatch.setenv(name, value)
    there, current = torch.accelerator, []
    monkeypatch.setattr(there, "is_available", lambda: True)
    monkeypatch.setattr(there, "current_accelerator", lambda: torch.device(kind))
    monkeypatch.setattr(there, "device_count", lambda: count)
    monkeypatch.setattr(there, "set_device_index", current.append)
    monkeypatch.setattr(distributed, "choose_device", torch.device)
    assert distributed.device_of_process("cpu") == torch.device("cpu")
    assert distributed.device_of_process() == torch.device(chosen)
    assert current == ([] if chosen == "cpu" else [1])
    for name in ("mps", f"{kind}:0"):
        with pytest.raises(ValueError, match="cannot be shared by several processes"):
            distributed.device_of_process(name)


def test_gradients_travel_as_the_gpu_s_own_do(monkeypatch):
    joined = []
    rendezvous = iter([(dist.HashStore(), 0, 1)])
    monkeypatch.setattr(dist, "rendezvous", lambda _: rendezvous)
    monkeypatch.setattr(
        dist, "init_process_group", lambda backend, **_: joined.append(backend)
    )
    monkeypatch.setattr(
        distributed, "DistributedDataParallel", lambda _, device_ids: device_ids
    )
    device = torch.device("xpu", 1)
    assert distributed.join(nn.Linear(1, 1), device) == [device]
    assert joined == ["cpu:gloo,xpu:xccl"]


def test_one_process_that_torchrun_started_is_one_process(monkeypatch, tmp_path):
    for name, value in saved_runs.place(0, 1, 0).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(data, "mnist", saved_runs.few_test_digits)
    words = [*COMMON, "--epochs", "1", "--limit", "16", "--out", str(tmp_path)]
    assert train.main(words) == 0
    assert checkpoint.latest(tmp_path).name.startswith("00003")
