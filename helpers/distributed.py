"""Several processes that train one network together (chapter 11).

``torchrun`` starts the processes and tells each who it is. Each takes its share
of every batch, and ``DistributedDataParallel`` averages the gradients. Together
they learn what one process would learn from the whole batch.

A program that was not started by ``torchrun`` is a team of one: the same calls
work, and nothing is sent.
"""

import os
from collections.abc import Iterator, Sized
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor, nn
from torch.futures import Future
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import BatchSampler, DataLoader, Sampler

from helpers.device import choose_device

Batch = TypeVar("Batch")


@dataclass(frozen=True)
class Team:
    """The processes that train together, seen from one of them.

    Except for `share` and `choose_device`, its methods send something: all
    processes must call them, in the same order, or they wait for each other
    forever.

    Attributes
    ----------
    rank : int
        This process's number, from 0. Process 0 is the one that writes and prints.
    size : int
        How many there are.
    """

    rank: int = 0
    size: int = 1

    @property
    def is_first(self) -> bool:
        return self.rank == 0

    def sum(self, values: list[float]) -> list[float]:
        """Return the sum over all processes of each value."""
        if self.size == 1:
            return values
        total = torch.tensor(values, dtype=torch.float64)
        dist.all_reduce(total)
        return total.tolist()

    def gather(self, value: Any) -> list[Any]:
        """Return the values of all processes, in order of rank."""
        if self.size == 1:
            return [value]
        values = [None] * self.size
        dist.all_gather_object(values, value)
        return values

    def from_first(self, value: Any) -> Any:
        """Return the value that process 0 has."""
        if self.size == 1:
            return value
        box = [value]
        dist.broadcast_object_list(box)
        return box[0]

    def wrap(self, model: nn.Module, device: torch.device) -> nn.Module:
        """Return the model with its gradients averaged over all processes."""
        if self.size == 1:
            return model
        wrapped = DistributedDataParallel(
            model, device_ids=[device] if device.type == "cuda" else None
        )
        wrapped.register_comm_hook(self, average_in_order)
        return wrapped

    def share(self, loader: DataLoader[Batch]) -> DataLoader[Batch]:
        """Return a loader of this process's share of each batch.

        Parameters
        ----------
        loader : DataLoader
            From `helpers.data.batches`, in batches for all processes together,
            with a generator that is seeded alike in all of them.
        """
        if self.size == 1:
            return loader
        assert isinstance(loader.sampler, BatchSampler)
        return DataLoader(
            loader.dataset,
            sampler=ShareOfEachBatch(loader.sampler, self),
            batch_size=None,
            generator=loader.generator,
        )

    def choose_device(self, name: str | None = None) -> torch.device:
        """Return the device of this process: a GPU of its own, or the CPU.

        Parameters
        ----------
        name : str, optional
            As for `helpers.device.choose_device`; for several processes "cpu" or
            "cuda". Without one, NVIDIA GPUs if there is one a process, else the
            CPU.

        Raises
        ------
        ValueError
            If there is no such device for this process.
        """
        if self.size == 1:
            return choose_device(name)
        if name not in (None, "cpu", "cuda"):
            raise ValueError(
                f"device {name!r} cannot be shared by several processes: each takes "
                f'a GPU of its own with "cuda", or computes on the "cpu"'
            )
        local_rank = int(os.environ["LOCAL_RANK"])
        enough = torch.cuda.device_count() >= int(os.environ["LOCAL_WORLD_SIZE"])
        if name == "cpu" or (name is None and not enough):
            return torch.device("cpu")
        device = choose_device(f"cuda:{local_rank}")
        torch.cuda.set_device(device)
        return device


def average_in_order(  # type: ignore[no-untyped-def]  # of the bucket: see below
    team: Team, bucket
) -> Future[Tensor]:
    """Average gradients over the processes, adding them up in order of rank.

    DDP's own way adds up different parts of a bucket in different orders, and lays
    out the buckets anew after its first step. With three processes or more a
    resumed run, which has a first step of its own, would round otherwise there.

    Parameters
    ----------
    team : Team
        The processes.
    bucket : torch.distributed.GradBucket
        Gradients of some parameters, float of shape (n,). (No annotation: where
        PyTorch was built without this, the module must still be importable.)
    """
    parts = [torch.empty_like(bucket.buffer()) for _ in range(team.size)]
    sent = dist.all_gather(parts, bucket.buffer(), async_op=True)

    def average(_: Future[list[Tensor]]) -> Tensor:
        total = parts[0]
        for part in parts[1:]:
            total += part
        return total / team.size

    return sent.get_future().then(average)


class ShareOfEachBatch(Sampler[list[int]]):
    """Every n-th index of each batch, for n processes, beginning at the rank."""

    def __init__(self, batches: BatchSampler, team: Team) -> None:
        self.batches, self.team = batches, team

    def __len__(self) -> int:
        return len(self.batches)

    def whole_size(self, step: int) -> int:
        """Return how many examples all processes have in a step, from 1."""
        assert isinstance(self.batches.sampler, Sized)
        before = (step - 1) * self.batches.batch_size
        return min(self.batches.batch_size, len(self.batches.sampler) - before)

    def __iter__(self) -> Iterator[list[int]]:
        for batch in self.batches:
            # A last batch with fewer examples than processes goes to all of
            # them: nobody is left without one, and the mean stays the same.
            whole = len(batch) < self.team.size
            yield batch if whole else batch[self.team.rank :: self.team.size]


class SharedCrossEntropy(nn.Module):
    """Cross-entropy whose mean over the processes is that of the whole batch.

    The mean of means would count the examples of a smaller share too much.
    """

    def __init__(self, team: Team) -> None:
        super().__init__()
        self.team = team

    def forward(self, logits: Tensor, labels: Tensor) -> Tensor:
        (total,) = self.team.sum([len(labels)])
        loss = F.cross_entropy(logits, labels, reduction="sum")
        return loss * (self.team.size / total)


def join() -> Team:
    """Meet the other processes that ``torchrun`` started, if it did."""
    if rank() is None or os.environ["WORLD_SIZE"] == "1":
        return Team()
    # Gradients on GPUs travel by NCCL. Everything else goes by gloo: what lies on
    # the CPU, and gradients too where there are not enough GPUs.
    has_nccl = torch.cuda.is_available() and dist.is_nccl_available()
    backend = "cpu:gloo,cuda:nccl" if has_nccl else "gloo"
    # Here the processes leave their addresses for each other. torchrun may keep it
    # when it starts them again: they must not call at their old addresses.
    store, number, size = next(dist.rendezvous("env://"))
    attempt = dist.PrefixStore(f"attempt {_restart_count()}", store)
    dist.init_process_group(backend, store=attempt, rank=number, world_size=size)
    return Team(number, size)


def leave() -> None:
    """Part from the other processes, if there are any."""
    if dist.is_available() and dist.is_initialized():
        dist.destroy_process_group()


def rank() -> int | None:
    """Return the number that ``torchrun`` gave this process; None without it."""
    if dist.is_available() and dist.is_torchelastic_launched():
        return int(os.environ["RANK"])
    return None


def is_first() -> bool:
    """Tell whether this process is the first that ``torchrun`` started, or alone."""
    return rank() in (None, 0)


def restarting_torchrun() -> str | None:
    """Name the ``torchrun`` that starts this process once more if one dies.

    No two have the same name (it is the folder of its logs, which has a random
    part), and a process that is started again finds the name that it knew. None
    without ``torchrun``, or if it starts nothing again.
    """
    error_file = os.environ.get("TORCHELASTIC_ERROR_FILE")
    if not error_file or os.environ.get("TORCHELASTIC_MAX_RESTARTS", "0") == "0":
        return None
    return str(Path(error_file).parents[2])  # .../NAME/attempt_0/0/error.json


def was_restarted() -> bool:
    """Tell whether ``torchrun --max-restarts`` started this process once more."""
    return _restart_count() > 0


def _restart_count() -> int:
    return int(os.environ.get("TORCHELASTIC_RESTART_COUNT", "0"))
