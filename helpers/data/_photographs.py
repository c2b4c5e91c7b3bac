"""Eight photographs that ship with this package."""

from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

PHOTOGRAPHS = Path(__file__).parent.parent / "photographs"
NAMES = ("cat", "dog", "raccoon", "dandelion", "coffee", "figs", "rocket", "pavilion")


def eight_photographs() -> tuple[Tensor, list[str]]:
    """Return eight openly licensed photographs, and what they show.

    They are to be looked at, and too few to learn from. Who took them, and under
    which licenses they are, is in ``helpers/photographs/SOURCES.md``.

    Returns
    -------
    (Tensor, list of str)
        uint8 of shape (8, 3, 32, 32), and eight names.
    """
    pixels = []
    for name in NAMES:
        with Image.open(PHOTOGRAPHS / f"{name}.png") as image:
            pixels.append(torch.from_numpy(np.array(image)))
    return torch.stack(pixels).permute(0, 3, 1, 2).contiguous(), list(NAMES)
