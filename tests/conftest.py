"""What several test modules share."""

import os
import signal

import pytest

# Workers of pytest-xdist share the cores: torch in a worker, and in what it starts,
# takes its part of them.
if "PYTEST_XDIST_WORKER_COUNT" in os.environ:
    threads = (os.cpu_count() or 1) // int(os.environ["PYTEST_XDIST_WORKER_COUNT"])
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, threads)))

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
