"""Answers to the exercises of chapter 6."""

import math

import numpy as np
import torch
import torch.nn.functional as F
from exercise_cases import of_book, of_chapter

from helpers.evaluation import evaluate, predict

CPU = torch.device("cpu")


def compare(first, last):
    shares = [half.float().mean().item() for half in (first, last)]
    variances = [
        p * (1 - p) / len(half) for p, half in zip(shares, (first, last), strict=True)
    ]
    return shares[1] - shares[0], math.sqrt(sum(variances))


def compare_with_one_share(first, last):
    both = torch.cat([first, last]).float().mean().item()
    error = math.sqrt(both * (1 - both) * (1 / len(first) + 1 / len(last)))
    return compare(first, last)[0], error


def compare_by_drawing(first, last):
    """By drawing again from the answers, many times."""
    means = []
    for half in (first, last):
        chosen = torch.randint(len(half), (8_000, len(half)))
        means.append(half.float()[chosen].mean(dim=1))
    return last.float().mean() - first.float().mean(), (means[1] - means[0]).std()


def compare_wrongly(make):
    """Return an answer whose standard error is a mistake, made of p, n, q, m."""

    def answer(first, last):
        p, q = first.float().mean().item(), last.float().mean().item()
        return q - p, make(p, len(first), q, len(last))

    return answer


def measure_first_batch(model, loader):
    images, labels = next(iter(loader))
    return (model(images).argmax(dim=1) == labels).float().mean()


def measure_last_batch(model, loader):
    for images, labels in loader:
        share = (model(images).argmax(dim=1) == labels).float().mean().item()
    return share


def measure_full_batches(model, loader):
    right = sum((model(i).argmax(dim=1) == k).sum().item() for i, k in loader)
    return right / (20 * len(loader))


def measure(model, loader):
    logits, labels = predict(model, loader, CPU)
    return (logits.argmax(dim=1) == labels).float().mean()


def measure_by_evaluate(model, loader):
    return evaluate(model, loader, F.cross_entropy, CPU)[1]


def measure_in_two_passes(model, loader):
    said = torch.cat([model(images).argmax(dim=1) for images, _ in loader])
    labels = torch.cat([labels for _, labels in loader])
    return (said == labels).float().mean().item()


def measure_by_batches(model, loader):
    means = [(model(i).argmax(dim=1) == k).float().mean() for i, k in loader]
    return sum(means) / len(means)


curve = of_book("06.3", "my_curve")
precision_recall = of_book("06.4", "my_precision_recall")


def curve_in_numpy(confidence, correct, thresholds):
    """Needs thresholds as the chapter has them, in an array."""
    sure = confidence.numpy()[None] >= thresholds[:, None]
    return sure.mean(axis=1), (sure * correct.numpy()).sum(axis=1) / sure.sum(axis=1)


def precision_recall_in_numpy(matrix):
    counts = matrix.numpy()
    return np.stack([np.diag(counts) / counts.sum(axis=axis) for axis in (0, 1)])


def precision_recall_of_all(matrix):
    right = matrix.diagonal()
    return right / matrix.sum(), right / matrix.sum(dim=1)


def curve_of_the_refused(confidence, correct, thresholds):
    kept = [confidence < t for t in thresholds]
    shares = [k.float().mean().item() for k in kept]
    return shares, [correct[k].float().mean().item() for k in kept]


RIGHT = {
    "06.1": [compare, compare_by_drawing],
    "06.2": [measure, measure_by_evaluate],
    "06.3": [curve, curve_in_numpy],
    "06.4": [precision_recall, precision_recall_in_numpy],
}
WRONG = {
    "06.1": [
        (lambda a, b: compare(b, a), "subtract the first from the last"),
        (lambda a, b: (100 * compare(a, b)[0], 0), "not in percent"),
        (lambda a, b: (compare(a, b)[0], compare(a, b)[1] ** 2), "take the root"),
        (lambda a, b: (compare(a, b)[0], compare(a, a)[1] / 2**0.5), "first alone"),
        (lambda a, b: (compare(a, b)[0], 0.3), "the standard error should be"),
        (lambda a, b: compare(a, b)[0], "should be 2 values"),
        (compare_with_one_share, "one accuracy for both"),
        (lambda a, b: (compare(a, b)[0], 1.96 * compare(a, b)[1]), "asked for is one"),
        (
            lambda a, b: (compare(a, b)[0], compare(b, b)[1] / 2**0.5),
            "standard error of the last alone",
        ),
        (lambda a, b: (abs(compare(a, b)[0]), compare(a, b)[1]), "is negative"),
        (lambda a, b: (compare(a, b)[0], 2 * compare(a, b)[1]), "asked for is one"),
        (
            compare_wrongly(
                lambda p, n, q, m: ((p * (1 - p) + q * (1 - q)) / n) ** 0.5
            ),
            "divided by the number of the first",
        ),
        (
            compare_wrongly(
                lambda p, n, q, m: ((p * (1 - p) + q * (1 - q)) / m) ** 0.5
            ),
            "divided by the number of the last",
        ),
    ],
    "06.2": [
        (measure_in_two_passes, "goes through the loader 2 times"),
        (measure_by_batches, "Is it a mean over the batches"),
        (lambda m, loader: 100 * measure(m, loader), "not in percent"),
        (lambda m, loader: 205 * measure(m, loader), "Divide by all digits"),
        (lambda m, loader: 175 / 205, "never goes through the loader"),
        (measure_last_batch, "last batch alone"),
        (measure_first_batch, "took 1 of the 11 batches"),
        (measure_full_batches, "holds 5 digits, not 20"),
        (lambda m, loader: (measure(m, loader), 0.1), "should be a number"),
    ],
    "06.3": [
        (lambda *a: curve(*a)[::-1], "shares answered first"),
        (
            lambda c, r, t: ([1 - s for s in curve(c, r, t)[0]], curve(c, r, t)[1]),
            "are refused",
        ),
        (
            lambda c, r, t: (
                curve(c, r, t)[0],
                [(r & (c >= one)).float().mean() for one in t],
            ),
            "divide the right answers by the number *answered*",
        ),
        (lambda c, r, t: curve(c, r, [0.5] * 5), "With the threshold"),
        (lambda c, r, t: curve(c, r, t[:2]), "should have the shape (5,)"),
        (curve_of_the_refused, "are refused"),
        (
            lambda c, r, t: list(zip(*curve(c, r, t), strict=True)),
            "should be 2 values, but has 5",
        ),
    ],
    "06.4": [
        (lambda m: precision_recall(m)[::-1], "Return the precisions first"),
        (lambda m: precision_recall(m.T), "Return the precisions first"),
        (lambda m: [100 * part for part in precision_recall(m)], "not percent"),
        (precision_recall_of_all, "sum of each *column*"),
        (lambda m: [precision_recall(m)[1]] * 2, "Your precisions are recalls"),
        (lambda m: [precision_recall(m)[0]] * 2, "Your recalls are precisions"),
        (lambda m: precision_recall(m)[0], "should be 2 values"),
        (
            lambda m: [part.mean() for part in precision_recall(m)],
            "should have the shape",
        ),
        (lambda m: precision_recall(m + 1), "The precision of class"),
    ],
}

test_right, test_wrong, test_all = of_chapter("06", RIGHT, WRONG)
