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
from pathlib import Path

import pytest
from book_files import CHAPTERS, ROOT

pytestmark = pytest.mark.skipif(
    not os.environ.get("CI"), reason="for .ci/run: style, annotations, spelling"
)

SPELLED = ["README.md", "CONTRIBUTING.md", "CHANGELOG.md", "CITATION.cff", "LICENSE"]
SPELLED += ["pyproject.toml", "requirements.txt", "_config.yml", "_toc.yml"]
SPELLED += ["README.zh-CN.md", "book", "helpers", "tests", ".ci", ".github"]


def run(*words):
    return subprocess.run(
        [sys.executable, "-m", *words],
        cwd=ROOT,
        env=os.environ | {"PYTHONUTF8": "1"},
        capture_output=True,
        text=True,
    )


@pytest.mark.parametrize("command", [["check"], ["format", "--check"]])
def test_ruff_is_clean(command):
    found = run("ruff", *command, ".")
    assert found.returncode == 0, found.stdout + found.stderr


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
    rules = [f"--config={ROOT / 'pyproject.toml'}", "--extend-ignore=D1,E402,B018"]
    found = run("ruff", "check", *rules, tmp_path)
    assert found.returncode == 0, found.stdout + found.stderr


def test_the_helpers_are_annotated_and_the_annotations_hold(tmp_path):
    """Of a file with mistakes beside them, two are found, so that mypy does look."""
    path = tmp_path / "example.py"
    path.write_text("def one(x):\n    return x\n\n\ntwo: int = 'two'\n")
    found = run("mypy", "helpers", path).stdout
    kinds = re.findall(r"^(.*?):\d+: error: .*\[(.+)\]$", found, re.M)
    assert [Path(name).name for name, _ in kinds] == ["example.py"] * 2, found
    assert [kind for _, kind in kinds] == ["no-untyped-def", "assignment"]


def test_spelling(tmp_path):
    """Two misspellings are put beside the book's files, and only they are found."""
    cell = {"cell_type": "markdown", "source": ["Recieved."]}  # codespell:ignore
    (tmp_path / "a.ipynb").write_text(json.dumps({"cells": [cell]}))
    (tmp_path / "b.py").write_text('"""A fine colour."""\n')  # codespell:ignore
    found = run("codespell_lib", "--check-hidden", *SPELLED, tmp_path).stdout
    assert sorted(re.findall(r"(\w+) ==> (\w+)", found)) == [
        ("Recieved", "Received"),  # codespell:ignore
        ("colour", "color"),  # codespell:ignore
    ], found
