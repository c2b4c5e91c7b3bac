"""Measure networks and recipes on CIFAR-10 and record what comes out.

``python tests/benchmarks/photographs.py`` trains each network of the chapter by
its recipe and writes helpers/records/photographs.json, which the chapter draws.
It needs real photographs (the chapter says where they may come from). The file is
written after each run, and a run that it holds is left alone: after a break the
same command goes on with the next run. ``--again NAME`` measures a run once more.

The validation photographs are looked at after each epoch. The test photographs
are looked at once a run, when it has ended, and choose nothing.
"""

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim import SGD, Optimizer
from torch.optim.lr_scheduler import OneCycleLR
from torch.utils.data import TensorDataset
from writing import stamp, write_json

from helpers import data, records
from helpers.device import choose_device, time_calls
from helpers.evaluation import (
    accuracy_per_class,
    confusion_matrix,
    evaluate,
    predict,
)
from helpers.models import PhotoNet, ResidualNet, count_parameters
from helpers.training import train_one_epoch

RECORD = records.FOLDER / "photographs.json"
BATCH_SIZES = (1, 2, 4, 8, 16, 32, 64, 128, 256)
HALF = (0.5, 0.5, 0.5)
STEP_EPOCHS = 8
BEST_EPOCHS = 14


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
}


@dataclass(frozen=True)
class Recipe:
    """What one run does."""

    title: str
    model: str
    batch_size: int
    lr: float
    num_epochs: int = STEP_EPOCHS
    momentum: float = 0.9
    weight_decay: float = 0.0
    augment: bool = False
    one_cycle: bool = False
    mean: tuple[float, ...] = data.CIFAR10_MEAN
    std: tuple[float, ...] = data.CIFAR10_STD
    seed: int = 0


# From "batch-4" to "one-cycle" each recipe changes one thing of the one before
# (the residual network also gets weight decay) and has the same epochs.
RECIPES = {
    "tutorial": Recipe(
        "the tutorial's recipe", "PhotoNet", 4, 0.001, 2, mean=HALF, std=HALF
    ),
    "batch-4": Recipe("batches of 4", "PhotoNet", 4, 0.001),
    "batch-64": Recipe("batches of 64", "PhotoNet", 64, 0.016),
    "norm": Recipe("+ batch normalization", "NormPhotoNet", 64, 0.016),
    "residual": Recipe(
        "+ residual blocks", "ResidualNet", 64, 0.016, weight_decay=5e-4
    ),
    "augmented": Recipe(
        "+ augmentation", "ResidualNet", 64, 0.016, weight_decay=5e-4, augment=True
    ),
    "one-cycle": Recipe(
        "+ one cycle",
        "ResidualNet",
        64,
        0.1,
        weight_decay=5e-4,
        augment=True,
        one_cycle=True,
    ),
    "best": Recipe(
        "the same, longer",
        "ResidualNet",
        64,
        0.1,
        num_epochs=BEST_EPOCHS,
        weight_decay=5e-4,
        augment=True,
        one_cycle=True,
    ),
}


class Photographs:
    """Training, validation and test photographs, normalized on request."""

    def __init__(self, limit: int | None = None) -> None:
        train, test = data.cifar10("train"), data.cifar10("test")
        self.source, self.is_stand_in = train.source, train.is_stand_in
        self.classes = train.classes
        parts = (*data.split_train_validation(train, len(train) // 10), test)
        if limit:
            parts = [torch.utils.data.Subset(part, range(limit)) for part in parts]
        self.parts = parts

    def tensors(self, recipe: Recipe) -> list[TensorDataset]:
        return [data.to_tensors(part, recipe.mean, recipe.std) for part in self.parts]


def run(recipe: Recipe, photographs: Photographs, device: torch.device) -> dict:
    """Train by one recipe and return its record.

    Returns
    -------
    dict
        ``epochs``: a row for the untrained network and one after each epoch, as
        `helpers.training.fit` has them, with the ``seconds`` of training so far,
        measuring left out (``seconds`` by the clock, ``cpu_seconds`` by all
        cores together). ``test``: loss, accuracy, accuracy of each class, and
        confusion matrix.
    """
    train, validation, test = photographs.tensors(recipe)
    torch.manual_seed(recipe.seed)
    model = MODELS[recipe.model]().to(device, memory_format=torch.channels_last)
    generator = torch.Generator().manual_seed(recipe.seed)
    loader = data.batches(train, recipe.batch_size, True, generator)
    optimizer = SGD(
        model.parameters(),
        recipe.lr,
        recipe.momentum,
        weight_decay=recipe.weight_decay,
    )
    after_step = None
    if recipe.one_cycle:
        after_step = one_cycle(optimizer, recipe, len(loader))
    batches = data.Augmented(loader) if recipe.augment else loader
    loss_fn = nn.CrossEntropyLoss()
    validation_loader = data.batches(validation, 1_000)

    epochs = [{"epoch": 0, "examples": 0, "seconds": 0.0, "cpu_seconds": 0.0}]
    for epoch in range(recipe.num_epochs + 1):
        if epoch > 0:
            start, cpu_start = time.perf_counter(), time.process_time()
            loss, accuracy = train_one_epoch(
                model, batches, loss_fn, optimizer, device, after_step
            )
            before = epochs[-1]
            row = {
                "epoch": epoch,
                "examples": epoch * len(train),
                "seconds": before["seconds"] + time.perf_counter() - start,
                "cpu_seconds": before["cpu_seconds"] + time.process_time() - cpu_start,
                "train_loss": loss,
                "train_accuracy": accuracy,
            }
            epochs.append(row)
        loss, accuracy = evaluate(model, validation_loader, loss_fn, device)
        epochs[-1] |= {"validation_loss": loss, "validation_accuracy": accuracy}
        print(
            f"  epoch {epoch}: {accuracy:.2%} of the validation photographs, "
            f"{epochs[-1]['seconds']:.0f} s",
            flush=True,
        )
    return {
        "parameters": count_parameters(model),
        "seconds": epochs[-1]["seconds"],
        "cpu_seconds": epochs[-1]["cpu_seconds"],
        "epochs": epochs,
        "test": look_at_test(model, test, device),
    }


def one_cycle(
    optimizer: Optimizer, recipe: Recipe, steps: int
) -> Callable[[float, int, int], None]:
    """Return a hook that moves the learning rate after each step."""
    schedule = OneCycleLR(optimizer, recipe.lr, total_steps=recipe.num_epochs * steps)

    def after_step(loss: float, correct: int, size: int) -> None:
        schedule.step()

    return after_step


def look_at_test(
    model: nn.Module, test: TensorDataset, device: torch.device
) -> dict[str, Any]:
    logits, labels = predict(model, data.batches(test, 1_000), device)
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
        ("float32", torch.contiguous_format, None),
        ("float32, channels last", torch.channels_last, None),
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
    dtype: torch.dtype | None = None,
) -> float:
    """Return the median seconds of a training step."""
    model.to(device).train()
    optimizer = SGD(model.parameters(), lr=0.001, momentum=0.9)
    images = torch.randn(batch_size, 3, 32, 32, device=device)
    labels = torch.randint(10, (batch_size,), device=device)

    def step() -> None:
        with torch.autocast(device.type, dtype, enabled=dtype is not None):
            loss = F.cross_entropy(model(images), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    return statistics.median(time_calls(step, device, warmup=5, repeats=30))


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("runs", nargs="*", metavar="RUN", help=", ".join(RECIPES))
    parser.add_argument("--again", action="store_true", help="measure them once more")
    parser.add_argument("--device", help="cpu, cuda, mps; chosen if left out")
    parser.add_argument("--out", type=Path, default=RECORD, help="the JSON file")
    parser.add_argument("--note", default="", help="on the machine, for the record")
    parser.add_argument("--limit", type=int, help="photographs of each part, to try")
    options = parser.parse_args(arguments)
    if options.limit and options.out == RECORD:
        parser.error("--limit is for trying: name another file with --out")
    names = options.runs or list(RECIPES)
    for name in names:
        if name not in RECIPES:
            parser.error(f"no run {name!r}; there are {', '.join(RECIPES)}")

    device = choose_device(options.device)
    photographs = Photographs(options.limit)
    if photographs.is_stand_in and not options.limit:
        print("There are no photographs here, so there is nothing to record.")
        return 1
    content = json.loads(options.out.read_text()) if options.out.exists() else {}
    content.setdefault("runs", {})
    content |= {
        "data": photographs.source,
        "classes": photographs.classes,
        "examples": [len(part) for part in photographs.parts],
    }
    if options.again or "speed" not in content:
        content["speed"] = measure_speed(device) | stamp(device, options.note)
        write_json(options.out, content)
    for name in names:
        if name in content["runs"] and not options.again:
            continue
        print(f"{name}: {RECIPES[name].title}", flush=True)
        recipe = RECIPES[name]
        record = run(recipe, photographs, device)
        content["runs"][name] = (
            {"recipe": asdict(recipe)} | stamp(device, options.note) | record
        )
        content["runs"] = {
            known: content["runs"][known]
            for known in RECIPES
            if known in content["runs"]
        }
        write_json(options.out, content)
        print(f"  {record['test']['accuracy']:.2%} of the test photographs")
    return 0


if __name__ == "__main__":
    sys.exit(main())
