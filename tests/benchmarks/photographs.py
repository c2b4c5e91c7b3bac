"""Networks and recipes for CIFAR-10, and what comes out of each.

The ladder changes one thing at a time. "best" and "best-bfloat16" are the recipe of
fast_photographs.py, which trains on the validation photographs, too, and of which a
processor measures one: "best-bfloat16" if it computes fast in that format. The
validation photographs are looked at after each epoch of the ladder; the test
photographs once a run, when it has ended, and choose nothing.
"""

import statistics
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from functools import lru_cache
from typing import Any

import fast_photographs
import torch
import torch.nn.functional as F
from digits import Stopwatch
from torch import Tensor, nn
from torch.optim import SGD, Optimizer
from torch.optim.lr_scheduler import OneCycleLR
from torch.utils.data import Subset, TensorDataset
from writing import Missing, Part, stamp

from helpers import data
from helpers.device import synchronize, time_calls
from helpers.evaluation import (
    accuracy_per_class,
    confusion_matrix,
    evaluate,
    predict,
)
from helpers.models import PhotoNet, ResidualNet, count_parameters
from helpers.training import AfterStep, train_one_epoch

BATCH_SIZES = (1, 2, 4, 8, 16, 32, 64, 128, 256)
HALF = (0.5, 0.5, 0.5)
EPOCHS = 8


class NormPhotoNet(PhotoNet):
    """`PhotoNet` with batch normalization after each convolution."""

    def __init__(self) -> None:
        super().__init__()
        self.norm1 = nn.BatchNorm2d(6)
        self.norm2 = nn.BatchNorm2d(16)

    def forward(self, images: Tensor) -> Tensor:
        x = F.max_pool2d(F.relu(self.norm1(self.conv1(images))), 2)
        x = F.max_pool2d(F.relu(self.norm2(self.conv2(x))), 2)
        x = x.flatten(start_dim=1)
        x = F.relu(self.fc1(x))
        x = F.relu(self.fc2(x))
        return self.fc3(x)


MODELS: dict[str, Callable[[], nn.Module]] = {
    "PhotoNet": PhotoNet,
    "NormPhotoNet": NormPhotoNet,
    "ResidualNet": ResidualNet,
    "WideResidualNet": lambda: ResidualNet(width=64),
}


@dataclass(frozen=True)
class PhotoRecipe:
    """What one run does."""

    title: str
    model: str
    batch_size: int
    lr: float
    num_epochs: int = EPOCHS
    momentum: float = 0.9
    weight_decay: float = 0.0
    augment: bool = False
    one_cycle: bool = False
    mean: tuple[float, ...] = data.CIFAR10_MEAN
    std: tuple[float, ...] = data.CIFAR10_STD


# From "batch-4" to "one-cycle" each recipe changes one thing of the one before
# (the residual network also gets weight decay) and has the same epochs.
RECIPES = {
    "tutorial": PhotoRecipe(
        "the tutorial's recipe", "PhotoNet", 4, 0.001, 2, mean=HALF, std=HALF
    ),
    "batch-4": PhotoRecipe("batches of 4", "PhotoNet", 4, 0.001),
    "batch-64": PhotoRecipe("batches of 64", "PhotoNet", 64, 0.016),
    "norm": PhotoRecipe("+ batch normalization", "NormPhotoNet", 64, 0.016),
    "residual": PhotoRecipe(
        "+ residual blocks", "ResidualNet", 64, 0.016, weight_decay=5e-4
    ),
    "augmented": PhotoRecipe(
        "+ augmentation", "ResidualNet", 64, 0.016, weight_decay=5e-4, augment=True
    ),
    "one-cycle": PhotoRecipe(
        "+ one cycle",
        "ResidualNet",
        64,
        0.1,
        weight_decay=5e-4,
        augment=True,
        one_cycle=True,
    ),
}
WIDE = replace(
    RECIPES["one-cycle"],
    title="a residual network for a GPU",
    model="WideResidualNet",
    batch_size=512,
    lr=0.4,
    num_epochs=20,
)
BEST = {"title": "the best recipe", "model": "QuickNet"}
RUNS = {name: asdict(recipe) for name, recipe in RECIPES.items()} | {
    "best": BEST,
    "best-bfloat16": BEST | {"title": "the best recipe, with fast bfloat16"},
}


@lru_cache(maxsize=1)
def parts(limit: int | None) -> tuple[Subset, Subset, Subset]:
    """Return training, validation and test photographs, as bytes."""
    train, test = data.cifar10("train"), data.cifar10("test")
    if train.is_stand_in and not limit:
        raise Missing("for there are no photographs here")
    known, held_out = data.split_train_validation(train, len(train) // 10)
    if limit:
        known, held_out = Subset(known, range(limit)), Subset(held_out, range(limit))
    return known, held_out, Subset(test, range(limit or len(test)))


def source(device: torch.device, limit: int | None) -> dict[str, Any]:
    """Return what a file says of the photographs."""
    photographs = data.cifar10("train")
    return {
        "data": photographs.source,
        "classes": photographs.classes,
        "examples": [len(part) for part in parts(limit)],
    }


def source_and_speed(device: torch.device, limit: int | None) -> dict[str, Any]:
    """Return that, and how fast a training step is here."""
    speed = measure_speed(device) | stamp(device)
    return source(device, limit) | {"speed": speed}


def measure(
    name: str, seed: int, device: torch.device, limit: int | None
) -> dict[str, Any]:
    """Train by one of `RECIPES`, or by the best one for this machine."""
    if name in RECIPES:
        return measure_recipe(RECIPES[name], seed, device, limit)
    plan, speeds = fast_photographs.choose_plan(device)
    short = plan.dtype != torch.float32
    if short != (name == "best-bfloat16"):
        raise Missing(f"for bfloat16 is {'fast' if short else 'slow'} here")
    return measure_best(plan, seed, device, limit) | {"images_per_second": speeds}


def measure_recipe(
    recipe: PhotoRecipe, seed: int, device: torch.device, limit: int | None
) -> dict[str, Any]:
    """Train by a recipe and return its record.

    Returns
    -------
    dict
        ``epochs``: a row for the untrained network and one after each epoch, as
        `helpers.training.fit` has them, with the ``seconds`` of training so far,
        measuring left out (``seconds`` by the clock, ``cpu_seconds`` by all
        cores together), and with what the network makes of 5,000 training pictures
        as they are (``seen_loss``, ``seen_accuracy``). ``test``: loss, accuracy,
        accuracy of each class, and confusion matrix.
    """
    train, validation, test = (
        data.to_tensors(part, recipe.mean, recipe.std) for part in parts(limit)
    )
    torch.manual_seed(seed)
    model = MODELS[recipe.model]().to(device, memory_format=torch.channels_last)
    generator = torch.Generator().manual_seed(seed)
    loader = data.batches(train, recipe.batch_size, True, generator)
    optimizer = SGD(
        model.parameters(),
        recipe.lr,
        recipe.momentum,
        weight_decay=recipe.weight_decay,
    )
    after_step = None
    if recipe.one_cycle:
        after_step = one_cycle(optimizer, recipe.lr, recipe.num_epochs * len(loader))
    batches = data.Augmented(loader) if recipe.augment else loader
    held_out = {"seen": TensorDataset(*train[:5_000]), "validation": validation}
    epochs = follow(
        model, batches, optimizer, device, recipe.num_epochs, after_step, held_out
    )
    return {
        "parameters": count_parameters(model),
        "seconds": epochs[-1]["seconds"],
        "cpu_seconds": epochs[-1]["cpu_seconds"],
        "epochs": epochs,
        "test": look_at_test(*predict(model, data.batches(test, 1_000), device)),
    }


def follow(
    model: nn.Module,
    batches: Any,
    optimizer: Optimizer,
    device: torch.device,
    num_epochs: int,
    after_step: AfterStep | None,
    held_out: dict[str, TensorDataset],
) -> list[dict[str, Any]]:
    """Train, and return a row before the first epoch and after each."""
    loss_fn = nn.CrossEntropyLoss()
    watch = Stopwatch(device)
    epochs = []
    for epoch in range(num_epochs + 1):
        row: dict[str, Any] = {"epoch": epoch}
        if epoch > 0:
            with watch:
                row["train_loss"], row["train_accuracy"] = train_one_epoch(
                    model, batches, loss_fn, optimizer, device, after_step
                )
        row["seconds"] = round(watch.seconds, 2)
        row["cpu_seconds"] = round(watch.cpu_seconds, 2)
        for name, pictures in held_out.items():
            loader = data.batches(pictures, 1_000)
            row[f"{name}_loss"], row[f"{name}_accuracy"] = evaluate(
                model, loader, loss_fn, device
            )
        epochs.append(row)
        print(
            f"  epoch {epoch}: {row['validation_accuracy']:.2%}, {watch.seconds:.0f} s"
        )
    return epochs


def measure_best(
    plan: fast_photographs.Plan, seed: int, device: torch.device, limit: int | None
) -> dict[str, Any]:
    """Train by the plan for this machine, on all but the test photographs."""
    known, held_out, test = parts(limit)
    if limit:
        plan = replace(plan, sides=plan.sides[:1], batch_size=limit)
    start, cpu_start = time.perf_counter(), time.process_time()
    mean, std = data.CIFAR10_MEAN, data.CIFAR10_STD
    images, labels = (
        torch.cat(both).to(device)
        for both in zip(
            data.to_tensors(known, mean, std).tensors,
            data.to_tensors(held_out, mean, std).tensors,
            strict=True,
        )
    )
    epochs = []

    def after_epoch(epoch: int, loss: float, accuracy: float) -> None:
        seconds = time.perf_counter() - start
        cpu_seconds = time.process_time() - cpu_start
        row = {"epoch": epoch, "train_loss": loss, "train_accuracy": accuracy}
        epochs.append(row | {"seconds": seconds, "cpu_seconds": cpu_seconds})
        print(f"  epoch {epoch}: loss {loss:.3f}, {seconds:.0f} s", flush=True)

    model = fast_photographs.train(images, labels, plan, seed, after_epoch)
    synchronize(device)
    seconds, cpu_seconds = time.perf_counter() - start, time.process_time() - cpu_start
    test_images, test_labels = data.to_tensors(test, mean, std).tensors
    logits = fast_photographs.predict(model, test_images.to(device), plan)
    return {
        "plan": asdict(plan) | {"dtype": str(plan.dtype).removeprefix("torch.")},
        "parameters": count_parameters(model),
        "seconds": seconds,
        "cpu_seconds": cpu_seconds,
        "epochs": epochs,
        "test": look_at_test(logits.cpu(), test_labels),
    }


def one_cycle(optimizer: Optimizer, lr: float, steps: int) -> AfterStep:
    """Return a hook that moves the learning rate after each step."""
    schedule = OneCycleLR(optimizer, lr, total_steps=steps)

    def after_step(loss: float, correct: int, size: int) -> None:
        schedule.step()

    return after_step


def look_at_test(logits: Tensor, labels: Tensor) -> dict[str, Any]:
    """Return what the test photographs say of a network's answers."""
    matrix = confusion_matrix(logits.argmax(dim=1), labels)
    return {
        "accuracy": matrix.trace().item() / len(labels),
        "loss": F.cross_entropy(logits, labels).item(),
        "per_class": accuracy_per_class(matrix).tolist(),
        "confusion_matrix": matrix.tolist(),
    }


def measure_speed(device: torch.device) -> dict[str, list[dict[str, Any]]]:
    """Time training steps: by batch size, and by the format of the numbers."""
    by_batch = [
        {
            "batch_size": size,
            "images_per_second": size / time_step(PhotoNet(), size, device),
        }
        for size in BATCH_SIZES
    ]
    by_format = []
    for name, memory_format, dtype in [
        ("float32", torch.contiguous_format, torch.float32),
        ("float32, channels last", torch.channels_last, torch.float32),
        ("bfloat16, channels last", torch.channels_last, torch.bfloat16),
    ]:
        model = ResidualNet().to(memory_format=memory_format)
        seconds = time_step(model, 64, device, dtype)
        by_format.append({"format": name, "images_per_second": 64 / seconds})
    return {"batch_sizes": by_batch, "formats": by_format}


def time_step(
    model: nn.Module,
    batch_size: int,
    device: torch.device,
    dtype: torch.dtype = torch.float32,
) -> float:
    """Return the median seconds of a training step."""
    step = make_step(model.to(device), *some_photographs(batch_size, device), dtype)
    return statistics.median(time_calls(step, device, warmup=5, repeats=30))


def make_step(
    model: nn.Module,
    images: Tensor,
    labels: Tensor,
    dtype: torch.dtype = torch.float32,
) -> Callable[[], Tensor]:
    """Return a function that takes one training step, and returns its loss.

    Raises
    ------
    Missing
        If gradients in this format cannot be scaled here.
    """
    device_type = images.device.type
    if (dtype, device_type) == (torch.float16, "mps") and torch.__version__ < (2, 8):
        raise Missing("for a Mac's GPU scales gradients from PyTorch 2.8 on")
    optimizer = SGD(model.parameters(), lr=0.01, momentum=0.9)
    # Gradients that are too small for float16 are computed from a larger loss.
    scaler = torch.amp.GradScaler(device_type, enabled=dtype == torch.float16)

    def step() -> Tensor:
        with torch.autocast(device_type, dtype, enabled=dtype != torch.float32):
            loss = F.cross_entropy(model(images), labels)
        optimizer.zero_grad()
        scaler.scale(loss).backward()
        scaler.step(optimizer)
        scaler.update()
        return loss.detach()

    return step


def some_photographs(count: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Return noise in the shape of photographs, and labels."""
    images = torch.randn(count, 3, 32, 32, device=device)
    return images, torch.randint(10, (count,), device=device)


PHOTOGRAPHS = Part(measure, RUNS, dict.fromkeys(RUNS, 3), source_and_speed)
