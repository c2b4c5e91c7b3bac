"""MNIST from the four files that ship with this package."""

import gzip
import hashlib
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

import numpy as np
import torch
from PIL.Image import Image
from torchvision.datasets import MNIST, VisionDataset

from helpers.data._cache import DataError

# Mean and standard deviation of all 60,000 training images, pixels scaled to
# [0, 1]. Chapter 3 computes both from the data.
MNIST_MEAN = 0.1307
MNIST_STD = 0.3081

SHIPPED_FOLDER = Path(__file__).parent.parent / "mnist"

# md5 sums of the unpacked files, as published with the original data set.
MD5_SUMS = {
    "train-images-idx3-ubyte": "6bbc9ace898e44ae57da46a324031adb",
    "train-labels-idx1-ubyte": "a25bea736e30d166cdddb491f175f624",
    "t10k-images-idx3-ubyte": "2646ac647ad5339dbf082846283269ea",
    "t10k-labels-idx1-ubyte": "27ae3e4e09519cfbb04c329615203637",
}
FILES = {"train": "train", "test": "t10k"}
Transform: TypeAlias = Callable[[Image], object]


def mnist(split: str, transform: Transform | None = None) -> MNIST:
    """Return one half of MNIST as a torchvision dataset.

    Reads the two files of that half from this package and compares their md5
    sums, in about half a second. Nothing is written.

    Parameters
    ----------
    split : {"train", "test"}
        60,000 training digits or 10,000 test digits.
    transform : callable, optional
        Applied to each image (a PIL image, 28 by 28, mode "L") on access.

    Returns
    -------
    torchvision.datasets.MNIST
        ``data`` is uint8 of shape (n, 28, 28), ``targets`` int64 of shape
        (n,).

    Raises
    ------
    ValueError
        If `split` is neither "train" nor "test".
    DataError
        If a file is missing or damaged. The message names the file and the
        remedy.
    """
    if split not in FILES:
        raise ValueError(f'split must be "train" or "test", not {split!r}')
    pixels = _unpacked(f"{FILES[split]}-images-idx3-ubyte")
    labels = _unpacked(f"{FILES[split]}-labels-idx1-ubyte")
    # MNIST.__init__ would look for unpacked files on the disk.
    dataset = MNIST.__new__(MNIST)
    VisionDataset.__init__(dataset, None, transform=transform)  # type: ignore[arg-type]
    dataset.train = split == "train"
    # Before the pixels come 16 bytes that say how many there are, before labels 8.
    dataset.data = torch.from_numpy(pixels[16:].reshape(-1, 28, 28))
    dataset.targets = torch.from_numpy(labels[8:].astype(np.int64))
    return dataset


def _unpacked(name: str) -> np.ndarray:
    path = SHIPPED_FOLDER / f"{name}.gz"
    try:
        content = gzip.decompress(path.read_bytes())
        problem = "its content is not MNIST's"
    except OSError as error:  # gzip.BadGzipFile is one
        content, problem = b"", f"it cannot be read ({error.strerror or error})"
    except (EOFError, zlib.error) as error:
        content, problem = b"", f"it cannot be unpacked ({error})"
    if hashlib.md5(content, usedforsecurity=False).hexdigest() != MD5_SUMS[name]:
        raise DataError(
            f"The book's copy of MNIST is damaged: {path}: {problem}.\n"
            f"Restore the file: in a git clone with `git checkout -- {path.name}` in "
            f"its folder, otherwise by installing the book again."
        )
    return np.frombuffer(bytearray(content), dtype=np.uint8)
