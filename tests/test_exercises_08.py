"""Answers to the exercises of chapter 8."""

import copy
import tempfile
from collections import OrderedDict
from pathlib import Path

import numpy as np
import torch
from exercise_cases import of_chapter

from helpers import checkpoint
from helpers.models import DropoutNet

SHARES = {"nothing": 0.0, "random": 0.98, "optimizer": 1.0}


def stub(*arguments):
    """Your code."""


def keep_best(model, epochs):
    best_accuracy, best = -1.0, None
    for accuracy in epochs:
        if accuracy > best_accuracy:
            best_accuracy, best = accuracy, copy.deepcopy(model.state_dict())
    return best


def keep_all(model, epochs):
    kept = [
        (accuracy, {k: v.detach().clone() for k, v in model.state_dict().items()})
        for accuracy in epochs
    ]
    return max(kept, key=lambda pair: pair[0])[1]


def keep_in_file(model, epochs):
    best_accuracy = -1.0
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "best.pt")
        for accuracy in epochs:
            if accuracy > best_accuracy:
                best_accuracy = accuracy
                torch.save(model.state_dict(), path)
        return torch.load(path, weights_only=True)


def keep_parameters(model, epochs):
    best_accuracy, best = -1.0, None
    for accuracy in epochs:
        if accuracy > best_accuracy:
            best_accuracy = accuracy
            best = {name: p.detach().clone() for name, p in model.named_parameters()}
    return best


def keep_network(model, epochs):
    best_accuracy, best = -1.0, None
    for accuracy in epochs:
        if accuracy > best_accuracy:
            best_accuracy, best = accuracy, copy.deepcopy(model)
    return best


def keep_views(model, epochs):
    best_accuracy, best = -1.0, None
    for accuracy in epochs:
        if accuracy > best_accuracy:
            best_accuracy, best = accuracy, dict(model.state_dict())
    return best


def keep_worst(model, epochs):
    best_accuracy, best = 2.0, None
    for accuracy in epochs:
        if accuracy < best_accuracy:
            best_accuracy, best = accuracy, copy.deepcopy(model.state_dict())
    return best


def keep_lists(model, epochs):
    return {name: value.tolist() for name, value in keep_best(model, epochs).items()}


def keep_arrays(model, epochs):
    return {name: value.numpy() for name, value in keep_best(model, epochs).items()}


def keep_last_copy(model, epochs):
    best = 0.0
    for accuracy in epochs:
        best = max(best, accuracy)
    return copy.deepcopy(model.state_dict())


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


def average_step_by_step(paths):
    mean = OrderedDict()
    for count, path in enumerate(paths, start=1):
        for name, value in torch.load(path, weights_only=True)["model"].items():
            before = mean.setdefault(name, torch.zeros_like(value))
            before += (value - before) / count
    return mean


def average_of_digits(paths):
    """Builds the chapter's network, which those of the files need not be."""
    mean = {name: 0 * value for name, value in DropoutNet().state_dict().items()}
    for weights in dicts_of(paths):
        mean = {name: mean[name] + weights[name] / len(paths) for name in mean}
    return mean


def average_of_all(paths):
    dicts = dicts_of(paths)
    return {k: torch.stack([d[k] for d in dicts]).mean() for k in dicts[0]}


def running_mean(paths):
    mean, *others = dicts_of(paths)
    for other in others:
        mean = {name: (mean[name] + other[name]) / 2 for name in mean}
    return mean


RIGHT = {
    "08.1": [
        *(SHARES, {k: torch.tensor(v) for k, v in SHARES.items()}),
        {"optimizer": np.float32(0.9), "random": np.float32(0.8), "nothing": 0},
    ],
    "08.2": [keep_best, keep_all, keep_in_file, keep_parameter_tensors],
    "08.3": [
        (WAVES, WAVES * 1.02),
        [WAVES.tolist(), (WAVES[:70] + 0.003).tolist()],
        (torch.tensor(WAVES), torch.tensor(WAVES) * 0.98),
    ],
    "08.4": [average, average_in_place, average_step_by_step],
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
        (keep_views, "weights of the last epoch"),
        (keep_lists, "is a list of"),
        (keep_arrays, "`load_state_dict` takes tensors only"),
        (keep_last_copy, "These are copies, but of the last epoch's weights"),
        (keep_worst, "weights of epoch 1, whose accuracy is 0.5"),
        (stop_early, "Only 1 of the five epochs"),
        (lambda model, epochs: max(epochs), "should return a state dict"),
        (lambda model, epochs: list(epochs) and {}, "but has []"),
        (keep_parameters, "It lacks ['1.num_batches_tracked', '1.running_mean'"),
        (keep_network, "should return a state dict, but returns a Sequential"),
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
        (running_mean, "Add all, then divide once"),
        (lambda paths: dicts_of(paths), "should return a state dict"),
        (lambda p: {f"net.{k}": v for k, v in average(p).items()}, "have the names"),
        (lambda paths: checkpoint.read(paths[0]), "have the names"),
        (average_of_digits, "suit any network: take the names from the files"),
        (
            lambda p: {k: v.numpy() for k, v in average(p).items()},
            "takes tensors only",
        ),
        (average_of_all, "should have the shape (4, 5), but has ()"),
        (lambda paths: dicts_of(paths)[0], "is not the mean of its values"),
    ],
}
EMPTY = {
    "08.1": [dict.fromkeys(SHARES)],
    "08.2": [stub],
    "08.3": [(None, None), ([], [])],
    "08.4": [stub],
}

test_right, test_wrong, test_empty, test_all = of_chapter("08", RIGHT, WRONG, EMPTY)
