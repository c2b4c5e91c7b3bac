"""What several test modules share."""

import os
import signal

import pytest
from browser import SITE, built, chromium, served, visits

# Workers of pytest-xdist share the cores: torch in a worker, and in what it starts,
# takes its part of them.
if "PYTEST_XDIST_WORKER_COUNT" in os.environ:
    threads = (os.cpu_count() or 1) // int(os.environ["PYTEST_XDIST_WORKER_COUNT"])
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, threads)))

os.environ["PYTORCH_BY_HAND_LANGUAGE"] = "en"  # whatever the system's is

# A program that a shell started in the background ignores Ctrl-C, and so does all
# that it starts. The tests send Ctrl-C to what they start.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture
def empty_cache(tmp_path, monkeypatch):
    """A cache folder with nothing in it, for this test only."""
    folder = tmp_path / "cache"
    monkeypatch.setenv("PYTORCH_BY_HAND_CACHE", str(folder))
    return folder


@pytest.fixture(scope="session")
def browser():
    """The system's browser, started once."""
    with chromium() as program:
        yield program


@pytest.fixture(scope="session")
def address():
    """The address at which the built site is served."""
    built("book/index.html")
    with served(SITE) as url:
        yield url


@pytest.fixture
def visit(browser):
    """Make a `Visit` with options such as color_scheme="dark"."""
    with visits(browser) as make:
        yield make
