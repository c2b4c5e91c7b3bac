"""Saving a training run, and going on with it as if it had never stopped.

Chapter 8 writes each part of this by hand. A checkpoint is one file:

- a line of text: what the file is, its format, how many bytes follow, and
  their sha256 checksum;
- what ``torch.save`` made of a dictionary of plain values and tensors.

The line is there because ``torch.load`` checks no checksum: a flipped bit
would load as a different weight. It comes first so that a foreign or damaged
file is refused before any of its content is interpreted.
"""

import contextlib
import hashlib
import io
import os
import random
import re
import secrets
from collections import Counter, OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler
from torch.utils.data import DataLoader

from helpers.training import History

FORMAT = 1
HEADER = re.compile(
    rb"(pytorch-by-hand checkpoint, format (\d{1,9}), (\d{1,18}) bytes), "
    rb"sha256 ([0-9a-f]{64})\n"
)
ANY_FORMAT = re.compile(rb"pytorch-by-hand checkpoint, format (\d{1,9})")
NAME = re.compile(r"(\d+)-epoch-\d+-step-\d+\.pt")
BEST = "best.pt"
KEYS = {
    "model",
    "optimizer",
    "scheduler",
    "classes",
    "epoch",
    "step",
    "history",
    "settings",
    "generator",
    "random",
}

# What torch.load(weights_only=True) reads back as it was. These types exactly:
# numpy.float64 is a subclass of float, and is refused on loading.
PLAIN_TYPES = {bool, int, float, str, bytes, type(None)}
DICT_TYPES = {dict, OrderedDict, Counter}


class CheckpointError(RuntimeError):
    """A checkpoint cannot be written, or must not be loaded.

    The message names the file, what is wrong with it, and what to do.
    """


@dataclass
class TrainingState:
    """Everything that the next training step depends on.

    Attributes
    ----------
    model : nn.Module
        The network, on the device it trains on.
    optimizer : Optimizer
        Made from the parameters of `model`.
    generator : torch.Generator
        From which the training loader draws the order of the examples.
    scheduler : LRScheduler, optional
        The learning-rate schedule, if there is one.
    epoch : int
        Epochs finished.
    step : int
        Steps done in the epoch after those.
    history : dict
        As `helpers.training.fit` returns it; plain values only.
    settings : dict
        Anything plain that a resumed run should know: batch size, seed, ...
    """

    model: nn.Module
    optimizer: Optimizer
    generator: torch.Generator
    scheduler: LRScheduler | None = None
    epoch: int = 0
    step: int = 0
    history: History = field(default_factory=lambda: {"steps": [], "epochs": []})
    settings: dict[str, Any] = field(default_factory=dict)
    epoch_start: Tensor | None = field(default=None, repr=False)

    def remaining_batches(self, loader: DataLoader[Any]) -> Iterator[Any]:
        """Yield the batches of this epoch that `step` says are still to come.

        The order of a whole epoch follows from the generator's state at the
        epoch's start. So in the middle of an epoch the generator is set back
        to that, and the batches already done are passed over.

        Parameters
        ----------
        loader : DataLoader
            Its ``generator`` is this state's `generator`.

        Raises
        ------
        ValueError
            If the loader draws its order from elsewhere.
        CheckpointError
            If the loader has fewer batches than were already done.
        """
        if loader.generator is not self.generator:
            raise ValueError(
                "the loader draws its order from another generator than this "
                "state saves: give both the same torch.Generator"
            )
        if self.step == 0:
            self.epoch_start = self.generator.get_state()
            yield from loader
            return
        self.generator.set_state(self.epoch_start)
        # Reading the passed-over batches may draw random numbers (augmentation
        # does) that were drawn before the checkpoint was made.
        after_load = random_state()
        batches = iter(loader)
        for done in range(self.step):
            if next(batches, None) is None:
                raise CheckpointError(
                    f"the checkpoint was made after step {self.step} of an epoch, "
                    f"but this loader has only {done} batches: use the data and "
                    f"the batch size of the run that saved it"
                )
        restore_random_state(after_load)
        yield from batches


def save(state: TrainingState, folder: str | Path, keep: int = 3) -> Path:
    """Write a checkpoint into `folder` and delete those no longer needed.

    The last `keep` stay, and ``best.pt``: a copy of the one made after the
    epoch with the highest validation accuracy so far. At every moment of this
    function the power may fail: what was whole before is whole afterwards.

    Parameters
    ----------
    state : TrainingState
        The run, between two steps.
    folder : str or Path
        Made if it does not exist. Each run needs a folder of its own.
    keep : int
        How many of the newest checkpoints to leave, 1 or more.

    Returns
    -------
    Path
        The new file, ``NUMBER-epoch-E-step-S.pt``; numbers count up.

    Raises
    ------
    CheckpointError
        If the state holds something other than tensors and plain values, or
        the file cannot be written.
    """
    if keep < 1:
        raise ValueError(f"keep must be 1 or more, not {keep}")
    folder = Path(folder)
    packed = _pack(_content(state))
    newest = latest(folder)
    number = 1 if newest is None else _number(newest) + 1
    name = f"{number:05d}-epoch-{state.epoch:03d}-step-{state.step:05d}.pt"
    # The best one first: cut off in between, the run repeats this epoch's end
    # and writes both. The other way round, the best would be missed for good.
    if state.step == 0 and _is_best(state.history):
        _replace(folder / BEST, packed)
    _replace(folder / name, packed)
    with contextlib.suppress(OSError):  # what cannot be deleted now, can later
        for unneeded in [*checkpoints(folder)[keep:], *folder.glob("*.partial")]:
            unneeded.unlink(missing_ok=True)
    return folder / name


def load(path: str | Path, state: TrainingState, fallback: bool = False) -> Path:
    """Bring `state` to where it was when a checkpoint was saved.

    The model keeps its device: the file is read into main memory and copied
    to wherever the model is. Sets Python's, NumPy's and PyTorch's global
    random generators too. If this raises, nothing was changed.

    Parameters
    ----------
    path : str or Path
        A checkpoint, or a folder of them: then the newest.
    state : TrainingState
        With model, optimizer and scheduler built as those that were saved.
        The optimizer's settings (its learning rate, ...) come from the file.
    fallback : bool
        If the file is damaged, take the newest good one before it.

    Returns
    -------
    Path
        The file that was loaded.

    Raises
    ------
    CheckpointError
        If there is no checkpoint, it is damaged or foreign, or was made by a
        different network, optimizer or schedule. The message says which.
    """
    found, content = _first_good(_candidates(Path(path), fallback))
    _check_fits(found, content, state)
    state.model.load_state_dict(content["model"])
    state.optimizer.load_state_dict(content["optimizer"])
    if state.scheduler is not None:
        state.scheduler.load_state_dict(content["scheduler"])
    state.epoch, state.step = content["epoch"], content["step"]
    state.history, state.settings = content["history"], content["settings"]
    state.epoch_start = content["generator"]
    state.generator.set_state(content["generator"])
    restore_random_state(content["random"])
    return found


def checkpoints(folder: str | Path) -> list[Path]:
    """Return the numbered checkpoints in `folder`, the newest first."""
    found = [path for path in Path(folder).glob("*.pt") if NAME.fullmatch(path.name)]
    return sorted(found, key=_number, reverse=True)


def latest(folder: str | Path, verify: bool = False) -> Path | None:
    """Return the newest checkpoint in `folder`, or None if it holds none.

    Parameters
    ----------
    folder : str or Path
        Need not exist.
    verify : bool
        Read the files, and pass over those that are damaged.
    """
    for path in checkpoints(folder):
        if not verify or _is_whole(path):
            return path
    return None


def random_state() -> dict[str, Any]:
    """Return the states of all global random generators as plain values."""
    numpy_state = np.random.get_state(legacy=False)  # noqa: NPY002
    state = {
        "torch": torch.get_rng_state(),
        "numpy": _without_arrays(numpy_state),
        "python": random.getstate(),
        "cuda": [],
        "mps": None,
    }
    if torch.cuda.is_initialized():  # else nothing was drawn there
        state["cuda"] = torch.cuda.get_rng_state_all()
    if torch.backends.mps.is_available():
        state["mps"] = torch.mps.get_rng_state()
    return state


def restore_random_state(state: dict[str, Any]) -> None:
    """Set the global random generators to what `random_state` returned.

    States of devices that this machine does not have are left out.
    """
    torch.set_rng_state(state["torch"])
    np.random.set_state(state["numpy"])  # noqa: NPY002
    random.setstate(state["python"])
    for index, device_state in enumerate(state["cuda"]):
        if index < torch.cuda.device_count():
            torch.cuda.set_rng_state(device_state, index)
    if state["mps"] is not None and torch.backends.mps.is_available():
        torch.mps.set_rng_state(state["mps"])


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
    _replace(Path(path), _pack(content))


def read(path: str | Path) -> dict[str, Any]:
    """Return what `write` or `save` put into a file, tensors on the CPU.

    Raises
    ------
    CheckpointError
        If the file is missing, is no checkpoint, or was cut off or altered.
    """
    path = Path(path)
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise CheckpointError(
            f"there is no checkpoint {path}: check the name"
        ) from None
    except OSError as error:
        raise CheckpointError(
            f"cannot read {path}: {error.strerror or error}"
        ) from error
    header = _checked_header(path, data)
    payload = io.BytesIO(data[header.end() :])
    try:
        # To the CPU first, wherever it was saved: that machine's GPU may not
        # exist here, and load_state_dict copies to where the model is.
        content = torch.load(payload, map_location="cpu", weights_only=True)
    except Exception as error:
        named = re.search(r"GLOBAL (\S+)", str(error))
        raise CheckpointError(
            f"{path} holds more than tensors and plain values"
            f"{f' ({named[1]})' if named else ''}. To load such a file can run any "
            f"program, so it is refused; load it by no other means unless you trust "
            f"whoever made it."
        ) from error
    if not isinstance(content, dict):
        raise CheckpointError(f"{path} holds no dictionary: it is no checkpoint")
    return content


def _content(state: TrainingState) -> dict[str, Any]:
    """Return the dictionary that becomes the file."""
    epoch_start = state.epoch_start if state.step else state.generator.get_state()
    if epoch_start is None:
        raise ValueError(
            f"step is {state.step}, but the order of this epoch is not known: draw "
            f"the batches from state.remaining_batches(loader)"
        )
    return {
        "model": state.model.state_dict(),
        "optimizer": state.optimizer.state_dict(),
        "scheduler": state.scheduler and state.scheduler.state_dict(),
        "classes": _class_names(state),
        "epoch": state.epoch,
        "step": state.step,
        "history": state.history,
        "settings": state.settings,
        "generator": epoch_start,
        "random": random_state(),
    }


def _class_names(state: TrainingState) -> dict[str, str | None]:
    """Name what state dicts do not: Adam's would load into SGD without a word."""
    return {
        "optimizer": type(state.optimizer).__name__,
        "scheduler": type(state.scheduler).__name__ if state.scheduler else None,
    }


def _is_best(history: History) -> bool:
    """Tell whether the last epoch has the highest validation accuracy so far."""
    scores = [row.get("validation_accuracy") for row in history.get("epochs", [])]
    if not scores or scores[-1] is None:
        return False
    return all(score is None or score < scores[-1] for score in scores[:-1])


def _number(path: Path) -> int:
    match = NAME.fullmatch(path.name)
    return int(match[1]) if match else 0


def _without_arrays(value: Any) -> Any:
    """Return nested dicts with NumPy arrays as lists, NumPy numbers as plain."""
    if isinstance(value, dict):
        return {key: _without_arrays(item) for key, item in value.items()}
    return value.tolist() if isinstance(value, np.ndarray | np.generic) else value


def _pack(content: dict[str, Any]) -> bytes:
    """Return the bytes of a checkpoint file."""
    _check_plain(content)
    payload = io.BytesIO()
    torch.save(content, payload)
    data = payload.getvalue()
    start = f"pytorch-by-hand checkpoint, format {FORMAT}, {len(data)} bytes".encode()
    checksum = hashlib.sha256(start + data).hexdigest()
    return start + f", sha256 {checksum}\n".encode() + data


def _check_plain(content: dict[str, Any]) -> None:
    """Refuse, now, what could not be loaded later."""
    found = _find_object(content)
    if found is not None:
        raise CheckpointError(
            f"content{found}, but a checkpoint holds tensors and plain values only. "
            f"Convert it (with .item(), .tolist(), float() or str()) or leave it out."
        )


def _find_object(value: Any) -> str | None:
    """Return where in `value` something is not plain, and what, or else None."""
    kind = type(value)
    if kind in PLAIN_TYPES or isinstance(value, Tensor):
        return None
    if kind in DICT_TYPES:
        parts = [*value.items(), *((f"key {key!r}", key) for key in value)]
    elif kind in (list, tuple):
        parts = list(enumerate(value))
    else:
        return f" is a {kind.__module__}.{kind.__qualname__}"
    for place, part in parts:
        found = _find_object(part)
        if found is not None:
            return f"[{place!r}]{found}"
    return None


def _replace(path: Path, data: bytes) -> None:
    """Put `data` into `path`: wholly, or not at all."""
    partial = path.with_name(f"{path.name}.{secrets.token_hex(4)}.partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with partial.open("wb") as file:
                file.write(data)
                file.flush()  # from Python to the operating system,
                os.fsync(file.fileno())  # and from there to the disk
            os.replace(partial, path)  # one step: the old file, then the new
        except BaseException:
            partial.unlink(missing_ok=True)
            raise
    except OSError as error:
        raise CheckpointError(
            f"cannot write {path}: {error.strerror or error}. What was saved before "
            f"is unharmed. Free some space or allow writing there, or choose "
            f"another folder."
        ) from error
    _sync_folder(path.parent)


def _sync_folder(folder: Path) -> None:
    """Flush the new name to the disk too, where the system can do that.

    Windows opens no folders, and some network folders cannot be flushed.
    """
    with contextlib.suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def _checked_header(path: Path, data: bytes) -> re.Match[bytes]:
    """Return the match of the first line, if the bytes after it are as written."""
    header = HEADER.match(data)
    if header is None:
        raise _foreign(path, data)
    start, version, size = header[1], int(header[2]), int(header[3])
    actual = len(data) - header.end()
    if actual != size:
        raise _damaged(path, f"{actual:,} bytes after its first line, not {size:,}")
    checksum = hashlib.sha256(start + data[header.end() :]).hexdigest()
    if checksum.encode() != header[4]:
        raise _damaged(path, "its content does not match its checksum")
    if version != FORMAT:
        raise _other_format(path, version)
    return header


def _damaged(path: Path, reason: str) -> CheckpointError:
    return CheckpointError(
        f"{path} is damaged: {reason}. It was cut off or altered after it was "
        f"saved. Load the checkpoint before it (fallback=True does), or copy the "
        f"file again from where it came."
    )


def _other_format(path: Path, version: int) -> CheckpointError:
    newer = version > FORMAT
    return CheckpointError(
        f"{path} has format {version}; this version of the book reads format "
        f"{FORMAT}. Use {'a newer' if newer else 'the older'} version of the book."
    )


def _foreign(path: Path, data: bytes) -> CheckpointError:
    """Say what a file is that does not begin as a checkpoint does."""
    version = ANY_FORMAT.match(data)
    if version is not None and int(version[1]) > FORMAT:
        return _other_format(path, int(version[1]))
    if not data:
        return _damaged(path, "it is empty")
    if version is not None or b"pytorch-by-hand".startswith(data[:15]):
        return _damaged(path, "its first line is incomplete")
    if data.startswith(b"PK"):
        reason = (
            "it looks like a zip archive, such as torch.save writes. If it is a "
            "state dict, read it with torch.load(path, weights_only=True)"
        )
    elif data.startswith(b"\x80"):
        reason = "it looks like a pickle, and to load one can run any program"
    else:
        reason = f"it begins with {data[:12]!r}"
    return CheckpointError(f"{path} is no checkpoint of this book: {reason}.")


def _candidates(path: Path, fallback: bool) -> list[Path]:
    """Return the files to try, in order."""
    if path.is_dir():
        found = checkpoints(path)
        if not found:
            raise CheckpointError(f"the folder {path} holds no checkpoint")
        return found if fallback else found[:1]
    older = [
        other for other in checkpoints(path.parent) if _number(other) < _number(path)
    ]
    return [path, *older] if fallback else [path]


def _is_whole(path: Path) -> bool:
    try:
        read(path)
    except CheckpointError:
        return False
    return True


def _first_good(candidates: list[Path]) -> tuple[Path, dict[str, Any]]:
    problems = []
    for path in candidates:
        try:
            return path, read(path)
        except CheckpointError as error:
            if len(candidates) == 1:
                raise
            problems.append(str(error))
    raise CheckpointError("no checkpoint is left to load:\n" + "\n".join(problems))


def _check_fits(path: Path, content: dict[str, Any], state: TrainingState) -> None:
    """Refuse a checkpoint that `state` cannot take, before anything changes."""
    if content.keys() != KEYS:
        raise CheckpointError(
            f"{path} is no training state: it holds "
            f"{', '.join(map(str, content)) or 'nothing'}. Read it with "
            f"helpers.checkpoint.read."
        )
    differences = _differences(content["model"], state.model.state_dict())
    if differences:
        raise CheckpointError(
            f"{path} was made by a different network than this "
            f"{type(state.model).__name__}:\n" + "\n".join(differences) + "\n"
            "Build the network that was saved, or load another checkpoint."
        )
    for part, name in _class_names(state).items():
        if content["classes"][part] != name:
            raise CheckpointError(
                f"{path} was made with {part} {content['classes'][part]}, but this "
                f"run has {name}. Build the {part} that was saved."
            )
    saved_groups = content["optimizer"]["param_groups"]
    saved = [len(group["params"]) for group in saved_groups]
    here = [len(group["params"]) for group in state.optimizer.param_groups]
    if saved != here:
        raise CheckpointError(
            f"{path}: its optimizer adjusts groups of {saved} parameter tensors, "
            f"this one {here}. Give the optimizer the same parameters and groups."
        )


def _differences(saved: dict[str, Any], here: dict[str, Any]) -> list[str]:
    """List the entries of two state dicts that differ in name, shape or type."""
    lines = []
    for name in [*here, *(key for key in saved if key not in here)]:
        in_file, in_model = _describe(saved.get(name)), _describe(here.get(name))
        if in_file != in_model:
            lines.append(f"  {name}: {in_file} in the file, {in_model} here")
    if len(lines) > 12:
        lines[12:] = [f"  and {len(lines) - 12} more"]
    return lines


def _describe(value: Any) -> str:
    if isinstance(value, Tensor):
        return f"{str(value.dtype).removeprefix('torch.')} {tuple(value.shape)}"
    return "missing" if value is None else type(value).__name__
