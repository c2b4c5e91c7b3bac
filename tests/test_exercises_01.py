"""Answers to the exercises of chapter 1."""

import numpy as np
import torch
import torch.nn.functional as F
import torchvision
from exercise_cases import of_chapter

SHAPES = {
    "images[3]": (1, 28, 28),
    "images[:, 0]": (12, 28, 28),
    "images[:, :, ::4]": (12, 1, 7, 28),
    "images.mean(dim=(2, 3))": (12, 1),
    "images - images.mean(dim=0)": (12, 1, 28, 28),
}


def sheet_by_loop(images):
    rows = [torch.cat(list(images[4 * r : 4 * r + 4, 0]), dim=1) for r in range(3)]
    return torch.cat(rows)


def fit_in_closed_form(column, price):
    ones = torch.ones_like(column)
    pair = torch.linalg.lstsq(torch.cat([column, ones], 1), price[:, None]).solution
    return pair.flatten()


def fit_still_wrong(column, price):
    return 0.0, price.mean()


def fit_without_base(column, price):
    distance = column.flatten()
    return (distance @ price / (distance @ distance)).item(), 0.0


def fit_by_polynomial(column, price):
    return np.polyfit(column.numpy().ravel(), price.numpy(), 1)


def fit_for_forty(column, price):
    return fit_in_closed_form(column, price.view(40, 1).flatten())


def read_by_angle(new, known, known_labels):
    cosine = F.normalize(new, dim=1) @ F.normalize(known, dim=1).T
    return known_labels[cosine.argmax(dim=1)]


def read_without_half(new, known, known_labels):
    return known_labels[(new @ known.T - (known**2).sum(dim=1)).argmax(dim=1)]


def read_by_cdist(new, known, known_labels):
    return known_labels[torch.cdist(new, known).argmin(dim=1)]


def read_by_loop(new, known, known_labels):
    answers = []
    for row in new:
        print("a digit")
        answers.append(known_labels[((known - row) ** 2).sum(dim=1).argmin()].item())
    return answers


RIGHT = {
    "01.1": [
        SHAPES,
        {key: torch.Size(shape) for key, shape in SHAPES.items()},
        {key: list(shape) for key, shape in SHAPES.items()},
        SHAPES | {"images[3]": torch.zeros(12, 1, 28, 28)[3].shape},
    ],
    "01.2": [
        lambda images: images.view(3, 4, 28, 28).permute(0, 2, 1, 3).reshape(84, 112),
        sheet_by_loop,
        lambda images: sheet_by_loop(images).numpy(),
        lambda images: np.vstack([np.hstack(images[r : r + 4, 0]) for r in (0, 4, 8)]),
    ],
    "01.3": [fit_in_closed_form, fit_by_polynomial],
    "01.4": [read_by_cdist, read_by_loop],
}
WRONG = {
    "01.1": [
        (SHAPES | {"images[3]": (28, 28)}, "`images[3]`: (28, 28) has 2 axes"),
        (SHAPES | {"images[:, :, ::4]": (12, 1, 28, 7)}, "another size on axis 2, 3"),
        (SHAPES | {"images[:, 0]": None}, "no answer yet for 'images[:, 0]'"),
        (SHAPES | {"images[:, 0]": 12}, "not 12"),
        (SHAPES | {"images[:, 0]": (12,)}, "(12,) has 1 axis;"),
        ([1, 2], "should be a dictionary"),
        (SHAPES | {"images[:, 0]": "(12, 28, 28)"}, "not the text '(12, 28, 28)'"),
        (
            SHAPES | {"images.mean(dim=(2, 3))": (12, 1, 1, 1)},
            "(12, 1, 1, 1) has 4 axes; the tensor has 2",
        ),
    ],
    "01.2": [
        (lambda images: images.reshape(84, 112), "cut into strips"),
        (lambda images: images.view(3, 4, 28, 28), "should have the shape (84, 112)"),
        (
            lambda images: (
                images.view(4, 3, 28, 28).permute(1, 2, 0, 3).reshape(84, 112)
            ),
            "run down the columns",
        ),
        (
            lambda images: (
                images.view(3, 4, 28, 28).permute(0, 3, 1, 2).reshape(84, 112)
            ),
            "lies on its side",
        ),
        (lambda images: images.view(84, 100), "RuntimeError: shape '[84, 100]'"),
        (lambda images: print(images), "Is a `return` missing?"),
        (torch.zeros(84, 112), "should be a function, but is a tensor"),
        (lambda images: torchvision.utils.make_grid(images, 4), "has (3, 92, 122)"),
        (lambda images: sheet_by_loop(images).T, "(84, 112), but has (112, 84)"),
    ],
    "01.3": [
        (fit_still_wrong, "The line is still flat"),
        (
            lambda column, price: fit_in_closed_form(column, price).flip(0),
            "Return the price of a km first",
        ),
        (lambda column, price: 2.0, "should be 2 values, but is 2"),
        (lambda column, price: (float("nan"), 1.0), "should be a finite number"),
        (lambda column, price: (7.0, 3.0), "are fitted best by"),
        (fit_without_base, "a base fee of 0.00"),
        (fit_for_forty, "tried with a column of shape (25, 1)"),
        ((1.5, 3.0), "`my_fit` should be a function, but is a tuple of 2"),
    ],
    "01.4": [
        (
            lambda new, known, labels: labels[(new @ known.T).argmax(dim=1)],
            "The bias is missing",
        ),
        (
            lambda new, known, labels: torch.cdist(new, known).argmin(dim=1),
            "Asked for are their labels",
        ),
        (
            lambda new, known, labels: labels[torch.cdist(new, known).argmax(dim=1)],
            "*farthest*",
        ),
        (
            lambda new, known, labels: labels[torch.cdist(new, known, 1).argmin(1)],
            "*absolute*",
        ),
        (
            lambda new, known, labels: torch.cdist(new, known),
            "should have the shape (25,)",
        ),
        (lambda new, known, labels: labels[:25] * 0 - 1, "Only 0 of 25"),
        (read_by_angle, "the smallest sum of squared differences"),
        (read_without_half, "minus *half* the sum"),
    ],
}

test_right, test_wrong, test_all = of_chapter("01", RIGHT, WRONG)
