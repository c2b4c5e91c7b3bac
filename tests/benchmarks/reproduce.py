"""Run the five source tutorials' recipes again and record what comes out.

``python tests/benchmarks/reproduce.py 000 001 --seeds 0 1 2`` trains each
tutorial's network by its own recipe, on the training data that it used, and
writes one file for each tutorial into helpers/records/. It may be stopped at any
time: the same command goes on after the last finished epoch.
"""

import json
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import SGD, Adam, Optimizer
from torch.utils.data import Dataset, TensorDataset
from tqdm import tqdm
from writing import make_parser, parse, stamp, write_json

from helpers import checkpoint, data, models
from helpers.evaluation import (
    accuracy_per_class,
    confusion_matrix,
    evaluate,
    predict,
)
from helpers.training import train_one_epoch


@dataclass(frozen=True)
class Tutorial:
    """What a tutorial does, as far as it bears on the result."""

    title: str
    model: str
    batch_size: int
    num_epochs: int
    optimizer: str
    lr: float
    momentum: float = 0.0
    mean: tuple[float, ...] = (0.1307,)
    std: tuple[float, ...] = (0.3081,)
    shuffle: bool = True
    softmax: bool = False  # before the loss, which applies one itself
    log_every: int = 100
    claim: dict[str, Any] = field(default_factory=dict)


# The claims are the tutorials' own figures, accuracies in percent.
RECIPES = {
    "000": Tutorial(
        title="MNIST, two padded convolutions",
        model="padded",
        batch_size=128,
        num_epochs=40,
        optimizer="SGD",
        lr=0.001,
        momentum=0.9,
        mean=(0.5,),
        std=(0.5,),
        claim={
            "test_accuracy": 98.86,
            "loss_first_100_batches": 2.294,
            "loss_last_100_batches": 0.023,
            "per_class": [
                *(100.0, 100.0, 100.0, 100.0, 98.63),
                *(98.77, 97.53, 97.40, 97.06, 98.75),
            ],
        },
    ),
    "001": Tutorial(
        title="MNIST, the small dropout network",
        model="dropout",
        batch_size=64,
        num_epochs=8,
        optimizer="SGD",
        lr=0.01,
        momentum=0.5,
        log_every=10,
        claim={"test_accuracy_after_3_epochs": 97.0},
    ),
    "002": Tutorial(
        title="MNIST, a wide linear layer",
        model="wide-head",
        batch_size=16,
        num_epochs=10,
        optimizer="Adam",
        lr=0.001,
        claim={
            "accuracy_on_the_training_set": [
                *(98.838, 99.257, 99.525, 99.665, 99.478),
                *(99.787, 99.785, 99.853, 99.847, 99.817),
            ]
        },
    ),
    "003": Tutorial(
        title="CIFAR-10, photographs",
        model="photo",
        batch_size=4,
        num_epochs=2,
        optimizer="SGD",
        lr=0.001,
        momentum=0.9,
        mean=(0.5, 0.5, 0.5),
        std=(0.5, 0.5, 0.5),
        log_every=2000,
        claim={
            "test_accuracy": 55.0,
            "per_class": [
                *(70.0, 70.0, 28.0, 25.0, 37.0, 60.0, 66.0, 62.0, 69.0, 61.0)
            ],
            "loss_log": [
                *(2.182, 1.819, 1.648, 1.569, 1.511, 1.473),
                *(1.414, 1.365, 1.358, 1.322, 1.298, 1.282),
            ],
        },
    ),
    "004": Tutorial(
        title="MNIST, a softmax too many",
        model="small-padded",
        batch_size=100,
        num_epochs=2,
        optimizer="Adam",
        lr=0.001,
        mean=(0.0,),
        std=(1.0,),
        shuffle=False,
        softmax=True,
        claim={"test_accuracy": 97.53},
    ),
}
RECIPES["004-without-softmax"] = replace(
    RECIPES["004"],
    title="MNIST, tutorial 004 with its softmax taken out",
    softmax=False,
    claim={},
)

# How many runs the records have of each: an interval needs ten, where they are cheap.
NUM_SEEDS = dict.fromkeys(RECIPES, 10) | {"000": 1, "001": 3, "002": 3}


def load_data(recipe: Tutorial) -> tuple[TensorDataset, TensorDataset, str]:
    """Return training and test tensors, and where the images came from."""
    read: Callable[[str], Dataset] = data.mnist
    if recipe.model == "photo":
        read = data.cifar10
    halves = read("train"), read("test")
    train, test = (data.to_tensors(half, recipe.mean, recipe.std) for half in halves)
    return train, test, getattr(halves[0], "source", "MNIST")


def build(
    recipe: Tutorial, seed: int, device: torch.device
) -> tuple[nn.Module, Optimizer]:
    """Return the seeded network and its optimizer."""
    torch.manual_seed(seed)
    model: nn.Module = models.MODELS[recipe.model]()
    if recipe.softmax:
        model = nn.Sequential(model, nn.Softmax(dim=1))
    model.to(device)
    if recipe.optimizer == "SGD":
        return model, SGD(model.parameters(), lr=recipe.lr, momentum=recipe.momentum)
    return model, Adam(model.parameters(), lr=recipe.lr)


def run(
    name: str,
    seed: int,
    device: torch.device,
    folder: Path,
    tensors: tuple[TensorDataset, TensorDataset],
    source: str,
) -> dict[str, Any]:
    """Train one recipe with one seed, or go on with it, and return its record.

    Parameters
    ----------
    name : str
        A key of `RECIPES`.
    seed : int
        Fixes first weights, order of the examples and dropout.
    device : torch.device
        Where to train.
    folder : Path
        Where the checkpoint of this run is kept, one per epoch.
    tensors : pair of TensorDataset
        Training and test data from `load_data`.
    source : str
        What they come from, as `load_data` says.

    Returns
    -------
    dict
        ``seed``; ``epochs``, a row for each with ``test_accuracy`` and ``test_loss``
        (after the epoch, in evaluation mode), and ``training_set_accuracy``
        after the last one, or after each where the tutorial reports it;
        ``loss_log``, mean loss of every ``log_every`` batches; ``per_class``,
        test accuracy of the ten classes, and ``per_class_first_ten``, the same
        from the first ten of each test batch only, as tutorial 000 has it; and
        when and where the last epoch was trained.
    """
    recipe = RECIPES[name]
    train, test = tensors
    model, optimizer = build(recipe, seed, device)
    generator = torch.Generator().manual_seed(seed)
    settings: dict[str, Any] = {"recipe": asdict(recipe), "data": source}
    state = checkpoint.TrainingState(model, optimizer, generator, settings=settings)
    loader = data.batches(train, recipe.batch_size, recipe.shuffle, generator)
    test_loader = data.batches(test, 1_000)
    if checkpoint.latest(folder):
        checkpoint.load(folder, state, fallback=True)
        if any(state.settings.get(key) != settings[key] for key in settings):
            raise SystemExit(
                f"{folder} holds a run of another recipe or of other data: delete "
                "it, or name another folder with --runs"
            )
    loss_fn = nn.CrossEntropyLoss()
    # Going through all training data once more takes a quarter of an epoch's time.
    claims_each_epoch = "accuracy_on_the_training_set" in recipe.claim

    def record_step(loss: float, correct: int, size: int) -> None:
        state.history["steps"].append({"loss": loss})

    while state.epoch < recipe.num_epochs:
        label = f"{name} seed {seed} epoch {state.epoch + 1}/{recipe.num_epochs}"
        remaining = state.remaining_batches(loader)
        batches = tqdm(remaining, label, len(loader), leave=False)
        train_one_epoch(model, batches, loss_fn, optimizer, device, record_step)
        test_loss, test_accuracy = evaluate(model, test_loader, loss_fn, device)
        state.epoch += 1
        row = {
            "epoch": state.epoch,
            "test_loss": test_loss,
            "test_accuracy": test_accuracy,
        }
        if state.epoch == recipe.num_epochs or claims_each_epoch:
            seen_again = data.batches(train, 1_000)
            _, row["training_set_accuracy"] = evaluate(
                model, seen_again, loss_fn, device
            )
        state.history["epochs"].append(row)
        state.settings["stamp"] = stamp(device)
        checkpoint.save(state, folder, keep=1)
    per_class, first_ten = class_accuracies(model, test, recipe, device)
    losses = [step["loss"] for step in state.history["steps"]]
    return {
        "seed": seed,
        "epochs": state.history["epochs"],
        "loss_log": means_of_runs(losses, len(loader), recipe.log_every),
        "per_class": per_class,
        "per_class_first_ten": first_ten,
        **state.settings["stamp"],
    }


def means_of_runs(losses: list[float], epoch: int, run: int) -> list[float]:
    """Return the mean of each whole run of `run` losses within each epoch."""
    starts = [
        first + start
        for first in range(0, len(losses), epoch)
        for start in range(0, epoch - run + 1, run)
    ]
    return [round(sum(losses[s : s + run]) / run, 5) for s in starts]


def class_accuracies(
    model: nn.Module, test: TensorDataset, recipe: Tutorial, device: torch.device
) -> tuple[list[float], list[float]]:
    """Return test accuracies per class: of all, and of each batch's first ten.

    Tutorial 000 shuffles its test batches; here they are in order, which leaves
    the first ten of each batch as arbitrary a choice.
    """
    logits, labels = predict(model, data.batches(test, 1_000), device)
    predictions = logits.argmax(dim=1)
    in_batch = torch.arange(len(labels)) % recipe.batch_size

    def rates(chosen: Tensor) -> list[float]:
        matrix = confusion_matrix(predictions[chosen], labels[chosen])
        return accuracy_per_class(matrix).tolist()

    return rates(in_batch >= 0), rates(in_batch < 10)


def write_record(name: str, record: dict[str, Any], source: str, folder: Path) -> Path:
    """Put one run's record into the tutorial's file, beside those of other seeds."""
    path = folder / f"tutorial-{name}.json"
    recipe = json.loads(json.dumps(asdict(RECIPES[name])))  # as a file has it
    old = json.loads(path.read_text()) if path.exists() else {}
    same = (old.get("recipe"), old.get("data")) == (recipe, source)
    runs = old["runs"] if same else []
    runs = [run for run in runs if run["seed"] != record["seed"]]
    content = {
        "tutorial": name,
        "recipe": recipe,
        "parameters": models.count_parameters(models.MODELS[RECIPES[name].model]()),
        "data": source,
        "chosen": "nothing: the seeds from 0 upward, with all their epochs",
        "program": f"python tests/benchmarks/reproduce.py {name}",
        "runs": sorted([*runs, record], key=lambda run: run["seed"]),
    }
    write_json(path, content)
    return path


def main(arguments: list[str] | None = None) -> int:
    """Run the command line."""
    parser = make_parser(__doc__, "tutorial", RECIPES)
    parser.add_argument(
        "--seeds", nargs="+", type=int, help="if left out, those of the records"
    )
    parser.add_argument("--runs", type=Path, help="folder of the checkpoints")
    options = parse(parser, arguments)
    try:
        options.runs = options.runs or data.cache_folder() / "reproduce"
    except data.DataError as error:
        parser.error(str(error))
    device = options.device
    for name in options.names:
        train, test, source = load_data(RECIPES[name])
        if "stand-in" in source:
            print(f"{name}: skipped, for there are no photographs here.")
            continue
        for seed in options.seeds or range(NUM_SEEDS[name]):
            folder = options.runs / f"{name}-seed-{seed}"
            try:
                record = run(name, seed, device, folder, (train, test), source)
            except KeyboardInterrupt:
                print(f"\nStopped. The same command goes on after {folder}.")
                return 130
            path = write_record(name, record, source, options.out)
            final = record["epochs"][-1]["test_accuracy"]
            print(f"{name} seed {seed}: {final:.2%} of the test set; in {path}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
