"""Answers to the exercises of chapter 7."""

import random

import numpy as np
import torch
import torch.nn.functional as F
from exercise_cases import of_book, of_chapter
from PIL import Image

from helpers import data

digits = data.mnist("train")

KNOWN = digits.data[:10_000].flatten(1).float() / 255

LABELS = digits.targets[:10_000]


def read(gray, prepare=data.prepare_digit):
    filled = F.pad((gray.amin(dim=0) < 0.9).int(), (1, 1))
    begins = (filled.diff() == 1).nonzero().flatten().tolist()
    ends = (filled.diff() == -1).nonzero().flatten().tolist()
    text = ""
    for begin, end in zip(begins, ends, strict=True):
        part = F.pad(gray[:, begin:end], (5, 5), value=1.0)
        pixels = prepare(part).reshape(1, -1)
        text += str(LABELS[torch.cdist(pixels, KNOWN).argmin()].item())
    return text


class Reader:
    """A callable object, which splits by walking over the columns."""

    def __call__(self, gray):
        text, part = "", []
        for column in [*gray.T, torch.ones(len(gray))]:
            if column.min() < 0.9:
                part.append(column)
            elif part:
                paper = [torch.ones(len(gray))] * 4
                text += read(torch.stack([*paper, *part, *paper], dim=1))
                part = []
        return text


def read_by_width(gray):
    """Cuts into four equal parts, as the chapter's picture can be."""
    return "".join(read(part) for part in gray.split(gray.shape[1] // 4, dim=1))


def read_bright(gray):
    return read(1 - gray)


def read_unprepared(gray):
    return read(
        gray, lambda part: F.interpolate(part[None, None], (28, 28), mode="area")
    )


def scale(ink, longest=max, rounded=round):
    factor = 20 / longest(ink.shape)
    size = [max(1, rounded(side * factor)) for side in ink.shape]
    return F.interpolate(ink[None, None], size, mode="area")[0, 0]


def scale_with_pillow(ink):
    factor = 20 / max(ink.shape)
    height, width = (max(1, round(side * factor)) for side in ink.shape)
    picture = Image.fromarray(ink.numpy())
    return np.asarray(picture.resize((width, height), Image.Resampling.BOX))


def moved_in_a_loop(images, most):
    moved = []
    for image in images:
        right, down = torch.randint(-most, most + 1, (2,)).tolist()
        # Padding by less than 0 cuts.
        moved.append(F.pad(image, (right, -right, down, -down)))
    return torch.stack(moved)


def moved_around(images, most):
    shifts = [torch.randint(-most, most + 1, (2,)).tolist() for _ in images]
    return torch.stack([i.roll(s, (1, 2)) for i, s in zip(images, shifts, strict=True)])


def moved_in_place(images, most):
    images[:] = moved_in_a_loop(images, most)
    return images


def moved_by_indexing(images, most, same_both_ways=False):
    padded = F.pad(images, (most, most, most, most))[:, 0]
    places = torch.randint(2 * most + 1, (2, len(images), 1))
    if same_both_ways:
        places[1] = places[0]
    rows, columns = places + torch.arange(28)
    numbers = torch.arange(len(images))[:, None, None]
    return padded[numbers, rows[:, :, None], columns[:, None, :]][:, None]


def moved_together(images, most):
    return F.pad(images, (most, -most))


def moved_one_way(images, most):
    return torch.cat([moved_together(i, random.randint(0, most)) for i in images])[
        :, None
    ]


def turned(images, most):
    return torch.stack([i.rot90(k % 4, (1, 2)) for k, i in enumerate(images)])


answers = of_book("07.4", "my_answers")


def answers_in_a_list(probabilities, threshold):
    rows = probabilities.tolist()
    return [r.index(max(r)) if max(r) >= threshold else -1 for r in rows]


RIGHT = {
    "07.1": [read, Reader()],
    "07.2": [scale, scale_with_pillow],
    "07.3": [moved_in_a_loop, moved_by_indexing],
    "07.4": [answers, answers_in_a_list],
}
WRONG = {
    "07.1": [
        (lambda gray: [int(s) for s in read(gray)], "returns a list of 4"),
        (lambda gray: read(gray)[::-1], "from right to left"),
        (lambda gray: read(gray)[:2], "Of a picture with 4 digits, it reads"),
        (lambda gray: "8" * len(read(gray)), "reads only"),
        (read_unprepared, "as in training"),
        (read_by_width, "Of a picture with"),
        (read_bright, "Of a picture with 4 digits, it reads"),
        (lambda gray: int(read(gray) or 0), 'should return a text such as "2026"'),
    ],
    "07.2": [
        (lambda ink: torch.zeros(20, 20), "still stretched? Or padded?"),
        (lambda ink: scale(ink).T, "height and width are swapped"),
        (lambda ink: scale(ink, min), "the *shorter* side is 20"),
        (lambda ink: scale(ink, lambda s: 1.2 * max(s)), "the shape should be"),
        (lambda ink: 0 * scale(ink), "the mean of the ink"),
    ],
    "07.3": [
        (moved_together, "all digits are moved by the same"),
        (moved_one_way, "the shifts right or left are [0, 1"),
        (turned, "is more than moved"),
        (moved_around, "on the other side"),
        (moved_in_place, "changes a tensor that it is given"),
        (lambda i, most: moved_in_a_loop(i, most + 2), "a digit is moved by"),
        (lambda i, most: moved_by_indexing(i, most, True), "as far down as"),
        (lambda i, most: i, "moved by the same (0, 0)"),
    ],
    "07.4": [
        (lambda p, t: p.argmax(dim=1), "No answer is refused"),
        (lambda p, t: torch.where(p.max(1)[0] < t, p.argmax(1), -1), "where the net"),
        (lambda p, t: answers(p, 0.5), "the answer should be"),
        (lambda p, t: p.max(dim=1)[0], "the answer should be"),
    ],
}

test_right, test_wrong, test_all = of_chapter("07", RIGHT, WRONG)
