"""Answers to the exercises of chapter 7."""

import torch
import torch.nn.functional as F
from exercise_cases import of_chapter

from helpers import data


def stub(*arguments):
    """Your code."""


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


RIGHT = {
    "07.1": [read, Reader()],
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
}
EMPTY = {
    "07.1": [stub],
}
test_right, test_wrong, test_empty, test_all = of_chapter("07", RIGHT, WRONG, EMPTY)
