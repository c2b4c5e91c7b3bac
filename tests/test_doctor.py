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
POSIX = os.name == "posix"
NO_SUCH_USER = (
    "import pwd\ndef unknown(uid): raise KeyError(uid)\npwd.getpwuid = unknown\n"
)


class Patient:
    """A folder that Python imports from before all others, and an environment."""

    def __init__(self, folder):
        self.packages, self.here = folder / "packages", folder / "书"
        self.packages.mkdir()
        self.here.mkdir()
        self.requires("numpy")
        for name in doctor.IMPORTED:
            self.write(f"{name}.py", "__version__ = '1.0'")
        outside = {k: v for k, v in os.environ.items() if "COVERAGE" not in k}
        self.environment = outside | {
            "PYTHONPATH": os.pathsep.join(map(str, (self.packages, ROOT))),
            "PYTORCH_BY_HAND_CACHE": str(folder / "cache"),
        }

    def write(self, name, content):
        (self.packages / name).parent.mkdir(exist_ok=True)
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

    def findings(self):
        """Return what is wrong, by name: what was found, and the remedy."""
        report = json.loads(self.examined("--json")[1])
        wrong = {name: (fact, mend) for name, fact, mend in report["found"] if mend}
        assert report["healthy"] == (not wrong)
        return wrong


@pytest.fixture
def patient(tmp_path):
    return Patient(tmp_path)


def test_an_installation_that_is_well(patient):
    for name in doctor.IMPORTED:
        (patient.packages / f"{name}.py").unlink()  # so the real ones are imported
    status, text = patient.examined()
    lines = dict(line.split(maxsplit=1) for line in text.splitlines() if line.strip())
    for name in ("numpy", "torch", "torchvision", "matplotlib"):
        assert lines[name].startswith(importlib.metadata.version(name))
    assert lines["Python"] == ".".join(map(str, sys.version_info[:3]))
    assert lines["t10k-labels-idx1-ubyte"] == "intact"
    assert text.rstrip().endswith("Healthy: nothing wrong was found.")
    assert status == 0


@pytest.mark.parametrize(
    ("package", "code", "said", "remedy"),
    [
        ("torch", "raise ImportError('no libcudart')", "no libcudart", "fresh"),
        ("torch", "import os; os._exit(3)", "status 3", "fresh"),
        ("matplotlib", "import os; os.abort()", "status", "fresh"),
        ("torchvision", "raise OSError('torchvision::nms')", "nms", "whl/cpu"),
        ("numpy", "print('notes of my own')", "__version__", "rename the numpy"),
    ],
)
def test_a_package_that_cannot_be_imported(patient, package, code, said, remedy):
    patient.write(f"{package}.py", code)
    (name, (fact, mend)), *others = patient.findings().items()
    assert (name, others) == (package, [])
    assert said in fact
    assert remedy in mend


def test_a_version_that_does_not_fit(patient):
    patient.requires("no-such-package>=3.1")
    assert "no-such-package" in patient.findings()["versions"][0]


def test_a_file_named_as_a_part_of_python(patient):
    (patient.here / "random.py").write_text("x = 1\n")
    assert patient.findings()["random.py"][1] == "rename it"


@pytest.mark.skipif(not POSIX, reason="Windows knows the home folder otherwise")
def test_no_home_no_unicode_no_folder_to_write_to(patient, tmp_path):
    (tmp_path / "file").write_text("")
    patient.write("sitecustomize.py", NO_SUCH_USER)
    patient.write("ipykernel.py", "raise ImportError('书')")
    for name in ("HOME", "PYTORCH_BY_HAND_CACHE"):
        patient.environment.pop(name, None)
    _, text = patient.examined(PYTHONIOENCODING="cp1252")
    assert "PYTORCH_BY_HAND_CACHE" in text
    assert "u4e66" in text  # a letter that the output cannot show
    folders = {"PYTORCH_BY_HAND_CACHE": str(tmp_path / "file" / "x")}
    status, text = patient.examined(**folders, PYTHONIOENCODING="cp1252")
    assert "Wrong: cache folder: cannot be written" in text
    assert status == 1


@pytest.mark.parametrize("damage", ["cut", "other", "missing"])
def test_damaged_digits(patient, damage):
    for name in ("doctor.py", "__init__.py", "data/_mnist.py", "data/_cache.py"):
        patient.write(f"helpers/{name}", (ROOT / "helpers" / name).read_text())
    shutil.copytree(ROOT / "helpers" / "mnist", patient.packages / "helpers" / "mnist")
    path = patient.packages / "helpers" / "mnist" / "t10k-labels-idx1-ubyte.gz"
    content = {"cut": path.read_bytes()[:999], "other": gzip.compress(b"oid sha256")}
    path.write_bytes(content.get(damage, b""))
    if damage == "missing":
        path.unlink()
    (name, (_, mend)), *others = patient.findings().items()
    assert (name, others) == ("t10k-labels-idx1-ubyte", [])
    assert "git checkout" in mend


def test_no_folder_and_no_person_is_named(patient, tmp_path):
    home = tmp_path / "Anna Example"
    home.mkdir()
    patient.write("torch.py", f"raise ImportError('{home}/lib/x.so: not opened')")
    patient.write("numpy.py", "raise ImportError('no such folder: /scratch/anna')")
    cache = {"PYTORCH_BY_HAND_CACHE": str(home / "cache"), "USER": "anna"}
    for options in ([], ["--json"]):
        _, text = patient.examined(*options, HOME=str(home), **cache)
        assert ".../x.so: not opened" in text
        assert "anna" not in text.lower()
        assert tmp_path.name not in text


def test_it_knows_the_declared_minimum_and_runs_on_older_pythons():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    needed = ".".join(map(str, doctor.MINIMUM_PYTHON))
    assert project["requires-python"] == f">={needed}"
    source = Path(doctor.__file__).read_text(encoding="utf-8")
    ast.parse(source, feature_version=(3, 9))
