"""Run the notebooks under test without a network."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

NO_NETWORK = Path(__file__).parent.parent / "tests" / "no_network"


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call() -> Iterator[None]:
    """Kernels inherit the environment, and so the refusal.

    (A notebook is no test function: no fixture would be called for it. And of all
    hooks around a test, this one is called for what lies in this folder only.)
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(NO_NETWORK), prepend=os.pathsep)
        patch.setenv("PYTORCH_BY_HAND_LANGUAGE", "en")
        return (yield)
