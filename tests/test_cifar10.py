"""CIFAR-10 from each of its sources, with a small copy on a local server."""

import concurrent.futures
import errno
import hashlib
import http.client
import http.server
import io
import os
import pickle
import re
import shutil
import socket
import tarfile
import threading
import zipfile

import filelock
import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.datasets import CIFAR10

from helpers import data
from helpers.data import DataError, _cifar10, _download, _stand_in

PER_FILE = 20
PNG = b"\x89PNG\r\n\x1a\n"  # how such a file begins
REAL_IMAGES = os.environ.get("CIFAR10_IMAGES")


def pickled_batch(seed):
    rng = np.random.default_rng(seed)
    pixels = rng.integers(0, 256, (PER_FILE, 3072), dtype=np.uint8)
    labels = [index % 10 for index in range(PER_FILE)]
    return pickle.dumps({"data": pixels, "labels": labels})


@pytest.fixture(scope="module")
def small_archive():
    """An archive laid out as CIFAR-10's, and the md5 sums of its files."""
    files = {f"data_batch_{n}": pickled_batch(n) for n in range(1, 6)}
    files["test_batch"] = pickled_batch(6)
    files["batches.meta"] = pickle.dumps({"label_names": list(_cifar10.CLASSES)})
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w:gz") as tar:
        for name, content in files.items():
            entry = tarfile.TarInfo(f"cifar-10-batches-py/{name}")
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))
    sums = {name: hashlib.md5(content).hexdigest() for name, content in files.items()}
    return stream.getvalue(), sums


class Server(http.server.ThreadingHTTPServer):
    """Serves one file, and misbehaves on demand."""

    def __init__(self, content):
        super().__init__(("127.0.0.1", 0), Handler)
        self.content = content
        self.behavior = "normal"
        self.ranges = []
        self.silence = threading.Event()


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        server = self.server
        asked = self.headers.get("Range", "bytes=0-")
        server.ranges.append(asked)
        start = int(asked.removeprefix("bytes=").removesuffix("-"))
        if server.behavior == "missing":
            return self.send_error(404)
        if start >= len(server.content):
            return self.send_error(416)
        if server.behavior == "no ranges":
            start = 0
        body = server.content[start:]
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if server.behavior in ("cut", "stall", "cut once"):
            self.wfile.write(body[: len(body) // 2])
            self.wfile.flush()
            if server.behavior == "cut once":
                server.behavior = "normal"
            if server.behavior == "stall":
                server.silence.wait(20)
            return None
        if server.behavior == "wrong":
            body = bytes(len(body))
        self.wfile.write(body)
        return None

    def log_message(self, *args):
        pass


@pytest.fixture
def server(small_archive, empty_cache, monkeypatch):
    """A local server in place of CIFAR-10's, with the small archive."""
    content, sums = small_archive
    monkeypatch.setenv("CIFAR10_IMAGES", "")
    running = Server(content)
    # It looks that often whether it shall end: twice a second would be slow here.
    threading.Thread(target=running.serve_forever, args=[0.01], daemon=True).start()
    url = f"http://127.0.0.1:{running.server_port}/cifar-10-python.tar.gz"
    monkeypatch.setattr(CIFAR10, "url", url)
    monkeypatch.setattr(CIFAR10, "tgz_md5", hashlib.md5(content).hexdigest())
    train = [[name, sums[name]] for name in sums if name.startswith("data")]
    monkeypatch.setattr(CIFAR10, "train_list", train)
    monkeypatch.setattr(CIFAR10, "test_list", [["test_batch", sums["test_batch"]]])
    meta = {**CIFAR10.meta, "md5": sums["batches.meta"]}
    monkeypatch.setattr(CIFAR10, "meta", meta)
    monkeypatch.setattr(_stand_in, "COUNT", {"train": 50, "test": 10})
    monkeypatch.setattr(_download, "STALLED", 0.5)
    monkeypatch.setattr(_download, "PAUSE", 0)
    yield running
    running.silence.set()
    running.shutdown()
    running.server_close()


@pytest.fixture
def restart(monkeypatch):
    """Return a function that forgets the source, as a new Python has."""
    return lambda: monkeypatch.setenv("CIFAR10_IMAGES", "")


def part_size(cache):
    parts = list(cache.glob("*.part"))
    return parts[0].stat().st_size if parts else 0


def test_whole_download(server, empty_cache, restart, capsys):
    train, test = data.cifar10("train"), data.cifar10("test")
    assert isinstance(train, CIFAR10)
    assert (len(train), len(test)) == (5 * PER_FILE, PER_FILE)
    assert not train.is_stand_in
    assert train.data.shape == (100, 32, 32, 3)
    assert "100%" in capsys.readouterr().out, "progress is shown"
    restart()
    assert np.array_equal(data.cifar10("test").data, test.data)
    assert len(server.ranges) == 1, "the second one reads the file"
    assert part_size(empty_cache) == 0


def test_archive_and_unpacked_folder_are_read_as_torchvision_reads_them(
    server, small_archive, empty_cache, tmp_path, restart, monkeypatch
):
    archive = tmp_path / "somewhere" / "cifar-10-python.tar.gz"
    archive.parent.mkdir()
    archive.write_bytes(small_archive[0])
    with tarfile.open(archive) as tar:
        for member in tar:
            (tmp_path / member.name).parent.mkdir(exist_ok=True)
            (tmp_path / member.name).write_bytes(tar.extractfile(member).read())
    expected = CIFAR10(tmp_path, train=True)
    batches = tmp_path / "cifar-10-batches-py"
    for named in (archive, archive.parent, batches, tmp_path):
        monkeypatch.setenv("CIFAR10_IMAGES", str(named))
        train = data.cifar10("train")
        assert np.array_equal(train.data, expected.data)
        assert train.targets == expected.targets
        assert train.classes == expected.classes
    for put in (archive, batches):  # where torchvision would look for it
        empty_cache.mkdir(exist_ok=True)
        target = empty_cache / put.name
        shutil.copytree(put, target) if put.is_dir() else shutil.copy(put, target)
        restart()
        assert np.array_equal(data.cifar10("train").data, expected.data)
        shutil.rmtree(empty_cache)
    assert server.ranges == [], "nothing was downloaded"


def test_a_connection_that_breaks_is_made_anew(server, small_archive):
    server.behavior = "cut once"
    assert not data.cifar10("test").is_stand_in
    assert server.ranges == ["bytes=0-", f"bytes={len(small_archive[0]) // 2}-"]


@pytest.mark.parametrize(
    ("behavior", "is_kept", "told"),
    [
        ("cut", True, "are kept"),
        ("stall", True, "are kept"),
        ("wrong", False, "not the expected file"),
        ("missing", False, "404"),
    ],
)
def test_a_download_that_fails_says_why_and_goes_on_where_it_ended(
    behavior, is_kept, told, server, empty_cache, restart, capsys
):
    server.behavior = behavior
    assert data.cifar10("test").is_stand_in, "half a file never counts as data"
    kept = part_size(empty_cache)
    assert (kept > 0) == is_kept
    assert told in " ".join(capsys.readouterr().out.split())
    server.behavior = "normal"
    restart()
    assert not data.cifar10("test").is_stand_in
    assert server.ranges[-1] == f"bytes={kept}-"


def test_a_network_that_goes_away_is_no_full_disk(server, monkeypatch, capsys):
    def gone(*_):
        raise OSError(errno.EHOSTUNREACH, "No route to host")

    monkeypatch.setattr(http.client.HTTPResponse, "read1", gone)
    assert data.cifar10("test").is_stand_in
    printed = " ".join(capsys.readouterr().out.split())
    assert "fell silent (No route to host)" in printed


def test_server_without_ranges_starts_anew(server, restart):
    server.behavior = "cut"
    data.cifar10("test")
    server.behavior = "no ranges"
    restart()
    assert not data.cifar10("test").is_stand_in


def test_time_limit_keeps_what_arrived(
    server, empty_cache, restart, monkeypatch, capsys
):
    monkeypatch.setattr(_download, "CHUNK", 1000)
    assert data.cifar10("test", time_limit=1e-9).is_stand_in
    assert "time limit" in " ".join(capsys.readouterr().out.split())
    assert part_size(empty_cache) > 0
    restart()
    assert not data.cifar10("test", time_limit=60).is_stand_in


def test_both_halves_come_from_one_source(server, restart):
    """The download fails for the first half, and would succeed for the second."""
    server.behavior = "cut"
    assert data.cifar10("train").is_stand_in
    server.behavior = "normal"
    assert data.cifar10("test").is_stand_in
    assert os.environ["CIFAR10_IMAGES"] == "stand-in", "also where this one starts one"
    restart()
    assert not data.cifar10("train").is_stand_in
    assert not data.cifar10("test").is_stand_in


def test_files_in_the_cache_that_are_damaged(server, empty_cache, restart):
    """While Python runs they are named; later they are downloaded anew."""
    data.cifar10("train")
    path = empty_cache / "cifar-10-python.tar.gz"
    path.write_bytes(path.read_bytes()[:-5000])
    with pytest.raises(DataError, match=r"cifar-10-python\.tar\.gz"):
        data.cifar10("test")
    server.ranges.clear()
    restart()
    assert not data.cifar10("test").is_stand_in
    assert server.ranges == ["bytes=0-"]


def test_who_waited_for_another_process_in_vain_does_not_try_too(
    server, empty_cache, monkeypatch, capsys
):
    """Processes that start together come to the same end."""
    monkeypatch.setattr(_download, "PATIENCE", 0.05)
    empty_cache.mkdir()
    lock = filelock.FileLock(empty_cache / ".download.lock", thread_local=False)
    with lock:  # which the timer's thread releases
        threading.Timer(0.6, lock.release).start()
        with concurrent.futures.ThreadPoolExecutor() as pool:
            assert pool.submit(data.cifar10, "train").result(60).is_stand_in
    assert server.ranges == []
    assert "another process" in " ".join(capsys.readouterr().out.split())


def test_unreachable_server(server, monkeypatch, capsys):
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        port = closed.getsockname()[1]
    url = f"http://127.0.0.1:{port}/a-folder-with-a-rather-long-name/x.tar.gz"
    monkeypatch.setattr(CIFAR10, "url", url)
    assert data.cifar10("train").is_stand_in
    printed = capsys.readouterr().out
    assert data.cifar10("test").is_stand_in
    assert capsys.readouterr().out == "", "said once"
    assert "STAND-IN" in printed
    assert url in printed, "no word is cut at the end of a line"
    assert all(len(line) < 80 or url in line for line in printed.splitlines())


@pytest.fixture
def images(tmp_path, empty_cache, monkeypatch):
    """A folder of images, three a class, that passes for a whole CIFAR-10."""
    folder = tmp_path / "photos" / "cifar10"
    rng = np.random.default_rng(0)
    for split in ("train", "test"):
        for name in _cifar10.CLASSES:
            (folder / split / name).mkdir(parents=True)
            for number in range(3):
                pixels = rng.integers(0, 256, (32, 32, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(folder / split / name / f"{number}.png")
    monkeypatch.setattr(_cifar10, "PER_CLASS", {"train": 3, "test": 3})
    monkeypatch.setenv("CIFAR10_IMAGES", str(folder.parent))
    return folder


def zipped(folder, path, separator="/"):
    with zipfile.ZipFile(path, "w") as archive:
        for file in folder.rglob("*.png"):
            name = file.relative_to(folder.parent).as_posix()
            archive.writestr(name.replace("/", separator), file.read_bytes())
    return path


@pytest.mark.parametrize("separator", ["/", "\\"])
def test_folder_and_zip_of_images(images, tmp_path, monkeypatch, separator):
    """Some programs on Windows write backslashes into a zip."""
    test = data.cifar10("test")
    assert test.classes == list(_cifar10.CLASSES)
    assert test.targets == [label for label in range(10) for _ in range(3)]
    with Image.open(images / "test" / "cat" / "1.png") as image:
        expected = np.asarray(image)
    assert np.array_equal(test.data[3 * 3 + 1], expected)
    assert "PNG copy" in test.source
    assert not test.is_stand_in
    path = zipped(images, tmp_path / "photos.zip", separator)
    monkeypatch.setenv("CIFAR10_IMAGES", str(path))
    from_zip = data.cifar10("test")
    assert np.array_equal(test.data, from_zip.data)
    assert test.targets == from_zip.targets


def test_what_macos_leaves_beside_images_is_passed_over(images, tmp_path, monkeypatch):
    expected = data.cifar10("test").data
    for folder in ("test/cat", "__MACOSX/test/cat"):
        (images / folder).mkdir(parents=True, exist_ok=True)
        (images / folder / "._0.png").write_bytes(b"Mac OS X")
    (images / "__MACOSX/test/cat/0.png").write_bytes(b"Mac OS X")
    assert np.array_equal(data.cifar10("test").data, expected)
    path = zipped(images, tmp_path / "photos.zip")
    monkeypatch.setenv("CIFAR10_IMAGES", str(path))
    assert np.array_equal(data.cifar10("test").data, expected)


def test_home_is_found_and_capitals_do_not_matter(images, tmp_path, monkeypatch):
    expected = data.cifar10("test").data
    (images / "test" / "cat").rename(images / "test" / "moved")
    (images / "test" / "moved").rename(images / "test" / "Cat")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    monkeypatch.setenv("CIFAR10_IMAGES", "~/photos")
    test = data.cifar10("test")
    assert test.data.shape == expected.shape
    cats = [n for n, label in enumerate(test.targets) if label == 3]
    assert np.array_equal(test.data[cats], expected[9:12])


def rename(folder):
    (folder / "frog").rename(folder / "0")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (rename, r"(?s)0 images in test/frog, expected 3.*test/0 \(3\)"),
        (lambda test: (test / "frog/2.png").unlink(), "2 images in test/frog"),
        (lambda test: (test / "frog/2.png").write_bytes(b""), r"test/frog/2\.png"),
        (lambda test: (test / "frog/2.png").write_bytes(PNG), r"test/frog/2\.png"),
        (lambda test: Image.new("L", (64, 48)).save(test / "frog/2.png"), "64 by 48"),
    ],
)
def test_images_that_do_not_count_say_what_was_found(images, change, message):
    change(images / "test")
    with pytest.raises(DataError, match=message):
        data.cifar10("test")


@pytest.mark.parametrize(
    "kind", ["nothing", "text", "cut zip", "locked", "cut", "altered"]
)
def test_variable_that_names_no_images(
    images, server, small_archive, tmp_path, monkeypatch, kind
):
    path, archive = tmp_path / "photos.zip", bytearray(small_archive[0])
    archive[len(archive) // 2] ^= kind == "altered"
    if kind == "cut zip":
        zipped(images, path)
        path.write_bytes(path.read_bytes()[:-200])
    elif kind == "locked":
        zipped(images, path)
        locked = bytearray(path.read_bytes())
        for start in re.finditer(rb"PK\x01\x02", locked):  # an entry of the list,
            locked[start.start() + 8] |= 1  # whose flags say that it is encrypted
        path.write_bytes(locked)
    elif kind != "nothing":
        contents = {"text": b"hello", "cut": archive[: -len(archive) // 3]}
        path.write_bytes(contents.get(kind, archive))
    monkeypatch.setenv("CIFAR10_IMAGES", str(path))
    with pytest.raises(DataError, match="CIFAR10_IMAGES") as caught:
        data.cifar10("train")
    assert str(path) in str(caught.value)


def test_stand_in_is_the_same_each_time_and_says_so(empty_cache, monkeypatch, capsys):
    monkeypatch.setenv("CIFAR10_IMAGES", "")
    assert _stand_in.COUNT == {"train": 5_000, "test": 1_000}
    monkeypatch.setattr(_stand_in, "COUNT", {"train": 200, "test": 100})
    first = data.cifar10("test", time_limit=0)
    second = data.cifar10("test", time_limit=0)
    assert np.array_equal(first.data, second.data)
    assert first.targets == second.targets
    assert np.bincount(first.targets).tolist() == [10] * 10
    assert "stand-in" in first.source
    assert "STAND-IN" in capsys.readouterr().out
    train = data.cifar10("train", time_limit=0)
    assert len(train) == 200
    assert not (train.data[:100] == first.data).all(axis=(1, 2, 3)).any()


def test_the_stand_in_can_be_asked_for(server, restart, monkeypatch, capsys):
    """By the variable, and by leaving no time for a download."""
    monkeypatch.setenv("CIFAR10_IMAGES", "stand-in")
    assert data.cifar10("test").is_stand_in
    assert capsys.readouterr().out == "", "no warning: it was asked for"
    restart()
    assert data.cifar10("test", time_limit=0).is_stand_in
    assert server.ranges == [], "nothing was downloaded"


def test_unknown_split_is_refused():
    with pytest.raises(ValueError, match='"train" or "test"'):
        data.cifar10("validation")


@pytest.mark.skipif(not REAL_IMAGES, reason="CIFAR10_IMAGES names no photographs")
def test_real_photographs():
    test = data.cifar10("test")
    assert np.bincount(test.targets).tolist() == [1_000] * 10
    mean, _ = data.mean_and_std(test)
    # Of the test half, and of a copy: near the constants, not equal to them.
    expected = torch.tensor(data.CIFAR10_MEAN).double()
    torch.testing.assert_close(mean, expected, atol=0.02, rtol=0)
