"""Answers to the exercises of chapter 3."""

import math
import random

import numpy as np
import torch
from exercise_cases import changed, of_book, of_chapter
from torch.utils.data import DataLoader, Subset, random_split

from helpers import data


def average(images, labels):
    return torch.stack([images[labels == c].mean(dim=0) for c in range(10)])


def average_by_one_hot(images, labels):
    chosen = torch.nn.functional.one_hot(labels, 10).double()
    sums = (chosen.T @ images.double().flatten(1)).view(10, *images.shape[1:])
    return (sums / chosen.sum(dim=0).view(-1, 1, 1, 1)).numpy()


def split_seeded(dataset):
    generator = torch.Generator().manual_seed(7)
    return random_split(dataset, [55_000, 5_000], generator=generator)


def split_by_hand(dataset):
    indices = list(range(len(dataset)))
    random.Random(1).shuffle(indices)
    return Subset(dataset, indices[:-5_000]), Subset(dataset, indices[-5_000:])


def split_twice_the_same(dataset):
    return Subset(dataset, [1] * 55_000), Subset(dataset, range(5_000))


def split_positions(dataset):
    order = torch.randperm(60_000, generator=torch.Generator().manual_seed(0))
    return order[:55_000].tolist(), order[55_000:].tolist()


def split_other_digits(dataset):
    return split_seeded(data.mnist("train"))


def split_by_class(dataset):
    held = [int(i) for c in range(10) for i in (dataset.targets == c).nonzero()[:500]]
    rest = sorted(set(range(len(dataset))) - set(held))
    return Subset(dataset, rest), Subset(dataset, held)


Sums = of_book("03.4", "MyDigitSums")


class AllAtOnce:
    """In another style: no Dataset, everything made at the start."""

    def __init__(self, images, labels):
        partners = random.Random(3).choices(range(len(images)), k=len(images))
        self.pictures = torch.cat([images, images[partners]], dim=-1)
        self.totals = [a.item() + b.item() for a, b in zip(labels, labels[partners])]  # noqa: B905

    def __len__(self):
        return len(self.totals)

    def __getitem__(self, index):
        return [self.pictures[index], self.totals[index]]


class NoLength(Sums):
    __len__ = None


RIGHT = {
    "03.1": [
        lambda n, size: (math.ceil(n / size), (n - 1) % size + 1),
        lambda n, size: (-(-n // size), n % size or size),
        lambda n, size: np.array([len(range(0, n, size)), (n - 1) % size + 1]),
    ],
    "03.2": [
        *(average, average_by_one_hot, lambda i, k: list(average(i, k))),
        lambda i, k: np.stack([i.numpy()[k.numpy() == c].mean(0) for c in range(10)]),
    ],
    "03.3": [
        *(split_seeded, split_by_hand, data.split_train_validation, split_by_class),
    ],
    "03.4": [Sums, AllAtOnce],
}
WRONG = {
    "03.1": [
        (lambda n, size: (n // size, n % size or size), "is a batch, too"),
        (lambda n, size: (math.ceil(n / size), n % size), "is full, not empty"),
        (lambda n, size: (math.ceil(n / size), size), "not 55000"),
        (lambda n, size: n / size, "should be 2 values"),
        (lambda n, size: ((n - 1) % size + 1, -(-n // size)), "batches first"),
        (lambda n, size: (n // size + 1, n % size), "is full, not empty"),
        (lambda n, size: (round(n / size), n % size or size), "is a batch, too"),
    ],
    "03.2": [
        (lambda i, k: average(i, k).squeeze(1), "channel axis is missing"),
        (lambda i, k: average(i, k) * 10, "The averages differ: at [0, 0"),
        (
            lambda i, k: torch.stack([i[k == c].sum(dim=0) for c in range(10)]),
            "These are the sums",
        ),
        (lambda i, k: torch.rand(10, 1, 28, 28), "Use the arguments"),
        (lambda i, k: i.mean(dim=0), "should have the shape (10, 1, 6, 5)"),
        (
            lambda i, k: torch.stack([i[k == c].mean() for c in range(10)]),
            "They have (10,)",
        ),
        (lambda i, k: dict(enumerate(average(i, k))), "but is a dict of 10"),
        (
            lambda i, k: torch.stack([i[k == c].sum(dim=0) / 10 for c in range(10)]),
            "Divide by the class's own number",
        ),
    ],
    "03.3": [
        (lambda d: random_split(d, [55_000, 5_000]), "that the second call returns"),
        (
            lambda d: (Subset(d, range(55_000)), Subset(d, range(50_000, 55_000))),
            "5,000 of the 5,000 validation examples that the first",
        ),
        (lambda d: split_seeded(d)[::-1], "should have 55,000 examples, but has 5,000"),
        (split_twice_the_same, "more than once"),
        (lambda d: 0.5, "should be 2 values"),
        (lambda d: (1, 2), "should be a dataset"),
        (split_positions, "`Subset(dataset, positions)`"),
        (split_other_digits, "its argument `dataset`"),
        (
            lambda d: [DataLoader(part) for part in split_seeded(d)],
            "should be a dataset, but is a DataLoader",
        ),
    ],
    "03.4": [
        (
            changed(Sums, {"self.partners[index]": "torch.randint(40, ()).item()"}),
            "another picture when it is asked for again",
        ),
        (changed(Sums, {", generator=generator": ""}), "from a generator with a seed"),
        (changed(Sums, {"len(self.images)": "50"}), "those that `__init__` is given"),
        (changed(Sums, {"dim=2": "dim=1"}), "It has (1, 56, 28)"),
        (changed(Sums, {" + self.labels[other]": ""}), "so its label should be"),
        (NoLength, "has no method `__len__`"),
        (
            changed(Sums, {"index], self.images[other]": "other], self.images[index]"}),
            "The left half of `sums[0]` should be digit 0",
        ),
        (
            changed(Sums, {"randperm(": "arange(", ", generator=generator": ""}),
            "not drawn at random",
        ),
        (Sums(torch.rand(9, 1, 28, 28), torch.arange(9)), "should be a class"),
    ],
}

test_right, test_wrong, test_all = of_chapter("03", RIGHT, WRONG)
