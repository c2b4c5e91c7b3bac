"""The doctor: each fault is provoked, or stood in for, and must be named."""

import ast
import getpass
import gzip
import importlib.util
import json
import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import psutil
import pytest
from book_files import ROOT

from helpers import doctor
from helpers.doctor import Report, examine, satisfies

POSIX = os.name == "posix"

TORCH = """
import warnings

__version__ = "2.15.0"

class version:
    cuda = {cuda!r}

class accelerator:
    @staticmethod
    def is_available():
        return False

class cuda:
    @staticmethod
    def is_available():
        for text in {warnings!r}:
            warnings.warn(text)
        return False

def get_num_threads():
    return 3
"""
OLD_DRIVER = (
    "CUDA initialization: The NVIDIA driver on your system is too old (found version "
    "11040). Please update your GPU driver."
)


def write_torch(folder, cuda=None, warnings=()):
    text = TORCH.format(cuda=cuda, warnings=list(warnings))
    (folder / "torch.py").write_text(text)


@pytest.fixture
def packages(tmp_path, monkeypatch):
    """A folder of stand-ins for the packages, which come before the real ones."""
    folder = tmp_path / "packages"
    folder.mkdir()
    for name in doctor.IMPORTED:
        (folder / f"{name}.py").write_text("__version__ = '99.0'\n")
    write_torch(folder)
    monkeypatch.setenv("PYTHONPATH", str(folder))
    monkeypatch.chdir(tmp_path)
    return folder


def imports():
    report = Report()
    doctor._imports(report)
    return report


def names(report):
    return [finding.name for finding in report.findings]


def only(report):
    assert len(report.findings) == 1, report.findings
    return report.findings[0]


# --- Healthy ------------------------------------------------------------------


def test_this_installation(tmp_path):
    """The real command, on real packages."""
    run = subprocess.run(
        [sys.executable, "-m", "helpers.doctor", "--json"],
        cwd=tmp_path,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
    )
    report = json.loads(run.stdout)
    of_the_machine = {"little-memory", "cache-no-space", "temporary-no-space"}
    wrong = [f for f in report["findings"] if f["name"] not in of_the_machine]
    assert wrong == []
    assert run.returncode == (1 if report["findings"] else 0), run.stderr
    assert report["healthy"] == (not report["findings"])
    facts = report["facts"]
    for name in ("Python", "platform", "torch", "torchvision", "numpy", "matplotlib"):
        assert facts[name][0].isalnum(), name
    for name in ("ipywidgets", "jupyter-book", "device", "threads", "CPU cores"):
        assert name in facts
    for name in ("memory", "cache disk", "temporary disk"):
        assert "free" in facts[name]
    assert facts["MNIST, shipped"] == "intact"
    assert "CIFAR-10" in facts
    assert str(Path.home()) + os.sep not in run.stdout
    assert list(tmp_path.iterdir()) == []  # nothing is left behind


def test_stand_ins_are_healthy_and_text_says_so(packages, capsys):
    report = imports()
    assert report.findings == []
    assert report.facts["threads"] == "3"
    assert report.facts["torch is built for"] == "CPU only"
    assert "Healthy: nothing wrong was found." in doctor.as_text(report)


def test_exit_status_and_text_when_something_is_wrong(monkeypatch, capsys):
    report = Report({"Python": "3.99"})
    report.wrong("one", "The first thing.", "Do this.")
    report.wrong("two", "The second thing.", "Do that.")
    monkeypatch.setattr(doctor, "examine", lambda: report)
    assert doctor.main([]) == 1
    text = capsys.readouterr().out
    assert "2 things are wrong" in text
    assert "1. The first thing.\n   To mend it: Do this." in text
    assert doctor.main(["--json"]) == 1
    content = json.loads(capsys.readouterr().out)
    assert content["healthy"] is False
    assert content["findings"][1] == {
        "name": "two",
        "what": "The second thing.",
        "mend": "Do that.",
    }


# --- Python and versions ------------------------------------------------------


def test_minimum_python_is_the_declared_one_and_this_file_is_for_older_ones():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    needed = ".".join(map(str, doctor.MINIMUM_PYTHON))
    assert project["requires-python"] == f">={needed}"
    source = Path(doctor.__file__).read_text(encoding="utf-8")
    ast.parse(source, feature_version=(3, 8))
    assert "from __future__ import annotations" in source


def test_python_too_old(monkeypatch):
    monkeypatch.setattr(sys, "version_info", (3, 9, 7, "final", 0))
    report = Report()
    doctor._python(report)
    assert "3.9.7; the book needs 3.11" in only(report).what


def declare(packages, monkeypatch, requirement):
    """Install, as a stand-in, a book that requires something."""
    folder = packages / "pytorch_by_hand-0.1.0.dist-info"
    folder.mkdir()
    (folder / "METADATA").write_text(
        f"Metadata-Version: 2.1\nName: pytorch-by-hand\nVersion: 0.1.0\n"
        f"Requires-Dist: {requirement}\n"
    )
    monkeypatch.syspath_prepend(str(packages))
    report = Report()
    doctor._packages(report)
    return report


def test_a_missing_package(packages, monkeypatch):
    report = declare(packages, monkeypatch, "no-such-package>=3.1")
    assert only(report).name == "missing-no-such-package"
    assert '"no-such-package>=3.1"' in only(report).mend
    assert report.facts["no-such-package"] == "missing"


def test_a_version_below_the_bound(packages, monkeypatch):
    folder = packages / "numpy-1.20.3.dist-info"
    folder.mkdir()
    text = "Metadata-Version: 2.1\nName: numpy\nVersion: 1.20.3\n"
    (folder / "METADATA").write_text(text)
    report = declare(packages, monkeypatch, "numpy>=1.26")
    assert only(report).what == "numpy is 1.20.3; the book needs numpy>=1.26."


def test_the_book_is_not_installed(monkeypatch):
    def version(name):
        raise doctor.importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(doctor.importlib.metadata, "version", version)
    report = Report()
    doctor._packages(report)
    assert "book-not-installed" in names(report)
    assert "missing-torch" in names(report)  # from pyproject.toml


@pytest.mark.parametrize(
    ("version", "bounds", "answer"),
    [
        ("2.15.0+cu128", ">=2.6", True),
        ("2.6", ">=2.6.0", True),
        ("2.5.1", ">=2.6", False),
        ("2.0.0", ">=1.0.4,<2", False),
        ("1.0.4.post1", ">=1.0.4,<2", True),
        ("10.0", ">=9", True),
        ("1.0", "", True),
    ],
)
def test_bounds(version, bounds, answer):
    assert satisfies(version, bounds) is answer


# --- Imports ------------------------------------------------------------------


def test_cpu_torch_beside_cuda_torchvision(packages):
    (packages / "torchvision.py").write_text(
        "raise RuntimeError('operator torchvision::nms does not exist')"
    )
    finding = only(imports())
    assert finding.name == "torchvision-does-not-fit"
    assert "do not belong together" in finding.what
    assert "download.pytorch.org/whl/cpu" in finding.mend


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("raise ImportError('libcudart.so.12: cannot open')", "libcudart.so.12"),
        ("import os; os._exit(3)", "Python crashed (exit status 3)"),
        ("import sys; sys.exit('good-bye')", "SystemExit: good-bye"),
        ("import os; os.abort()", "Python crashed"),
    ],
)
def test_torch_cannot_be_imported(packages, code, said):
    (packages / "torch.py").write_text(code)
    report = imports()
    finding = only(report)
    assert finding.name == "import-torch"
    assert said in finding.what
    assert "virtual environment" in finding.mend


def test_an_import_that_never_ends(packages, monkeypatch):
    (packages / "torch.py").write_text("import time; time.sleep(600)")
    monkeypatch.setattr(doctor, "IMPORT_TIME_LIMIT", 5)
    assert "no end after 5 seconds" in only(imports()).what


def test_an_old_driver(packages):
    write_torch(packages, cuda="12.8", warnings=[OLD_DRIVER])
    finding = only(imports())
    assert finding.name == "old-driver"
    assert "found version 11040" in finding.what
    assert "newer driver" in finding.mend


def test_no_gpu_is_nothing_wrong(packages):
    text = "CUDA initialization: Found no NVIDIA driver on your system."
    write_torch(packages, cuda="12.8", warnings=[text])
    report = imports()
    assert report.findings == []
    assert report.facts["torch is built for"] == "CUDA 12.8"


def test_a_file_named_as_a_package(packages, tmp_path):
    """A reader's own torch.py in the folder where notebooks are started."""
    (tmp_path / "numpy.py").write_text("print('my notes')\n")
    finding = only(imports())
    assert finding.name == "shadowed-numpy"
    assert "numpy.py" in finding.what
    assert "Rename" in finding.mend


def test_what_fails_only_because_another_does_is_not_told(packages):
    advice = "IMPORTANT: PLEASE READ THIS\\n\\nOriginal error was: no libopenblas"
    (packages / "numpy.py").write_text(f"raise ImportError('{advice}')\n")
    for name in ("torch", "torchvision", "matplotlib"):
        (packages / f"{name}.py").write_text("import numpy\n")
    finding = only(imports())
    assert finding.name == "import-numpy"
    assert "no libopenblas" in finding.what
    assert "IMPORTANT" not in finding.what
    assert "--force-reinstall numpy" in finding.mend


def test_a_file_named_as_a_part_of_python(packages, tmp_path):
    (tmp_path / "book").mkdir()
    (tmp_path / "book" / "code.py").write_text("x = 1\n")
    (tmp_path / "mine.py").write_text("x = 1\n")
    finding = only(imports())
    assert finding.name == "shadowed-python"
    assert "code.py" in finding.what


def test_a_file_that_the_doctor_itself_stumbles_over(tmp_path):
    (tmp_path / "random.py").write_text("x = 1\n")
    # Where coverage is measured, it would have imported the real one before.
    environment = {k: v for k, v in os.environ.items() if "COVERAGE" not in k}
    run = subprocess.run(
        [sys.executable, "-m", "helpers.doctor"],
        cwd=tmp_path,
        env=environment | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert run.returncode == 1
    assert "Traceback" not in run.stderr
    assert str(tmp_path / "random.py") in run.stderr
    assert "Rename it" in run.stderr


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="copies a .so")
@pytest.mark.parametrize(("name", "is_wrong"), [("libiomp5", True), ("libgomp", False)])
def test_two_openmp_runtimes(packages, name, is_wrong):
    """Two runtimes are really loaded: copies of the one that torch brings."""
    torch = importlib.util.find_spec("torch").submodule_search_locations[0]
    runtimes = list(Path(torch, "lib").glob("libgomp*"))
    if not runtimes:
        pytest.skip("this torch brings no libgomp")
    for copy, package in (("libgomp-1.so.1", "torch"), (f"{name}.so", "matplotlib")):
        shutil.copy(runtimes[0], packages / copy)
        with (packages / f"{package}.py").open("a") as file:
            file.write(f"\nimport ctypes\nctypes.CDLL({str(packages / copy)!r})\n")
    report = imports()
    if is_wrong:
        assert only(report).name == "two-openmp"
        assert "libiomp5.so" in only(report).what
        assert "conda" in only(report).mend
    else:
        assert report.findings == []
        assert "Two copies" in report.notes[0]


def test_openmp_that_aborts(packages):
    """What Intel's runtime does when it meets another one."""
    (packages / "matplotlib.py").write_text(
        "import os, sys\n"
        "sys.stderr.write('OMP: Error #15: Initializing libiomp5.so, but found "
        "libomp.so already initialized.\\n')\n"
        "sys.stderr.flush()\nos.abort()\n"
    )
    assert only(imports()).name == "two-openmp"


def test_a_kernel_of_another_python(tmp_path, monkeypatch):
    spec = tmp_path / "kernels" / "python3"
    spec.mkdir(parents=True)
    argv = [str(tmp_path / "old" / "bin" / "python"), "-m", "ipykernel_launcher"]
    text = json.dumps({"argv": argv, "display_name": "Python 3", "language": "python"})
    (spec / "kernel.json").write_text(text)
    monkeypatch.setenv("JUPYTER_DATA_DIR", str(tmp_path))
    monkeypatch.setenv("JUPYTER_PREFER_ENV_PATH", "0")
    report = Report()
    doctor._kernel(report)
    assert only(report).name == "other-kernel"
    assert str(spec) in only(report).mend


# --- The machine and the data -------------------------------------------------


def test_little_memory(monkeypatch):
    monkeypatch.setattr(doctor, "memory", lambda: (4 << 30, 300 << 20))
    report = Report()
    doctor._machine(report)
    assert "Only 300 MB of memory are free" in only(report).what


def test_memory_is_known_where_the_system_keeps_no_files_about_it(monkeypatch):
    monkeypatch.setattr(doctor, "_text", lambda path: "")
    total, free = doctor.memory()
    assert total == psutil.virtual_memory().total
    assert 0 < free < total


def test_a_container_s_memory_counts(monkeypatch):
    texts = {
        "meminfo": "MemTotal: 16000000 kB\nMemAvailable: 12000000 kB\n",
        "memory.max": "1073741824\n",
        "memory.current": "1000000000\n",
    }
    monkeypatch.setattr(doctor, "_text", lambda path: texts[path.name])
    assert doctor.memory() == (1073741824, 73741824)


def folders():
    report = Report()
    doctor._folders(report)
    return report


def test_a_full_disk(empty_cache, monkeypatch):
    usage = shutil.disk_usage(".")._replace(free=7 << 20)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    report = folders()
    assert names(report) == ["cache-no-space", "temporary-no-space"]
    assert "Only 7 MB are free" in report.findings[0].what
    assert "PYTORCH_BY_HAND_CACHE" in report.findings[0].mend


def test_a_temporary_folder_that_cannot_be_used(empty_cache, tmp_path, monkeypatch):
    monkeypatch.setenv("TMPDIR" if POSIX else "TEMP", str(tmp_path / "none"))
    report = folders()
    assert "where no file can be written" in report.notes[0]


@pytest.mark.skipif(not POSIX, reason="Windows has no such quota")
def test_a_quota_that_is_used_up(tmp_path):
    """No file may grow: writing really fails, though the disk has space."""
    code = (
        "import resource, sys; from helpers import doctor\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))\n"
        "report = doctor.Report(); doctor._folders(report)\n"
        "print(*(finding.name for finding in report.findings))"
    )
    chosen = {"PYTORCH_BY_HAND_CACHE": str(tmp_path / "new"), "TMPDIR": str(tmp_path)}
    run = subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | chosen,
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert run.stdout.split() == ["cache-not-writable", "temporary-not-writable"]


def test_a_cache_that_is_a_file(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("PYTORCH_BY_HAND_CACHE", str(tmp_path / "file"))
    assert names(folders()) == ["cache-not-writable"]


def data():
    report = Report()
    doctor._data(report)
    return report


def test_the_cache_is_the_one_that_the_data_uses(empty_cache):
    from helpers.data import cache_folder
    from helpers.data._mnist import MD5_SUMS

    assert doctor.cache_folder() == cache_folder() == empty_cache
    assert doctor._md5_sums() == MD5_SUMS


def test_nothing_is_unpacked_yet(empty_cache):
    report = data()
    assert report.findings == []
    assert report.facts["MNIST, unpacked"] == "not unpacked yet"
    assert not empty_cache.exists()


def test_a_damaged_file_in_the_cache(empty_cache):
    raw = empty_cache / "MNIST" / "raw"
    raw.mkdir(parents=True)
    name = "t10k-labels-idx1-ubyte"
    content = gzip.decompress((ROOT / "helpers" / "mnist" / f"{name}.gz").read_bytes())
    (raw / name).write_bytes(content[:-1] + b"\x0b")
    finding = only(data())
    assert finding.name == "cache-damaged"
    assert name in finding.what
    assert "Delete that file" in finding.mend


@pytest.mark.parametrize("damage", ["cut", "missing", "other"])
def test_a_damaged_file_of_the_book(damage, empty_cache, tmp_path, monkeypatch):
    package = tmp_path / "helpers"
    (package / "mnist").mkdir(parents=True)
    (package / "data").mkdir()
    for path in (ROOT / "helpers" / "mnist").glob("*-labels-*"):
        shutil.copy(path, package / "mnist")
    for name in ("_mnist.py", "_cache.py"):
        shutil.copy(ROOT / "helpers" / "data" / name, package / "data")
    monkeypatch.setattr(doctor, "PACKAGE", package)
    sums = {n: md5 for n, md5 in doctor._md5_sums().items() if "labels" in n}
    monkeypatch.setattr(doctor, "_md5_sums", lambda: sums)
    assert data().findings == []
    path = package / "mnist" / "t10k-labels-idx1-ubyte.gz"
    content = {
        "cut": path.read_bytes()[:1000],
        "missing": b"",
        "other": gzip.compress(b"version https://git-lfs.github.com/spec/v1"),
    }[damage]
    path.write_bytes(content)
    if damage == "missing":
        for path in (package / "mnist").iterdir():
            path.unlink()
    finding = only(data())
    assert finding.name == "mnist-damaged"
    assert path.name in finding.what
    assert "git checkout" in finding.mend


def test_photographs_that_are_not_there(empty_cache, monkeypatch):
    monkeypatch.setenv("CIFAR10_IMAGES", "/no/such.zip")
    assert only(data()).name == "cifar10-not-there"


# --- Nothing private ----------------------------------------------------------


def test_home_and_user_are_not_named(tmp_path, monkeypatch):
    home = tmp_path / "Users" / "Anna Example"
    monkeypatch.setattr(Path, "home", lambda: home)
    monkeypatch.setattr(getpass, "getuser", lambda: "anna")
    report = Report({"Python": f"3.11, {home}/venv/bin/python"})
    report.wrong("x", f"{home}: cannot write; /scratch/anna/cache", f"Delete {home}/x")
    report.notes.append(f"see {home}")
    for text in (doctor.as_text(report), doctor.as_json(report)):
        assert "Anna Example" not in text
        assert "anna" not in text
        assert "~/venv/bin/python" in text
        assert "/scratch/USER/cache" in text


def test_examine_looks_at_everything(packages):
    report = examine()
    assert {"Python", "helpers", "OpenMP", "memory", "cache folder"} <= set(
        report.facts
    )
