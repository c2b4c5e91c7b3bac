"""How long an epoch takes, how much of it is waiting for data, and how it grows."""

import re
import statistics
import sys
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import torch
from digits import FAST, STEPS, build, run, with_transform
from torch import nn, optim
from torch.utils.data import DataLoader, Dataset, Subset
from writing import Missing, Part, in_fresh_process

from helpers import data
from helpers.device import synchronize, time_calls
from helpers.models import DropoutNet
from helpers.training import train_one_epoch

LOADERS = ("plain", "2 workers", "in memory")
IN_MEMORY = STEPS["smoothing"]
SHARES = ("8", "4", "2", "1")


class Waiting:
    """Passes batches on and adds up the seconds until each was there."""

    def __init__(self, loader: Iterable) -> None:
        self.loader, self.seconds = loader, 0.0

    def __iter__(self) -> Iterator:
        start = time.perf_counter()
        for batch in self.loader:
            self.seconds += time.perf_counter() - start
            yield batch
            start = time.perf_counter()
        self.seconds += time.perf_counter() - start


def make_loaders(limit: int | None) -> dict[str, DataLoader]:
    """Return loaders over the same training digits, in batches of 64."""
    dataset: Dataset = with_transform("train", FAST)
    if limit:
        dataset = Subset(dataset, range(limit))
    return {
        "plain": DataLoader(dataset, 64, shuffle=True),
        "2 workers": DataLoader(dataset, 64, shuffle=True, num_workers=2),
        "in memory": data.batches(data.to_tensors(dataset), 64, shuffle=True),
    }


def measure_loading(
    name: str, seed: int, device: torch.device, limit: int | None
) -> dict[str, Any]:
    """Train the small dropout network for an epoch; tell how long it waited."""
    waiting = Waiting(make_loaders(limit)[name])
    torch.manual_seed(seed)
    model = DropoutNet().to(device)
    optimizer = optim.SGD(model.parameters(), lr=0.01, momentum=0.9)
    start = time.perf_counter()
    train_one_epoch(model, waiting, nn.CrossEntropyLoss(), optimizer, device)
    synchronize(device)
    seconds = time.perf_counter() - start
    return {"seed": seed, "seconds": seconds, "share": waiting.seconds / seconds}


def measure_growth(
    name: str, seed: int, device: torch.device, limit: int | None
) -> dict[str, Any]:
    """Train on a share of the digits, all prepared at once, in a fresh process."""
    digits = (limit or 60_000) // int(name)
    return in_fresh_process(_grow, digits, seed, device)


def _grow(digits: int, seed: int, device: torch.device) -> dict[str, Any]:
    train = Subset(with_transform("train", IN_MEMORY), range(digits))
    test = Subset(with_transform("test", IN_MEMORY), range(100))
    run(IN_MEMORY, seed, device, test, test)  # what a run of any size needs
    before = memory()
    record = run(IN_MEMORY, seed, device, train, test)
    return {
        "seed": seed,
        "digits": digits,
        "seconds": record["epochs"][-1]["seconds"],
        "megabytes": memory(at_most=True) - before,
    }


def measure_compile(
    name: str, seed: int, device: torch.device, limit: int | None
) -> dict[str, Any]:
    """Time training steps of the fast recipe, compiled or as they are."""
    return in_fresh_process(_step_seconds, name, seed, device)


def _step_seconds(name: str, seed: int, device: torch.device) -> dict[str, Any]:
    model, optimizer = build(FAST, seed, device)
    if name == "compiled":
        model = torch.compile(model)
    images = torch.randn(FAST.batch_size, 1, 28, 28, device=device)
    labels = torch.randint(10, (FAST.batch_size,), device=device)
    loss_fn = nn.CrossEntropyLoss()

    def step() -> None:
        train_one_epoch(model, [(images, labels)], loss_fn, optimizer, device)

    (first,) = time_calls(step, device, warmup=0, repeats=1)
    later = time_calls(step, device, warmup=3, repeats=100)
    return {"seed": seed, "first": first, "later": statistics.median(later)}


def memory(*, at_most: bool = False) -> float:
    """Return the memory that this process holds, or has held at most, in MB."""
    status = Path("/proc/self/status")
    if status.exists():
        # Linux counts in KiB. Its `ru_maxrss` begins with the parent's.
        line = "VmHWM" if at_most else "VmRSS"
        (held,) = re.findall(rf"{line}:\s*(\d+) kB", status.read_text("utf-8"))
        return int(held) * 1024 / 1e6
    try:
        import resource
    except ImportError:
        raise Missing("for Windows does not tell a process's memory") from None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak * (1 if sys.platform == "darwin" else 1024) / 1e6


LOADING = Part(
    measure_loading,
    {name: {"network": "DropoutNet", "batch_size": 64} for name in LOADERS},
    dict.fromkeys(LOADERS, 3),
)
GROWTH = Part(
    measure_growth,
    {share: {"step": "smoothing", "share": int(share)} for share in SHARES},
    dict.fromkeys(SHARES, 3),
)
COMPILE = Part(
    measure_compile,
    {name: {"recipe": "fast", "step": name} for name in ("plain", "compiled")},
    {"plain": 3, "compiled": 3},
)
