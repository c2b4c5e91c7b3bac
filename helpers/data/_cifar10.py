"""CIFAR-10 from wherever it can be had, and a stand-in where it cannot."""

import io
import os
import zipfile
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
from PIL import Image
from torchvision.datasets import CIFAR10
from torchvision.datasets.vision import VisionDataset

from helpers.data._cache import DataError, cache_folder
from helpers.data._download import DownloadError, download_archive
from helpers.data._mnist import Transform
from helpers.data._stand_in import STAND_IN_CLASSES, draw_stand_in

IMAGES_VARIABLE = "CIFAR10_IMAGES"

# Mean and standard deviation of each channel over the 50,000 training images,
# pixels scaled to [0, 1], as `mean_and_std` computes them.
CIFAR10_MEAN = (0.4914, 0.4822, 0.4465)
CIFAR10_STD = (0.2470, 0.2435, 0.2616)

PER_CLASS = {"train": 5_000, "test": 1_000}
CLASSES = (
    "airplane",
    "automobile",
    "bird",
    "cat",
    "deer",
    "dog",
    "frog",
    "horse",
    "ship",
    "truck",
)


class Photographs(CIFAR10):
    """CIFAR-10's interface over pixels that are already in memory.

    Attributes
    ----------
    source : str
        Where the images came from, for the titles of figures.
    is_stand_in : bool
        True where the images are drawn shapes and no photographs.
    """

    def __init__(
        self,
        pixels: np.ndarray,
        targets: list[int],
        classes: tuple[str, ...],
        source: str,
        transform: Transform | None = None,
        is_stand_in: bool = False,
    ) -> None:
        # CIFAR10.__init__ would look for its own files.
        VisionDataset.__init__(self, "", transform=transform)
        self.data = pixels
        self.targets = targets
        self.classes = list(classes)
        self.class_to_idx = {name: index for index, name in enumerate(classes)}
        self.source = source
        self.is_stand_in = is_stand_in

    def extra_repr(self) -> str:
        return f"Source: {self.source}"


def cifar10(
    split: str,
    transform: Transform | None = None,
    time_limit: float = 60.0,
) -> Photographs:
    """Return one half of CIFAR-10, or a stand-in that says that it is one.

    Looks, in this order, for torchvision's own files in `cache_folder()`; for
    images in the folder or zip file named by the environment variable
    ``CIFAR10_IMAGES``; for the download; and last draws a stand-in.

    Parameters
    ----------
    split : {"train", "test"}
        50,000 training or 10,000 test photographs (of the stand-in: 5,000 and
        1,000 shapes).
    transform : callable, optional
        Applied to each image (a PIL image, 32 by 32, RGB) on access.
    time_limit : float
        Seconds that a download may take in this call. What has arrived by then
        is kept, and the next call goes on from there. 0: do not download.

    Returns
    -------
    Photographs
        A torchvision ``CIFAR10``: ``data`` is uint8 of shape (n, 32, 32, 3),
        ``targets`` a list of int. ``source`` says where the images came from,
        ``is_stand_in`` whether they are drawn.

    Raises
    ------
    ValueError
        If `split` is neither "train" nor "test".
    DataError
        If ``CIFAR10_IMAGES`` names something that is not a whole CIFAR-10.
    """
    if split not in PER_CLASS:
        raise ValueError(f'split must be "train" or "test", not {split!r}')
    folder = cache_folder()
    dataset = _torchvision_files(folder, split, transform)
    if dataset is None and os.environ.get(IMAGES_VARIABLE):
        return _from_images(Path(os.environ[IMAGES_VARIABLE]), split, transform)
    if dataset is None and time_limit > 0:
        try:
            download_archive(CIFAR10.url, CIFAR10.tgz_md5, folder, time_limit)
            dataset = _torchvision_files(folder, split, transform)
        except DownloadError as error:
            print(f"CIFAR-10 could not be downloaded: {error}")
    if dataset is not None:
        return dataset
    print(
        "Using a STAND-IN for CIFAR-10: drawn shapes, no photographs. For the real "
        f"images, run again with a network, or set {IMAGES_VARIABLE} to a folder or "
        "zip file with train/<class>/*.png and test/<class>/*.png (or .jpg)."
    )
    pixels, targets = draw_stand_in(split)
    return Photographs(
        pixels,
        targets,
        STAND_IN_CLASSES,
        "stand-in: drawn shapes",
        transform,
        is_stand_in=True,
    )


def _torchvision_files(
    folder: Path, split: str, transform: Transform | None
) -> Photographs | None:
    """Return torchvision's own files if they are all there and intact."""
    try:
        found = CIFAR10(folder, train=split == "train")
    except RuntimeError:  # torchvision's word for "not found or corrupted"
        return None
    return Photographs(
        found.data, found.targets, tuple(found.classes), "CIFAR-10", transform
    )


def _from_images(path: Path, split: str, transform: Transform | None) -> Photographs:
    """Read all images of a split, class by class, in the order of their names."""
    pixels, targets = [], []
    for name, content in _image_files(path, split):
        label = CLASSES.index(name.split("/")[-2])
        try:
            with Image.open(io.BytesIO(content)) as image:
                array = np.asarray(image.convert("RGB"))
        except OSError as error:
            raise DataError(
                f"{name} in {path} cannot be read as an image ({error}). Replace "
                f"the file, or unset {IMAGES_VARIABLE}."
            ) from error
        if array.shape != (32, 32, 3):
            raise DataError(
                f"{name} in {path} has {array.shape[1]} by {array.shape[0]} pixels; "
                f"CIFAR-10's images have 32 by 32."
            )
        pixels.append(array)
        targets.append(label)
    _check_complete(path, split, targets)
    kind = "JPEG copy" if name.lower().endswith(("jpg", "jpeg")) else "PNG copy"
    return Photographs(
        np.stack(pixels), targets, CLASSES, f"CIFAR-10, {kind}", transform
    )


def _check_complete(path: Path, split: str, targets: list[int]) -> None:
    counts = np.bincount(targets, minlength=len(CLASSES)) if targets else [0] * 10
    for name, count in zip(CLASSES, counts, strict=True):
        if count != PER_CLASS[split]:
            raise DataError(
                f"{path} ({IMAGES_VARIABLE}) is no whole CIFAR-10: it has {count:,} "
                f"images in {split}/{name}, expected {PER_CLASS[split]:,}. Unpack or "
                f"copy it again, or unset {IMAGES_VARIABLE}."
            )


def _image_files(path: Path, split: str) -> Iterator[tuple[str, bytes]]:
    """Yield name and content of each image in ``…/split/<class>/``, sorted."""
    if path.is_dir():
        files = {f.relative_to(path).as_posix(): f for f in path.rglob("*.*")}
        for name in _wanted(files, split):
            yield name, files[name].read_bytes()
        return
    try:
        with zipfile.ZipFile(path) as archive:
            for name in _wanted(archive.namelist(), split):
                yield name, archive.read(name)
    except (OSError, zipfile.BadZipFile) as error:
        raise DataError(
            f"{IMAGES_VARIABLE} names {path}, which is neither a folder nor a "
            f"readable zip file ({error}). Correct the variable, or unset it."
        ) from error


def _wanted(names: Iterable[str], split: str) -> list[str]:
    """Return the images among `names`, whatever folder the split lies in."""
    return sorted(
        name
        for name in names
        if name.lower().endswith((".png", ".jpg", ".jpeg"))
        and "__MACOSX" not in name
        and name.split("/")[-3:-1] in [[split, label] for label in CLASSES]
    )
