"""The shipped MNIST files: unpacked once, verified, safe in parallel."""

import errno
import gzip
import multiprocessing
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import torchvision

from helpers.data import DataError, _mnist, cache_folder, mnist

FILES = sorted(_mnist.MD5_SUMS)
POSIX = os.name == "posix"


@pytest.fixture
def shipped(tmp_path, monkeypatch):
    """A private copy of the shipped files, free to be damaged."""
    folder = tmp_path / "shipped"
    shutil.copytree(_mnist.SHIPPED_FOLDER, folder)
    monkeypatch.setattr(_mnist, "SHIPPED_FOLDER", folder)
    return folder


@pytest.fixture(scope="module")
def unpacked(tmp_path_factory):
    """The four files, unpacked once for this module."""
    folder = tmp_path_factory.mktemp("unpacked")
    for name in FILES:
        _mnist._unpack(_mnist.SHIPPED_FOLDER / f"{name}.gz", folder / name)
    return folder


@pytest.fixture
def filled_cache(empty_cache, unpacked):
    """A cache folder of this test's own that holds valid files."""
    shutil.copytree(unpacked, raw_folder(empty_cache))
    return empty_cache


def raw_folder(cache):
    return cache / "MNIST" / "raw"


def modification_times(cache):
    return {path: path.stat().st_mtime_ns for path in raw_folder(cache).iterdir()}


def test_is_torchvisions_own_dataset(empty_cache):
    train, test = mnist("train"), mnist("test")
    assert type(train) is torchvision.datasets.MNIST
    assert train.data.shape == (60_000, 28, 28)
    assert test.data.shape == (10_000, 28, 28)
    assert train.data.dtype == torch.uint8
    assert train.targets[:10].tolist() == [5, 0, 4, 1, 9, 2, 1, 3, 1, 4]
    assert test.targets[:10].tolist() == [7, 2, 1, 0, 4, 1, 4, 9, 5, 9]
    image, label = train[0]
    assert (image.size, image.mode, label) == ((28, 28), "L", 5)


def test_torchvision_accepts_the_unpacked_files(empty_cache):
    mnist("train")
    again = torchvision.datasets.MNIST(empty_cache, train=False, download=False)
    assert len(again) == 10_000


def test_transform_is_applied():
    dataset = mnist("test", transform=torchvision.transforms.ToTensor())
    image, _ = dataset[0]
    assert image.shape == (1, 28, 28)
    assert image.max() == 1


@pytest.mark.parametrize("split", ["validation", "Train", "", None, 1])
def test_unknown_split_is_refused(split):
    with pytest.raises(ValueError, match='"train" or "test"'):
        mnist(split)


def test_is_unpacked_only_once(empty_cache):
    mnist("test")
    before = {
        path: path.stat().st_mtime_ns for path in raw_folder(empty_cache).iterdir()
    }
    mnist("train")
    after = {
        path: path.stat().st_mtime_ns for path in raw_folder(empty_cache).iterdir()
    }
    assert after == before


def count_test_digits(folder):
    os.environ["PYTORCH_BY_HAND_CACHE"] = str(folder)
    assert len(mnist("test")) == 10_000


def test_eight_processes_at_once(empty_cache):
    # Forked from a server that has imported torch once, where there is such a thing.
    context = multiprocessing.get_context("forkserver" if POSIX else "spawn")
    if POSIX:
        context.set_forkserver_preload(["helpers.train"])
    runs = [
        context.Process(target=count_test_digits, args=[empty_cache]) for _ in range(8)
    ]
    for run in runs:
        run.start()
    for run in runs:
        run.join(300)
    assert [run.exitcode for run in runs] == [0] * 8
    unpacked = {path.name for path in raw_folder(empty_cache).iterdir()}
    assert unpacked - {".lock"} == set(FILES), "no partial file is left"


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("damage", ["truncated", "altered", "empty"])
def test_damaged_cache_file_is_named(filled_cache, name, damage):
    path = raw_folder(filled_cache) / name
    content = bytearray(path.read_bytes())
    if damage == "truncated":
        content = content[: len(content) // 2]
    elif damage == "altered":
        content[len(content) // 2] ^= 1
    else:
        content = b""
    path.write_bytes(content)
    with pytest.raises(DataError) as caught:
        mnist("test")
    assert str(path) in str(caught.value)
    assert "Delete it and run again" in str(caught.value)
    path.unlink()
    assert len(mnist("test")) == 10_000, "the remedy works"


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("damage", ["truncated", "altered", "other", "missing"])
def test_damaged_shipped_file_is_named(empty_cache, shipped, name, damage):
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
    with pytest.raises(DataError) as caught:
        mnist("train")
    assert str(path) in str(caught.value)
    assert "Restore the file" in str(caught.value)
    left = {p.name for p in raw_folder(empty_cache).iterdir()}
    assert left <= set(FILES) - {name} | {".lock"}, "no damaged or partial file"


def test_missing_cache_file_is_unpacked_again(filled_cache):
    path = raw_folder(filled_cache) / FILES[0]
    path.unlink()
    assert len(mnist("test")) == 10_000
    assert path.exists()


def test_cache_that_cannot_be_made(tmp_path, monkeypatch):
    blocked = tmp_path / "file"
    blocked.write_text("not a folder")
    monkeypatch.setenv("PYTORCH_BY_HAND_CACHE", str(blocked / "cache"))
    with pytest.raises(DataError) as caught:
        mnist("test")
    assert str(blocked) in str(caught.value)
    assert "PYTORCH_BY_HAND_CACHE" in str(caught.value)


@pytest.mark.parametrize("code", [errno.EROFS, errno.EACCES])
def test_read_only_cache(empty_cache, monkeypatch, code):
    def refuse(*args, **kwargs):
        raise OSError(code, "refused", str(empty_cache / "MNIST"))

    monkeypatch.setattr(os, "fsync", refuse)
    with pytest.raises(DataError, match="PYTORCH_BY_HAND_CACHE") as caught:
        mnist("test")
    assert str(empty_cache / "MNIST") in str(caught.value)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs POSIX limits")
def test_full_cache_leaves_nothing_partial(empty_cache):
    """A file-size limit stands in for a full disk: writing fails half way."""
    code = (
        "import resource, signal; signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (20_000_000, 20_000_000))\n"
        "from helpers.data import mnist, DataError\n"
        "try: mnist('train')\n"
        "except DataError as error: print(error)"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert "Cannot write" in run.stdout, run.stderr
    assert str(empty_cache) in run.stdout
    left = {path.name for path in raw_folder(empty_cache).iterdir()} - {".lock"}
    assert left < set(FILES)
    assert len(mnist("train")) == 60_000, "works once there is room"


def test_valid_cache_needs_no_writing(filled_cache, monkeypatch):
    def refuse(*args, **kwargs):
        raise OSError(errno.EROFS, "read-only")

    monkeypatch.setattr(Path, "mkdir", refuse)
    assert len(mnist("test")) == 10_000


@pytest.mark.skipif(not POSIX, reason="another home on Windows")
def test_a_user_without_a_home_folder_is_told_the_variable(monkeypatch):
    """As in a container that runs under any user's number."""
    code = (
        "import os; os.environ.pop('HOME', None); os.setuid(54321)\n"
        "from helpers.data import cache_folder, DataError\n"
        "try: cache_folder()\n"
        "except DataError as error: print(error)"
    )
    if os.getuid() != 0:
        pytest.skip("only root can become a user without a home")
    monkeypatch.delenv("PYTORCH_BY_HAND_CACHE", raising=False)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert "PYTORCH_BY_HAND_CACHE" in run.stdout, run.stderr


def test_cache_folder_follows_the_variable(empty_cache, monkeypatch):
    assert cache_folder() == empty_cache
    monkeypatch.delenv("PYTORCH_BY_HAND_CACHE")
    assert cache_folder().is_absolute()
    assert cache_folder().name == "pytorch-by-hand"
