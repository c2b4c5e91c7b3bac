"""Chapter 11: faster."""

import math
import random
from collections import Counter
from collections.abc import Iterable
from itertools import islice

import numpy as np
import torch

from helpers.exercises._answers import (
    as_tensor,
    attempted,
    describe,
    first_difference,
    number,
    returned,
    same,
    sequence,
)
from helpers.exercises._registry import Wrong, exercise

# Exercise 1 ---------------------------------------------------------------------


@exercise(
    "11.1",
    hints=[
        "`DistributedSampler` repeats indices so that all processes get equally many. "
        "Do without it.",
        "Deal the indices out like cards: process 0 gets 0, 3, 6, ..., if there are "
        "three.",
        "`range(start, stop, step)` counts in steps.",
    ],
)
def fair_shares(attempt: object) -> str:
    """Try a function that shares indices out among processes."""
    call = "my_share(num_examples, num_processes, rank)"
    several = random.randint(4, 9)
    cases = [
        (10, 3),
        (several * random.randint(5, 20), several),
        (several * random.randint(5, 20) + random.randint(2, several - 1), several),
        (3, 5),
    ]
    for n, k in cases:
        shares = []
        for rank in range(k):
            tried = f"my_share({n}, {k}, {rank})"
            found = attempted(attempt, call, n, k, rank, tried=tried)
            shares.append(_indices(returned(found, call), n, tried))
        _judge_shares(shares, n, k)
    return "Every index once, and no share larger than another by more than one."


def _indices(found: object, n: int, tried: str) -> list[int]:
    """Return a share as a list of whole numbers."""
    if not isinstance(found, Iterable) or isinstance(found, str | dict):
        raise Wrong(f"`{tried}` should return indices, but returns {describe(found)}.")
    values = attempted(lambda: list(islice(found, 10 * n)), f"list({tried})")
    numbers = [number(value, "an index") for value in values]
    for value in numbers:
        if value != int(value) or not 0 <= value < n:
            raise Wrong(
                f"`{tried}` holds {value:g}. The indices of {n} digits are 0 to "
                f"{n - 1}."
            )
    return [int(value) for value in numbers]


def _judge_shares(shares: list[list[int]], n: int, k: int) -> None:
    """See whether every index is in one share, and all shares are about as large."""
    text = f"Of {n} digits for {k} processes"
    counts = Counter(index for share in shares for index in share)
    again = sorted(index for index, count in counts.items() if count > 1)
    if len(again) == n and all(len(share) == n for share in shares):
        raise Wrong(f"{text}, every process gets all. Each should get its own.")
    if again:
        raise Wrong(
            f"{text}, {len(again)} are given out more than once, such as {again[0]}. "
            "An accuracy would count them more than once."
        )
    missing = sorted(set(range(n)) - set(counts))
    if missing:
        raise Wrong(f"{text}, nobody gets {len(missing)}, such as {missing[-1]}.")
    sizes = sorted(map(len, shares))
    if sizes[-1] - sizes[0] > 1:
        raise Wrong(
            f"{text}, one gets {sizes[-1]} and another {sizes[0]}. All wait for the "
            "one with the most: let the shares differ by one at most."
        )


# Exercise 2 ---------------------------------------------------------------------


@exercise(
    "11.2",
    hints=[
        "Each process has a share of the digits, rounded up: the sampler repeats some, "
        "so that all take the same number of steps.",
        "Its share, divided by the batch size and rounded up, is the number of steps "
        "in an epoch.",
        "`math.ceil` rounds up.",
    ],
)
def steps_of_a_run(attempt: object) -> str:
    """Try a function that counts the steps of a run in several processes."""
    call = "my_steps(num_examples, batch_size, num_processes, num_epochs)"
    cases = [(2_048, 32, 2, 2), (2_049, 32, 2, 2)]
    for _ in range(6):
        size, processes = random.randint(2, 60), random.randint(2, 6)
        # Neither a multiple of what a step takes, nor one example short of it.
        rest = random.randint(1, size * processes - 1)
        cases.append(
            (size * processes * random.randint(3, 20) + rest, size, processes, 3)
        )
    for examples, size, processes, epochs in cases:
        tried = f"({examples}, {size}, {processes}, {epochs})"
        found = attempted(attempt, call, examples, size, processes, epochs, tried=tried)
        found = number(returned(found, call), call)
        a_epoch = math.ceil(examples / (size * processes))
        if found == epochs * a_epoch:
            continue
        if found == a_epoch:
            raise Wrong(f"For {tried} these are the steps of one epoch.")
        if found == epochs * math.ceil(examples / size):
            raise Wrong(
                f"For {tried}: every process takes a batch in each step, so there are "
                "fewer steps."
            )
        raise Wrong(
            f"For {tried} there are {epochs * a_epoch} steps, and not {found:g}. The "
            "last batch of an epoch may be smaller, and is a step. Each share is "
            "rounded up, too."
        )
    return "Twice the processes, half the steps."


# Exercise 3 ---------------------------------------------------------------------


@exercise(
    "11.3",
    hints=[
        "The gradient of a mean over all examples is the sum of all examples' "
        "gradients, divided by their number.",
        "A process's gradient times its number of examples is the sum of its own "
        "examples' gradients.",
        "Add those sums up, and divide once by the number of all examples.",
    ],
)
def gradient_of_all(attempt: object) -> str:
    """Try a function that puts together the gradients of unequal batches."""
    call = "my_gradient(gradients, counts)"
    for counts in ([4, 4], [32, 32, 8], [1, 50], [7, 9, 5, 3]):
        gradients = [torch.randn(3, 5) for _ in counts]
        tried = f"gradients of batches of {counts}"
        copies = [gradient.clone() for gradient in gradients]
        found = attempted(attempt, call, copies, list(counts), tried=tried)
        found = as_tensor(returned(found, call), call, (3, 5))
        pairs = list(zip(gradients, counts, strict=True))
        total = sum((g * n for g, n in pairs), torch.zeros(3, 5))
        if same(found, total / sum(counts)):
            continue
        if same(found, torch.stack(gradients).mean(dim=0)):
            raise Wrong(
                f"For {tried}: this is the plain mean. An example in a small batch "
                "then counts more than one in a large batch."
            )
        if same(found, total) or same(found, torch.stack(gradients).sum(dim=0)):
            raise Wrong("These are added up, but not divided.")
        raise Wrong(f"For {tried}: {first_difference(found, total / sum(counts))}.")
    return "The gradient of all examples, whoever computed which."


# Exercise 4 ---------------------------------------------------------------------


@exercise(
    "11.4",
    hints=[
        "A gain that no seed contradicts: the *worst* run with the change is better "
        "than the *best* run without it.",
        "`min(after) > max(before)`.",
    ],
)
def sure_gain(attempt: object) -> str:
    """Try a function that says whether two sets of runs lie apart."""
    call = "my_gain(before, after)"
    seen: set[float] = set()
    while len(seen) < 4:
        before = [0.966, 0.974, *(random.uniform(0.966, 0.974) for _ in range(3))]
        random.shuffle(before)
        shift = random.choice([-0.02, 0.003, 0.004, 0.012])
        after = [value + shift for value in random.sample(before, 5)]
        truth = min(after) > max(before)
        better_mean = sum(after) > sum(before)
        seen.add(shift)
        shown = " and ".join(
            "[" + ", ".join(f"{v:.4f}" for v in runs) + "]" for runs in (before, after)
        )
        found = attempted(attempt, call, list(before), list(after), tried=shown)
        if _truth(returned(found, call), call) == truth:
            continue
        if found and better_mean:
            raise Wrong(
                f"For {shown} it says True. The mean is better, but some runs with the "
                "change are worse than some without: that may be luck."
            )
        raise Wrong(f"For {shown} it should say {truth}.")
    shown = "[0.968, 0.971] and [0.971, 0.975]"
    found = attempted(attempt, call, [0.968, 0.971], [0.971, 0.975], tried=shown)
    if _truth(found, call):
        raise Wrong(
            f"For {shown} it says True. But a run with the change is only as good as "
            "one without it, and not better."
        )
    return "It calls a gain only what no seed contradicts."


def _truth(found: object, call: str) -> bool:
    """Return what is True or False, also of NumPy's or PyTorch's making."""
    if isinstance(found, torch.Tensor) and found.dtype == torch.bool and not found.ndim:
        return bool(found)
    if not isinstance(found, bool | np.bool_):
        raise Wrong(f"`{call}` should return True or False, but is {describe(found)}.")
    return bool(found)
