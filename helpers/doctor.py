"""Says what is wrong with an installation: what a bug report needs."""

from __future__ import annotations

import sys

if __name__ == "__main__":
    del sys.path[0]  # this folder, which may hold a random.py of the reader's

import argparse
import gzip
import hashlib
import json
import os
import platform
import re
import runpy
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

PACKAGE = Path(__file__).parent
MINIMUM_PYTHON = (3, 11)  # as pyproject.toml says; a test compares the two
IMPORTED = ["numpy", "torch", "torchvision", "matplotlib", "ipywidgets", "ipykernel"]
INSTALL = "in the book's folder run python -m pip install -r requirements.txt"
FRESH = f"make a fresh virtual environment; with its Python, {INSTALL}"
TOGETHER = "run python -m pip install --force-reinstall torch torchvision (without "
TOGETHER += "a GPU, add --index-url https://download.pytorch.org/whl/cpu)"
DEVICE = "import torch as t; print(t.accelerator.is_available(), t.version.cuda)"
KERNEL = (
    "import jupyter_client.kernelspec as k; print(k.get_kernel_spec('python3').argv[0])"
)
# What was looked at, what was found, and how to mend it (empty where all is well).
Findings = Iterator["tuple[str, str, str]"]


def _python() -> Findings:
    is_old = sys.version_info[:2] < MINIMUM_PYTHON
    yield "Python", platform.python_version(), f"install 3.11, {FRESH}" * is_old
    kind = "virtual" if sys.prefix != sys.base_prefix else "not a virtual"
    yield "system", f"{platform.platform()}, {kind} environment", ""
    for path in [*Path().glob("*.py"), *Path("book").glob("*.py")]:
        if path.stem in sys.stdlib_module_names - {"this", "test"}:
            yield path.name, "is imported in the place of Python's own", "rename it"


def _packages() -> Findings:
    for name in IMPORTED:
        said, problem = _run("-c", f"import {name}; print({name}.__version__)")
        mend = TOGETHER if "torchvision::nms" in problem else FRESH
        if "no attribute '__version__'" in problem:
            mend = f"rename the {name} of yours that is imported in its place"
        yield name, problem or said, mend if problem else ""
    for name in ["pytorch-by-hand", "jupyterlab", "jupyter-book", "nbmake"]:
        try:
            yield name, metadata.version(name), ""
        except metadata.PackageNotFoundError:
            yield name, "missing", INSTALL if name == "pytorch-by-hand" else ""
    for line in _run("-m", "pip", "check")[0].splitlines():
        if line.startswith("pytorch-by-hand "):  # its version, and what does not fit
            yield "versions", line, INSTALL
    yield "GPU, torch's CUDA", " ".join(_run("-c", DEVICE)), ""
    program, problem = _run("-c", KERNEL)
    is_ours = os.path.dirname(program) in ("", os.path.dirname(sys.executable))
    mend = "" if is_ours and not problem else "python -m ipykernel install --sys-prefix"
    yield "Jupyter kernel", problem or "another Python" if mend else "this Python", mend


def _run(*arguments: str) -> tuple[str, str]:
    """Return what a Python of its own prints, and the reason if it fails."""
    command = [sys.executable, *arguments]
    run = subprocess.run(command, capture_output=True, timeout=300, errors="replace")
    problem = f"{run.stderr.strip().rpartition(chr(10))[2]} (status {run.returncode})"
    return run.stdout.strip(), problem if run.returncode else ""


def _digits() -> Findings:
    text = (PACKAGE / "data" / "_mnist.py").read_text(encoding="utf-8")
    for name, md5 in re.findall(r'"([\w-]+-ubyte)": "(\w{32})"', text):
        try:
            content = gzip.decompress((PACKAGE / "mnist" / f"{name}.gz").read_bytes())
            same = hashlib.md5(content, usedforsecurity=False).hexdigest() == md5
            fact = "intact" if same else "damaged"
        except Exception as error:
            fact = f"damaged: {error}"
        mend = "run git checkout -- helpers/mnist, or unpack or install the book again"
        yield name, fact, "" if fact == "intact" else mend


def _folders() -> Findings:
    cache = runpy.run_path(str(PACKAGE / "data" / "_cache.py"))["cache_folder"]
    for name, find, choose in (
        ("cache folder", cache, "choose another with PYTORCH_BY_HAND_CACHE"),
        ("temporary folder", tempfile.gettempdir, "choose another with TMPDIR or TEMP"),
        ("this folder", os.getcwd, "start Jupyter and helpers.train in one of yours"),
    ):
        try:
            folder = Path(find())
            while not folder.exists() and folder != folder.parent:
                folder = folder.parent
            with tempfile.TemporaryFile(dir=folder) as file:
                file.write(bytes(1 << 20))
            free = shutil.disk_usage(folder).free / 1e9
            yield name, f"can be written, {free:.1f} GB free", ""
        except Exception as error:
            mend = f"allow writing there, free some space, or {choose}"
            yield name, f"cannot be written: {error}", mend


def examine() -> list[tuple[str, str, str]]:
    """Look at everything, whatever is broken, and name no folder and no person."""
    found: list[tuple[str, str, str]] = []
    for look in (_python, _packages, _digits, _folders):
        try:
            found.extend(look())
        except Exception as error:
            found.append((look.__name__[1:], f"cannot be looked at: {error!r}", FRESH))
    return [(name, _without_names(fact), mend) for name, fact, mend in found]


def _without_names(text: str) -> str:
    text = re.sub(r"(?<![\w./:])([A-Za-z]:)?[/\\]+([^/\\:'\"\n]+[/\\]+)*", ".../", text)
    users = [os.path.expanduser("~"), *map(os.environ.get, ("USER", "USERNAME"))]
    for name in map(os.path.basename, filter(None, users)):
        text = text.replace(f".../{name}", ".../USER") if name else text
    return text


def main() -> int:
    """Print the report. Returns 1 if something is wrong, else 0."""
    parser = argparse.ArgumentParser("python -m helpers.doctor", description=__doc__)
    parser.add_argument("--json", action="store_true", help="print JSON, for programs")
    options, found = parser.parse_args(), examine()
    wrong = [finding for finding in found if finding[2]]
    if options.json:
        print(json.dumps({"healthy": not wrong, "found": found}, indent=1))
        return len(wrong) > 0
    lines = [f"{name:<24} {fact}" for name, fact, _ in found]
    lines += ["\nWrong: {}: {}\nTo mend it: {}".format(*finding) for finding in wrong]
    text = "\n".join(lines) + ("" if wrong else "\n\nHealthy: nothing wrong was found.")
    print(text.encode("ascii", "backslashreplace").decode())  # for any terminal
    return len(wrong) > 0


if __name__ == "__main__":
    sys.exit(main())
