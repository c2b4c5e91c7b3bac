"""mypy --strict over the helpers, with the settings in pyproject.toml."""

import subprocess
import sys

from book_files import ROOT


def mypy(*arguments):
    command = [sys.executable, "-m", "mypy", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True)


def test_the_helpers_are_annotated_and_the_annotations_hold():
    run = mypy()
    assert run.returncode == 0, run.stdout + run.stderr


def test_a_missing_and_a_wrong_annotation_are_found(tmp_path):
    path = tmp_path / "example.py"
    path.write_text("def one(x):\n    return x\n\n\ntwo: int = 'two'\n")
    found = mypy(path).stdout
    assert "[no-untyped-def]" in found
    assert "[assignment]" in found
