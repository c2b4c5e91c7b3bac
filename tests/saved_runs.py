"""What a run of `python -m helpers.train` left in its folder, for comparing runs."""

from pathlib import Path

import torch

from helpers import checkpoint


def result(folder: Path) -> dict:
    """Return the content of a run's newest checkpoint."""
    newest = checkpoint.latest(folder)
    assert newest is not None
    return checkpoint.read(newest)


def assert_same_result(first: Path, second: Path) -> None:
    """Compare everything two runs saved at their ends, to the bit."""
    assert flatten(result(first)) == flatten(result(second))


def flatten(value: object) -> object:
    """Return nested tensors as bytes, so that == compares them to the bit."""
    if isinstance(value, torch.Tensor):
        array = value.contiguous().numpy()
        return array.dtype.str, array.shape, array.tobytes()
    if isinstance(value, dict):
        return [(key, flatten(item)) for key, item in value.items()]
    if isinstance(value, list | tuple):
        return [flatten(item) for item in value]
    return value
