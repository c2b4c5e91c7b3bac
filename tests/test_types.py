"""mypy --strict over the helpers, with the settings in pyproject.toml."""

import subprocess
import sys

import numpy as np
import pytest
from book_files import ROOT

HAS_TYPES = np.lib.NumpyVersion(np.__version__) >= "2.2.0"


def mypy(*arguments):
    command = [sys.executable, "-m", "mypy", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True)


@pytest.mark.skipif(not HAS_TYPES, reason="before 2.2, NumPy's arrays had no types")
def test_the_helpers_are_annotated_and_the_annotations_hold():
    run = mypy()
    assert run.returncode == 0, run.stdout + run.stderr


def test_a_missing_and_a_wrong_annotation_are_found(tmp_path):
    path = tmp_path / "example.py"
    path.write_text("def one(x):\n    return x\n\n\ntwo: int = 'two'\n")
    found = mypy(path).stdout
    assert "[no-untyped-def]" in found
    assert "[assignment]" in found
