"""Answers to the exercises of chapter 11."""

import numpy as np
import torch
from exercise_cases import of_chapter
from torch.utils.data import DistributedSampler


def stub(*arguments):
    """Your code."""


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


RIGHT = {
    "11.1": [
        share,
        share_in_blocks,
        share_by_remainder,
        lambda n, k, rank: np.arange(n)[rank::k],
        lambda n, k, rank: set(range(n)[rank::k]),
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
}
EMPTY = {
    "11.1": [stub],
}
test_right, test_wrong, test_empty, test_all = of_chapter("11", RIGHT, WRONG, EMPTY)
