"""The notebooks' execution: before pages are read, side by side, and only once.

jupyter-cache does the work: its executor runs as many notebooks at a time as there
are processor cores, and its cache holds what they gave.
"""

import hashlib
import logging
import os
import platform
from importlib.metadata import version
from pathlib import Path

from jupyter_cache import get_cache
from jupyter_cache.executors import load_executor
from sphinx.errors import SphinxError

# What a notebook's results depend on, besides the notebook and helpers/.
PACKAGES = ("torch", "torchvision", "numpy", "matplotlib", "pillow", "pygments")
PACKAGES += ("ipywidgets", "ipykernel")
VARIABLES = ("CIFAR10_IMAGES",)
# In helpers/, and yet out of a notebook's reach: commands for a terminal.
OUT_OF_REACH = ("doctor.py", "classroom")


def execution_key(root: Path) -> str:
    """Return a name for all that a notebook's results depend on but itself.

    jupyter-cache compares a notebook's code cells only. Kept in a folder of this
    name, its results cannot outlive a change in helpers/, in the installed
    versions or in the variables that choose the data.
    """
    digest = hashlib.sha256(platform.python_version().encode())
    for name in PACKAGES:
        digest.update(f"{name}=={version(name)}".encode())
    for name in VARIABLES:
        digest.update(f"{name}={os.environ.get(name)}".encode())
    helpers = root / "helpers"
    for path in sorted(helpers.rglob("*")):
        inside = path.relative_to(helpers)
        in_reach = inside.parts[0] not in OUT_OF_REACH
        in_reach &= not any(part.startswith(".") for part in inside.parts)
        if in_reach and path.is_file() and path.suffix not in (".po", ".pyc"):
            digest.update(inside.as_posix().encode())
            digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


def execute_notebooks(app, env, docnames: list[str]) -> None:
    """Execute what the cache does not hold.

    Raises
    ------
    SphinxError
        If a cell fails, with its traceback.
    """
    paths = [str(env.doc2path(name)) for name in docnames]
    paths = [os.path.abspath(path) for path in paths if path.endswith(".ipynb")]
    if app.config.nb_execution_mode != "cache" or not paths:
        return
    cache = get_cache(app.config.nb_execution_cache_path)
    for path in paths:
        cache.add_nb_to_project(path)
    if not cache.list_unexecuted(paths):
        return
    # Threads of several notebooks would wait for each other's cores.
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    logger = logging.getLogger(__name__)
    logger.setLevel(logging.INFO)  # the executor says what it begins and ends
    result = load_executor("local-parallel", cache, logger).run_and_cache(
        filter_uris=paths, timeout=app.config.nb_execution_timeout
    )
    failed = [*result.excepted, *result.errored]
    if failed:
        records = cache.list_project_records(failed)
        died = "Its kernel died, or its results could not be kept: see above."
        raise SphinxError(
            "\n".join(f"{r.uri} fails:\n{r.traceback or died}" for r in records)
        )
