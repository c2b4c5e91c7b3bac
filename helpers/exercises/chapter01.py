"""Chapter 1: tensors."""

from collections.abc import Callable

import torch
from torch import Tensor

from helpers.exercises._answers import (
    as_tensor,
    attempted,
    describe,
    first_difference,
    mapping,
    number,
    returned,
    same,
    sequence,
)
from helpers.exercises._registry import Wrong, exercise

# Exercise 1 ---------------------------------------------------------------------

EXPRESSIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "images[3]": lambda images: images[3],
    "images[:, 0]": lambda images: images[:, 0],
    "images[:, :, ::4]": lambda images: images[:, :, ::4],
    "images.mean(dim=(2, 3))": lambda images: images.mean(dim=(2, 3)),
    "images - images.mean(dim=0)": lambda images: images - images.mean(dim=0),
}


@exercise(
    "01.1",
    hints=[
        "A number in the brackets removes its axis. A range keeps it, with as "
        "many entries as it picks.",
        "`images[3]` removes the batch axis, and `images[:, 0]` the channel axis. "
        "How many rows does `::4` pick of 28?",
        "`mean` removes the axes that it is given. In the last one, the mean is "
        "stretched over the batch, so the result has the larger shape.",
    ],
)
def predicted_shapes(attempt: object) -> str:
    """Compare five predicted shapes with those of real tensors."""
    answers = mapping(attempt, "my_shapes", list(EXPRESSIONS))
    images = torch.rand(12, 1, 28, 28)
    complaints = []
    for text, expression in EXPRESSIONS.items():
        truth = tuple(expression(images).shape)
        complaint = _about_shape(answers[text], truth)
        if complaint:
            complaints.append(f"`{text}`: {complaint}")
    if complaints:
        raise Wrong("\n".join(complaints), 1 - len(complaints) / len(EXPRESSIONS))
    return "All five shapes are as you predicted."


def _about_shape(answer: object, truth: tuple[int, ...]) -> str:
    """Say what is wrong with a predicted shape; "" if nothing is."""
    if not isinstance(answer, tuple | list):  # torch.Size is a tuple
        return f"a shape is a tuple such as (12, 28), not {describe(answer)}."
    answer = tuple(answer)
    if answer == truth:
        return ""
    if len(answer) != len(truth):
        axes = "axis" if len(answer) == 1 else "axes"
        return f"{answer} has {len(answer)} {axes}; the tensor has {len(truth)}."
    wrong = [i for i in range(len(truth)) if answer[i] != truth[i]]
    where = ", ".join(map(str, wrong))
    return f"{answer} has the right number of axes, but another size on axis {where}."


# Exercise 2 ---------------------------------------------------------------------


@exercise(
    "01.2",
    hints=[
        "Give the batch axis the shape 3 × 4 first: `images.view(3, 4, 28, 28)` "
        "is (row of digits, column of digits, height, width).",
        "A reshape merges neighboring axes only. Row of digits and height become "
        "one axis, so they must stand side by side; so must column and width.",
        "`permute(0, 2, 1, 3)` puts them in this order, and `reshape(84, 112)` "
        "merges them.",
    ],
)
def contact_sheet(attempt: object) -> str:
    """Try a function that lays twelve images out in three rows of four."""
    call, images = "my_sheet(images)", torch.rand(12, 1, 28, 28)
    tried = "images of the shape (12, 1, 28, 28)"
    sheet = returned(attempted(attempt, call, images, tried=tried), call)
    sheet = as_tensor(sheet, call)
    grid = images.view(3, 4, 28, 28)
    expected = grid.permute(0, 2, 1, 3).reshape(84, 112)
    if sheet.shape == (1, 84, 112):  # with a channel axis: as good
        sheet = sheet[0]
    if sheet.shape != expected.shape:
        raise Wrong(
            f"The sheet should have the shape (84, 112), but has {tuple(sheet.shape)}."
        )
    if same(sheet, images.reshape(84, 112)):
        raise Wrong(
            "The shape is right, but the digits are cut into strips: row 0 of the "
            "sheet holds four rows of the first digit. Which axes did you merge, "
            "and were they neighbors in the right order?"
        )
    if same(sheet, images.view(4, 3, 28, 28).permute(1, 2, 0, 3).reshape(84, 112)):
        raise Wrong(
            "Every digit is whole, but they run down the columns. Number 1 belongs "
            "to the right of number 0."
        )
    if same(sheet, grid.permute(0, 3, 1, 2).reshape(84, 112)):
        raise Wrong("Every digit is in its place, but lies on its side.")
    if not same(sheet, expected):
        raise Wrong(
            "The shape is right, but the pixels are not where they belong: "
            + first_difference(sheet, expected)
            + "."
        )
    return "Twelve digits, one image, and no loop needed."


# Exercise 3 ---------------------------------------------------------------------


@exercise(
    "01.3",
    hints=[
        "Inside the function, print the shapes of `w * column + b`, of `price`, and "
        "of their difference.",
        "(40, 1) minus (40,) is (40, 40): each prediction against each price.",
        "Make the two shapes equal before you subtract: `price.view(-1, 1)`, or "
        "the column flat.",
    ],
)
def mended_fit(attempt: object) -> str:
    """Try a function that fits a line to a column of distances."""
    call = "my_fit(column, price)"
    for count in (40, 25):
        distance = 5 * torch.rand(count)
        # The base fee is far from the price of a km, so that they are not mistaken.
        price = 3.5 + 2 * torch.rand(1) + (1 + torch.rand(1)) * distance
        price += 0.3 * torch.randn(count)
        column = distance.view(-1, 1)
        tried = f"a column of shape ({count}, 1) and prices of shape ({count},)"
        pair = returned(attempted(attempt, call, column, price, tried=tried), call)
        slope, base = sequence(pair, call, 2)
        slope = number(slope, "the price of a km")
        base = number(base, "the base fee")
        _judge_line(slope, base, distance, price)
    return "The slope and the base fee are those of the points."


def _judge_line(slope: float, base: float, distance: Tensor, price: Tensor) -> None:
    """Compare a line with the best one."""
    columns = torch.stack([distance, torch.ones_like(distance)], dim=1).double()
    best = torch.linalg.lstsq(columns, price.double().view(-1, 1)).solution
    best_slope, best_base = best.flatten().tolist()
    if abs(slope - best_slope) < 0.1 and abs(base - best_base) < 0.3:
        return
    if abs(slope) < 0.2 * best_slope and abs(base - price.mean().item()) < 0.5:
        raise Wrong(
            f"The line is still flat: {slope:.2f} for each km, where {best_slope:.2f} "
            "fits the points best. The prices are still compared with every "
            "prediction; look at the shape of the difference."
        )
    if abs(slope - best_base) < 0.3 and abs(base - best_slope) < 0.3:
        raise Wrong("Return the price of a km first, and then the base fee.")
    raise Wrong(
        f"The line has {slope:.2f} for each km and a base fee of {base:.2f}. The "
        f"points that it was tried with are fitted best by {best_slope:.2f} and "
        f"{best_base:.2f}."
    )


# Exercise 4 ---------------------------------------------------------------------


@exercise(
    "01.4",
    hints=[
        "Take each known digit as if it were an average: the bias of known digit k "
        "is minus half the sum of its squared pixels.",
        "`new @ known.T` has the shape (new digit, known digit). Add the biases, "
        "and the closest known digit has the largest score in its row.",
        "`argmax(dim=1)` gives the *number* of the closest digit. Use it as an "
        "index: `known_labels[nearest]`.",
    ],
)
def nearest_digits(attempt: object) -> str:
    """Try a function that answers with the label of the nearest known digit."""
    call = "my_reader(new, known, known_labels)"
    # Each in three brightnesses: the same direction, but another distance.
    shapes = torch.rand(20, 30)
    known = torch.cat([0.4 * shapes, shapes, 2 * shapes])[torch.randperm(60)]
    known_labels = torch.randint(10, (60,))
    chosen = torch.randint(60, (25,))
    new = known[chosen] + 0.02 * torch.randn(25, 30).sign()
    # As near by absolute differences, and farther by squared ones: two pixels.
    decoys = new.clone()
    decoys[:, :2] += 0.2
    known = torch.cat([known, decoys])
    known_labels = torch.cat([known_labels, (known_labels[chosen] + 1) % 10])
    nearest = torch.cdist(new, known).argmin(dim=1)
    tried = "new (25, 30), known (85, 30) and known_labels (85,)"
    found = attempted(attempt, call, new, known, known_labels, tried=tried)
    found = as_tensor(returned(found, call), call, (25,))
    if not same(found, known_labels[nearest]):
        raise Wrong(_about_reader(found, new, known, known_labels, nearest))
    return "Each new digit gets the label of the closest known one."


def _about_reader(
    found: Tensor, new: Tensor, known: Tensor, known_labels: Tensor, nearest: Tensor
) -> str:
    """Say which of the likely mistakes a reader made."""
    scores = new @ known.T
    right = (found == known_labels[nearest]).sum().item()
    if same(found, nearest):
        return (
            "These are the numbers of the closest digits. Asked for are their labels."
        )
    if same(found, known_labels[scores.argmax(dim=1)]):
        return (
            "Here the known digit with the largest dot product answers, and a "
            "bright one has that for everything. The bias is missing."
        )
    squares = (known**2).sum(dim=1)
    if same(found, known_labels[(scores - squares).argmax(dim=1)]):
        return "The bias is minus *half* the sum of the squared pixels."
    if same(found, known_labels[torch.cdist(new, known, p=1).argmin(dim=1)]):
        return (
            "This distance adds up *absolute* differences. The chapter's adds up "
            "their squares, so that one large difference counts more than many small."
        )
    if same(found, known_labels[torch.cdist(new, known).argmax(dim=1)]):
        return "Here the *farthest* known digit answers. Should it be argmin?"
    return (
        f"Only {right} of 25 answers are the label of the closest known digit: the one "
        "with the smallest sum of squared differences."
    )
