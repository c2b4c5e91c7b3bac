"""mypy --strict over the helpers, with the settings in pyproject.toml.

What it finds depends on how other packages, in the versions that are there,
annotate themselves. So this is for the checks of a change, not for every reader.
"""

import os
import subprocess
import sys

import pytest
from book_files import ROOT

in_checks = pytest.mark.skipif(
    not os.environ.get("CI"), reason="for .ci/run; by hand: python -m mypy"
)


def mypy(*arguments):
    command = [sys.executable, "-m", "mypy", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True)


@in_checks
def test_the_helpers_are_annotated_and_the_annotations_hold():
    run = mypy()
    assert run.returncode == 0, run.stdout + run.stderr


def test_a_missing_and_a_wrong_annotation_are_found(tmp_path):
    path = tmp_path / "example.py"
    path.write_text("def one(x):\n    return x\n\n\ntwo: int = 'two'\n")
    found = mypy(path).stdout
    assert "[no-untyped-def]" in found
    assert "[assignment]" in found
