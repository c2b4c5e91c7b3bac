"""The shipped MNIST files: compared with their md5 sums, and never written."""

import gzip
import os
import pickle
import shutil

import pytest
import torch
import torchvision
from torchvision.transforms import v2

from helpers.data import (
    DataError,
    _mnist,
    cache_folder,
    cifar10,
    digit_from_file,
    mnist,
)

FILES = sorted(_mnist.MD5_SUMS)


@pytest.fixture
def shipped(tmp_path, monkeypatch):
    """A private copy of the shipped files, free to be damaged."""
    folder = tmp_path / "shipped"
    shutil.copytree(_mnist.SHIPPED_FOLDER, folder)
    monkeypatch.setattr(_mnist, "SHIPPED_FOLDER", folder)
    return folder


def test_equals_what_torchvision_reads(tmp_path):
    raw = tmp_path / "MNIST" / "raw"
    raw.mkdir(parents=True)
    for name in FILES:
        packed = (_mnist.SHIPPED_FOLDER / f"{name}.gz").read_bytes()
        (raw / name).write_bytes(gzip.decompress(packed))
    for split, first in (("train", [5, 0, 4, 1, 9]), ("test", [7, 2, 1, 0, 4])):
        expected = torchvision.datasets.MNIST(tmp_path, train=split == "train")
        found = mnist(split)
        assert type(found) is torchvision.datasets.MNIST
        assert torch.equal(found.data, expected.data)
        assert torch.equal(found.targets, expected.targets)
        assert found.targets.dtype == expected.targets.dtype
        assert found.classes == expected.classes
        assert repr(found).splitlines()[:2] == repr(expected).splitlines()[:2]
        assert found.targets[:5].tolist() == first
        assert (found[0][0].size, found[0][0].mode) == ((28, 28), "L")


def test_transform_is_applied_also_in_workers():
    """Where these start anew, as on macOS and Windows, the data set is pickled."""
    steps = [v2.ToImage(), v2.ToDtype(torch.float32, scale=True)]
    dataset = mnist("test", transform=v2.Compose(steps))
    image, _ = dataset[0]
    assert image.shape == (1, 28, 28)
    assert image.max() == 1
    assert torch.equal(pickle.loads(pickle.dumps(dataset))[0][0], image)


@pytest.mark.parametrize("split", ["validation", None])
def test_unknown_split_is_refused(split):
    with pytest.raises(ValueError, match='"train" or "test"'):
        mnist(split)


@pytest.mark.parametrize(
    ("name", "damage"),
    list(zip(FILES, ["truncated", "altered", "other", "missing"], strict=True)),
)
def test_damaged_shipped_file_is_named(shipped, name, damage):
    path = shipped / f"{name}.gz"
    content = path.read_bytes()
    if damage == "truncated":
        path.write_bytes(content[: len(content) // 2])
    elif damage == "altered":
        altered = gzip.decompress(content)[:-1] + b"\x07"
        path.write_bytes(gzip.compress(altered, compresslevel=1))  # the quickest
    elif damage == "other":
        path.write_bytes(b"<html>404</html>")
    else:
        path.unlink()
    with pytest.raises(DataError, match="Restore the file") as caught:
        mnist("train" if name.startswith("train") else "test")
    assert str(path) in str(caught.value)


def test_cache_folder_follows_the_variable(empty_cache, monkeypatch):
    assert cache_folder() == empty_cache
    monkeypatch.delenv("PYTORCH_BY_HAND_CACHE")
    assert cache_folder().is_absolute()
    assert cache_folder().name == "pytorch-by-hand"


@pytest.mark.skipif(os.name != "posix", reason="Windows knows homes otherwise")
def test_no_home_folder(monkeypatch):
    """As in a container that runs under a user id that no one has."""

    def unknown(uid):
        raise KeyError(uid)

    monkeypatch.setattr("pwd.getpwuid", unknown)
    for name in ("HOME", "PYTORCH_BY_HAND_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("CIFAR10_IMAGES", "~/photos.zip")
    assert len(mnist("test")) == 10_000
    with pytest.raises(DataError, match="PYTORCH_BY_HAND_CACHE"):
        cache_folder()
    with pytest.raises(FileNotFoundError, match="~/five.png"):
        digit_from_file("~/five.png")
    with pytest.raises(DataError, match="~/photos.zip"):
        cifar10("test")
