"""Finds out what is wrong with an installation, and says how to mend it.

``python -m helpers.doctor`` prints what a bug report needs. It imports nothing
at its start that could be the very thing that is broken: packages are imported
in a process of their own, which may fail or crash, and this file itself runs on
Pythons that are too old for the book.
"""

from __future__ import annotations

try:
    import argparse
    import ast
    import contextlib
    import ctypes
    import getpass
    import gzip
    import hashlib
    import importlib.metadata
    import importlib.util
    import json
    import os
    import platform
    import re
    import shutil
    import subprocess
    import sys
    import tempfile
    import warnings
    import zlib
    from collections.abc import Callable, Sequence
    from dataclasses import asdict, dataclass, field
    from pathlib import Path
    from typing import Any
except Exception as error:
    raise SystemExit(
        f"Python cannot import a part of its own: {error}\nIs there a file in this "
        "folder that is named as that part, such as random.py? Rename it (and delete "
        "the __pycache__ beside it)."
    ) from None

DISTRIBUTION = "pytorch-by-hand"
PACKAGE = Path(__file__).parent
MINIMUM_PYTHON = (3, 11)  # as pyproject.toml says; a test compares the two
IMPORTED = ["numpy", "torch", "torchvision", "matplotlib", "ipywidgets"]
NEEDED_BY = {  # a package whose import fails takes these with it
    "numpy": {"torch", "torchvision", "matplotlib"},
    "torch": {"torchvision"},
}
IMPORT_TIME_LIMIT = 180  # seconds; the first import of torch may be slow

MB = 1 << 20
CACHE_NEEDS = 60 * MB  # the unpacked digits and some trained networks
SPARE = 100 * MB
MEMORY_NEEDS = 1024 * MB

MARK = "::doctor:: "  # begins a line of the probe's report
OPENMP = re.compile(r"(libgomp|libiomp5|libomp|vcomp)[^/\\]*\.(so|dylib|dll)", re.I)
FRESH = (
    "Make a fresh virtual environment and install there with one command: "
    "python -m pip install -r requirements.txt"
)


@dataclass
class Finding:
    """Something that is wrong, in plain words, and how to mend it.

    Attributes
    ----------
    name : str
        A short name for programs, such as "mnist-damaged".
    what, mend : str
        What is wrong; what to do about it.
    """

    name: str
    what: str
    mend: str


@dataclass
class Report:
    """All that was found out.

    Attributes
    ----------
    facts : dict of str to str
        What a bug report needs, in the order in which it is printed.
    findings : list of Finding
        What is wrong. Empty if the installation is healthy.
    notes : list of str
        What is worth knowing and not wrong.
    """

    facts: dict[str, str] = field(default_factory=dict)
    findings: list[Finding] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def wrong(self, name: str, what: str, mend: str) -> None:
        """Add a finding."""
        self.findings.append(Finding(name, what, mend))


def examine() -> Report:
    """Examine this installation and return the report. Changes nothing."""
    report = Report()
    for look in (_python, _packages, _imports, _kernel, _machine, _folders, _data):
        look(report)
    return report


# --- Python and the packages --------------------------------------------------


def _python(report: Report) -> None:
    version = ".".join(map(str, sys.version_info[:3]))
    kind = "virtual environment" if sys.prefix != sys.base_prefix else "no virtual env"
    report.facts["Python"] = f"{version}, {kind}, {sys.executable}"
    report.facts["platform"] = platform.platform()
    if tuple(sys.version_info[:2]) < MINIMUM_PYTHON:
        needed = ".".join(map(str, MINIMUM_PYTHON))
        report.wrong(
            "python-too-old",
            f"This is Python {version}; the book needs {needed} or newer.",
            f"Install Python {needed} or newer from python.org or your system's "
            f"packages, and make the virtual environment with that one.",
        )


def _packages(report: Report) -> None:
    """Compare the installed versions with the declared bounds."""
    try:
        report.facts["helpers"] = importlib.metadata.version(DISTRIBUTION)
        declared = importlib.metadata.requires(DISTRIBUTION) or []
    except importlib.metadata.PackageNotFoundError:
        report.facts["helpers"] = "not installed"
        declared = []
        report.wrong(
            "book-not-installed",
            "The book's own package is not installed for this Python, so notebooks "
            "cannot import helpers.",
            "In the book's folder run: python -m pip install -r requirements.txt",
        )
    needed = _requirements(declared) or _requirements(_declared_in_pyproject())
    for name, bounds in needed.items():
        _package(report, name, bounds, is_needed=True)
    for name, bounds in _requirements(_lines_of_requirements()).items():
        if name not in needed:
            _package(report, name, bounds, is_needed=False)
    missing = [name for name, fact in report.facts.items() if fact == "missing"]
    unneeded = [name for name in missing if name not in needed]
    if unneeded:
        report.notes.append(
            f"Not installed: {', '.join(unneeded)}. The code of the chapters does "
            "without; opening notebooks, building the site and testing may not. "
            "To have all: python -m pip install -r requirements.txt"
        )


def _package(report: Report, name: str, bounds: str, is_needed: bool) -> None:
    try:
        version = importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        report.facts[name] = "missing"
        if is_needed:
            report.wrong(
                f"missing-{name}",
                f"The package {name} is missing.",
                f'Run: python -m pip install "{name}{bounds}"',
            )
        return
    report.facts[name] = version
    if not satisfies(version, bounds):
        report.wrong(
            f"version-{name}",
            f"{name} is {version}; the book needs {name}{bounds}.",
            f'Run: python -m pip install "{name}{bounds}"',
        )


def _requirements(lines: Sequence[str]) -> dict[str, str]:
    """Return the bounds by package, as in {"torch": ">=2.6"}."""
    found = {}
    for line in lines:
        match = re.match(r"([A-Za-z][\w.-]*)\s*([<>=!~][^#;]*)?", line)
        if match and "extra ==" not in line:
            found[match[1].lower()] = (match[2] or "").replace(" ", "")
    return found


def _declared_in_pyproject() -> list[str]:
    text = _text(PACKAGE.parent / "pyproject.toml")
    block = re.search(r"^dependencies = \[(.*?)\]", text, flags=re.M | re.S)
    return re.findall(r'"([^"]+)"', block[1]) if block else []


def _lines_of_requirements() -> list[str]:
    return _text(PACKAGE.parent / "requirements.txt").splitlines()


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError:
        return ""  # an installed package has no such files beside it


def satisfies(version: str, bounds: str) -> bool:
    """Return whether a version lies within bounds such as ">=1.0.4,<2".

    Compares the numbers only: "2.15.0+cu128" counts as 2.15.0. It must work
    where the package `packaging` is missing.
    """
    found = _numbers(version)
    for bound in filter(None, bounds.split(",")):
        match = re.match(r"(>=|<=|==|<|>)(.+)", bound)
        if not match:
            continue
        limit = _numbers(match[2])
        length = max(len(found), len(limit))
        left, right = (n + (0,) * (length - len(n)) for n in (found, limit))
        order = (left > right) - (left < right)
        if order not in {">=": (0, 1), "<=": (-1, 0), "==": (0,), "<": (-1,)}.get(
            match[1], (1,)
        ):
            return False
    return True


def _numbers(version: str) -> tuple[int, ...]:
    release = re.match(r"\d+(\.\d+)*", version.strip())
    return tuple(int(part) for part in release[0].split(".")) if release else ()


# --- Importing, in a process of its own ---------------------------------------


def _imports(report: Report) -> None:
    results, errors = _probe_all()
    _named_as_python_s_own(report)
    broken: set[str] = set()
    for name in IMPORTED:
        result = results.get(name, {})
        if "error" in result or result.get("version", "") is None:
            broken.add(name)
        if "error" in result:
            if not any(name in NEEDED_BY.get(other, ()) for other in broken):
                _import_failed(report, name, result["error"], results)
        elif "version" in result and result["version"] is None:
            report.wrong(
                f"shadowed-{name}",
                f"`import {name}` does not import {name}, but {result['file']}.",
                "Rename that file or folder (and delete the __pycache__ beside it).",
            )
    torch = results.get("torch", {})
    for key in ("device", "threads"):
        if key in torch:
            report.facts[key] = str(torch[key])
    if "built for" in torch:
        report.facts["torch is built for"] = torch["built for"]
    _gpu_driver(report, torch)
    _openmp(report, results.get("openmp", []), errors)


def _named_as_python_s_own(report: Report) -> None:
    """Look for files that Python imports in place of its own modules."""
    own = set(getattr(sys, "stdlib_module_names", ())) - {"test", "this"}
    for folder in (Path.cwd(), Path.cwd() / "book"):
        for path in sorted(folder.glob("*.py")):
            if path.stem in own:
                report.wrong(
                    "shadowed-python",
                    f"{path} has the name of a part of Python, and is imported in its "
                    "place by all that is started in that folder. Packages then fail "
                    "with errors that seem to have nothing to do with it.",
                    "Rename that file (and delete the __pycache__ beside it).",
                )


def _probe_all() -> tuple[dict[str, Any], str]:
    """Import what the book imports; go on without what crashes.

    Returns
    -------
    (dict, str)
        By module, what `_report_module` found or {"error": …}, and under
        "openmp" the paths of the loaded runtimes; all that went to stderr.
    """
    results: dict[str, Any] = {}
    errors = ""
    while True:
        left = [name for name in IMPORTED if name not in results]
        code = f"from helpers import doctor; doctor.probe({left})"
        path = [str(PACKAGE.parent), os.environ.get("PYTHONPATH", "")]
        try:
            process = subprocess.run(
                [sys.executable, "-c", code],
                env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, path))},
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=IMPORT_TIME_LIMIT,
                check=False,
            )
            output, status = process.stdout, process.returncode
            errors += process.stderr.decode(errors="replace")
            end = f"Python crashed (exit status {status})"
        except subprocess.TimeoutExpired as expired:
            output = expired.stdout or b""
            end = f"no end after {IMPORT_TIME_LIMIT} seconds"
        except OSError as error:
            results.update({name: {"error": str(error)} for name in left})
            return results, errors
        begun = None
        for line in output.decode(errors="replace").splitlines():
            if line.startswith(MARK):
                name, found = json.loads(line[len(MARK) :])
                begun = name
                if found is not None:
                    results[name] = found
        if "openmp" in results:
            return results, errors
        last = errors.strip().splitlines()[-1:] or [""]
        broken = begun if begun in left and begun not in results else left[0]
        if not left or begun == "openmp":
            return results, errors
        results[broken] = {"error": f"{end}. {last[0]}".strip()}
        if len(results) == len(IMPORTED):
            return results, errors


def probe(names: Sequence[str]) -> None:
    """Import modules one by one and print a line about each.

    This runs in a process of its own: see `_probe_all`. A line that begins an
    import is printed before it, so that a crash can be told whose it was.
    """
    for name in names:
        _print_probe(name, None)
        try:
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always")
                module = __import__(name)
                found = _report_module(name, module)
            texts = [str(warning.message) for warning in caught]
            found["warnings"] = found.get("warnings", []) + texts
        except BaseException as error:  # a package may even call sys.exit
            # NumPy writes a page of advice before it says what happened.
            text = str(error).partition("Original error was: ")[2] or str(error)
            reason = text.strip().splitlines() or [""]
            found = {"error": f"{type(error).__name__}: {reason[0]}"}
        _print_probe(name, found)
    _print_probe("openmp", openmp_runtimes())


def _print_probe(name: str, found: object) -> None:
    print(MARK + json.dumps([name, found]), flush=True)


def _report_module(name: str, module: Any) -> dict[str, Any]:
    file = getattr(module, "__file__", None) or str(list(module.__path__)[0])
    found = {"version": getattr(module, "__version__", None), "file": file}
    if name == "torch" and found["version"]:
        found.update(_report_torch(module))
    return found


def _report_torch(torch: Any) -> dict[str, Any]:
    """Return devices, threads, and what torch warned of while it looked."""
    version = torch.version
    hip = getattr(version, "hip", None)
    built_for = f"CUDA {version.cuda}" if version.cuda else "CPU only"
    if hip:
        built_for = f"ROCm {hip}"
    if not hasattr(torch, "accelerator"):  # before 2.6
        device = "cuda" if torch.cuda.is_available() else "cpu"
    elif torch.accelerator.is_available():
        device = torch.accelerator.current_accelerator().type
    else:
        device = "cpu"
    if torch.cuda.is_available():
        count = torch.cuda.device_count()
        names = [torch.cuda.get_device_name(index) for index in range(count)]
        device = ", ".join(names)
    return {
        "built for": built_for,
        "device": device,
        "threads": torch.get_num_threads(),
        "warnings": [],
    }


def _import_failed(
    report: Report, name: str, error: str, results: dict[str, Any]
) -> None:
    if report.facts.get(name) == "missing":
        return  # said already
    what = f"{name} is installed, but `import {name}` fails: {error}"
    if name == "torchvision" and "torchvision::nms" in error:
        built_for = results.get("torch", {}).get("built for", "another")
        report.wrong(
            "torchvision-does-not-fit",
            f"torch ({built_for}) and torchvision do not belong together: one is "
            f"the CPU build and the other the CUDA build, or their versions do not "
            f"match. `import torchvision` fails: {error}",
            "Install both from one place in one command, without a GPU: python -m pip "
            "install --force-reinstall torch torchvision --index-url "
            "https://download.pytorch.org/whl/cpu ; or with one: python -m pip "
            "install --force-reinstall torch torchvision",
        )
    elif "OMP: Error" in error:
        report.wrong("two-openmp", what, _mend_openmp())
    elif "No space left" in error:
        report.wrong("no-space", what, "Free some space on the disk.")
    elif name == "torch":  # gigabytes: better once, and right
        report.wrong(f"import-{name}", what, FRESH)
    else:
        first = f"Run: python -m pip install --force-reinstall {name}"
        report.wrong(
            f"import-{name}", what, f"{first} ; if that does not help: {FRESH}"
        )


def _gpu_driver(report: Report, torch: dict[str, Any]) -> None:
    for text in torch.get("warnings", []):
        if "driver" in text and "too old" in text:
            report.wrong(
                "old-driver",
                f"There is an NVIDIA GPU, but its driver is too old for this torch, "
                f"so chapters run on the CPU: {' '.join(text.split())}",
                "Install a newer driver from nvidia.com (or your system's packages) "
                "and restart; or install a torch built for an older CUDA, as the "
                "page pytorch.org/get-started lists them.",
            )
        elif "CUDA" in text and "no NVIDIA driver" not in text.replace("Found ", ""):
            report.notes.append(f"torch says: {' '.join(text.split())}")


def openmp_runtimes() -> list[str]:
    """Return the paths of the OpenMP runtimes loaded in this process.

    Linux: from /proc/self/maps. macOS: from the dynamic linker. Windows: from
    psutil, if it is there.
    """
    paths: list[str] = []
    if sys.platform.startswith("linux"):
        maps = _text(Path("/proc/self/maps"))
        paths = [line.split(maxsplit=5)[5] for line in maps.splitlines() if "/" in line]
    elif sys.platform == "darwin":
        linker = ctypes.CDLL(None)
        linker._dyld_get_image_name.restype = ctypes.c_char_p
        count = linker._dyld_image_count()
        names = [linker._dyld_get_image_name(index) for index in range(count)]
        paths = [os.fsdecode(name) for name in names if name]
    elif os.name == "nt":
        with contextlib.suppress(Exception):
            import psutil

            paths = [entry.path for entry in psutil.Process().memory_maps()]
    found = {
        os.path.realpath(path)
        for path in paths
        if OPENMP.match(re.split(r"[/\\]", path)[-1])
    }
    return sorted(found)


def _openmp(report: Report, paths: list[str], errors: str) -> None:
    matches = [OPENMP.match(re.split(r"[/\\]", path)[-1]) for path in paths]
    kinds = [match[1].lower() for match in matches if match]
    report.facts["OpenMP"] = ", ".join(paths) or "none loaded"
    if any(finding.name == "two-openmp" for finding in report.findings):
        return
    if len(paths) > 1 and set(kinds) in ({"libgomp"}, {"vcomp"}):
        report.notes.append(
            f"Two copies of one OpenMP runtime are loaded ({', '.join(paths)}). "
            f"That may cost speed and does no harm."
        )
    elif len(paths) > 1 or "OMP: Error #15" in errors:
        report.wrong(
            "two-openmp",
            "Two different OpenMP runtimes are loaded into one Python "
            f"({', '.join(paths)}). Training may hang, crash or be slow.",
            _mend_openmp(),
        )


def _mend_openmp() -> str:
    return (
        "Two packages bring their own OpenMP, usually because conda and pip were "
        f"mixed. {FRESH} Do not set KMP_DUPLICATE_LIB_OK: it hides the message "
        "and may give wrong results."
    )


def _kernel(report: Report) -> None:
    """Look whether Jupyter's "Python 3" kernel is this Python."""
    try:
        from jupyter_client.kernelspec import KernelSpecManager

        spec = KernelSpecManager().get_kernel_spec("python3")
        program = spec.argv[0]
    except Exception as error:  # from a missing package to a damaged file
        report.facts["Jupyter kernel"] = "none"
        report.notes.append(f"Jupyter finds no kernel named python3: {error}")
        return
    report.facts["Jupyter kernel"] = program
    if not os.path.isabs(program):
        return  # "python": Jupyter puts its own in
    ours = os.path.normcase(os.path.dirname(os.path.abspath(sys.executable)))
    if os.path.normcase(os.path.dirname(program)) != ours:
        report.wrong(
            "other-kernel",
            f"Notebooks started from here run with another Python: {program}, as "
            f"{spec.resource_dir} says.",
            "In this environment run: python -m ipykernel install --sys-prefix ; "
            f"if that does not help, delete {spec.resource_dir}",
        )


# --- The machine ----------------------------------------------------------------


def _machine(report: Report) -> None:
    cores = str(os.cpu_count() or "unknown")
    if hasattr(os, "sched_getaffinity"):
        usable = len(os.sched_getaffinity(0))
        cores += "" if str(usable) == cores else f", of which {usable} may be used"
    report.facts["CPU cores"] = cores
    for variable in ("OMP_NUM_THREADS", "CUDA_VISIBLE_DEVICES"):
        if variable in os.environ:
            report.facts[variable] = repr(os.environ[variable])
    total, free = memory()
    if total is None or free is None:
        report.facts["memory"] = "unknown"
        return
    report.facts["memory"] = f"{size(free)} free of {size(total)}"
    if free < MEMORY_NEEDS:
        report.wrong(
            "little-memory",
            f"Only {size(free)} of memory are free; chapters need about "
            f"{size(MEMORY_NEEDS)}. A kernel that runs out of it dies without a word.",
            "Close other programs and notebooks (in JupyterLab: Kernel, Shut Down "
            "All Kernels), or ask for a machine or container with more memory.",
        )


def memory() -> tuple[int | None, int | None]:
    """Return total and free memory in bytes; None where that is not known.

    In a container, its own limit counts.
    """
    total = free = None
    meminfo = dict(re.findall(r"(\w+):\s+(\d+) kB", _text(Path("/proc/meminfo"))))
    if "MemAvailable" in meminfo:
        total, free = (int(meminfo[k]) * 1024 for k in ("MemTotal", "MemAvailable"))
    else:
        with contextlib.suppress(Exception):
            import psutil

            total, free = psutil.virtual_memory()[:2]
    limit, used = (
        _text(Path("/sys/fs/cgroup") / name).strip()
        for name in ("memory.max", "memory.current")
    )
    if limit.isdigit() and used.isdigit() and total is not None and free is not None:
        total = min(total, int(limit))
        free = min(free, int(limit) - int(used))
    return total, free


def size(number: int) -> str:
    """Return a number of bytes in words, such as "3.2 GB"."""
    gigabytes = number / (1024 * MB)
    return f"{gigabytes:.1f} GB" if gigabytes >= 1 else f"{number / MB:.0f} MB"


# --- Folders and data -------------------------------------------------------------


def cache_folder() -> Path | None:
    """Return `helpers.data.cache_folder()`, though torch may not import."""
    try:
        spec = importlib.util.spec_from_file_location(
            "_doctor_cache", PACKAGE / "data" / "_cache.py"
        )
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return Path(module.cache_folder())
    except ImportError:  # platformdirs is missing, which has been said
        return None


def _folders(report: Report) -> None:
    cache = cache_folder()
    report.facts["cache folder"] = str(cache or "unknown")
    needed = SPARE if cache and _is_unpacked(cache) else SPARE + CACHE_NEEDS
    if cache is not None:
        _folder(report, "cache", cache, needed, "PYTORCH_BY_HAND_CACHE")
    variable = "TEMP" if os.name == "nt" else "TMPDIR"
    try:
        temporary = Path(tempfile.gettempdir())
        _folder(report, "temporary", temporary, SPARE, variable)
        chosen = os.environ.get(variable)
        if chosen and Path(chosen).resolve() != temporary.resolve():
            report.notes.append(
                f"{variable} names {chosen}, where no file can be written. Temporary "
                f"files go to {temporary}."
            )
    except FileNotFoundError as error:  # none can be written
        problem = error.strerror or str(error)
        mend = f"Free some space. {_other_folder(variable)}"
        report.wrong("temporary-not-writable", problem, mend)
    problem = _cannot_write(Path.cwd())
    report.facts["this folder"] = f"{Path.cwd()}, {problem or 'can be written'}"
    if problem:
        report.notes.append(
            "This folder cannot be written. Start Jupyter and helpers.train in one "
            "of your own, or name another with --out."
        )


def _other_folder(variable: str) -> str:
    """Say how to choose another folder for what this variable names one for."""
    command = f"$env:{variable} = " if os.name == "nt" else f"export {variable}="
    return (
        f"Or choose another folder, in the window where you start Jupyter: "
        f'{command}"A FOLDER OF YOURS"'
    )


def _folder(report: Report, name: str, path: Path, needed: int, variable: str) -> None:
    """Look for free space in a folder, and whether it can be written."""
    mend = _other_folder(variable)
    there = path
    while not there.exists() and there != there.parent:
        there = there.parent
    try:
        free = shutil.disk_usage(there).free
        report.facts[f"{name} disk"] = f"{size(free)} free"
    except OSError:
        free = needed
    problem = _cannot_write(there)
    if free < needed:
        report.wrong(
            f"{name}-no-space",
            f"Only {size(free)} are free on the disk of the {name} folder, {path}; "
            f"the book needs about {size(needed)} there.",
            f"Free some space there. {mend}",
        )
    elif problem:
        report.wrong(
            f"{name}-not-writable",
            f"The {name} folder cannot be written: {path}: {problem}.",
            f"Allow writing there. {mend}",
        )


def _cannot_write(folder: Path) -> str:
    """Return why a file cannot be written there, or nothing if it can."""
    try:
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(b"\0" * 4096)
            file.flush()
    except OSError as error:
        return error.strerror or str(error)
    return ""


def _is_unpacked(cache: Path) -> bool:
    return all((cache / "MNIST" / "raw" / name).is_file() for name in _md5_sums())


def _md5_sums() -> dict[str, str]:
    """Return MD5_SUMS of helpers.data, read without importing torchvision."""
    tree = ast.parse(_text(PACKAGE / "data" / "_mnist.py"))
    for node in tree.body:
        if not isinstance(node, ast.Assign):
            continue
        target = node.targets[0]
        if isinstance(target, ast.Name) and target.id == "MD5_SUMS":
            return dict(ast.literal_eval(node.value))
    return {}


def _data(report: Report) -> None:
    shipped = {
        name: _problem(PACKAGE / "mnist" / f"{name}.gz", md5, gzip.open)
        for name, md5 in _md5_sums().items()
    }
    report.facts["MNIST, shipped"] = (
        "intact" if not any(shipped.values()) else "damaged"
    )
    damaged = [f"{name}.gz {problem}" for name, problem in shipped.items() if problem]
    if damaged:
        report.wrong(
            "mnist-damaged",
            f"The book's copy of MNIST is not whole: {'; '.join(damaged)}.",
            "In a git clone run `git checkout -- helpers/mnist`; otherwise "
            "unpack or install the book again.",
        )
    cache = cache_folder()
    if cache is not None:
        _unpacked_data(report, cache)
        _photographs(report, cache)


def _unpacked_data(report: Report, cache: Path) -> None:
    state = "unpacked and intact"
    for name, md5 in _md5_sums().items():
        path = cache / "MNIST" / "raw" / name
        if not path.exists():
            state = "not unpacked yet"
            continue
        problem = _problem(path, md5, open)
        if problem:
            state = "damaged"
            report.wrong(
                "cache-damaged",
                f"An unpacked file of MNIST is damaged: {path} {problem}.",
                "Delete that file. The next chapter you run unpacks it anew.",
            )
    report.facts["MNIST, unpacked"] = state


def _problem(path: Path, md5: str, open_file: Callable[..., Any]) -> str:
    """Return what is wrong with a file, or nothing if its md5 sum is right."""
    digest = hashlib.md5()
    try:
        with open_file(path, "rb") as source:
            for chunk in iter(lambda: source.read(MB), b""):
                digest.update(chunk)
    except FileNotFoundError:
        return "is missing"
    except (OSError, EOFError, zlib.error) as error:
        return f"cannot be read ({error})"
    return "" if digest.hexdigest() == md5 else "has other content than it should"


def _photographs(report: Report, cache: Path) -> None:
    chosen = os.environ.get("CIFAR10_IMAGES")
    if (cache / "cifar-10-batches-py").is_dir():
        report.facts["CIFAR-10"] = "in the cache folder"
    elif chosen:
        report.facts["CIFAR-10"] = f"CIFAR10_IMAGES names {chosen}"
        if not Path(chosen).exists():
            report.wrong(
                "cifar10-not-there",
                f"CIFAR10_IMAGES names {chosen}, and there is nothing there.",
                "Correct the variable, or unset it: chapter 9 then downloads the "
                "photographs, or draws a stand-in.",
            )
    else:
        report.facts["CIFAR-10"] = (
            "not here: chapter 9 downloads it or draws a stand-in"
        )


# --- The command line ---------------------------------------------------------------


def without_names(text: str) -> str:
    """Return a text with the home folder as ~ and the user's name left out."""
    homes = {str(Path.home()), os.path.realpath(Path.home())} - {os.sep}
    for home in sorted(homes, key=len, reverse=True):
        text = re.sub(re.escape(home) + r"(?=[/\\\s,:;'\")]|$)", "~", text, flags=re.I)
    with contextlib.suppress(Exception):
        user = re.escape(getpass.getuser())
        text = re.sub(rf"(?<=[/\\]){user}(?=[/\\]|$)", "USER", text)
    return text


def as_text(report: Report) -> str:
    """Return the report for people."""
    width = max(map(len, report.facts))
    lines = [f"{name:<{width}}  {fact}" for name, fact in report.facts.items()]
    for note in report.notes:
        lines += ["", f"Note: {note}"]
    count = len(report.findings)
    headline = {0: "Healthy: nothing wrong was found.", 1: "One thing is wrong:"}
    lines += ["", headline.get(count, f"{count} things are wrong:")]
    for number, finding in enumerate(report.findings, start=1):
        lines += ["", f"{number}. {finding.what}", f"   To mend it: {finding.mend}"]
    return without_names("\n".join(lines))


def as_json(report: Report) -> str:
    """Return the report for programs: healthy, facts, findings, notes."""
    content = {"healthy": not report.findings, **asdict(report)}
    cleaned = _map_strings(content, without_names)
    return json.dumps(cleaned, indent=1)


def _map_strings(value: Any, change: Callable[[str], str]) -> Any:
    if isinstance(value, dict):
        return {key: _map_strings(item, change) for key, item in value.items()}
    if isinstance(value, list):
        return [_map_strings(item, change) for item in value]
    return change(value) if isinstance(value, str) else value


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the report; return 0 if nothing is wrong, else 1."""
    parser = argparse.ArgumentParser(
        prog="python -m helpers.doctor",
        description="Look for what is wrong with this installation of the book, and "
        "print what a bug report needs. Changes nothing.",
    )
    parser.add_argument("--json", action="store_true", help="print JSON, for programs")
    options = parser.parse_args(arguments)
    report = examine()
    print(as_json(report) if options.json else as_text(report))
    return 1 if report.findings else 0


if __name__ == "__main__":
    sys.exit(main())
