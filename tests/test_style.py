"""Style (ruff), annotations (mypy --strict over the helpers) and spelling (codespell).

What they find depends on their versions and on those of other packages. So this is
for the checks of a change, with the versions that the extra `dev` pins, and not for
every reader.
"""

import json
import os
import re
import subprocess
import sys

import pytest
from book_files import CHAPTERS, ROOT

pytestmark = pytest.mark.skipif(
    not os.environ.get("CI"), reason="for .ci/run: style, annotations, spelling"
)

SPELLED = ["README.md", "CONTRIBUTING.md", "CHANGELOG.md", "CITATION.cff", "LICENSE"]
SPELLED += ["pyproject.toml", "requirements.txt", "_config.yml", "_toc.yml"]
SPELLED += ["README.zh-CN.md", "book", "helpers", "tests", ".ci", ".github"]


def test_ruff_is_clean():
    for command in (["check"], ["format", "--check"]):
        run = subprocess.run(
            [sys.executable, "-m", "ruff", *command, "."],
            cwd=ROOT,
            capture_output=True,
            text=True,
        )
        assert run.returncode == 0, run.stdout + run.stderr


def test_solutions_are_clean(tmp_path):
    """Ruff passes over cells that begin with a magic it does not know."""
    for path in CHAPTERS:
        notebook = json.loads(path.read_text(encoding="utf-8"))
        for cell in notebook["cells"]:
            if cell["source"] and cell["source"][0].startswith("%%solution"):
                del cell["source"][0]
                if cell["source"][0].startswith("# Seen: "):  # it may be long
                    del cell["source"][0]
        (tmp_path / path.name).write_text(json.dumps(notebook), encoding="utf-8")
    setup = ROOT / "pyproject.toml"
    command = ["check", f"--config={setup}", "--extend-ignore=D1,E402,B018", tmp_path]
    run = subprocess.run(
        [sys.executable, "-m", "ruff", *command], capture_output=True, text=True
    )
    assert run.returncode == 0, run.stdout + run.stderr


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


def codespell(*arguments):
    """Run codespell with the settings in pyproject.toml."""
    command = [sys.executable, "-m", "codespell_lib", "--check-hidden", *arguments]
    environment = os.environ | {"PYTHONUTF8": "1"}
    return subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True
    )


def test_spelling():
    run = codespell(*SPELLED)
    assert run.returncode == 0, run.stdout + run.stderr


def test_a_misspelling_is_found(tmp_path):
    cell = {"cell_type": "markdown", "source": ["Recieved."]}  # codespell:ignore
    (tmp_path / "a.ipynb").write_text(json.dumps({"cells": [cell]}))
    (tmp_path / "b.py").write_text('"""A fine colour."""\n')  # codespell:ignore
    run = codespell(str(tmp_path))
    found = re.findall(r"(\w+) ==> (\w+)", run.stdout)
    assert sorted(found) == [
        ("Recieved", "Received"),  # codespell:ignore
        ("colour", "color"),  # codespell:ignore
    ]
