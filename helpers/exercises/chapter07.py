"""Chapter 7: your own digit."""

import torch
import torch.nn.functional as F
from torch import Tensor

from helpers.exercises._answers import (
    as_tensor,
    attempted,
    describe,
    returned,
    same,
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


# Exercise 2 ---------------------------------------------------------------------


@exercise(
    "07.2",
    hints=[
        "Print the shape of the ink before and after. What becomes of a tall 1, "
        "60 pixels high and 8 wide?",
        "One factor for both sides: 20 divided by the *longer* side.",
        "Round each side, but let none become 0: `max(1, round(side * factor))`.",
    ],
)
def kept_proportions(attempt: object) -> str:
    """Try a function that scales ink of many shapes into a box of 20 pixels."""
    call = "my_scale(ink)"
    for height, width in ((60, 9), (15, 48), (33, 33), (200, 3), (10, 7), (90, 61)):
        ink = torch.rand(height, width)
        tried = f"ink of shape ({height}, {width})"
        found = returned(attempted(attempt, call, ink, tried=tried), call)
        found = as_tensor(found, call)
        if found.ndim == 3 and len(found) == 1:  # with a channel axis: as good
            found = found[0]
        factor = 20 / max(height, width)
        expected = tuple(max(1, round(side * factor)) for side in (height, width))
        _judge_size(tuple(found.shape), expected, tried)
        if abs(found.float().mean() - ink.mean()) > 0.15:
            raise Wrong(
                f"For {tried}, the mean of the ink goes from {ink.mean():.2f} to "
                f"{found.float().mean():.2f}. Scaling should keep it, nearly."
            )
    return "Every digit fits the box, and none is stretched."


def _judge_size(found: tuple[int, ...], expected: tuple[int, ...], tried: str) -> None:
    """Compare the shape of a scaled digit with the one that keeps proportions."""
    if len(found) == 2 and all(
        abs(a - b) <= 1 for a, b in zip(found, expected, strict=True)
    ):
        if max(found) == 20:
            return
        raise Wrong(f"For {tried}, the longer side should be 20, but is {max(found)}.")
    if found == (20, 20):
        raise Wrong(
            f"{tried.capitalize()} becomes (20, 20), and should become {expected}. Is "
            "it still stretched? Or padded? Only scale it."
        )
    if found == expected[::-1]:
        raise Wrong(
            f"For {tried}, the shape is {found}: height and width are swapped. Pillow "
            "says (width, height)."
        )
    if len(found) == 2 and min(found) == 20:
        raise Wrong(
            f"For {tried}, the shape is {found}: the *shorter* side is 20, so the "
            "digit does not fit the box."
        )
    raise Wrong(f"For {tried}, the shape should be {expected}, but is {found}.")


# Exercise 3 ---------------------------------------------------------------------


@exercise(
    "07.3",
    hints=[
        "Draw a shift for each digit: `torch.randint(-most, most + 1, (len(images), "
        "2))`.",
        "One digit is moved as in the chapter: `F.pad` adds empty rows or columns on "
        "one side, and a slice cuts as many off on the other. A loop over the "
        "digits is allowed.",
        "Or pad all digits by `most` on every side at once, and cut 28 by 28 out of "
        "each at its own place.",
    ],
)
def moved_at_random(attempt: object) -> str:
    """Try a function that moves every digit of a batch by its own few pixels."""
    call = "my_moved(pixels, most)"
    seen: set[tuple[int, int]] = set()
    for most in (3, 2):
        images = torch.rand(200, 1, 28, 28) + 0.1  # ink up to the border
        tried = f"200 digits and most = {most}"
        moved = attempted(attempt, call, images, most, tried=tried, keeps=True)
        moved = as_tensor(returned(moved, call), call, (200, 1, 28, 28)).float()
        shifts = [_shift(a[0], b[0]) for a, b in zip(images, moved, strict=True)]
        if None in shifts:
            raise Wrong(
                f"For {tried}: digit {shifts.index(None)} is more than moved. Each "
                "pixel should be where it was, or up to a few pixels beside it, and "
                "what it leaves behind 0. (`roll` puts there what left the "
                "picture on the other side.)"
            )
        known = [shift for shift in shifts if shift is not None]
        farthest = max(max(abs(right), abs(down)) for right, down in known)
        if farthest > most:
            raise Wrong(f"For {tried}, a digit is moved by {farthest} pixels.")
        if len(set(known)) == 1:
            raise Wrong(
                f"For {tried}, all digits are moved by the same {known[0]}. Each "
                "should get a shift of its own."
            )
        for axis, name in enumerate(("right or left", "up or down")):
            if {shift[axis] for shift in known} != set(range(-most, most + 1)):
                raise Wrong(
                    f"For {tried}, the shifts {name} are "
                    f"{sorted({shift[axis] for shift in known})}. All from {-most} to "
                    f"{most} should occur among so many."
                )
        if all(right == down for right, down in known):
            raise Wrong("Every digit moves as far down as to the right: draw both.")
        seen |= set(known)
    return f"{len(seen)} different shifts, and all that stays inside is kept."


def _shift(image: Tensor, moved: Tensor) -> tuple[int, int] | None:
    """Return how far (right, down) an image was moved; None if it was changed."""
    places = moved.nonzero()
    if not len(places):
        return None
    # All of the image is ink: whatever side is black now is the one it left.
    down, right = (places.amin(dim=0) + places.amax(dim=0) - 27).tolist()
    expected = F.pad(image, (right, -right, down, -down))  # less than 0 cuts
    return (right, down) if torch.allclose(expected, moved, atol=1e-5) else None


# Exercise 4 ---------------------------------------------------------------------


@exercise(
    "07.4",
    hints=[
        "The largest probability of each row: `probabilities.max(dim=1)` returns "
        "values and indices.",
        "Where the largest is below the threshold, the answer is -1: "
        "`torch.where(condition, a, b)`.",
    ],
)
def refusing(attempt: object) -> str:
    """Try a function that answers with a class, or with -1 when it is not sure."""
    call = "my_answers(probabilities, threshold)"
    for threshold in (0.5, 0.9, 0.3):
        probabilities = (4 * torch.randn(200, 10)).softmax(dim=1)
        tops, classes = probabilities.max(dim=1)
        expected = torch.where(tops >= threshold, classes, -1)
        tried = f"200 rows and the threshold {threshold}"
        found = attempted(attempt, call, probabilities, threshold, tried=tried)
        found = as_tensor(returned(found, call), call, (200,))
        if same(found, expected):
            continue
        if same(found, classes):
            raise Wrong("No answer is refused, whatever the threshold.")
        if same(found, torch.where(tops < threshold, classes, -1)):
            raise Wrong("It refuses where the network is sure, and answers elsewhere.")
        at = int((found != expected).nonzero()[0])
        raise Wrong(
            f"With the threshold {threshold} and a largest probability of "
            f"{tops[at]:.2f}, the answer should be {expected[at]}, but is "
            f"{found[at].item():g}."
        )
    return "Sure answers stay, the others become -1."
