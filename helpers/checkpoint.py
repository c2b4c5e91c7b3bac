"""Saving a training run, and going on with it as if it had never stopped.

Chapter 8 writes each part of this by hand. A checkpoint is a dictionary of tensors
and plain values in a plain ``torch.save`` file, written by `helpers.torch_files`.
"""

import contextlib
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler
from torch.utils.data import DataLoader

from helpers.randomness import random_state, restore_random_state
from helpers.torch_files import CheckpointError, read, write
from helpers.training import History

__all__ = ["CheckpointError", "TrainingState", "checkpoints", "latest", "load"]
__all__ += ["read", "read_newest", "save", "write"]

Content = dict[str, Any]
NAME = re.compile(r"(\d+)-epoch-\d+-step-\d+\.pt")
KEYS = {"model", "optimizer", "scheduler", "classes", "epoch", "step", "history"}
KEYS |= {"settings", "generator", "random"}
WRAPPERS = """
Names that begin with "module." come from DataParallel or DistributedDataParallel,
with "_orig_mod." from torch.compile. Save and load the network inside: model.module,
model._orig_mod. For weights that are saved already, this line mends the names:
  weights = {name.replace("_orig_mod.", "").removeprefix("module."): weight
             for name, weight in weights.items()}"""


@dataclass
class TrainingState:
    """Everything that the next training step depends on.

    Attributes
    ----------
    model, optimizer, scheduler
        The network, on the device it trains on, and what was made for it. A
        learning-rate schedule is optional.
    generator : torch.Generator
        From which the training loader draws the order of the examples.
    epoch, step : int
        Epochs finished, and steps done in the epoch after those.
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
        """
        if loader.generator is not self.generator:
            raise ValueError("give the loader and this state the same torch.Generator")
        if self.step == 0:
            self.epoch_start = self.generator.get_state()
            yield from loader
            return
        if self.epoch_start is None:
            raise ValueError("draw every batch from state.remaining_batches(loader)")
        self.generator.set_state(self.epoch_start)
        # Reading the passed-over batches may draw random numbers (augmentation
        # does) that were drawn before the checkpoint was made.
        after_load = random_state()
        batches = iter(loader)
        for done in range(self.step):
            if next(batches, None) is None:
                raise CheckpointError(
                    f"the run was saved after step {self.step} of an epoch, and this "
                    f"loader has only {done} batches: use its data and batch size"
                )
        restore_random_state(after_load)
        yield from batches

    def content(self) -> Content:
        """Return the dictionary that becomes the file."""
        epoch_start = self.epoch_start if self.step else self.generator.get_state()
        if epoch_start is None:
            raise ValueError("draw the batches from state.remaining_batches(loader)")
        return {
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "scheduler": self.scheduler and self.scheduler.state_dict(),
            "classes": self.class_names(),
            "epoch": self.epoch,
            "step": self.step,
            "history": self.history,
            "settings": self.settings,
            "generator": epoch_start,
            "random": random_state(),
        }

    def class_names(self) -> dict[str, str]:
        """Name what state dicts do not: Adam's would load into SGD without a word."""
        parts = {"optimizer": self.optimizer, "scheduler": self.scheduler}
        return {name: _class_name(part) for name, part in parts.items()}


def save(state: TrainingState, folder: str | Path, keep: int = 3) -> Path:
    """Write a checkpoint into `folder` and delete those no longer needed.

    The last `keep` stay, and ``best.pt``: a copy of the one made after the
    epoch with the highest validation accuracy so far. At every moment of this
    function the power may fail: what was whole before is whole afterwards.
    Returns the new file, ``NUMBER-epoch-E-step-S.pt``; numbers count up.
    """
    if keep < 1:
        raise ValueError(f"keep must be 1 or more, not {keep}")
    folder, content = Path(folder), state.content()
    number = max(map(_number, checkpoints(folder)), default=0) + 1
    path = folder / f"{number:05d}-epoch-{state.epoch:03d}-step-{state.step:05d}.pt"
    # The best one first: cut off in between, the run repeats this epoch's end
    # and writes both. The other way round, the best would be missed for good.
    scores = [row.get("validation_accuracy") or 0 for row in state.history["epochs"]]
    if state.step == 0 and scores and scores[-1] > max(scores[:-1], default=0):
        write(content, folder / "best.pt")
    write(content, path)
    with contextlib.suppress(OSError):  # what cannot be deleted now, can later
        for unneeded in [*checkpoints(folder)[keep:], *folder.glob("*.partial")]:
            unneeded.unlink(missing_ok=True)
    return path


def load(path: str | Path, state: TrainingState, fallback: bool = False) -> Path:
    """Bring `state` to where it was when a checkpoint was saved.

    The model keeps its device. Sets Python's, NumPy's and PyTorch's global
    random generators too. If this raises, nothing was changed. Returns the file
    that was loaded.

    Parameters
    ----------
    path : str or Path
        A checkpoint, or a folder of them: then the newest.
    state : TrainingState
        With model, optimizer and scheduler built as those that were saved.
        The optimizer's settings (its learning rate, ...) come from the file.
    fallback : bool
        If the file is damaged, take the newest good one before it.
    """
    found, content = read_newest(path, fallback)
    _check_fits(found, content, state)
    try:  # the optimizer first: it may still refuse, and before it changes anything
        state.optimizer.load_state_dict(content["optimizer"])
    except ValueError as error:
        raise CheckpointError(f"{found}: {error}") from error
    state.model.load_state_dict(content["model"])
    if state.scheduler is not None:
        state.scheduler.load_state_dict(content["scheduler"])
    for name in ("epoch", "step", "history", "settings"):
        setattr(state, name, content[name])
    state.epoch_start = content["generator"]
    state.generator.set_state(content["generator"])
    restore_random_state(content["random"])
    return found


def read_newest(path: str | Path, fallback: bool = False) -> tuple[Path, Content]:
    """Return the file that `load` would load, and what it holds."""
    path = Path(path)
    found = checkpoints(path)
    if not path.is_dir():
        before = checkpoints(path.parent)
        found = [path, *(one for one in before if _number(one) < _number(path))]
    problems = [] if found else [f"the folder {path} holds no checkpoint"]
    for candidate in found if fallback else found[:1]:
        try:
            return candidate, read(candidate)
        except CheckpointError as error:
            problems.append(str(error))
    raise CheckpointError("\n".join(problems))


def checkpoints(folder: str | Path) -> list[Path]:
    """Return the numbered checkpoints in `folder`, the newest first."""
    found = [path for path in Path(folder).glob("*.pt") if NAME.fullmatch(path.name)]
    return sorted(found, key=_number, reverse=True)


def latest(folder: str | Path) -> Path | None:
    """Return the newest checkpoint in `folder`, or None if it holds none."""
    return next(iter(checkpoints(folder)), None)


def _number(path: Path) -> int:
    match = NAME.fullmatch(path.name)
    return int(match[1]) if match else 0


def _check_fits(path: Path, content: Content, state: TrainingState) -> None:
    """Refuse a checkpoint that `state` cannot take, before anything changes."""
    if set(content) != KEYS:
        raise CheckpointError(f"{path} is no training state: {_what_it_is(content)}")
    saved, here = content["model"], state.model.state_dict()
    kinds = [(name, _kind(saved, name), _kind(here, name)) for name in here | saved]
    lines = [f"  {n}: {a} in the file, {b} here" for n, a, b in kinds if a != b]
    if lines:
        lines[12:] = [f"  and {len(lines) - 12} more"] if len(lines) > 12 else []
        wrapped = {*map(_unwrapped, saved)} == {*map(_unwrapped, here)}
        end = WRAPPERS if wrapped else "Build it, or load another checkpoint."
        other = f"a different network than this {type(state.model).__name__}"
        raise CheckpointError("\n".join([f"{path} was made by {other}:", *lines, end]))
    for part, name in state.class_names().items():
        if content["classes"][part] != name:
            raise CheckpointError(
                f"{path} was made with {part} {content['classes'][part]}, but this "
                f"run has {name}. Build the {part} that was saved."
            )


def _class_name(part: object) -> str:
    """Name a class, and of a scheduler made of schedulers theirs, too."""
    inner = ", ".join(map(_class_name, getattr(part, "_schedulers", ())))
    return type(part).__name__ + (f" of {inner}" if inner else "")


def _kind(weights: dict[str, Any], name: str) -> str:
    value = weights.get(name)
    if isinstance(value, Tensor):
        return f"{str(value.dtype).removeprefix('torch.')} {tuple(value.shape)}"
    return "missing" if value is None else type(value).__name__


def _what_it_is(content: Content) -> str:
    """Describe a dictionary that another program saved, and how to use it."""
    if content and all(isinstance(value, Tensor) for value in content.values()):
        load_it = "model.load_state_dict(torch.load(path, weights_only=True))"
        wrapped = {*map(_unwrapped, content)} != {*content}
        return f"it is a state dict alone. Use {load_it}. {WRAPPERS if wrapped else ''}"
    names = ", ".join(map(str, content)) or "nothing"
    return f"it holds {names}. Read it with helpers.checkpoint.read."


def _unwrapped(name: str) -> str:
    """Return the name of a weight without what wrappers put before it."""
    return name.replace("_orig_mod.", "").removeprefix("module.")
