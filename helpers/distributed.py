"""The part of one process, where several train one network (chapter 11).

``torchrun`` starts the processes and tells each, in its environment, who it is. A
program that it did not start is the first of one.
"""

import os
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import BatchSampler, DataLoader, DistributedSampler, TensorDataset

from helpers.device import choose_device


def rank() -> int:
    """Return this process's number, from 0. Process 0 is the one that writes."""
    return int(os.environ["RANK"]) if "TORCHELASTIC_RUN_ID" in os.environ else 0


def size() -> int:
    """Return how many processes train together."""
    return int(os.environ["WORLD_SIZE"]) if "TORCHELASTIC_RUN_ID" in os.environ else 1


def device_of_process(name: str | None = None) -> torch.device:
    """Return the device of this process: for several, a GPU of its own or the CPU.

    Parameters
    ----------
    name : str, optional
        As for `helpers.device.choose_device`; for several processes "cpu" or
        "cuda". Without one, NVIDIA GPUs if there is one for each process, else the CPU.

    Raises
    ------
    ValueError
        If there is no such device for this process.
    """
    if size() == 1:
        return choose_device(name)
    if name not in (None, "cpu", "cuda"):
        raise ValueError(
            f"device {name!r} cannot be shared by several processes: each takes "
            f'a GPU of its own with "cuda", or computes on the "cpu"'
        )
    enough = torch.cuda.device_count() >= int(os.environ["LOCAL_WORLD_SIZE"])
    if name == "cpu" or (name is None and not enough):
        return torch.device("cpu")
    device = choose_device(f"cuda:{os.environ['LOCAL_RANK']}")
    torch.cuda.set_device(device)
    return device


def join(model: nn.Module, device: torch.device) -> nn.Module:
    """Meet the other processes; return the model that learns together with theirs."""
    on_gpu = device.type == "cuda"
    # Gradients on GPUs travel by NCCL; what lies on the CPU, by gloo.
    backend = "cpu:gloo,cuda:nccl" if on_gpu else "gloo"
    # The processes leave their addresses for each other in a store of torchrun's,
    # which lives on when it starts them again (seen with PyTorch 2.14): without a
    # prefix they would call at addresses where nobody is any more.
    store, number, world_size = next(dist.rendezvous("env://"))
    restarts = os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")
    store = dist.PrefixStore(f"restart {restarts}", store)
    dist.init_process_group(backend, store=store, rank=number, world_size=world_size)
    return DistributedDataParallel(model, device_ids=[device] if on_gpu else None)


def leave() -> None:
    """Part from the other processes, if there are any."""
    if dist.is_available() and dist.is_initialized():
        dist.destroy_process_group()


def shared_batches(
    dataset: TensorDataset, batch_size: int, seed: int, generator: torch.Generator
) -> tuple[DataLoader[tuple[Tensor, ...]], DistributedSampler[Any]]:
    """Return a loader of this process's share, and the sampler that draws it.

    As `helpers.data.batches`, the loader cuts each batch from the tensors at once.
    The sampler's ``set_epoch`` must be called before each epoch.
    """
    sampler: DistributedSampler[Any] = DistributedSampler(
        dataset, size(), rank(), seed=seed
    )
    batches = BatchSampler(sampler, batch_size, drop_last=False)
    loader = DataLoader(dataset, sampler=batches, batch_size=None, generator=generator)
    return loader, sampler
