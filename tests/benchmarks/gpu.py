"""Measure on a GPU what chapters 9 to 11 tell of one.

``python tests/benchmarks/gpu.py`` measures all parts; name some to measure only those.
All are meant to take about eight minutes, which was not yet timed.
Each has a file in helpers/records/, written after each run. A run that the file holds
is left alone: after a break, the same command goes on. What a GPU cannot do is left
out. ``--limit 64 --out FOLDER`` tries every part in small sizes, without a GPU, too.

gpu-matmul       products of matrices in each format: how fast, how exact
gpu-steps        steps by width and batch: writing the orders, and carrying them out
gpu-loop         an epoch of the small dropout network, one change after another
gpu-copy         batches to the GPU: pageable, pinned, on a stream of their own
gpu-precision    a large network's step in each format: how fast, in how much memory
gpu-compile      a step through torch.compile, and as a CUDA graph
gpu-digits       seconds until 99 % of the test digits are read
gpu-photographs  seconds until 94 % of the test photographs are (needs CIFAR-10)
"""

import itertools
import statistics
import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import Any

import digits
import fast_photographs
import photographs
import torch
from photographs import make_step, some_photographs
from run import read_options
from torch import Tensor, nn
from torch.optim import SGD
from torch.utils.data import DataLoader, Subset
from writing import Missing, Part, in_fresh_process, measure_part

from helpers import data
from helpers.device import time_calls
from helpers.models import DropoutNet, FastNet, ResidualNet
from helpers.training import train_one_epoch

FORMATS = ("float32", "tf32", "float16", "bfloat16")
Step = Callable[[], object]
About = dict[str, Any]


@dataclass(frozen=True)
class Sizes:
    """How large everything is that is measured.

    ``widths`` and ``batch_sizes`` are those of single steps of a `ResidualNet`, and
    ``width`` and ``batch_size`` those of the one whose formats are compared.
    """

    matrices: tuple[int, ...] = (1024, 4096)
    widths: tuple[int, ...] = (16, 64)
    batch_sizes: tuple[int, ...] = (16, 64, 256, 1024)
    width: int = 64
    batch_size: int = 512
    copied: int = 5_000  # photographs that travel together
    calls: int = 20  # in a row, for one time
    modes: tuple[str | None, ...] = (None, "default", "reduce-overhead")
    recipe: photographs.PhotoRecipe = photographs.WIDE


# To try it out. Compiling is left out: it takes long.
SMALL = Sizes(
    matrices=(32,),
    widths=(2,),
    batch_sizes=(4,),
    width=2,
    batch_size=4,
    copied=8,
    calls=2,
    modes=(None,),
    recipe=replace(photographs.WIDE, model="PhotoNet", num_epochs=1),
)


def allow_tf32(allowed: bool) -> None:
    """Let float32 be computed with TensorFloat-32, where a GPU has it, or not.

    torch 2.9 brought a new setting. A process must not use both that and the old
    flags, and one that has used the new one must not compile
    (https://github.com/pytorch/pytorch/issues/166387).
    """
    if not torch.cuda.is_available():
        return
    matmul, cudnn = torch.backends.cuda.matmul, torch.backends.cudnn
    if hasattr(matmul, "fp32_precision"):
        matmul.fp32_precision = cudnn.conv.fp32_precision = (
            "tf32" if allowed else "ieee"
        )
    else:
        matmul.allow_tf32 = cudnn.allow_tf32 = allowed


def dtype_of(form: str, device: torch.device) -> torch.dtype:
    """Set how float32 is computed, and return the dtype of a format.

    Raises
    ------
    Missing
        If the device cannot compute in this format.
    """
    allow_tf32(form == "tf32")
    cuda = device.type == "cuda"
    if form == "tf32":
        if not cuda or torch.cuda.get_device_capability(device) < (8, 0):
            raise Missing("for this device has no TF32")
        return torch.float32
    if form == "bfloat16" and cuda and not torch.cuda.is_bf16_supported(False):
        raise Missing("for this GPU has no bfloat16")
    dtype: torch.dtype = getattr(torch, form)
    return dtype


def seconds_a_call(step: Step, device: torch.device, calls: int) -> float:
    """Return the seconds of a call when many follow one another without a wait."""

    def several() -> None:
        for _ in range(calls):
            step()

    return statistics.median(time_calls(several, device, 1, 3)) / calls


def measure_matmul(
    about: About, seed: int, device: torch.device, limit: int | None
) -> dict[str, Any]:
    """Time the product of two square matrices, and tell how far off it is."""
    size, dtype = about["size"], dtype_of(about["format"], device)
    torch.manual_seed(seed)
    a, b = torch.randn(2, size, size, device=device)
    few = a[:32].cpu().double() @ b.cpu().double()  # Macs' GPUs have no float64
    a, b = a.to(dtype), b.to(dtype)
    off = (a[:32] @ b).cpu().double() - few
    seconds = seconds_a_call(lambda: a @ b, device, about["calls"])
    return {
        "seconds": seconds,
        "teraflops": 2e-12 * size**3 / seconds,
        "error": (off.norm() / few.norm()).item(),
    }


def measure_steps(
    about: About, seed: int, device: torch.device, limit: int | None
) -> dict[str, Any]:
    """Time a step of a `ResidualNet`: orders alone, many in a row, one by one."""
    if about["where"] == "cpu":
        device = torch.device("cpu")
    allow_tf32(False)
    batch_size = about["batch_size"]
    model = ResidualNet(about["width"]).to(device)
    step = make_step(model, *some_photographs(batch_size, device))
    waited = statistics.median(time_calls(step, device, 2, about["calls"]))
    start = time.perf_counter()
    step()  # returns when the processor has written its orders
    step()
    orders = (time.perf_counter() - start) / 2
    seconds = seconds_a_call(step, device, about["calls"])
    return {
        "orders": orders,
        "step": seconds,
        "waited": waited,
        "images_per_second": batch_size / seconds,
    }


def measure_loop(
    about: About, seed: int, device: torch.device, limit: int | None
) -> dict[str, Any]:
    """Train `DropoutNet` for an epoch; the first batch, as a warm-up, not counted."""
    allow_tf32(False)
    torch.manual_seed(seed)
    train = Subset(
        digits.with_transform("train", digits.EXAMPLES), range(limit or 60_000)
    )
    size = min(about["batch_size"], limit or 10_000)
    model = DropoutNet().to(device)
    optimizer = SGD(model.parameters(), lr=0.01, momentum=0.9)
    images, labels = data.to_tensors(train).tensors
    if about["data"] == "loader":
        loader: Iterable = DataLoader(train, size, shuffle=True, drop_last=True)
    else:
        if about["data"] == "device":
            images, labels = images.to(device), labels.to(device)
        order = torch.randperm(len(labels), device=labels.device)
        chosen = order[: len(order) // size * size].split(size)
        loader = ((images[some], labels[some]) for some in chosen)
    if about["item"]:
        loss_fn, batch = nn.CrossEntropyLoss(), [(images[:size], labels[:size])]
        train_one_epoch(model, batch, loss_fn, optimizer, device)
        epoch = partial(train_one_epoch, model, loader, loss_fn, optimizer, device)
    else:
        epoch = without_item(
            model, loader, images[:size], labels[:size], about["graph"]
        )
    watch = digits.Stopwatch(device)
    with watch:
        epoch()
    return {"seconds": watch.seconds, "cpu_seconds": watch.cpu_seconds}


def without_item(
    model: nn.Module, loader: Iterable, images: Tensor, labels: Tensor, graph: bool
) -> Step:
    """Return an epoch that asks for no result before its end, or as a CUDA graph."""
    images, labels = images.clone(), labels.clone()
    step: Step = make_step(model.train(), images, labels)
    step()
    if graph:
        step = as_graph(step, images.device)

    def epoch() -> None:
        for some_images, some_labels in loader:
            images.copy_(some_images)
            labels.copy_(some_labels)
            step()

    return epoch


def as_graph(step: Step, device: torch.device) -> Step:
    """Return a function that gives all orders of a step at once."""
    if device.type != "cuda":
        raise Missing("for CUDA graphs need a GPU of NVIDIA's or AMD's")
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):  # what happens once must not be recorded
        for _ in range(3):
            step()
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        step()
    return graph.replay


def measure_copy(
    about: About, seed: int, device: torch.device, limit: int | None
) -> dict[str, Any]:
    """Time copying a batch to the GPU, computing on it, and one after the other."""
    if about["pinned"] and device.type != "cuda":
        raise Missing("for pinned memory is CUDA's")
    repeats = about["calls"]
    allow_tf32(False)
    batch = torch.randn(about["photographs"], 3, 32, 32)
    batch = batch.pin_memory() if about["pinned"] else batch
    weights = torch.randn(3_072, 3_072, device=device)
    there = batch.to(device)

    def compute(images: Tensor) -> None:
        for _ in range(4):
            images.flatten(1) @ weights

    def in_a_row() -> None:
        for _ in range(repeats):
            compute(batch.to(device, non_blocking=True))

    def beside() -> None:
        side, main = torch.cuda.Stream(), torch.cuda.current_stream()
        images = batch.to(device, non_blocking=True)
        for _ in range(repeats - 1):
            side.wait_stream(main)
            with torch.cuda.stream(side):  # the next batch comes meanwhile
                following = batch.to(device, non_blocking=True)
            compute(images)
            main.wait_stream(side)
            following.record_stream(main)
            images = following
        compute(images)

    copy = seconds_a_call(lambda: batch.to(device, non_blocking=True), device, repeats)
    both = statistics.median(
        time_calls(beside if about["own_stream"] else in_a_row, device, 1, 3)
    )
    return {
        "copy": copy,
        "gigabytes_per_second": batch.nbytes / copy / 1e9,
        "compute": seconds_a_call(lambda: compute(there), device, repeats),
        "both": both / repeats,
    }


def measure_precision(
    about: About, seed: int, device: torch.device, limit: int | None
) -> dict[str, Any]:
    """Time a step of a large `ResidualNet` in a format, and tell its memory."""
    dtype, count = dtype_of(about["format"], device), about["batch_size"]
    layout = torch.channels_last if about["channels_last"] else torch.contiguous_format
    model = ResidualNet(about["width"]).to(device, memory_format=layout)
    images, labels = some_photographs(count, device)
    step = make_step(model, images.to(memory_format=layout), labels, dtype)
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    seconds = seconds_a_call(step, device, about["calls"])
    figures = {"step": seconds, "images_per_second": count / seconds}
    if device.type == "cuda":
        figures["megabytes"] = torch.cuda.max_memory_allocated(device) / 1e6
    return figures


def measure_compile(
    about: About, seed: int, device: torch.device, limit: int | None
) -> dict[str, Any]:
    """Time a step in a fresh process, compiled or as it is."""
    if limit:
        return compiled_step(about, device)
    return in_fresh_process(compiled_step, about, device)


def compiled_step(about: About, device: torch.device) -> dict[str, Any]:
    """Return the seconds of the first step, and of a later one."""
    torch.backends.cudnn.benchmark = True  # as in the other parts
    small = about["network"] == "FastNet"
    model = (FastNet() if small else ResidualNet(about["width"])).to(device)
    if about["mode"]:
        model.compile(mode=about["mode"])
    images, labels = some_photographs(about["batch_size"], device)
    images = images[:, :1, :28, :28].contiguous() if small else images
    step = make_step(model, images, labels)
    (first,) = time_calls(step, device, warmup=0, repeats=1)
    for _ in range(5):
        step()
    return {"first": first, "later": seconds_a_call(step, device, about["calls"])}


def measure_digits(
    name: str, seed: int, device: torch.device, limit: int | None
) -> dict[str, Any]:
    """Train by a recipe of digits.py, after a first run on few digits as a warm-up."""
    allow_tf32(True)
    recipe = digits.RECIPES[name]
    few = Subset(digits.with_transform("train", recipe), range(512))
    digits.run(recipe, seed, device, few, few, until=0.0)
    return digits.measure_on_test(name, seed, device, limit)


def named(name: Callable[..., str], **choices: Iterable[Any]) -> dict[str, About]:
    """Return all combinations of the choices, by the name that each is given."""
    products = itertools.product(*choices.values())
    combinations = [dict(zip(choices, each, strict=True)) for each in products]
    return {name(**about): about for about in combinations}


def part_of(measure: Any, runs: dict[str, About], seeds: int = 1) -> Part:
    """Return a part of which each run is measured equally often."""

    def by_name(
        name: str, seed: int, device: torch.device, limit: int | None
    ) -> dict[str, Any]:
        record: dict[str, Any] = measure(runs[name], seed, device, limit)
        return record

    return Part(by_name, runs, dict.fromkeys(runs, seeds))


def loop_changes() -> dict[str, About]:
    """Return the loops that are compared; each but the last keeps what came before."""
    keep = {"data": "device", "item": False, "graph": False, "batch_size": 64}
    return {
        "loader": keep | {"data": "loader", "item": True},
        "memory": keep | {"data": "memory", "item": True},
        "device": keep | {"item": True},
        "no-item": keep,
        "graph": keep | {"graph": True},
        "batch-1024": keep | {"batch_size": 1024},
    }


def make_parts(sizes: Sizes) -> dict[str, Part]:
    """Return all parts, in these sizes."""
    calls = {"calls": [sizes.calls]}
    large = {"width": [sizes.width], "batch_size": [sizes.batch_size]} | calls
    products = named(
        "{size}/{format}".format, size=sizes.matrices, format=FORMATS, **calls
    )
    by_size = "{where}, width {width}, batch {batch_size}".format
    sides = {"width": sizes.widths, "batch_size": sizes.batch_sizes} | calls
    steps = named(by_size, where=["gpu"], **sides)
    sides["batch_size"] = [size for size in sizes.batch_sizes if size <= 64]
    steps |= named(by_size, where=["cpu"], **sides)
    copies = named(
        lambda pinned, own_stream, **_: (
            ("pinned" if pinned else "pageable") + ", own stream" * own_stream
        ),
        pinned=(False, True),
        own_stream=(False, True),
        photographs=[sizes.copied],
        **calls,
    )
    del copies["pageable, own stream"]
    formats = named(
        lambda format, channels_last, **_: format + ", channels last" * channels_last,
        channels_last=(False, True),
        format=FORMATS,
        **large,
    )
    compiled = named(
        lambda network, mode, **_: f"{network}, {mode or 'plain'}",
        network=("FastNet", "ResidualNet"),
        mode=sizes.modes,
        **large,
    )
    return {
        "gpu-matmul": part_of(measure_matmul, products),
        "gpu-steps": part_of(measure_steps, steps),
        "gpu-loop": part_of(measure_loop, loop_changes(), seeds=3),
        "gpu-copy": part_of(measure_copy, copies),
        "gpu-precision": part_of(measure_precision, formats),
        "gpu-compile": part_of(measure_compile, compiled),
        "gpu-digits": Part(
            measure_digits,
            {name: asdict(digits.RECIPES[name]) for name in ("fast", "examples")},
            {"fast": 10, "examples": 1},
        ),
        "gpu-photographs": photographs_part(sizes.recipe),
    }


def photographs_part(wide: photographs.PhotoRecipe) -> Part:
    """Return the part that trains by the recipes that a GPU can afford."""

    def measure(
        name: str, seed: int, device: torch.device, limit: int | None
    ) -> dict[str, Any]:
        allow_tf32(True)
        if name == "best":
            plan, _ = fast_photographs.choose_plan(device)
            return photographs.measure_best(plan, seed, device, limit)
        return photographs.measure_recipe(wide, seed, device, limit)

    return Part(
        measure,
        {"best": photographs.BEST, "wide": asdict(wide)},
        {"best": 5, "wide": 1},
        photographs.source,
    )


PARTS = make_parts(Sizes())


def main(arguments: list[str] | None = None) -> int:
    """Run the command line."""
    options = read_options(__doc__, PARTS, arguments)
    torch.backends.cudnn.benchmark = True
    parts = make_parts(SMALL) if options.limit else PARTS
    for name in options.names:
        if options.device.type == "cpu" and not options.limit:
            # A processor's figures must not stand in a GPU's record.
            print(f"{name}: left out, for there is no GPU here", flush=True)
            continue
        measure_part(name, parts[name], options)
    return 0


if __name__ == "__main__":
    sys.exit(main())
