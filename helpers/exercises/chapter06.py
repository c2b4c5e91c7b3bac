"""Chapter 6: evaluation."""

import math
import random
from collections.abc import Iterator

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from helpers.device import choose_device
from helpers.exercises._answers import (
    as_tensor,
    attempted,
    describe,
    number,
    returned,
    same,
    sequence,
)
from helpers.exercises._digits import some_digits
from helpers.exercises._registry import Wrong, exercise

# Exercise 1 ---------------------------------------------------------------------


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
    """Try a function that compares two accuracies."""
    call = "my_compare(first, last)"
    # Numbers for which the usual mistakes are far from each other.
    n, m = 900, 250
    first = torch.randperm(n) < random.randint(600, 660)
    last = torch.randperm(m) < random.randint(220, 230)
    p, q = first.double().mean().item(), last.double().mean().item()
    tried = f"{n} and {m} right or wrong answers"
    found = sequence(
        returned(attempted(attempt, call, first, last, tried=tried), call), call, 2
    )
    difference = number(found[0], "the difference")
    error = number(found[1], "the standard error")
    text = f"Accuracies of {p:.2%} and {q:.2%}: "
    if abs(difference - (q - p)) > 1e-4:
        if abs(difference - (p - q)) < 1e-4:
            raise Wrong(
                f"{text}subtract the first from the last, not the last from it."
            )
        if abs(difference - 100 * (q - p)) < 0.01:
            raise Wrong(f"{text}give the difference as a share, not in percent.")
        raise Wrong(
            f"{text}the difference should be {q - p:.4f}, but is {difference:.4f}."
        )
    variances = p * (1 - p) / n, q * (1 - q) / m
    expected = math.sqrt(sum(variances))
    both = (n * p + m * q) / (n + m)
    if abs(error - expected) < 0.05 * expected:  # by repeated drawing it varies
        return f"The difference is {difference / error:.0f} standard errors here."
    remarks = {
        sum(variances): "This is the square of the standard error; take the root.",
        sum(map(math.sqrt, variances)): "Standard errors do not add up; their squares "
        "do.",
        math.sqrt(variances[0]): "This is the standard error of the first alone.",
        math.sqrt(variances[1]): "This is the standard error of the last alone.",
        math.sqrt(n * variances[0] + m * variances[1]): "Divide each p (1 - p) by its "
        "number of digits.",
        math.sqrt(both * (1 - both) * (1 / n + 1 / m)): "This takes one accuracy for "
        "both. Take each with its own p.",
        1.96 * expected: "This is 1.96 standard errors; asked for is one.",
        100 * expected: "Give the standard error as a share, not in percent.",
    }
    for value, remark in remarks.items():
        if abs(error - value) < 0.02 * value:
            raise Wrong(f"The difference is right. {remark}")
    raise Wrong(
        f"The difference is right. {text}{n} and {m} digits: the standard error "
        f"should be {expected:.4f}, but is {error:.4f}."
    )


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
    """Batches in a new order in each pass; counts the passes."""

    def __init__(self, images: Tensor, labels: Tensor, batch_size: int) -> None:
        self.dataset = torch.utils.data.TensorDataset(images, labels)
        self.batch_size, self.passes = batch_size, 0

    def __len__(self) -> int:
        return math.ceil(len(self.dataset) / self.batch_size)

    def __iter__(self) -> Iterator[list[Tensor]]:
        self.passes += 1
        for chosen in torch.randperm(len(self.dataset)).split(self.batch_size):
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
    right = 41 * random.randint(2, 4) + random.randint(1, 40)  # no multiple of 41
    labels = torch.randint(10, (n,))
    answers = labels.clone()
    wrong = torch.randperm(n)[right:]
    answers[wrong] = (labels[wrong] + torch.randint(1, 10, (n - right,))) % 10
    images = torch.arange(n).float().view(-1, 1, 1, 1).expand(n, 1, 28, 28).clone()
    model = _Known(answers).to(device).eval()
    loader = _Shuffled(images, labels, 20)
    tried = f"a network that reads {right} of {n} digits, in batches of 20 and one of 5"
    found = returned(attempted(attempt, call, model, loader, tried=tried), call)
    found = number(found, call)
    if abs(found - right / n) < 1e-5:
        return f"{right} of {n} digits, as it should be, in whatever order."
    text = f"It was tried with {tried}: {right / n:.2%}. Yours is {found:.2%}."
    if abs(found - 100 * right / n) < 0.01:
        raise Wrong("Give the accuracy as a share between 0 and 1, not in percent.")
    if abs(found - right) < 0.01:
        raise Wrong(f"{right} is the number of right answers. Divide by all digits.")
    if loader.passes > 1:
        raise Wrong(
            f"{text} Your function goes through the loader {loader.passes} times, and "
            "each time in another order: do logits and labels belong together?"
        )
    if abs(found - right / n) < 0.08:
        raise Wrong(
            f"{text} Near, but not the same: is it a mean over the batches? The last "
            "one is smaller. Count, then divide once."
        )
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
