"""How long training takes until a network reads the MNIST digits.

`RECIPES` are whole recipes: the book's two (fast_digits.py), those of the tutorials,
and the network and recipe that pytorch/examples has for MNIST, written anew. `STEPS`
lead from the last to the book's fast one, one change at a time.
"""

import json
import os
import statistics
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import reproduce
import torch
import torch.nn.functional as F
from fast_digits import train_accurate, train_fast
from torch import Tensor, nn, optim
from torch.optim.lr_scheduler import LRScheduler, OneCycleLR, StepLR
from torch.utils.data import DataLoader, Dataset, Subset
from torchvision import transforms
from writing import Part

from helpers import data
from helpers.data._loaders import pixels_and_labels
from helpers.device import synchronize
from helpers.evaluation import evaluate
from helpers.models import FastNet, count_parameters
from helpers.training import train_one_epoch


class ExamplesNet(nn.Module):
    """Two 3x3 convolutions and two linear layers, as in pytorch/examples.

    Input (batch, 1, 28, 28), output (batch, 10).
    """

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, 32, kernel_size=3)
        self.conv2 = nn.Conv2d(32, 64, kernel_size=3)
        self.conv_drop = nn.Dropout(p=0.25)
        self.fc1 = nn.Linear(64 * 12 * 12, 128)
        self.fc1_drop = nn.Dropout(p=0.5)
        self.fc2 = nn.Linear(128, 10)

    def forward(self, images: Tensor) -> Tensor:
        x = F.relu(self.conv1(images))
        x = F.relu(self.conv2(x))
        x = self.conv_drop(F.max_pool2d(x, 2)).flatten(start_dim=1)
        x = self.fc1_drop(F.relu(self.fc1(x)))
        return self.fc2(x)


class SmallNet(nn.Module):
    """`FastNet` without its normalization, and with or without its crop."""

    def __init__(self, crop: bool) -> None:
        super().__init__()
        self.inside = slice(2, 26) if crop else slice(0, 28)
        side = 4 if crop else 5
        self.conv1 = nn.Conv2d(1, 16, kernel_size=6, stride=2)
        self.conv2 = nn.Conv2d(16, 24, kernel_size=3)
        self.fc1 = nn.Linear(24 * side * side, 256)
        self.fc2 = nn.Linear(256, 10)

    def forward(self, images: Tensor) -> Tensor:
        x = images[:, :, self.inside, self.inside]
        x = F.relu(self.conv1(x))
        x = F.relu(F.max_pool2d(self.conv2(x), 2))
        x = F.relu(self.fc1(x.flatten(start_dim=1)))
        return self.fc2(x)


class InBfloat16(nn.Module):
    """Any network, computing in bfloat16 where that is safe."""

    def __init__(self, network: nn.Module, device: torch.device) -> None:
        super().__init__()
        self.network, self.device_type = network, device.type

    def forward(self, images: Tensor) -> Tensor:
        with torch.autocast(self.device_type, torch.bfloat16):
            logits = self.network(images)
        return logits.float()


NETWORKS: dict[str, Callable[[], nn.Module]] = {
    "ExamplesNet": ExamplesNet,
    "SmallNet": lambda: SmallNet(crop=False),
    "SmallNet, cropped": lambda: SmallNet(crop=True),
    "FastNet": FastNet,
}


@dataclass(frozen=True)
class DigitsRecipe:
    """What decides how long a run takes and how well it ends."""

    title: str
    num_epochs: int
    batch_size: int
    batches: str = "one by one"  # or "in memory", or "of bytes": by fast_digits.py
    share: float = 1.0  # of the digits that an epoch sees
    network: str = ""
    optimizer: str = ""
    lr: float = 0.0
    betas: tuple[float, ...] = ()  # of AdamW; empty: the optimizer's own
    schedule: str = ""
    label_smoothing: float = 0.0
    channels_last: bool = False
    bfloat16: bool = False
    shuffle: bool = True
    workers: int = 0
    mean: tuple[float, ...] = (data.MNIST_MEAN,)
    std: tuple[float, ...] = (data.MNIST_STD,)
    tutorial: str = ""  # takes network and optimizer from reproduce.py
    left_out: bool = False


EXAMPLES = DigitsRecipe(
    title="pytorch/examples",
    num_epochs=14,
    batch_size=64,
    network="ExamplesNet",
    optimizer="Adadelta",
    lr=1.0,
    schedule="0.7 times after each epoch",
)
FAST = DigitsRecipe(
    title="this book, fast",
    num_epochs=1,
    batch_size=192,
    batches="of bytes",
    share=2 / 3,
    network="FastNet",
    optimizer="AdamW",
    lr=0.03,
    betas=(0.8, 0.999),
    schedule="one cycle",
    label_smoothing=0.05,
    channels_last=True,
)
ACCURATE = replace(
    FAST,
    title="this book, accurate",
    num_epochs=12,
    batch_size=256,
    share=1.0,
    network="AccurateNet",
)


def of_tutorial(
    name: str, num_epochs: int | None = None, workers: int = 0
) -> DigitsRecipe:
    """Return a tutorial's recipe, with a plain loader, as the tutorial has it."""
    theirs = reproduce.RECIPES[name]
    return DigitsRecipe(
        title=f"tutorial {name}",
        num_epochs=num_epochs or theirs.num_epochs,
        batch_size=theirs.batch_size,
        shuffle=theirs.shuffle,
        workers=workers,
        mean=theirs.mean,
        std=theirs.std,
        tutorial=name,
    )


# The forty epochs of tutorial 000 would take too long here: two are measured, and
# the summary says what it makes of them. Tutorial 002 is stopped after six.
RECIPES = {
    "fast": FAST,
    "accurate": ACCURATE,
    "examples": EXAMPLES,
    "000": of_tutorial("000", num_epochs=2, workers=2),
    "001": of_tutorial("001"),
    "002": of_tutorial("002", num_epochs=6),
    "004": of_tutorial("004"),
}

CHANGES: dict[str, dict[str, Any]] = {
    "start": {"title": "as in pytorch/examples", "num_epochs": 1},
    "memory": {"title": "batches from memory", "batches": "in memory"},
    "network": {"title": "a smaller network", "network": "SmallNet"},
    "crop": {"title": "the border cut off", "network": "SmallNet, cropped"},
    "norm": {"title": "batch normalization", "network": "FastNet"},
    "channels-last": {"title": "channels last", "channels_last": True},
    "batch": {"title": "batches of 192", "batch_size": 192},
    "schedule": {
        "title": "AdamW in one cycle",
        "optimizer": "AdamW",
        "lr": 0.03,
        "betas": (0.8, 0.999),
        "schedule": "one cycle",
    },
    "smoothing": {"title": "label smoothing", "label_smoothing": 0.05},
    "share": {"title": "two digits of three", "share": 2 / 3},
    "bytes": {"title": "batches from bytes", "batches": "of bytes"},
}


def _steps() -> dict[str, DigitsRecipe]:
    """Return one recipe a change, which keeps the changes before it, then two more."""
    steps, recipe = {}, EXAMPLES
    for name, change in CHANGES.items():
        recipe = steps[name] = replace(recipe, **change)
    # Tried on top of that, and left out.
    for name, change in {
        "bfloat16": {"title": "bfloat16", "bfloat16": True},
        "second-epoch": {"title": "a second epoch", "num_epochs": 2},
    }.items():
        steps[name] = replace(steps["share"], left_out=True, **change)
    return steps


STEPS = _steps()


def with_transform(split: str, recipe: DigitsRecipe) -> Dataset:
    """Return one half of MNIST, prepared image by image as it is read."""
    prepare = transforms.Compose(
        [transforms.ToTensor(), transforms.Normalize(recipe.mean, recipe.std)]
    )
    return data.mnist(split, prepare)


def build(
    recipe: DigitsRecipe, seed: int, device: torch.device
) -> tuple[nn.Module, optim.Optimizer]:
    """Return the seeded network and its optimizer."""
    if recipe.tutorial:
        return reproduce.build(reproduce.RECIPES[recipe.tutorial], seed, device)
    torch.manual_seed(seed)
    model = NETWORKS[recipe.network]().to(device)
    if recipe.channels_last:
        model.to(memory_format=torch.channels_last)
    if recipe.bfloat16:
        model = InBfloat16(model, device)
    make_optimizer = getattr(optim, recipe.optimizer)
    options = {"betas": recipe.betas} if recipe.betas else {}
    return model, make_optimizer(model.parameters(), lr=recipe.lr, **options)


def make_loader(recipe: DigitsRecipe, dataset: Dataset, seed: int) -> DataLoader:
    """Return the training loader: of prepared tensors, or image by image."""
    generator = torch.Generator().manual_seed(seed)
    if recipe.batches == "in memory":
        tensors = data.to_tensors(dataset, recipe.mean, recipe.std)
        return data.batches(tensors, recipe.batch_size, recipe.shuffle, generator)
    return DataLoader(
        dataset,
        recipe.batch_size,
        recipe.shuffle,
        num_workers=recipe.workers,
        generator=generator,
    )


def make_schedule(
    recipe: DigitsRecipe, optimizer: optim.Optimizer, epoch_steps: int
) -> tuple[LRScheduler | None, LRScheduler | None]:
    """Return the schedule that moves after each step, and that after each epoch."""
    if recipe.schedule == "one cycle":
        steps = recipe.num_epochs * epoch_steps
        schedule = OneCycleLR(optimizer, recipe.lr, steps, cycle_momentum=False)
        return schedule, None
    if recipe.schedule:
        return None, StepLR(optimizer, step_size=1, gamma=0.7)
    return None, None


class Stopwatch:
    """Adds up the seconds of training and leaves out those of measuring."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.seconds = self.cpu_seconds = 0.0

    def __enter__(self) -> "Stopwatch":
        synchronize(self.device)  # what is still being computed is not of this time
        self.start, self.cpu_start = time.perf_counter(), cpu_time()
        return self

    def __exit__(self, *_: object) -> None:
        synchronize(self.device)
        self.seconds += time.perf_counter() - self.start
        self.cpu_seconds += cpu_time() - self.cpu_start

    def row(self, epoch: int, accuracy: float) -> dict[str, Any]:
        """Return what is said of an epoch."""
        row = {"epoch": epoch, "seconds": round(self.seconds, 3)}
        return row | {"cpu_seconds": round(self.cpu_seconds, 3), "accuracy": accuracy}


def cpu_time() -> float:
    """Return the seconds that all cores have worked for us, workers included."""
    return sum(os.times()[:4])


def run(
    recipe: DigitsRecipe,
    seed: int,
    device: torch.device,
    train: Dataset,
    held_out: Dataset,
    until: float = 1.0,
) -> dict[str, Any]:
    """Train by a recipe until the held-out digits are read well enough.

    The clock runs from the data set in memory (bytes) to the trained network:
    preparing the images, building the network and training count; measuring the
    accuracy after each epoch does not.

    Parameters
    ----------
    recipe : DigitsRecipe
        What to do.
    seed : int
        Fixes first weights, order and dropout.
    device : torch.device
        Where to train.
    train, held_out : Dataset
        MNIST or parts of it, with a transform if the recipe reads image by image.
    until : float
        Stop after the epoch that reaches this accuracy.

    Returns
    -------
    dict
        ``seed`` and ``epochs``, a row for each: ``seconds`` and ``cpu_seconds`` of
        training so far, and ``accuracy`` on the held-out digits.
    """
    if recipe.batches == "of bytes":
        return run_from_bytes(recipe, seed, device, train, held_out)
    if recipe.share < 1:  # which digits does not matter: they are in no order
        train = Subset(train, range(round(recipe.share * len(train))))
    watch = Stopwatch(device)
    with watch:
        loader = make_loader(recipe, train, seed)
        model, optimizer = build(recipe, seed, device)
        loss_fn = nn.CrossEntropyLoss(label_smoothing=recipe.label_smoothing)
        by_step, by_epoch = make_schedule(recipe, optimizer, len(loader))
    held_out_tensors = data.to_tensors(held_out, recipe.mean, recipe.std)
    held_out_loader = data.batches(held_out_tensors, 1_000)

    def after_step(loss: float, correct: int, size: int) -> None:
        if by_step is not None:
            by_step.step()

    epochs = []
    for epoch in range(1, recipe.num_epochs + 1):
        with watch:
            train_one_epoch(model, loader, loss_fn, optimizer, device, after_step)
            if by_epoch is not None:
                by_epoch.step()
        _, accuracy = evaluate(model, held_out_loader, loss_fn, device)
        epochs.append(watch.row(epoch, accuracy))
        if accuracy >= until:
            break
    return {"seed": seed, "parameters": count_parameters(model), "epochs": epochs}


def run_from_bytes(
    recipe: DigitsRecipe,
    seed: int,
    device: torch.device,
    train: Dataset,
    held_out: Dataset,
) -> dict[str, Any]:
    """Train by one of the functions of fast_digits.py, which the book shows."""
    pixels, labels = pixels_and_labels(train)
    pixels = pixels.squeeze(1)
    watch = Stopwatch(device)
    with watch:
        on_device = pixels.to(device), labels.to(device)
        if recipe.network == "AccurateNet":
            model = train_accurate(*on_device, seed, recipe.num_epochs)
        else:
            model = train_fast(*on_device, seed, round(recipe.share * len(labels)))
    loader = data.batches(data.to_tensors(held_out), 1_000)
    _, accuracy = evaluate(model, loader, nn.CrossEntropyLoss(), device)
    epochs = [watch.row(recipe.num_epochs, accuracy)]
    return {"seed": seed, "parameters": count_parameters(model), "epochs": epochs}


def measure_on_test(
    name: str, seed: int, device: torch.device, limit: int | None
) -> dict[str, Any]:
    """Train by one of `RECIPES` on all training digits; measure on the test set."""
    recipe = RECIPES[name]
    train, test = with_transform("train", recipe), with_transform("test", recipe)
    if limit:
        train, test = Subset(train, range(limit)), Subset(test, range(limit))
    return run(recipe, seed, device, train, test, until=0.99)


def measure_on_validation(
    name: str, seed: int, device: torch.device, limit: int | None
) -> dict[str, Any]:
    """Train by one of `STEPS` on 50,000 digits; measure on the other 10,000."""
    recipe = STEPS[name]
    train, validation = data.split_train_validation(
        with_transform("train", recipe), 10_000
    )
    if limit:
        train = Subset(train, range(limit))
        validation = Subset(validation, range(limit))
    return run(recipe, seed, device, train, validation)


def summarize(runs: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Return for each recipe what it took to read 99 % of the test digits."""
    summary = {}
    for name, row in runs.items():
        ends = [run["epochs"][-1] for run in row["seeds"]]
        last = row["median"]
        accuracies = [end["accuracy"] for end in ends]
        summary[name] = {
            "title": row["about"]["title"],
            "reached": sum(accuracy >= 0.99 for accuracy in accuracies),
            "of": len(ends),
            "mean_accuracy": statistics.fmean(accuracies),
            "worst_accuracy": min(accuracies),
            "epochs": last["epoch"],
            "epoch_seconds": statistics.median(
                end["seconds"] / end["epoch"] for end in ends
            ),
            "seconds": last["seconds"],
            "cpu_seconds": last["cpu_seconds"],
        }
    if "000" in summary:
        summary["000"] |= extrapolate(runs["000"]["median"], folder)
    for row in summary.values():
        if "fast" in summary:
            for key in ("seconds", "cpu_seconds"):
                row[f"times_{key}"] = row[key] / summary["fast"][key]
            row["times_epoch"] = row["epoch_seconds"] / summary["fast"]["seconds"]
    return summary


def extrapolate(measured: dict[str, float], folder: Path) -> dict[str, Any]:
    """Tell how long tutorial 000 would take to its 98.86 %, from two epochs.

    The epochs that this takes are those of its own 40, unless the reproduced run
    in tutorial-000.json got there sooner.
    """
    epochs, source = 40, "the tutorial"
    path = folder / "tutorial-000.json"
    if path.exists():
        reached = [
            row["epoch"]
            for run in json.loads(path.read_text())["runs"]
            for row in run["epochs"]
            if row["test_accuracy"] >= 0.9886
        ]
        if reached:
            epochs, source = min(reached), path.name
    factor = epochs / measured["epoch"]
    return {
        "target": 0.9886,
        "extrapolated_from_epochs": measured["epoch"],
        "epochs": epochs,
        "epochs_from": source,
        "seconds": measured["seconds"] * factor,
        "cpu_seconds": measured["cpu_seconds"] * factor,
    }


WHOLE_RUNS = Part(
    measure_on_test,
    {name: asdict(recipe) for name, recipe in RECIPES.items()},
    dict.fromkeys(RECIPES, 1) | {"fast": 10, "accurate": 3, "examples": 3},
    summarize=summarize,
)
CHANGE_BY_CHANGE = Part(
    measure_on_validation,
    {name: asdict(recipe) for name, recipe in STEPS.items()},
    dict.fromkeys(STEPS, 3),
)
