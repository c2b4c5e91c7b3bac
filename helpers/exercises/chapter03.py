"""Chapter 3: data."""

import inspect
import math
import random
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from helpers.exercises._answers import (
    as_tensor,
    attempted,
    describe,
    first_difference,
    is_empty,
    number,
    returned,
    same,
    sequence,
)
from helpers.exercises._registry import Empty, Wrong, exercise

# Exercise 1 ---------------------------------------------------------------------


@exercise(
    "03.1",
    hints=[
        "`n / batch_size` batches, but a part of a batch is a batch too: round up, "
        "with `math.ceil`.",
        "All batches but the last are full. Subtract what they hold from n.",
    ],
)
def counted_batches(attempt: object) -> str:
    """Try a function that counts batches, on sizes that divide and do not."""
    call = "my_batches(n, batch_size)"
    full = random.randint(3, 40)
    cases = [
        (55_000, 64),
        (full * 10, 10),
        (full * 10 + random.randint(1, 9), 10),
        (7, 32),
        (1, 1),
    ]
    for n, size in cases:
        tried = f"n = {n} and batch_size = {size}"
        found = returned(attempted(attempt, call, n, size, tried=tried), call)
        found = sequence(found, call, 2)
        count = number(found[0], "the number of batches")
        last = number(found[1], "the size of the last batch")
        expected = math.ceil(n / size)
        expected_last = n - (expected - 1) * size
        if (count, last) == (expected, expected_last):
            continue
        where = f"For {tried}: {count:g} batches, the last of {last:g}."
        if (last, count) == (expected, expected_last):
            raise Wrong(f"{where} Return the number of batches first.")
        if last == 0:
            raise Wrong(
                f"{where} Where the batch size divides n, the last batch is full, "
                "not empty."
            )
        if count == n // size != expected:
            raise Wrong(f"{where} A smaller last batch is a batch, too.")
        held = (count - 1) * size + last
        raise Wrong(f"{where} Together these hold {held:g} examples, not {n}.")
    return "Every example is in a batch, and in one only."


# Exercise 2 ---------------------------------------------------------------------


@exercise(
    "03.2",
    hints=[
        "`images[labels == 3]` holds the images of one class.",
        "`mean(dim=0)` averages over the images and keeps channel, height and width.",
        "`torch.stack` makes one tensor of the ten averages.",
    ],
)
def averages_of_classes(attempt: object) -> str:
    """Try a function that averages the images of each class."""
    call = "my_averages(images, labels)"
    labels = torch.cat([torch.arange(10), torch.randint(10, (90,))])
    images = torch.randn(100, 1, 6, 5) + labels.view(-1, 1, 1, 1)
    tried = "images of shape (100, 1, 6, 5) and labels of shape (100,)"
    found = returned(attempted(attempt, call, images, labels, tried=tried), call)
    found = as_tensor(found, call)
    sums = torch.zeros(10, 1, 6, 5).index_add_(0, labels, images)
    expected = sums / labels.bincount(minlength=10).view(-1, 1, 1, 1)
    if found.shape == (10, 6, 5):
        raise Wrong("The channel axis is missing: (10, 6, 5) for (10, 1, 6, 5).")
    if found.shape != expected.shape:
        own = " Use the arguments." if found.shape == (10, 1, 28, 28) else ""
        raise Wrong(
            f"For {tried}, the averages should have the shape (10, 1, 6, 5): class, "
            f"channel, height, width. They have {tuple(found.shape)}.{own}"
        )
    if same(found, sums):
        raise Wrong("These are the sums of each class. Divide by its number of images.")
    if same(found, sums / 10):
        raise Wrong("Each sum is divided by 10. Divide by the class's own number.")
    if not same(found, expected):
        raise Wrong(f"The averages differ: {first_difference(found, expected)}.")
    return "Ten averages, one for each class."


# Exercise 3 ---------------------------------------------------------------------


class _Numbered(Dataset[tuple[str, int]]):
    """60,000 examples that say which they are."""

    targets = torch.arange(60_000) % 10  # as MNIST's, for who splits by class

    def __len__(self) -> int:
        return 60_000

    def __getitem__(self, index: int) -> tuple[str, int]:
        if not 0 <= index < 60_000:
            raise IndexError(index)
        return "example", int(index)


@exercise(
    "03.3",
    hints=[
        "How many of `validation_script.indices` are in `train_script.indices`? "
        "Python's sets can tell: `set(a) & set(b)`.",
        "Each script draws its own split. Both must draw the same: one function, "
        "with one seed that it sets itself.",
        "`random_split(dataset, [55_000, 5_000], generator=...)` with a generator "
        "that is made, and seeded, inside the function.",
    ],
)
def one_split(attempt: object) -> str:
    """Call a splitting function twice, as two scripts do, and compare."""
    scripts = []
    for _ in range(2):
        torch.manual_seed(random.getrandbits(60))  # another script, another state
        scripts.append(_split_once(attempt))
    (train, held), (_, other_held) = scripts
    for name, part in (("first", held), ("second", other_held)):
        shared = len(part & train)
        if shared:
            raise Wrong(
                f"{shared:,} of the 5,000 validation examples that the {name} call "
                "returns are in the training part of the first. The network would "
                "be measured on what it has learned."
            )
    return "Two scripts, one split: nothing that is measured on was trained on."


def _split_once(attempt: object) -> tuple[set[int], set[int]]:
    """Return the examples in the two parts that one call returns."""
    call = "my_split(dataset)"
    tried = "a dataset of 60,000 examples"
    pair = returned(attempted(attempt, call, _Numbered(), tried=tried), call)
    parts = []
    sizes = (55_000, 5_000)
    for part, size, name in zip(
        sequence(pair, call, 2), sizes, ("training", "validation"), strict=True
    ):
        if not hasattr(part, "__getitem__") or not hasattr(part, "__len__"):
            raise Wrong(
                f"The {name} part should be a dataset, but is {describe(part)}."
            )
        if len(part) != size:
            raise Wrong(
                f"The {name} part should have {size:,} examples, but has {len(part):,}."
            )
        first = attempted(lambda part=part: part[0], f"{name}[0]")
        if isinstance(first, int | Tensor | np.integer):
            raise Wrong(
                f"The {name} part holds {describe(first)}, which looks like a position "
                "and not like an example. Make a dataset of the positions: "
                "`Subset(dataset, positions)`."
            )
        if not isinstance(first, tuple) or not isinstance(first[0], str):
            raise Wrong(
                f"The {name} part holds examples of another dataset. Split the one "
                "that the function is given, its argument `dataset`."
            )
        examples = {part[i][1] for i in range(size)}
        if len(examples) != size:
            raise Wrong(
                f"The {name} part has {size - len(examples):,} examples more than once."
            )
        parts.append(examples)
    return parts[0], parts[1]


# Exercise 4 ---------------------------------------------------------------------


@exercise(
    "03.4",
    hints=[
        "Draw the partners once, in `__init__`: `torch.randperm(len(images))` gives "
        "every digit a partner. A generator with a seed makes it the same each time.",
        "`torch.cat([left, right], dim=2)` puts two pictures (1, 28, 28) side by side.",
        "`__getitem__(self, index)` returns the pair of pictures and the sum of the "
        "two labels; `__len__` is the number of digits.",
    ],
)
def dataset_of_sums(attempt: object) -> str:
    """Try a class of datasets whose examples are two digits side by side."""
    if not inspect.isclass(attempt):
        raise Wrong(
            f"`MyDigitSums` should be a class, but is {describe(attempt)}. It is tried "
            "with images and labels of its own."
        )
    if all(is_empty(getattr(attempt, m, None)) for m in ("__len__", "__getitem__")):
        raise Empty
    images, labels = torch.rand(40, 1, 28, 28), torch.randint(10, (40,))
    sums = _made(attempt, images, labels)
    if not callable(getattr(sums, "__len__", None)):
        raise Wrong("`MyDigitSums` has no method `__len__`.")
    length = attempted(lambda: len(sums), "len(sums)")
    if length != 40:
        raise Wrong(
            f"From 40 digits, there should be 40 examples, not {length}. The digits "
            "are those that `__init__` is given."
        )
    examples = [_sum_example(sums, i) for i in range(40)]
    partners = [_judge_sum(*examples[i], i, images, labels) for i in range(40)]
    for i in range(40):
        again = _sum_example(sums, i)
        if not torch.equal(again[0], examples[i][0]):
            raise Wrong(
                f"`sums[{i}]` is another picture when it is asked for again. Draw the "
                "partners once, in `__init__`."
            )
    if (
        len(set(partners)) < 5
        or len({(p - i) % 40 for i, p in enumerate(partners)}) < 5
    ):
        raise Wrong(
            "The partners are not drawn at random: they all follow one rule, or are "
            "the same few digits."
        )
    another = _made(attempt, images, labels)
    if any(
        not torch.equal(_sum_example(another, i)[0], examples[i][0]) for i in range(40)
    ):
        raise Wrong(
            "A second `MyDigitSums(images, labels)` has other partners than the first, "
            "and so would tomorrow's. Draw them from a generator with a seed."
        )
    _judge_batches(sums)
    return "Pictures, sums, and the same ones each time."


def _made(attempt: object, images: Tensor, labels: Tensor) -> Any:
    """Return a dataset of sums."""
    return attempted(
        attempt,
        "MyDigitSums(images, labels)",
        images,
        labels,
        tried="images of shape (40, 1, 28, 28) and labels of shape (40,)",
    )


def _sum_example(sums: Any, index: int) -> tuple[Tensor, float]:
    """Return a picture and its label."""
    example = attempted(lambda: sums[index], f"sums[{index}]")
    pair = sequence(returned(example, "sums[i]"), f"sums[{index}]", 2)
    picture = as_tensor(pair[0], f"the picture of sums[{index}]")
    if picture.shape != (1, 28, 56):
        raise Wrong(
            "A picture should have the shape (1, 28, 56): two digits of 28 by 28, "
            f"side by side. It has {tuple(picture.shape)}."
        )
    return picture, number(pair[1], f"the label of sums[{index}]")


def _judge_sum(
    picture: Tensor, label: float, index: int, images: Tensor, labels: Tensor
) -> int:
    """Compare one example with the digits it must be made of; return the partner."""
    if not same(picture[:, :, :28], images[index]):
        raise Wrong(f"The left half of `sums[{index}]` should be digit {index}.")
    apart = (images - picture[:, :, 28:]).abs().amax(dim=(1, 2, 3))
    partner = int(apart.argmin())
    if apart[partner] > 1e-4:
        raise Wrong(f"The right half of `sums[{index}]` is none of the digits.")
    total = int(labels[index] + labels[partner])
    if label != total:
        raise Wrong(
            f"`sums[{index}]` shows a {labels[index]} and a {labels[partner]}, so its "
            f"label should be {total}, but is {label:g}."
        )
    return partner


def _judge_batches(sums: Any) -> None:
    """See whether a loader can make batches of the examples."""
    batch = attempted(
        lambda: next(iter(DataLoader(sums, batch_size=6))),
        "next(iter(DataLoader(sums, batch_size=6)))",
    )
    if tuple(batch[0].shape) != (6, 1, 28, 56):
        raise Wrong(f"A batch of 6 has the shape {tuple(batch[0].shape)}.")
