"""The doctor, run as a reader runs it, in installations that are not well."""

import ast
import gzip
import importlib.metadata
import json
import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from helpers import doctor

ROOT = Path(__file__).parent.parent
NO_SUCH_USER = (
    "import pwd\ndef unknown(uid): raise KeyError(uid)\npwd.getpwuid = unknown\n"
)


# What a package does when it is imported, what is said of it, and the remedy.
SICK = {
    "torch": ("raise ImportError('{}/x.so: not opened')", ".../x.so: not", "fresh"),
    "torchvision": ("raise OSError('torchvision::nms')", "nms", "whl/cpu"),
    "matplotlib": ("import os; os.abort()", "status", "fresh"),
    "ipywidgets": ("import os; os._exit(3)", "status 3", "fresh"),
    "numpy": ("print('notes of my own')", "__version__", "rename the numpy"),
}


class Patient:
    """A folder that Python imports from before all others, and an environment."""

    def __init__(self, folder):
        self.packages, self.here = folder / "packages", folder / "书"
        self.packages.mkdir()
        self.here.mkdir()
        self.requires("numpy")
        self.environment = {k: v for k, v in os.environ.items() if "COVERAGE" not in k}
        self.environment["PYTHONPATH"] = f"{self.packages}{os.pathsep}{ROOT}"
        self.environment["PYTORCH_BY_HAND_CACHE"] = str(folder / "cache")

    def write(self, name, content):
        (self.packages / name).parent.mkdir(parents=True, exist_ok=True)
        (self.packages / name).write_text(content, encoding="utf-8")

    def requires(self, requirement):
        metadata = "Metadata-Version: 2.1\nName: pytorch-by-hand\nVersion: 0.1.0\n"
        requirement = f"Requires-Dist: {requirement}\n"
        self.write("pytorch_by_hand-0.1.0.dist-info/METADATA", metadata + requirement)

    def examined(self, *options, **environment):
        """Return exit status and output; what goes wrong is never a traceback."""
        run = subprocess.run(
            [sys.executable, "-m", "helpers.doctor", *options],
            cwd=self.here,
            env=self.environment | environment,
            capture_output=True,
        )
        assert b"Traceback" not in run.stdout + run.stderr, run.stderr
        return run.returncode, run.stdout.decode("ascii")


@pytest.fixture
def patient(tmp_path):
    return Patient(tmp_path)


def test_an_installation_that_is_well(patient):
    status, text = patient.examined()
    lines = dict(line.split(maxsplit=1) for line in text.splitlines() if line.strip())
    for name in ("numpy", "torch", "torchvision", "matplotlib"):
        assert lines[name].startswith(importlib.metadata.version(name))
    assert lines["Python"] == ".".join(map(str, sys.version_info[:3]))
    assert lines["t10k-labels-idx1-ubyte"] == "intact"
    assert text.rstrip().endswith("Healthy: nothing wrong was found.")
    assert status == 0


def test_all_that_is_wrong_is_found_and_no_person_is_named(patient, tmp_path):
    home, expected = tmp_path / "Anna Example", {}
    home.mkdir()
    patient.write("ipykernel.py", "__version__ = '1.0'")
    for name, (code, *found) in SICK.items():
        patient.write(f"{name}.py", code.format(home / "lib"))
        expected[name] = found
    patient.requires("no-such-package>=3.1")
    patient.write("broken-1.0.dist-info/RECORD", "")  # a pip that was stopped
    expected["versions"] = ["no-such-package", "requirements.txt"]
    (patient.here / "random.py").write_text("x = 1\n")
    expected["random.py"] = ["imported in the place", "rename it"]
    expected["Jupyter kernel"] = ["ImportError", "ipykernel install"]  # a consequence
    for name in ("doctor.py", "__init__.py", "data/_mnist.py", "data/_cache.py"):
        patient.write(f"helpers/{name}", (ROOT / "helpers" / name).read_text())
    digits = patient.packages / "helpers" / "mnist"
    shutil.copytree(ROOT / "helpers" / "mnist", digits)
    cut, other, missing, _ = sorted(digits.iterdir())
    cut.write_bytes(cut.read_bytes()[:999])
    other.write_bytes(gzip.compress(b"oid sha256"))
    missing.unlink()
    expected |= {p.stem: ["damaged", "git checkout"] for p in (cut, other, missing)}
    (home / "file").write_text("")
    expected["cache folder"] = ["cannot be written", "PYTORCH_BY_HAND_CACHE"]
    folders = {"HOME": str(home), "PYTORCH_BY_HAND_CACHE": str(home / "file" / "x")}
    status, text = patient.examined("--json", USER="anna", **folders)
    report = json.loads(text)
    wrong = {name: found for name, *found in report["found"] if found[1]}
    assert wrong.keys() == expected.keys()
    for name, words in expected.items():
        for word, said in zip(words, wrong[name], strict=True):
            assert word in said, name
    assert (status, report["healthy"]) == (1, False)
    assert "anna" not in text.lower()
    assert tmp_path.name not in text


@pytest.mark.skipif(os.name != "posix", reason="Windows finds the home otherwise")
def test_no_home_and_no_unicode(patient):
    for name in doctor.IMPORTED:
        patient.write(f"{name}.py", "raise ImportError('书: not in /scratch/anna/x')")
    patient.write("sitecustomize.py", NO_SUCH_USER)
    for name in ("HOME", "PYTORCH_BY_HAND_CACHE"):
        patient.environment.pop(name, None)
    status, text = patient.examined(PYTHONIOENCODING="cp1252", USER="anna")
    assert status == 1
    assert "Wrong: cache folder: cannot be written" in text
    assert "choose another with PYTORCH_BY_HAND_CACHE" in text
    assert "u4e66" in text  # a letter that the output cannot show
    assert "anna" not in text


def test_it_knows_the_declared_minimum_and_runs_on_older_pythons():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    needed = ".".join(map(str, doctor.MINIMUM_PYTHON))
    assert project["requires-python"] == f">={needed}"
    source = Path(doctor.__file__).read_text(encoding="utf-8")
    ast.parse(source, feature_version=(3, 9))
