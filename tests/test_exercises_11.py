"""Answers to the exercises of chapter 11."""

import math

import numpy as np
import torch
from exercise_cases import of_chapter
from torch.utils.data import DataLoader, DistributedSampler


def share(num_examples, num_processes, rank):
    return list(range(rank, num_examples, num_processes))


def share_in_blocks(n, k, rank):
    """Whole pieces, in a random order that all processes agree on."""
    order = torch.randperm(n, generator=torch.Generator().manual_seed(0))
    return order.tensor_split(k)[rank]


def share_by_remainder(n, k, rank):
    yield from (i for i in range(n) if i % k == rank)


def sampled(n, k, rank, drop_last=False):
    return DistributedSampler(range(n), k, rank, drop_last=drop_last)


def share_with_a_rest(n, k, rank):
    each = n // k
    return range(rank * each, n if rank == k - 1 else (rank + 1) * each)


def steps(num_examples, batch_size, num_processes, num_epochs):
    return num_epochs * math.ceil(num_examples / (batch_size * num_processes))


def steps_of_a_sampler(num_examples, batch_size, num_processes, num_epochs):
    sampler = DistributedSampler(range(num_examples), num_processes, rank=0)
    return num_epochs * len(DataLoader(list(sampler), batch_size))


def gradient(gradients, counts):
    shares = torch.tensor(counts) / sum(counts)
    return (torch.stack(gradients) * shares.view(-1, 1, 1)).sum(dim=0)


def gradient_in_a_loop(gradients, counts):
    total = torch.zeros_like(gradients[0])
    for part, count in zip(gradients, counts, strict=True):
        total += part * count
    return (total / sum(counts)).numpy()


RIGHT = {
    "11.1": [
        share,
        share_in_blocks,
        share_by_remainder,
        lambda n, k, rank: np.arange(n)[rank::k],
        lambda n, k, rank: set(range(n)[rank::k]),
    ],
    "11.2": [steps, steps_of_a_sampler],
    "11.3": [gradient, gradient_in_a_loop],
    "11.4": [
        lambda before, after: min(after) > max(before),
        lambda before, after: all(a > b for a in after for b in before),
        lambda before, after: torch.tensor(after).min() > torch.tensor(before).max(),
    ],
}
WRONG = {
    "11.1": [
        (sampled, "given out more than once"),
        (lambda n, k, rank: sampled(n, k, rank, True), "nobody gets 1, such as"),
        (lambda n, k, rank: range(n), "every process gets all"),
        (share_with_a_rest, "let the shares differ by one at most"),
        (lambda n, k, rank: range(rank * (n // k), (rank + 1) * (n // k)), "nobody"),
        (lambda n, k, rank: range(rank + 1, n + 1, k), "holds 10"),
        (lambda n, k, rank: len(range(rank, n, k)), "should return indices"),
    ],
    "11.2": [
        (lambda n, b, p, e: n // (b * p) * e, "The last batch of an epoch"),
        (lambda n, b, p, e: math.ceil(n / b) * e, "every process takes a batch"),
        (lambda n, b, p, e: math.ceil(n / (b * p)), "the steps of one epoch"),
        (lambda n, b, p, e: math.ceil(n // p / b) * e, "Each share is rounded up"),
        (lambda n, b, p, e: "64", "should be a number"),
    ],
    "11.3": [
        (lambda g, n: torch.stack(g).mean(dim=0), "the plain mean"),
        (lambda g, n: torch.stack(g).sum(dim=0), "not divided"),
        (lambda g, n: g[0], "should be"),
        (lambda g, n: gradient(g, n).sum(dim=0), "should have the shape (3, 5)"),
    ],
    "11.4": [
        (lambda b, a: sum(a) > sum(b), "some runs with the change are worse"),
        (lambda b, a: max(a) > max(b), "some runs with the change are worse"),
        (lambda b, a: False, "it should say True"),
        (lambda b, a: min(a) >= max(b), "only as good"),
        (lambda b, a: min(a) - max(b), "should return True or False"),
    ],
}

test_right, test_wrong, test_all = of_chapter("11", RIGHT, WRONG)
