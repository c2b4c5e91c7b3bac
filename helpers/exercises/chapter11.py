"""Chapter 11: faster."""

import random
from collections import Counter
from collections.abc import Iterable
from itertools import islice

from helpers.exercises._answers import (
    attempted,
    describe,
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
