"""The notebooks that readers take away, run where the book is not.

A fresh virtual environment gets links to the packages that Colab brings and to
those that pyproject.toml declares, and to nothing else. A copy's own first cell
installs the book into it, from a repository made of this working tree.
"""

import json
import re
import shutil
import subprocess
import tomllib
import venv
from importlib import metadata
from pathlib import Path

import booksite_repository as repository
import nbclient
import nbformat
import pytest
from book_files import ROOT
from browser import missing
from packaging import requirements

CHAPTER = "01-tensors"
IN_COLAB = ["torch", "torchvision", "matplotlib", "numpy", "ipywidgets", "ipykernel"]
DECLARED = tomllib.loads(ROOT.joinpath("pyproject.toml").read_text("utf-8"))["project"]
NOT_IN_A_CLONE = (".*", "_build", "build", "venv", "*.egg-info", "__pycache__", "runs")


def with_all_they_need(wanted):
    """Return the distributions of requirements, and of their requirements."""
    found = {}
    queue = [requirements.Requirement(text) for text in wanted]
    done = set()
    while queue:
        requirement = queue.pop()
        if str(requirement) in done:
            continue
        done.add(str(requirement))
        distribution = metadata.distribution(requirement.name)
        found[distribution.name] = distribution
        for text in distribution.requires or ():
            needed = requirements.Requirement(text)
            extras = requirement.extras or {""}
            if needed.marker is None or any(
                needed.marker.evaluate({"extra": extra}) for extra in extras
            ):
                queue.append(needed)
    return found.values()


def link_packages(wanted, folder):
    """Link the top-level files and folders of distributions into a folder."""
    for distribution in with_all_they_need(wanted):
        tops = {Path(file).parts[0] for file in distribution.files or ()}
        for top in tops - {"..", "__pycache__"}:
            source, target = Path(distribution.locate_file(top)), folder / top
            if source.exists() and not target.exists():
                target.symlink_to(source.resolve())


@pytest.fixture
def colab(tmp_path):
    """An environment without the book; return its Python."""
    place = tmp_path / "environment"
    try:
        venv.create(place, with_pip=False, symlinks=True)
    except OSError as error:
        pytest.skip(f"no virtual environment with links: {error}")
    python = place / "bin" / "python"
    if not python.exists():
        pytest.skip("the layout of a virtual environment is another one here")
    show = "import sysconfig; print(sysconfig.get_path('purelib'))"
    answer = subprocess.run([python, "-c", show], capture_output=True, text=True)
    link_packages(
        ["pip", *IN_COLAB, *DECLARED["dependencies"]], Path(answer.stdout.strip())
    )
    return python


@pytest.fixture
def remote(tmp_path):
    """A git repository of this working tree, as a clone would find it."""
    if shutil.which("git") is None:
        missing("git")
    folder = tmp_path / "remote"
    shutil.copytree(ROOT, folder, ignore=shutil.ignore_patterns(*NOT_IN_A_CLONE))
    identity = ["-c", "user.name=test", "-c", "user.email=test@example.org"]
    for command in (["init", "--quiet"], ["add", "--all"], ["commit", "-qm", "all"]):
        subprocess.run(["git", *identity, *command], cwd=folder, check=True)
    return folder.as_uri()


@pytest.fixture
def run(colab, tmp_path, monkeypatch):
    """Return what executes a notebook in that environment, in an empty folder."""
    kernel = tmp_path / "jupyter" / "kernels" / "colab"
    kernel.mkdir(parents=True)
    command = [str(colab), "-m", "ipykernel_launcher", "-f", "{connection_file}"]
    kernel.joinpath("kernel.json").write_text(
        json.dumps({"argv": command, "display_name": "Colab", "language": "python"})
    )
    monkeypatch.setenv("JUPYTER_PATH", str(kernel.parents[1]))
    monkeypatch.setenv("PYTORCH_BY_HAND_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("PYTHONNOUSERSITE", "1")
    monkeypatch.delenv("PYTHONPATH", raising=False)
    empty = tmp_path / "content"
    empty.mkdir()

    def execute(notebook):
        options = {"timeout": 600, "kernel_name": "colab"}
        place = {"metadata": {"path": str(empty)}}
        try:
            nbclient.NotebookClient(notebook, resources=place, **options).execute()
        except nbclient.exceptions.CellExecutionError as error:
            lost = r"(?i)could not find a version .* setuptools|no matching"
            if re.search(lost, str(error)):
                missing("a package index")
            raise
        return empty

    return execute


def printed(cell):
    return "".join(output.get("text", "") for output in cell.outputs)


def test_copies_bring_the_book(run, remote, tmp_path):
    source = ROOT / "book" / f"{CHAPTER}.ipynb"
    repository.write_copies([source], tmp_path, remote, "")

    def copy(folder):
        return nbformat.read(tmp_path / folder / source.name, as_version=4)

    find = "import importlib.util as u; print(u.find_spec('helpers'))"
    download = copy("notebooks")
    for place in (0, len(download.cells) + 1):
        download.cells.insert(place, nbformat.v4.new_code_cell(find))
    code = [cell for cell in download.cells if cell.cell_type == "code"]
    command = code[1].source.splitlines()[-1].strip()
    # The two cells of Colab's copy, in the same kernel, for another is slow to start.
    install, keep = copy("colab").cells[1:3]
    assert install.source.startswith(f"{command}\n"), "the command that works above"
    install.source = install.source.removeprefix(command)
    download.cells += [install, keep]

    place = run(download)
    assert printed(code[0]) == "None\n", "the book is not there before"
    assert "site-packages" in printed(code[-1])
    assert all(cell.execution_count for cell in code)
    assert "GPU" in printed(install)
    assert str(place / "checkpoints") in printed(keep)
    assert place.joinpath("checkpoints").is_dir()
