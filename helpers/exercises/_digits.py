"""Real digits for judging answers."""

from functools import cache

import torch
from torch import Tensor

from helpers import data


@cache
def _all_digits() -> tuple[Tensor, Tensor]:
    dataset = data.mnist("train")
    return dataset.data, dataset.targets


def some_digits(count: int) -> tuple[Tensor, Tensor]:
    """Draw training digits at random.

    Returns
    -------
    (Tensor, Tensor)
        Pixels in [0, 1], float32 (count, 1, 28, 28), and labels, int64 (count,).
    """
    pixels, labels = _all_digits()
    chosen = torch.randint(len(pixels), (count,))
    return pixels[chosen].unsqueeze(1) / 255, labels[chosen]
