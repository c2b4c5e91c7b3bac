"""Chapter 6: evaluation."""

import math
from collections.abc import Iterator

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from helpers.device import choose_device
from helpers.exercises._answers import (
    as_tensor,
    attempted,
    far_apart,
    number,
    returned,
    same,
    sequence,
)
from helpers.exercises._registry import Wrong, exercise

# Exercise 1 ---------------------------------------------------------------------


def _mistaken_errors(n: int, p: float, m: int, q: float) -> dict[str, float]:
    """Return what the usual mistakes make of the standard error, by what to say."""
    first, last = p * (1 - p), q * (1 - q)
    both = (n * p + m * q) / (n + m)
    expected = math.sqrt(first / n + last / m)
    return {
        "This is the square of the standard error; take the root.": expected**2,
        "Standard errors do not add up; their squares do.": math.sqrt(first / n)
        + math.sqrt(last / m),
        "This is the standard error of the first alone.": math.sqrt(first / n),
        "This is the standard error of the last alone.": math.sqrt(last / m),
        "Both are divided by the number of the first. Each has its own.": math.sqrt(
            (first + last) / n
        ),
        "Both are divided by the number of the last. Each has its own.": math.sqrt(
            (first + last) / m
        ),
        "Divide each p (1 - p) by its number of digits.": math.sqrt(first + last),
        "This takes one accuracy for both. Take each with its own p.": math.sqrt(
            both * (1 - both) * (1 / n + 1 / m)
        ),
        "These are two standard errors, or nearly; asked for is one.": 1.98 * expected,
        "Give the standard error as a share, not in percent.": 100 * expected,
    }


@exercise(
    "06.1",
    hints=[
        "The standard error of one accuracy p on n digits is √(p (1 - p) / n).",
        "The halves are independent, so the squares of their standard errors add up: "
        "take the root of the sum.",
        "`correct.split(5_000)` gives the two halves of the test digits.",
    ],
)
def two_halves(attempt: object) -> str:
    """Try a function that compares two accuracies, the last higher, then lower."""
    call = "my_compare(first, last)"
    for last_is_higher in (True, False):
        while True:  # until each mistake gives a number of its own
            (n, m), (low, high) = _whole(200, 1_000), _whole(600, 950)
            shares = (low, high) if last_is_higher else (high, low)
            first = torch.randperm(n) < n * shares[0] // 1_000
            last = torch.randperm(m) < m * shares[1] // 1_000
            p, q = first.double().mean().item(), last.double().mean().item()
            mistakes = _mistaken_errors(n, p, m, q)
            expected = math.sqrt(p * (1 - p) / n + q * (1 - q) / m)
            if abs(p - q) > 0.05 and far_apart([expected, *mistakes.values()], 1.06):
                break
        tried = f"{n} and {m} right or wrong answers"
        found = attempted(attempt, call, first, last, tried=tried)
        pair = sequence(returned(found, call), call, 2)
        difference = number(pair[0], "the difference")
        error = number(pair[1], "the standard error")
        text = f"Accuracies of {p:.2%} and {q:.2%}: "
        if abs(difference - (q - p)) > 1e-4:
            remarks = {
                p - q: "subtract the first from the last. If the last is lower, the "
                "difference is negative.",
                100 * (q - p): "give the difference as a share, not in percent.",
            }
            for value, remark in remarks.items():
                if abs(difference - value) < 1e-4 * max(1, abs(value)):
                    raise Wrong(text + remark)
            raise Wrong(
                f"{text}the difference should be {q - p:.4f}, but is {difference:.4f}."
            )
        if abs(error - expected) < 0.05 * expected:  # by repeated drawing it varies
            continue
        for remark, value in mistakes.items():
            if abs(error - value) < 0.02 * value:
                raise Wrong(f"The difference is right. {remark}")
        raise Wrong(
            f"The difference is right. {text}{n} and {m} digits: the standard error "
            f"should be {expected:.4f}, but is {error:.4f}."
        )
    return f"The difference was {abs(difference) / error:.0f} standard errors here."


def _whole(low: int, high: int) -> tuple[int, int]:
    """Draw two whole numbers, the smaller one first."""
    smaller, larger = sorted(torch.randint(low, high, (2,)).tolist())
    return smaller, larger


# Exercise 2 ---------------------------------------------------------------------


class _Known(nn.Module):
    """Answers image number i as a table says; the number is in the pixels."""

    answers: Tensor

    def __init__(self, answers: Tensor) -> None:
        super().__init__()
        self.register_buffer("answers", answers)
        self.fc = nn.Linear(1, 10)

    def forward(self, images: Tensor) -> Tensor:
        numbers = images[:, 0, 0, 0].round().long()
        chosen = F.one_hot(self.answers[numbers], 10).float()
        return 5 * chosen + 0.01 * torch.tanh(self.fc(images[:, 0, 0, :1]))


class _Shuffled:
    """Batches in a new order in each pass; counts the passes and the batches."""

    def __init__(self, images: Tensor, labels: Tensor, order: Tensor) -> None:
        self.dataset = torch.utils.data.TensorDataset(images, labels)
        self.order, self.batch_size = order, 20  # the order of the first pass
        self.passes = self.taken = 0

    def __len__(self) -> int:
        return math.ceil(len(self.dataset) / self.batch_size)

    def __iter__(self) -> Iterator[list[Tensor]]:
        self.passes, self.taken = self.passes + 1, 0
        order = self.order if self.passes == 1 else torch.randperm(len(self.dataset))
        for chosen in order.split(self.batch_size):
            self.taken += 1
            yield list(self.dataset[chosen])


@exercise(
    "06.2",
    hints=[
        "How often does the code go through the loader? What does a loader with "
        "`shuffle=True` do in each pass?",
        "Take the logits and the labels of a batch at the same time, in one loop.",
        "`predict(model, loader, device)` of this chapter does that.",
    ],
)
def measured_accuracy(attempt: object) -> str:
    """Try a function that measures a network whose accuracy is known."""
    device = choose_device()
    call, n = "my_measure(model, loader)", 205
    while True:  # until each mistake gives a number of its own
        right = int(torch.randint(90, 180, ()))
        is_right = torch.zeros(n, dtype=torch.bool)
        is_right[torch.randperm(n)[:right]] = True
        order = torch.randperm(n)
        shares = [part.double().mean().item() for part in is_right[order].split(20)]
        mistakes = {
            "Is it a mean over the batches? The last one is smaller. Count, then "
            "divide once.": sum(shares) / len(shares),
            "That is the last batch alone.": shares[-1],
            "The last batch holds 5 digits, not 20. Divide by the digits that you "
            "counted.": right / (20 * len(shares)),
        }
        if right % 41 and far_apart([right / n, *mistakes.values()], 1.001):
            break
    labels = torch.randint(10, (n,))
    answers = torch.where(is_right, labels, (labels + torch.randint(1, 10, (n,))) % 10)
    images = torch.arange(n).float().view(-1, 1, 1, 1).expand(n, 1, 28, 28).clone()
    model = _Known(answers).to(device).eval()
    loader = _Shuffled(images, labels, order)
    tried = f"a network that reads {right} of {n} digits, in batches of 20 and one of 5"
    found = returned(attempted(attempt, call, model, loader, tried=tried), call)
    found = number(found, call)
    text = f"It was tried with {tried}: {right / n:.2%}. Yours is {found:.2%}."
    if loader.passes == 0:
        raise Wrong(f"{text} It never goes through the loader that it is given.")
    if abs(found - right / n) < 1e-5:
        return f"{right} of {n} digits, as it should be, in whatever order."
    if abs(found - 100 * right / n) < 0.01:
        raise Wrong("Give the accuracy as a share between 0 and 1, not in percent.")
    if abs(found - right) < 0.01:
        raise Wrong(f"{right} is the number of right answers. Divide by all digits.")
    if loader.passes > 1:
        raise Wrong(
            f"{text} Your function goes through the loader {loader.passes} times, and "
            "each time in another order: do logits and labels belong together?"
        )
    if loader.taken < len(loader):
        raise Wrong(f"{text} It took {loader.taken} of the {len(loader)} batches.")
    for remark, value in mistakes.items():
        if abs(found - value) < 1e-5:
            raise Wrong(f"{text} {remark}")
    raise Wrong(text)


# Exercise 3 ---------------------------------------------------------------------


@exercise(
    "06.3",
    hints=[
        "For one threshold, `confidence >= threshold` says which digits are answered.",
        "The mean of that (as floats) is the share answered.",
        "`correct[keep].float().mean()` is the accuracy on the answered ones alone.",
    ],
)
def refusing(attempt: object) -> str:
    """Try a function that lets a network refuse."""
    call = "my_curve(confidence, correct, thresholds)"
    thresholds = np.array([0.0, 0.2, 0.5, 0.7, 0.9])  # NumPy's, as in the chapter
    confidence = torch.rand(300) ** 0.5
    # None on a threshold, where rounding decides: 0.7 is two numbers in two dtypes.
    distance = (confidence[:, None] - torch.from_numpy(thresholds)).abs()
    confidence[(distance < 1e-3).any(dim=1)] = 0.6
    correct = torch.rand(300) < confidence
    kept = [confidence >= t for t in thresholds]
    shares = torch.stack([k.double().mean() for k in kept])
    accuracies = torch.stack([correct[k].double().mean() for k in kept])
    tried = "300 digits and 5 thresholds"
    found = attempted(attempt, call, confidence, correct, thresholds, tried=tried)
    pair = sequence(returned(found, call), call, 2)
    answered = as_tensor(pair[0], "the shares answered", (5,))
    accuracy = as_tensor(pair[1], "the accuracies", (5,))
    if same(answered, shares) and same(accuracy, accuracies):
        return "The more it may refuse, the more often it is right."
    if same(answered, accuracies) and same(accuracy, shares):
        raise Wrong("Return the shares answered first, then the accuracies.")
    if same(answered, 1 - shares):
        raise Wrong("These are the shares that are refused, not answered.")
    if same(answered, 300 * shares):
        raise Wrong("These are numbers of digits; asked for are shares of all digits.")
    if not same(answered, shares):
        at = int((answered - shares).abs().argmax())
        raise Wrong(
            f"With the threshold {thresholds[at]}, the share answered should be "
            f"{shares[at]:.3f}, but is {answered[at]:.3f}."
        )
    if same(accuracy, accuracies * shares):
        raise Wrong(
            "The shares are right. For the accuracy, divide the right answers by the "
            "number *answered*, not by all digits."
        )
    at = int((accuracy - accuracies).abs().nan_to_num(torch.inf).argmax())
    raise Wrong(
        f"The shares are right. With the threshold {thresholds[at]}, the accuracy on "
        f"the answered should be {accuracies[at]:.3f}, but is {accuracy[at]:.3f}."
    )


# Exercise 4 ---------------------------------------------------------------------


@exercise(
    "06.4",
    hints=[
        "The diagonal holds the right answers: `matrix.diagonal()`.",
        "Precision divides them by how often the class was *said*: the sum of its "
        "column. Recall divides them by how often it *was* so: the sum of its row.",
        "`matrix.sum(dim=0)` sums over the rows, and leaves a number for each column.",
    ],
)
def precision_and_recall(attempt: object) -> str:
    """Try a function that takes precision and recall out of a confusion matrix."""
    call = "my_precision_recall(matrix)"
    classes = int(torch.randint(3, 7, ()))
    matrix = torch.randint(1, 30, (classes, classes))
    matrix += torch.randint(20, 90, (classes,)).diag()
    right = matrix.diagonal().double()
    precision, recall = right / matrix.sum(dim=0), right / matrix.sum(dim=1)
    tried = f"a confusion matrix of {classes} classes"
    found = attempted(attempt, call, matrix, tried=tried)
    pair = sequence(returned(found, call), call, 2)
    said, was = (
        as_tensor(part, name, (classes,)).double()
        for part, name in zip(pair, ("the precisions", "the recalls"), strict=True)
    )
    if same(said, precision) and same(was, recall):
        return "What it says, and what it finds: a number of each for every class."
    if same(said, recall) and same(was, precision):
        raise Wrong(
            "These are the recalls, and then the precisions. Return the precisions "
            "first."
        )
    if same(said, 100 * precision) or same(was, 100 * recall):
        raise Wrong("Give shares between 0 and 1, not percent.")
    if same(said, right / right.sum()) or same(said, right / matrix.sum()):
        raise Wrong(
            "For the precisions, divide by the sum of each *column*: how often the "
            "class was said."
        )
    if same(said, recall):
        raise Wrong("Your precisions are recalls: they divide by the sums of rows.")
    if same(was, precision):
        raise Wrong("Your recalls are precisions: they divide by the sums of columns.")
    for name, values, expected in (
        ("precision", said, precision),
        ("recall", was, recall),
    ):
        if not same(values, expected):
            at = int((values - expected).abs().nan_to_num(torch.inf).argmax())
            raise Wrong(
                f"The {name} of class {at} should be {expected[at]:.3f}, but is "
                f"{values[at]:.3f}. The matrix was {matrix.tolist()}."
            )
    raise AssertionError("one of the two differs")
