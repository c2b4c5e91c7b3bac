"""Chapter 10: the GPU."""

import math
import random
from collections.abc import Iterable
from contextlib import suppress
from itertools import islice
from typing import NoReturn
from unittest.mock import patch

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from helpers.device import choose_device
from helpers.exercises._answers import (
    CountCalls,
    attempted,
    describe,
    far_apart,
    number,
    returned,
    same,
    sequence,
)
from helpers.exercises._registry import Wrong, exercise

# Exercise 1 ---------------------------------------------------------------------


def _mistaken_seconds(size: int, of_1: float, of_16: float) -> dict[str, float]:
    """Return what the usual mistakes make of the seconds, by what to say."""
    each, slope = (of_16 - of_1) / 15, (of_16 - of_1) / 16
    return {
        "The step with one picture is not the fixed part: it holds a picture, too.": (
            of_1 + size * each
        ),
        "From 1 to 16 are 15 pictures more, not 16.": of_1 + (size - 1) * slope,
        "From 1 to 16 are 15 pictures more, not 16. And the step with one picture "
        "holds a picture.": of_1 + size * slope,
        "This is as if every picture had a step of its own. The fixed part is there "
        "once per step.": size * of_1,
        "This takes the whole step for the pictures' part. The fixed part does not "
        "grow with the batch.": size * of_16 / 16,
        "The fixed part is missing.": size * each,
        "This is the step with one picture.": of_1,
        "Give seconds, not milliseconds.": 1_000 * (of_1 + (size - 1) * each),
    }


@exercise(
    "10.1",
    hints=[
        "A step takes a fixed time and, for each picture, a little more. From 1 to 16 "
        "pictures only the second part grows.",
        "From 1 to 16 it grows by 15 pictures: each takes `(of_16 - of_1) / 15`.",
        "What is left of `of_1` without its one picture is the fixed time.",
    ],
)
def seconds_of_a_step(attempt: object) -> str:
    """Try a function that predicts the seconds of a step from two measurements."""
    call = "my_seconds(batch_size, of_1, of_16)"
    for _ in range(3):
        # Until each mistake gives a number of its own: of 1,000 draws, two did not.
        while True:
            fixed = random.uniform(0.002, 0.02)
            each = fixed * random.uniform(0.1, 0.5)
            size = random.randint(20, 300)
            of_1, of_16 = fixed + each, fixed + 16 * each
            truth = fixed + size * each
            mistakes = _mistaken_seconds(size, of_1, of_16)
            if far_apart([truth, *mistakes.values()], 1.001):
                break
        tried = f"batch_size={size}, of_1={of_1:.5f}, of_16={of_16:.5f}"
        found = attempted(attempt, call, size, of_1, of_16, tried=tried)
        found = number(returned(found, call), call)
        if math.isclose(found, truth, rel_tol=1e-4):
            continue
        near = (r for r, v in mistakes.items() if math.isclose(found, v, rel_tol=1e-4))
        raise Wrong(
            f"With {tried}, a straight line leads to {truth:.5f} seconds. Yours are "
            f"{found:.5f}. {next(near, '')}".rstrip()
        )
    return "It lies on the straight line through both measurements."


# Exercise 2 ---------------------------------------------------------------------


@exercise(
    "10.2",
    hints=[
        "In `__init__`, move every tensor of `dataset.tensors` to the device and keep "
        "it.",
        "In `__iter__`: `torch.randperm(n, device=device).split(batch_size)` gives the "
        "indices of one batch after the other.",
        "`yield` a pair for each: the images and the labels at these indices. The last "
        "batch may be smaller, and `__len__` counts it.",
    ],
)
def loader_on_the_device(attempt: object) -> str:
    """Try a loader with digits that are numbered in pixels and labels."""
    device = choose_device()
    size = random.randint(8, 16)
    n = size * random.randint(5, 9) + random.randint(1, size - 1)
    numbers = torch.arange(1, n + 1)
    pixels = numbers.float().view(-1, 1, 1, 1).expand(n, 1, 28, 28).clone()
    dataset = TensorDataset(pixels, numbers)
    call = "MyDeviceBatches(dataset, batch_size, device)"
    tried = f"{n} digits in batches of {size}"
    loader = attempted(attempt, call, dataset, size, device, tried=tried)
    loader = returned(loader, call)
    count = attempted(lambda: len(loader), "len(loader)", tried=tried)  # type: ignore[arg-type]
    if count != math.ceil(n / size):
        raise Wrong(
            f"With {tried}, `len(loader)` should be {math.ceil(n / size)}, but is "
            f"{count}. The last batch is smaller, and counts."
        )
    first = _epoch(loader, n, size, device)
    _judge_epoch(first, n)
    second = _epoch(loader, n, size, device)
    if not len(second):
        raise Wrong("In the second epoch nothing comes. Begin anew in `__iter__`.")
    _judge_epoch(second, n)
    if torch.equal(first, second):
        raise Wrong(
            "Two epochs have the same order. Draw a new one each time, in `__iter__`."
        )
    dataset.tensors = tuple(torch.zeros_like(t) for t in dataset.tensors)
    stays = False
    with suppress(Wrong):
        stays = bool(_epoch(loader, n, size, device).any())
    if not stays:
        raise Wrong(
            "In each epoch it fetches from `dataset` again. Move the tensors to the "
            "device once, in `__init__`, and keep those."
        )
    praise = "Every digit once, in a new order each time, and nothing travels."
    if device.type != "cpu" or _moves(attempt, TensorDataset(pixels, numbers), size):
        return praise
    return (
        "Every digit once, in a new order each time. This machine has no other "
        "device, so that it could not be seen whether they move to one."
    )


def _moves(attempt: object, dataset: TensorDataset, size: int) -> bool:
    """See whether digits come from the device that is asked for, if that can be seen.

    Every machine has the device "meta", whose tensors have a shape and no numbers: an
    answer that looks at numbers cannot be tried on it.
    """
    meta = torch.device("meta")
    try:
        images, labels = next(iter(attempt(dataset, size, meta)))  # type: ignore[operator]
    except Exception:
        return False
    for what, tensor in (("images", images), ("labels", labels)):
        if tensor.device != meta:
            raise Wrong(
                f"The {what} of a batch are on {tensor.device.type}, not on meta, "
                "which was the device. Move the tensors to the device that is given."
            )
    return True


def _epoch(loader: object, n: int, size: int, device: torch.device) -> Tensor:
    """Return the labels of one epoch, after a look at each batch."""
    read = "for images, labels in loader"
    with (
        patch.object(DataLoader, "__iter__", _refuse),
        CountCalls("__getitem__") as cuts,
    ):
        batches = attempted(lambda: list(islice(iter(loader), 10 * n)), read)  # type: ignore[call-overload]
    if cuts.count > 6 * len(batches) > 0:
        raise Wrong(
            "It takes digits out one by one. Cut each batch out of the tensors in one "
            "indexing."
        )
    labels = [_judge_batch(batch, size, device) for batch in batches]
    small = [len(some) for some in labels[:-1] if len(some) != size]
    if small:
        raise Wrong(f"A batch that is not the last has {small[0]} digits, not {size}.")
    return torch.cat(labels) if labels else torch.zeros(0)


def _refuse(loader: object) -> NoReturn:
    """Stand in for a `DataLoader`'s own iteration."""
    raise Wrong(
        "A `DataLoader` is at work in it. That fetches digits one by one, each an "
        "order of its own on a GPU. Cut each batch out of the tensors in one indexing."
    )


def _judge_batch(batch: object, size: int, device: torch.device) -> Tensor:
    """Return a batch's labels, on the CPU, if the batch is sound."""
    images, labels = sequence(batch, "a batch", 2)
    for what, tensor, ndim in (("images", images, 4), ("labels", labels, 1)):
        if not isinstance(tensor, Tensor):
            raise Wrong(f"The {what} of a batch are {describe(tensor)}.")
        if tensor.device.type != device.type:
            raise Wrong(
                f"The {what} of a batch are on {tensor.device.type}, not on "
                f"{device.type}."
            )
        if tensor.ndim != ndim:
            raise Wrong(
                f"The {what} of a batch have the shape {tuple(tensor.shape)}. "
                "Expected are (batch, 1, 28, 28) and (batch,)."
            )
    if len(images) != len(labels):
        raise Wrong(f"A batch has {len(images)} images and {len(labels)} labels.")
    if len(labels) > size:
        raise Wrong(f"A batch has {len(labels)} digits. {size} were asked for.")
    if not torch.equal(images[:, 0, 0, 0].cpu().long(), labels.cpu().long()):
        raise Wrong(
            "Images and labels of a batch do not belong together. One order for both."
        )
    return labels.cpu()


def _judge_epoch(labels: Tensor, n: int) -> None:
    """See whether every digit came once, and not in the order of the data."""
    different = len(labels.unique())
    if different < n:
        raise Wrong(
            f"In one epoch {n - different} of {n} digits never come."
            + (" Others come twice." if len(labels) > different else "")
        )
    if len(labels) > n:
        raise Wrong(f"In one epoch {n} digits come {len(labels)} times in all.")
    if torch.equal(labels, torch.arange(1, n + 1)):
        raise Wrong("The digits come in the order of the data: shuffle them.")


# Exercise 3 ---------------------------------------------------------------------


class _Watched(nn.Module):
    """A linear network that notes what passes through it forward and backward."""

    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(784, 10)
        self.largest, self.calls = 0, 0  # of the batches, and how many
        self.waiting, self.most_waiting = 0, 0  # graphs without their backward pass

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.fc(images.flatten(start_dim=1))
        self.largest = max(self.largest, len(images))
        self.calls += 1
        if logits.requires_grad:
            self.waiting += 1
            self.most_waiting = max(self.most_waiting, self.waiting)
            logits.register_hook(self.passed)
        return logits

    def passed(self, gradient: Tensor) -> None:
        """Note that a graph has had its backward pass."""
        self.waiting -= 1


def _gradient(model: nn.Module, images: Tensor, labels: Tensor) -> Tensor:
    """Return the gradient of a batch's mean loss."""
    loss = F.cross_entropy(model(images), labels)
    return _flat(torch.autograd.grad(loss, list(model.parameters())))


def _flat(tensors: Iterable[Tensor]) -> Tensor:
    """Return tensors as one vector on the CPU."""
    return torch.cat([t.detach().flatten().cpu() for t in tensors])


def _near(found: Tensor, expected: Tensor) -> bool:
    """Tell whether gradients are equal, measured by the largest of them."""
    scale = expected.abs().max()
    return same(found / scale, expected / scale, 1e-3)


@exercise(
    "10.3",
    hints=[
        "`model.zero_grad()` throws away the gradients of all parts before. When "
        "should it be called?",
        "`backward()` adds. Four equal parts give 4 times the mean.",
        "Once: `model.zero_grad()`. Then for each part: `(loss / "
        "num_parts).backward()`.",
    ],
)
def gathered_gradient(attempt: object) -> str:
    """Try a function that gathers a gradient over the parts of a batch."""
    call = "my_gather(model, images, labels, num_parts)"
    device = choose_device()
    for size, num_parts in ((64, 4), (60, 3)):
        model = _Watched().to(device)
        images = torch.randn(size, 1, 28, 28, device=device)
        labels = torch.randint(10, (size,), device=device)
        old = [torch.randn_like(p) for p in model.parameters()]
        before = [p.detach().clone() for p in model.parameters()]
        whole = _gradient(model, images, labels)
        part = size // num_parts
        last = _gradient(model, images[-part:], labels[-part:])
        model.largest = model.calls = model.most_waiting = 0
        for p, gradient in zip(model.parameters(), old, strict=True):
            p.grad = gradient.clone()
        tried = f"{size} digits in {num_parts} parts"
        attempted(attempt, call, model, images, labels, num_parts, tried=tried)
        parameters = list(model.parameters())
        if any(not torch.equal(p, b) for p, b in zip(parameters, before, strict=True)):
            raise Wrong("It changes the weights. That is the optimizer's part.")
        _judge_gathered(model, whole, last, _flat(old), num_parts)
        if model.largest > part:
            raise Wrong(
                f"The gradient is right, but the network got {model.largest} digits at "
                f"once. In {num_parts} parts it should never get more than {part}."
            )
        if model.most_waiting > 1:
            raise Wrong(
                "The gradient is right, but the outputs of all parts are kept until "
                "the end. Call `backward()` after each part: it lets them go."
            )
    return "The gradient of the whole batch, and memory for one part at a time."


def _judge_gathered(
    model: _Watched, whole: Tensor, last: Tensor, old: Tensor, num_parts: int
) -> None:
    """Compare the gradients that a network is left with to what should be there."""
    gradients = [p.grad for p in model.parameters() if p.grad is not None]
    if len(gradients) < len(list(model.parameters())):
        raise Wrong("Afterwards the parameters have no gradients.")
    found = _flat(gradients)
    if _near(found, whole):
        return
    if not model.largest:
        raise Wrong("The network is never called.")
    if _near(found, old):
        raise Wrong("The gradients are those from before. Is `backward()` called?")
    if model.calls > num_parts:
        raise Wrong(
            f"The network got {model.calls} parts, not {num_parts}. `split(n)` makes "
            "parts of `n` digits, and `chunk(n)` makes `n` parts."
        )
    if _near(found, last):
        raise Wrong("Only the last part is left: the others are forgotten.")
    if _near(found, last / num_parts):
        raise Wrong(
            "The parts are divided by their number, but only the last is left: the "
            "others are forgotten."
        )
    if _near(found, num_parts * whole):
        raise Wrong(
            f"The gradient is {num_parts} times too large: it is the sum of "
            f"{num_parts} means. Divide each part's loss by their number."
        )
    if _near(found, whole + old) or _near(found, num_parts * whole + old):
        raise Wrong(
            "It still holds the gradients from before. Forget them once, before the "
            "first part."
        )
    ratio = (found @ whole / (whole @ whole)).item()
    if _near(found, ratio * whole):
        raise Wrong(
            f"The gradient is {ratio:.3g} times that of the whole batch. Is each "
            "part's loss a mean, divided once by the number of parts?"
        )
    raise Wrong("The gradient is not that of the whole batch, nor of one of its parts.")


# Exercise 4 ---------------------------------------------------------------------


def _finish(copies: list[float], computes: list[float], room: int) -> float:
    """Return when the last batch is computed."""
    arrived, done = 0.0, [0.0] * room
    for copy, compute in zip(copies, computes, strict=True):
        arrived = max(arrived, done[-room]) + copy
        done.append(max(arrived, done[-1]) + compute)
    return done[-1]


@exercise(
    "10.4",
    hints=[
        "Keep two clocks: when the last batch has arrived, and when each one is done.",
        "A batch is computed from the later of two moments: it has arrived, and the "
        "one before is done.",
        "It starts to travel at the later of two others: the one before has arrived, "
        "and the batch `room` places before is done.",
    ],
)
def copies_beside_computing(attempt: object) -> str:
    """Try a function that computes when the last of some batches is done."""
    call = "my_finish(copies, computes, room)"
    for count, room in ((8, 2), (6, 1), (12, 3), (2, 4)):
        copies = (1.2 + torch.rand(count)).tolist()
        computes = (0.1 + torch.rand(count)).tolist()
        computes[0] += 3 * count  # with room for all, all would arrive meanwhile
        tried = f"{count} batches and room={room}"
        given = list(copies), list(computes), room
        found = attempted(attempt, call, *given, tried=tried)
        found = number(returned(found, call), call)
        if abs(found - _finish(copies, computes, room)) < 1e-4:
            continue
        if abs(found - sum(copies) - sum(computes)) < 1e-4:
            raise Wrong(
                f"With {tried}, this is as if copying and computing took turns. While "
                "one batch is computed, the next can travel, if there is room."
            )
        if abs(found - _finish(copies, computes, count)) < 1e-4:
            raise Wrong(
                f"With {tried}, this is as if there were room for all. A batch may "
                "start to travel only when the one `room` places before it is done."
            )
        if abs(found - max(sum(copies), sum(computes))) < 1e-4:
            raise Wrong(
                "Nearly: the longer of the two decides. But nothing is computed before "
                "the first batch has arrived."
            )
        raise Wrong(
            f"With {tried}, copied in {[round(c, 2) for c in copies]} and computed in "
            f"{[round(c, 2) for c in computes]} seconds, the last is done after "
            f"{_finish(copies, computes, room):.2f} s, and not {found:.2f}."
        )
    return "Two queues and a place to wait: at each batch the later moment decides."
