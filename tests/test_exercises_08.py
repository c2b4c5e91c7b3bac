"""Answers to the exercises of chapter 8."""

import copy

import numpy as np
import torch
from exercise_cases import changed, of_book, of_chapter

from helpers import checkpoint
from helpers.models import DropoutNet

SHARES = {"nothing": 0.0, "random": 0.98, "optimizer": 1.0}


keep_best = of_book("08.2", "my_keep_best")


def keep_parameter_tensors(model, epochs):
    """Right: a network loads parameters as it loads other tensors."""
    kept = [(accuracy, copy.deepcopy(model)) for accuracy in epochs]
    best = max(kept, key=lambda pair: pair[0])[1]
    return dict(best.named_parameters()) | dict(best.named_buffers())


def stop_early(model, epochs):
    next(epochs)
    return copy.deepcopy(model.state_dict())


WAVES = 0.3 + 0.02 * np.sin(np.arange(70))


def dicts_of(paths):
    return [checkpoint.read(path)["model"] for path in paths]


def average(paths):
    dicts = dicts_of(paths)
    return {k: torch.stack([d[k] for d in dicts]).mean(dim=0) for k in dicts[0]}


def average_in_place(paths):
    total = {}
    for weights in dicts_of(paths):
        for name, value in weights.items():
            total[name] = total.get(name, 0) + value.double() / len(paths)
    return total


RIGHT = {
    "08.1": [
        *(SHARES, {k: torch.tensor(v) for k, v in SHARES.items()}),
        {"optimizer": np.float32(0.9), "random": np.float32(0.8), "nothing": 0},
    ],
    "08.2": [keep_best, keep_parameter_tensors],
    "08.3": [
        (WAVES, WAVES * 1.02),
        [WAVES.tolist(), (WAVES[:70] + 0.003).tolist()],
        (torch.tensor(WAVES), torch.tensor(WAVES) * 0.98),
    ],
    "08.4": [average, average_in_place],
}
WRONG = {
    "08.1": [
        (SHARES | {"nothing": 0.4}, "With everything restored, 40%"),
        (SHARES | {"random": 0.0}, 'Without "random", no weight differs'),
        (SHARES | {"optimizer": 98.0}, "A share lies between 0 and 1"),
        (SHARES | {"random": 0.001}, "Do you compare all weights"),
        ({"nothing": 0}, "lacks 'random', 'optimizer'"),
        (list(SHARES.values()), "should be a dictionary, but is a list of 3"),
        (SHARES | {"random": 21_000}, "A share lies between 0 and 1"),
    ],
    "08.2": [
        (changed(keep_best, {".clone()": ""}), "weights of the last epoch"),
        (
            lambda *a: {k: v.tolist() for k, v in keep_best(*a).items()},
            "is a list of",
        ),
        (
            lambda *a: {k: v.numpy() for k, v in keep_best(*a).items()},
            "`load_state_dict` takes tensors only",
        ),
        (
            lambda model, epochs: max(epochs) and copy.deepcopy(model.state_dict()),
            "These are copies, but of the last epoch's weights",
        ),
        (
            changed(keep_best, {"-1.0": "2.0", "accuracy >": "accuracy <"}),
            "weights of epoch 1, whose accuracy is 0.5",
        ),
        (stop_early, "Only 1 of the five epochs"),
        (lambda model, epochs: max(epochs), "should return a state dict"),
        (lambda model, epochs: list(epochs) and {}, "but has []"),
        (
            changed(
                keep_best, {"model.state_dict()": "dict(model.named_parameters())"}
            ),
            "It lacks ['1.num_batches_tracked', '1.running_mean'",
        ),
        (
            changed(keep_best, {"best = {": "best = model  # {"}),
            "should return a state dict, but returns a Sequential",
        ),
    ],
    "08.3": [
        ((WAVES, WAVES), "needs a new optimizer"),
        ((WAVES + 2, WAVES + 2.1), "did the run begin from the trained weights"),
        ((WAVES, WAVES * np.linspace(1, 2, 70)), "more than a lost velocity costs"),
        ((WAVES[:10], WAVES[:10]), "has the shape (10,)"),
        ((WAVES, WAVES + 0.2), "begin with the same weights"),
        (WAVES, "should be 2 values, but has 70"),
        ((0.95 + WAVES / 20, 0.94 + WAVES / 20), "Are these accuracies?"),
        (([0.3] * 5 + [float("nan")] * 65, WAVES), "is not a positive number"),
    ],
    "08.4": [
        (lambda paths: dicts_of(paths)[-1], "that of the last file"),
        (lambda p: {k: len(p) * v for k, v in average(p).items()}, "is the sum"),
        (
            changed(
                average_in_place,
                {
                    "total.get(name, 0)": "total.get(name, value) / 2",
                    "/ len(paths)": "/ 2",
                },
            ),
            "Add all, then divide once",
        ),
        (lambda paths: dicts_of(paths), "should return a state dict"),
        (lambda p: {f"net.{k}": v for k, v in average(p).items()}, "have the names"),
        (lambda paths: checkpoint.read(paths[0]), "have the names"),
        (
            lambda p: {k: average(p)[k] for k in DropoutNet().state_dict()},
            "suit any network: take the names from the files",
        ),
        (
            lambda p: {k: v.numpy() for k, v in average(p).items()},
            "takes tensors only",
        ),
        (
            changed(average, {"dim=0": ""}),
            "should have the shape (4, 5), but has ()",
        ),
        (lambda paths: dicts_of(paths)[0], "is not the mean of its values"),
    ],
}

test_right, test_wrong, test_all = of_chapter("08", RIGHT, WRONG)
