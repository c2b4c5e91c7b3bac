"""Plain ``torch.save`` files, written whole, and read only if they are whole.

They open anywhere with ``torch.load(path, weights_only=True)``. Such a file is a zip
archive and holds a checksum (CRC-32) of each of its records. ``torch.load`` does not
look at them, so a flipped bit would load as another weight; `read` does.
"""

import io
import re
import zipfile
from collections import Counter, OrderedDict
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from helpers.files import replacing

# What torch.load(weights_only=True) reads back as it was. These types exactly:
# numpy.float64 is a subclass of float, and is refused on loading.
PLAIN_TYPES = {bool, int, float, str, bytes, type(None), Tensor, nn.Parameter}
DICT_TYPES = {dict, OrderedDict, Counter}
ANOTHER = "Load another file, or the checkpoint before it (fallback=True)."


class CheckpointError(RuntimeError):
    """A checkpoint cannot be written, or must not be loaded.

    The message names the file, what is wrong with it, and what to do.
    """


def write(content: dict[str, Any], path: str | Path) -> None:
    """Write a dictionary so that `path` holds all of it or what it held before.

    Parameters
    ----------
    content : dict
        Tensors and plain values: numbers, strings, lists, tuples, dicts.
    path : str or Path
        Its folder is made if it does not exist.

    Raises
    ------
    CheckpointError
        If `content` holds anything else, or the file cannot be written.
    """
    found = _find_object(content, "content")
    if found is not None:  # refuse now what could not be loaded later
        raise CheckpointError(
            f"{found}, but a checkpoint holds tensors and plain values only. "
            f"Convert it (with .item(), .tolist(), float() or str()) or leave it out."
        )
    packed = io.BytesIO()
    torch.save(content, packed)
    try:
        with replacing(Path(path)) as file:
            file.write(packed.getbuffer())
    except OSError as error:
        raise CheckpointError(
            f"cannot write {path}: {error.strerror or error}. What was saved before "
            f"is unharmed. Free some space or allow writing there, or choose "
            f"another folder."
        ) from error


def read(path: str | Path) -> dict[str, Any]:
    """Return what `write` put into a file, tensors on the CPU.

    Raises
    ------
    CheckpointError
        If the file is missing, is no checkpoint, or was cut off or altered.
    """
    try:
        file = io.BytesIO(Path(path).read_bytes())
    except OSError as error:
        reason = error.strerror or error
        raise CheckpointError(
            f"cannot read the checkpoint {path}: {reason}. {ANOTHER}"
        ) from error
    _check_whole(path, file)
    try:
        # To the CPU first, wherever it was saved: that machine's GPU may not
        # exist here, and load_state_dict copies to where the model is.
        content = torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:
        named = re.search(r"GLOBAL (\S+)", str(error))
        if named is None:
            raise _damaged(path, "PyTorch cannot read it") from error
        raise CheckpointError(
            f"{path} holds more than tensors and plain values: {named[1]}. To load "
            f"such a file can run any program, so it is refused. Ask whoever made it "
            f"for the state dict instead: torch.save(model.state_dict(), path)."
        ) from error
    if not isinstance(content, dict):
        kind = type(content).__name__
        raise CheckpointError(
            f"{path} is no checkpoint: it holds a {kind}, no dict. {ANOTHER}"
        )
    return content


def _check_whole(path: str | Path, file: io.BytesIO) -> None:
    """Refuse a file that is no archive of torch.save, or not as it was written."""
    start = file.getvalue()[:15]
    try:
        with zipfile.ZipFile(file) as archive:
            broken = archive.testzip()
            records = {one.filename: one.external_attr for one in archive.infolist()}
    except Exception as error:  # a damaged directory leads zipfile anywhere
        if not start:
            raise _damaged(path, "it is empty") from error
        if not start.strip(b"\0"):  # a power cut can leave them
            raise _damaged(path, "it begins with zeros") from error
        if start.startswith(b"PK"):
            raise _damaged(path, f"its directory is wrong ({error})") from error
        reason = f"it begins with {start!r}"
        if start.startswith(b"\x80"):
            reason = "it looks like a pickle, and to load one can run any program"
        raise CheckpointError(
            f"{path} is no checkpoint: {reason}. {ANOTHER}"
        ) from error
    if broken is not None:
        raise _damaged(path, f"its record {broken} does not match its checksum")
    # PyTorch takes a record that is marked as a folder for an empty one.
    if not records or any(mark & 0x10 for mark in records.values()):
        raise _damaged(path, "its directory is wrong")
    if not any(name.endswith("/data.pkl") for name in records):
        listed = ", ".join([*records][:3])
        raise CheckpointError(
            f"{path} is no checkpoint, but a zip of {listed}, ... {ANOTHER}"
        )
    file.seek(0)


def _damaged(path: str | Path, reason: str) -> CheckpointError:
    return CheckpointError(
        f"{path} is damaged: {reason}. It was cut off or altered after it was "
        f"saved. Load the checkpoint before it (fallback=True does), or copy the "
        f"file again from where it came."
    )


def _find_object(value: Any, place: str) -> str | None:
    """Return where in `value` something is not plain, and what, or else None."""
    kind = type(value)
    parts: Iterable[tuple[Any, Any]] = ()
    if kind in DICT_TYPES:
        parts = [*value.items(), *((f"key {key!r}", key) for key in value)]
    elif kind in (list, tuple):
        parts = enumerate(value)
    elif kind not in PLAIN_TYPES:
        return f"{place} is a {kind.__module__}.{kind.__qualname__}"
    found = (_find_object(part, f"{place}[{key!r}]") for key, part in parts)
    return next(filter(None, found), None)
