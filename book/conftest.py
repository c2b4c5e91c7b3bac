"""Run the notebooks under test without a network."""

import os
from pathlib import Path

import pytest

NO_NETWORK = Path(__file__).parent.parent / "tests" / "no_network"


@pytest.fixture(scope="session", autouse=True)
def _kernels_without_network():
    """Kernels inherit the environment, and so the refusal."""
    os.environ["PYTHONPATH"] = os.pathsep.join(
        filter(None, [str(NO_NETWORK), os.environ.get("PYTHONPATH")])
    )
