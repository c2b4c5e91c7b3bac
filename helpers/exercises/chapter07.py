"""Chapter 7: your own digit."""

import torch
import torch.nn.functional as F
from torch import Tensor

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


# What a reader may call ink, of white 0 to black 1: a digit is one piece for all.
THRESHOLDS = [0.02 * step for step in range(1, 24)]


def _pieces(filled: Tensor) -> int:
    """Return the number of unbroken runs of filled columns."""
    return int((F.pad(filled.int(), (1, 0)).diff() == 1).sum())


def _write_number(length: int) -> tuple[Tensor, str]:
    """Return a gray picture of dark digits on white paper, and what it says."""
    parts, said = [], ""
    while len(said) < length:
        pixels, label = some_digits(1)
        large = F.interpolate(pixels, scale_factor=5, mode="bilinear")[0, 0]
        darkest = large.amax(dim=0)
        if any(_pieces(darkest > least) != 1 for least in THRESHOLDS):
            continue  # columns without ink, or nearly so, cut this digit
        parts.append(F.pad(large, (8, 8, 15 + 3 * len(said), 30 - 3 * len(said))))
        said += str(label.item())
    return 1 - torch.cat(parts, dim=1).clamp(0, 1), said


@exercise(
    "07.1",
    hints=[
        "`find_ink(gray).amax(dim=0) > 0.1` says of each column whether it holds ink.",
        "A digit begins where a filled column follows an empty one, and ends where "
        "an empty one follows a filled one.",
        "Cut the gray picture there, give each part a border of paper, and use "
        "`data.prepare_digit` and `probabilities_of`.",
    ],
)
def whole_number(attempt: object) -> str:
    """Try a function that reads numbers of several lengths."""
    call = "my_read_number(gray)"
    right = backwards = total = 0
    for length in (4, 3, 5, 4, 5, 3):
        gray, said = _write_number(length)
        tried = f"a picture of {length} digits, {tuple(gray.shape)}"
        text = returned(attempted(attempt, call, gray, tried=tried), call)
        if not isinstance(text, str):
            raise Wrong(
                f'`{call}` should return a text such as "2026", but returns '
                f"{describe(text)}."
            )
        if len(text) != length:
            raise Wrong(f"Of a picture with {length} digits, it reads {text[:40]!r}.")
        right += sum(a == b for a, b in zip(text, said, strict=True))
        backwards += sum(a == b for a, b in zip(text[::-1], said, strict=True))
        total += length
    if right >= 0.75 * total:
        return f"It read {right} of {total} digits, in numbers of 3 to 5."
    if backwards >= 0.75 * total:
        raise Wrong("It reads the numbers from right to left.")
    raise Wrong(
        f"It finds all digits, but reads only {right} of {total} rightly. Does the "
        "network get them as in training: bright on dark, centered, normalized?"
    )
