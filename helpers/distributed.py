"""The part of one process, where several train one network (chapter 11).

``torchrun`` starts the processes and tells each, in its environment, who it is. A
program that it did not start is the first of one.
"""

import os

import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel

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
        As for `helpers.device.choose_device`; for several processes "cpu", or the
        GPUs' type, such as "cuda" or "xpu". Without one, GPUs if there is one for
        each process, else the CPU.

    Raises
    ------
    ValueError
        If there is no such device for this process.
    """
    if size() == 1:
        return choose_device(name)
    kind, count = _gpus()
    if name not in (None, "cpu", kind):
        raise ValueError(
            f"device {name!r} cannot be shared by several processes: each takes "
            f'a GPU of its own with "{kind}", or computes on the "cpu"'
        )
    enough = count >= int(os.environ["LOCAL_WORLD_SIZE"])
    if name == "cpu" or (name is None and not enough):
        return torch.device("cpu")
    device = choose_device(f"{kind}:{os.environ['LOCAL_RANK']}")
    torch.accelerator.set_device_index(device.index)
    return device


def _gpus() -> tuple[str, int]:
    """Return the type of the GPUs here, and how many processes can have their own."""
    if torch.accelerator.is_available():
        accelerator = torch.accelerator.current_accelerator()
        # A Mac has one GPU: there, several processes compute on the processor.
        if accelerator is not None and accelerator.type != "mps":
            return accelerator.type, torch.accelerator.device_count()
    return "cuda", 0


def join(model: nn.Module, device: torch.device) -> nn.Module:
    """Meet the other processes; return the model that learns together with theirs."""
    on_gpu, backend = device.type != "cpu", "gloo"
    if on_gpu:  # gradients travel by the GPUs' own, such as NCCL
        theirs = dist.get_default_backend_for_device(device)
        backend = f"cpu:gloo,{device.type}:{theirs}"
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
