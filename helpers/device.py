"""Choosing a device, and timing that waits for the device to finish."""

import os
import platform
import time
from collections.abc import Callable
from pathlib import Path

import torch
import torchvision


def choose_device(name: str | None = None) -> torch.device:
    """Return the device to train on.

    Parameters
    ----------
    name : str, optional
        A device such as "cpu", "cuda", "cuda:1" or "mps". Without one, the
        accelerator that PyTorch finds, or else the CPU.

    Raises
    ------
    ValueError
        If the named device is unknown or not available here.
    """
    if name is None:
        if torch.accelerator.is_available():
            return torch.accelerator.current_accelerator() or torch.device("cpu")
        return torch.device("cpu")
    try:
        device = torch.device(name)
        torch.zeros(1, device=device)  # runs a kernel, which an old GPU may lack
    except (RuntimeError, AssertionError, NotImplementedError, ImportError) as error:
        reason = str(error).splitlines()[0].rstrip(".")
        raise ValueError(
            f"device {name!r} cannot be used here: {reason}. "
            f'Leave the device out, or choose "cpu".'
        ) from error
    return device


def synchronize(device: torch.device) -> None:
    """Wait until all work given to `device` is done."""
    if device.type != "cpu":
        torch.accelerator.synchronize(device)


def time_calls(
    function: Callable[[], object],
    device: torch.device,
    warmup: int = 1,
    repeats: int = 5,
) -> list[float]:
    """Time a function, waiting for the device before the clock is read.

    Parameters
    ----------
    function : callable
        Takes no arguments.
    warmup : int
        Calls made first and not counted: the first call often pays for
        allocations and for choosing kernels.
    repeats : int
        Calls that are timed.

    Returns
    -------
    list of float
        Seconds per call, `repeats` of them. Quote the median.
    """
    for _ in range(warmup):
        function()
    seconds = []
    for _ in range(repeats):
        synchronize(device)
        start = time.perf_counter()
        function()
        synchronize(device)
        seconds.append(time.perf_counter() - start)
    return seconds


def environment(device: torch.device) -> dict[str, str | int]:
    """Return what a measured figure depends on besides the code.

    Returns
    -------
    dict
        Names of the processor and of the device, number of cores and threads,
        operating system, and the versions of Python, torch and torchvision.
    """
    return {
        "device": device_name(device),
        "processor": processor_name(),
        "cores": os.cpu_count() or 1,
        "threads": torch.get_num_threads(),
        "system": platform.system(),
        "python": platform.python_version(),
        "torch": str(torch.__version__),
        "torchvision": torchvision.__version__,
    }


def device_name(device: torch.device) -> str:
    """Return the model name of a GPU, or the type of any other device."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return device.type


def processor_name() -> str:
    """Return the processor's name as far as the system tells it."""
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()
