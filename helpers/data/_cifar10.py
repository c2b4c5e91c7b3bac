"""CIFAR-10 from wherever it can be had, and a stand-in where it cannot."""

import contextlib
import functools
import hashlib
import io
import os
import pickle
import tarfile
import textwrap
import zipfile
import zlib
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image
from torchvision.datasets import CIFAR10
from torchvision.datasets.vision import VisionDataset

from helpers.data._cache import DataError, cache_folder
from helpers.data._download import DownloadError, download, is_whole
from helpers.data._stand_in import STAND_IN_CLASSES, draw_stand_in

IMAGES_VARIABLE = "CIFAR10_IMAGES"
STAND_IN = "stand-in"  # the value of that variable that asks for no photographs

# Mean and standard deviation of each channel over the 50,000 training images,
# pixels scaled to [0, 1], as `mean_and_std` computes them.
CIFAR10_MEAN = (0.4914, 0.4822, 0.4465)
CIFAR10_STD = (0.2470, 0.2435, 0.2616)

PER_CLASS = {"train": 5_000, "test": 1_000}
NAMES = "airplane automobile bird cat deer dog frog horse ship truck"
CLASSES = tuple(NAMES.split())


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
        is_stand_in: bool = False,
    ) -> None:
        # CIFAR10.__init__ would look for its own files.
        VisionDataset.__init__(self, "")
        self.data = pixels
        self.targets = targets
        self.classes = list(classes)
        self.class_to_idx = {name: index for index, name in enumerate(classes)}
        self.source = source
        self.is_stand_in = is_stand_in

    def extra_repr(self) -> str:
        return f"Source: {self.source}"


def cifar10(split: str, time_limit: float = 60.0) -> Photographs:
    """Return one half of CIFAR-10, or a stand-in that says that it is one.

    Takes what the environment variable ``CIFAR10_IMAGES`` names: a folder or zip
    file of images, or CIFAR-10's own archive or its unpacked folder. Without the
    variable it looks for the latter two in `cache_folder()`, then downloads the
    archive into it, and last draws a stand-in.

    What was found is written into the variable, so that both halves come from the
    same source, also in a process that this one starts.

    Parameters
    ----------
    split : {"train", "test"}
        50,000 training or 10,000 test photographs (of the stand-in: 5,000 and
        1,000 shapes).
    time_limit : float
        Seconds that a download may take. What has arrived by then is kept, and
        goes on when Python is started anew. 0: do not download.

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
    if not os.environ.get(IMAGES_VARIABLE):
        os.environ[IMAGES_VARIABLE] = _source(time_limit)
    chosen = os.environ[IMAGES_VARIABLE]
    if chosen == STAND_IN:
        pixels, targets = draw_stand_in(split)
        return Photographs(
            pixels,
            targets,
            STAND_IN_CLASSES,
            "stand-in: drawn shapes",
            is_stand_in=True,
        )
    pixels, targets, source = _read(Path(os.path.expanduser(chosen)), split)
    return Photographs(pixels, targets, CLASSES, source)


def _source(time_limit: float) -> str:
    """Return where CIFAR-10 is in the cache folder, or can be had now."""
    try:
        folder = cache_folder()
        official = _official(folder)
        if official is None or not _is_intact(official):
            if time_limit <= 0:
                raise DownloadError("there is no time for it")
            archive = folder / CIFAR10.filename
            download(CIFAR10.url, CIFAR10.tgz_md5, archive, time_limit)
            return str(archive)
    except (DownloadError, DataError, OSError) as error:
        text = (
            f"CIFAR-10 was not downloaded: {error}. Here is a STAND-IN for it, drawn "
            "shapes and no photographs, until Python (in a notebook: its kernel) is "
            "restarted. Then a download begins, or goes on. Or set the variable "
            f"{IMAGES_VARIABLE} before, to a folder or zip file of images in "
            f"train/<class>/ and test/<class>/, or to {CIFAR10.filename}."
        )
        print(textwrap.fill(text, 79, break_long_words=False, break_on_hyphens=False))
        return STAND_IN
    return str(official)


def _official(path: Path) -> Path | None:
    """Return the archive or the folder of CIFAR-10's own files, if path has them."""
    for place in (path, path / CIFAR10.base_folder, path / CIFAR10.filename):
        if place.is_file() and tarfile.is_tarfile(place):
            return place
        if (place / "test_batch").is_file():
            return place
    return None


def _is_intact(official: Path) -> bool:
    if official.is_file():
        return is_whole(official, CIFAR10.tgz_md5)
    files = [*CIFAR10.train_list, *CIFAR10.test_list]
    return all(is_whole(official / name, md5) for name, md5 in files)


def _read(path: Path, split: str) -> tuple[np.ndarray, list[int], str]:
    """Return the pixels, labels and source of one half of what `path` holds."""
    try:
        official = _official(path)
        if official is not None:
            return *_from_batches(official, split), "CIFAR-10"
        return _from_images(path, split)
    except DataError:
        raise
    except (
        OSError,
        EOFError,
        RuntimeError,  # an encrypted zip, or one packed in a way unknown to Python
        zlib.error,
        tarfile.TarError,
        zipfile.BadZipFile,
    ) as e:
        raise DataError(
            f"{IMAGES_VARIABLE} names {path}, which cannot be read as a folder, a zip "
            f"file or CIFAR-10's own archive ({e}). Correct the variable, or unset it."
        ) from e


def _from_batches(official: Path, split: str) -> tuple[np.ndarray, list[int]]:
    """Read one half from CIFAR-10's own files, each a pickled dict."""
    files = dict(CIFAR10.train_list if split == "train" else CIFAR10.test_list)
    contents = {}
    if official.is_dir():
        contents = {name: (official / name).read_bytes() for name in files}
    else:
        with tarfile.open(official) as archive:
            for member in archive:
                name = member.name.rpartition("/")[2]
                if name in files and (file := archive.extractfile(member)):
                    contents[name] = file.read()
    pixels, targets = [], []
    for name, md5 in files.items():
        content = contents.get(name, b"")
        # Unpickling can run code: only what is known is unpickled.
        if hashlib.md5(content, usedforsecurity=False).hexdigest() != md5:
            raise DataError(
                f"{name} in {official} is missing or damaged. Delete {official} and "
                f"copy or download it again, or unset {IMAGES_VARIABLE}."
            )
        batch = pickle.loads(content, encoding="latin1")
        pixels.append(batch["data"])
        targets += batch["labels"]
    rows = np.concatenate(pixels).reshape(-1, 3, 32, 32)
    return rows.transpose(0, 2, 3, 1), targets


def _from_images(path: Path, split: str) -> tuple[np.ndarray, list[int], str]:
    """Read all images of a split, class by class, in the order of their names."""
    with contextlib.ExitStack() as stack:
        files: dict[str, Callable[[], bytes]]
        if path.is_dir():
            paths = {f.relative_to(path).as_posix(): f for f in path.rglob("*.*")}
            files = {name: file.read_bytes for name, file in paths.items()}
        else:
            archive = stack.enter_context(zipfile.ZipFile(path))
            # Some programs on Windows write backslashes into a zip file.
            files = {
                name.replace("\\", "/"): functools.partial(archive.read, name)
                for name in archive.namelist()
            }
        images = sorted(filter(_is_image, files))
        folders = ["/".join(name.split("/")[-3:-1]) for name in images]
        _check_complete(path, split, Counter(folder.lower() for folder in folders))
        pixels, targets = [], []
        for name, folder in zip(images, folders, strict=True):
            half, label = folder.lower().split("/")
            if half == split and label in CLASSES:
                pixels.append(_pixels(path, name, files[name]()))
                targets.append(CLASSES.index(label))
    kind = "PNG" if images[0].lower().endswith("png") else "JPEG"
    return np.stack(pixels), targets, f"CIFAR-10, {kind} copy"


def _is_image(name: str) -> bool:
    """Return whether this is an image in a folder in a folder, and none of macOS's.

    On other systems' disks macOS writes a file of its own, ``._cat.png``, beside
    each image, and into zip files a folder ``__MACOSX`` of them.
    """
    parts = name.split("/")
    return (
        name.lower().endswith((".png", ".jpg", ".jpeg"))
        and len(parts) > 2
        and "__MACOSX" not in parts
        and not parts[-1].startswith(".")
    )


def _check_complete(path: Path, split: str, found: Counter[str]) -> None:
    for label in CLASSES:
        count, expected = found[f"{split}/{label}"], PER_CLASS[split]
        if count != expected:
            there = [f"{folder} ({n:,})" for folder, n in sorted(found.items())]
            more = ["…"] if len(there) > 24 else []
            raise DataError(
                f"{path} ({IMAGES_VARIABLE}) is no whole CIFAR-10: it has {count:,} "
                f"images in {split}/{label}, expected {expected:,}. Unpack or copy it "
                f"again, rename its folders, or unset {IMAGES_VARIABLE}.\nFound: "
                f"{', '.join(there[:24] + more) or 'no images in folders in folders'}."
            )


def _pixels(path: Path, name: str, content: bytes) -> np.ndarray:
    try:
        with Image.open(io.BytesIO(content)) as image:
            array = np.asarray(image.convert("RGB"))
    except (OSError, SyntaxError, ValueError) as error:
        raise DataError(
            f"{name} in {path} cannot be read as an image ({error}). Replace the "
            f"file, or unset {IMAGES_VARIABLE}."
        ) from error
    if array.shape != (32, 32, 3):
        raise DataError(
            f"{name} in {path} has {array.shape[1]} by {array.shape[0]} pixels; "
            f"CIFAR-10's images have 32 by 32."
        )
    return array
