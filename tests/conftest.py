"""What several test modules share."""

import pytest


@pytest.fixture
def empty_cache(tmp_path, monkeypatch):
    """A cache folder with nothing in it, for this test only."""
    folder = tmp_path / "cache"
    monkeypatch.setenv("PYTORCH_BY_HAND_CACHE", str(folder))
    return folder
