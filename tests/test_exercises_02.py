"""Answers to the exercises of chapter 2."""

import numpy as np
import torch
import torch.nn.functional as F
from exercise_cases import changed, of_book, of_chapter
from torch import nn

NUMBERS = torch.linspace(-4, 4, 201)
SLOPES = {
    "ReLU": (NUMBERS > 0).float(),
    "sigmoid": torch.sigmoid(NUMBERS) * (1 - torch.sigmoid(NUMBERS)),
    "tanh": 1 - torch.tanh(NUMBERS) ** 2,
}
SUMS = {
    "ReLU": SLOPES["ReLU"],
    "sigmoid": SLOPES["ReLU"] + SLOPES["sigmoid"],
    "tanh": SLOPES["ReLU"] + SLOPES["sigmoid"] + SLOPES["tanh"],
}


def convolve_by_unfold(image, kernel):
    height, width = kernel.shape
    windows = image.unfold(0, height, 1).unfold(1, width, 1)
    return (windows * kernel).sum(dim=(2, 3))


class Convolve(nn.Module):
    def forward(self, image, kernel):
        return F.conv2d(image[None, None], kernel[None, None])


def square_only(image, kernel):
    size = len(image) - len(kernel) + 1
    output = torch.zeros(size, size)
    for row in range(size):
        for column in range(size):
            window = image[row : row + 3, column : column + 3]
            output[row, column] = (window * kernel).sum()
    return output


find = of_book("02.4", "my_find_kernel")


def find_by_least_squares(images, results):
    rows = F.unfold(images[:50], 3).transpose(1, 2).reshape(-1, 9)
    return torch.linalg.lstsq(rows, results[:50].reshape(-1, 1)).solution.view(3, 3)


SECRET = torch.randn(1, 1, 3, 3)


def find_nothing(images, results):
    return torch.zeros(1, 1, 3, 3)


RIGHT = {
    "02.1": [
        lambda x: min(1, 1 / (x**2).mean()),
        lambda x: float(1 / max(1.0, np.square(x.numpy()).mean())),
        lambda x: (x.numel() / (x @ x)).clamp(max=1),
    ],
    "02.2": [
        SLOPES,
        {k: v.clone().requires_grad_() for k, v in SLOPES.items()},
        {name: slope.double().numpy() for name, slope in SLOPES.items()},
        dict(zip(SLOPES, torch.stack([*SLOPES.values()]), strict=True)),
    ],
    "02.3": [Convolve(), convolve_by_unfold],
    "02.4": [find, find_by_least_squares],
}
WRONG = {
    "02.1": [
        (lambda x: 1 / (x**2).mean(), "the intercept explodes before"),
        (lambda x: 0.75, "is the border for the inputs of section 1"),
        (lambda x: 0.5 / (x**2).mean(), "one step takes the slope to its place"),
        (lambda x: 2 / (x**2).mean(), "At the border this is -1"),
        (lambda x: 1 / x, "should be one number, but is a tensor of shape (400,)"),
        (lambda x: "0.75", "should be a number"),
        (lambda x: 1 / (x**2).sum(), "At the border this is -1"),
        (lambda x: 1 / x.std(), "At the border this is -1"),
    ],
    "02.2": [
        (SLOPES | {"tanh": torch.tanh(NUMBERS)}, "its values, not its slopes"),
        (SUMS, "`backward` adds to `numbers.grad`"),
        (SLOPES | {"sigmoid": SLOPES["tanh"]}, "The slope of sigmoid at"),
        (SLOPES | {"ReLU": torch.ones(3)}, "should have the shape (201,)"),
        ({"ReLU": SLOPES["ReLU"]}, "lacks 'sigmoid', 'tanh'"),
        (SLOPES | {"ReLU": NUMBERS * torch.nan}, "The slope of ReLU"),
        (dict.fromkeys(SLOPES, SLOPES["tanh"]), "one and the same tensor"),
        ({k: SLOPES["tanh"].detach() for k in SLOPES}, "one and the same tensor"),
        ({k: SLOPES["tanh"].numpy() for k in SLOPES}, "one and the same tensor"),
        (
            SLOPES | {"sigmoid": torch.sigmoid(NUMBERS).diff() / 0.04},
            "should have the shape (201,), but has (200,)",
        ),
    ],
    "02.3": [
        (square_only, "kernel of shape (2, 4)"),
        (lambda i, k: convolve_by_unfold(i, k).T, "transposed"),
        (lambda i, k: convolve_by_unfold(i, k.flip(0, 1)), "upside down"),
        (
            lambda i, k: F.conv2d(i[None, None], k[None, None], padding=1)[0, 0],
            "should have the shape (4, 4), but has (6, 6)",
        ),
        (lambda i, k: convolve_by_unfold(i, k) + 1, "it is"),
        (lambda i, k: (i * k).sum(), "raises `RuntimeError"),
    ],
    "02.4": [
        (changed(find, {"400": "20"}), "It gets closer"),
        (changed(find, {"400": "5", "-= 0.8": "+= 0.8"}), "Do the steps go downhill"),
        (lambda i, r: find(i, r).flip(2, 3), "turned by half a turn"),
        (lambda i, r: torch.zeros(5, 5), "should have the shape (1, 1, 3, 3)"),
        (lambda i, r: find(i, r).transpose(2, 3), "rows and columns swapped"),
        (changed(find, {"400": "200"}), "It gets closer"),
        (find_nothing, "Does your function use the images"),
        (lambda i, r: SECRET, "the images and results that it is given?"),
        (
            changed(find, {"found.grad = None": "pass"}),
            "is the old gradient forgotten before each",
        ),
        (lambda i, r: nn.Conv2d(1, 1, 3), "should be a tensor, but is a Conv2d"),
    ],
}

test_right, test_wrong, test_all = of_chapter("02", RIGHT, WRONG)
