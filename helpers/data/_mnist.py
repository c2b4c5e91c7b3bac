"""MNIST from the four files that ship with this package."""

import gzip
import hashlib
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeAlias

from PIL.Image import Image
from torchvision.datasets import MNIST

from helpers.data._cache import DataError, cache_folder, cannot_write
from helpers.files import locked, replacing

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

CHUNK = 1 << 20
Transform: TypeAlias = Callable[[Image], object]


def mnist(split: str, transform: Transform | None = None) -> MNIST:
    """Return one half of MNIST as a torchvision dataset.

    The first call unpacks the four shipped files into `cache_folder()`; every
    call checks their md5 sums. Several processes may call this at once.

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
        If a file is missing or damaged, or the cache cannot be written. The
        message names the file and the remedy.
    """
    if split not in ("train", "test"):
        raise ValueError(f'split must be "train" or "test", not {split!r}')
    root = cache_folder()
    raw = root / "MNIST" / "raw"
    _unpack_missing(raw)
    for name in MD5_SUMS:
        _verify(raw / name)
    return MNIST(root, train=split == "train", transform=transform)


def _unpack_missing(raw: Path) -> None:
    """Unpack what `raw` lacks; one process does the work, others wait."""
    if all((raw / name).exists() for name in MD5_SUMS):
        return
    try:
        raw.mkdir(parents=True, exist_ok=True)
        with locked(raw / ".lock"):
            for name in MD5_SUMS:
                if not (raw / name).exists():
                    _unpack(SHIPPED_FOLDER / f"{name}.gz", raw / name)
    except OSError as error:
        raise cannot_write(Path(error.filename or raw), error) from error


def _unpack(packed: Path, target: Path) -> None:
    """Unpack one file, and put it in its place only if it is MNIST's."""
    digest = _md5()
    with replacing(target) as out:
        for chunk in _unpacked_chunks(packed):
            digest.update(chunk)
            out.write(chunk)
        if digest.hexdigest() != MD5_SUMS[target.name]:
            raise _damaged_shipped(packed, "its content is not MNIST's")


def _md5() -> "hashlib._Hash":
    """Return what counts as no secret, and so works where md5 is forbidden."""
    return hashlib.md5(usedforsecurity=False)


def _unpacked_chunks(packed: Path) -> Iterator[bytes]:
    try:
        with gzip.open(packed) as source:
            while chunk := source.read(CHUNK):
                yield chunk
    except FileNotFoundError as error:
        raise _damaged_shipped(packed, "it is missing") from error
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise _damaged_shipped(packed, f"it cannot be unpacked ({error})") from error


def _damaged_shipped(path: Path, reason: str) -> DataError:
    return DataError(
        f"The book's copy of MNIST is damaged: {path}: {reason}.\n"
        f"Restore the file: in a git clone with `git checkout -- {path.name}` in "
        f"its folder, otherwise by installing the book again."
    )


def _verify(path: Path) -> None:
    try:
        with path.open("rb") as source:
            digest = hashlib.file_digest(source, _md5).hexdigest()
    except OSError as error:
        raise DataError(
            f"Cannot read {path}: {error.strerror or error}.\n"
            f"Delete it and run again; the book unpacks it anew."
        ) from error
    if digest != MD5_SUMS[path.name]:
        raise DataError(
            f"{path} is damaged: {path.stat().st_size:,} bytes with md5 sum "
            f"{digest}, expected {MD5_SUMS[path.name]}.\n"
            f"Delete it and run again; the book unpacks it anew."
        )
