"""Judging one answer without leaving a trace."""

import io
import random
from collections.abc import Iterator
from contextlib import (
    contextmanager,
    nullcontext,
    redirect_stderr,
    redirect_stdout,
    suppress,
)
from types import CodeType, FunctionType, MethodType

import numpy as np
import torch
from torch import nn

from helpers.exercises._answers import is_empty, told
from helpers.exercises._registry import Empty, Exercise, Wrong
from helpers.exercises._result import Result, Status, is_graded
from helpers.randomness import random_state, restore_random_state


def judge(exercise: Exercise, attempt: object) -> Result:
    """Return what an exercise's judge finds; never raise because of an answer."""
    # nbgrader takes a warning for a mistake; readers are to see it.
    quiet = redirect_stderr(io.StringIO()) if is_graded() else nullcontext()
    with _undisturbed(attempt), redirect_stdout(io.StringIO()), quiet:
        return Result(exercise.name, *_verdict(exercise, attempt))


def _verdict(exercise: Exercise, attempt: object) -> tuple[Status, str, float]:
    try:
        if is_empty(attempt):
            raise Empty
        return "right", exercise.judge(attempt) or "", 1.0
    except Empty:
        text = f'There is no answer yet. `hint("{exercise.name}")` helps you begin.'
        return "empty", text, 0.0
    except Wrong as wrong:
        return "wrong", str(wrong), wrong.points
    except (Exception, SystemExit) as error:  # what the answer does is not known
        return "wrong", f"Looking at your answer raised `{told(error)}`", 0.0


@contextmanager
def _undisturbed(attempt: object) -> Iterator[None]:
    """Draw fresh random numbers inside, and put everything back afterwards."""
    state = random_state()
    gradients, dtype = torch.is_grad_enabled(), torch.get_default_dtype()
    networks = []
    for module in _networks(attempt):
        with suppress(Exception):  # a network that is half made
            networks.append(_Snapshot(module))
    _seed_anew()
    torch.set_grad_enabled(True)
    torch.set_default_dtype(torch.float32)
    try:
        yield
    finally:
        for network in networks:
            network.restore()
        torch.set_default_dtype(dtype)
        torch.set_grad_enabled(gradients)
        restore_random_state(state)


def _seed_anew() -> None:
    """Let every generator begin where nobody can know beforehand."""
    random.seed()
    np.random.seed()  # noqa: NPY002 (what readers may use)
    # torch.seed would reach for GPUs that the reader has not used yet.
    torch.default_generator.seed()
    if torch.cuda.is_initialized():
        torch.cuda.seed_all()
    if torch.backends.mps.is_available():
        torch.mps.seed()


class _Snapshot:
    """A network's modes, values and gradients."""

    def __init__(self, module: nn.Module) -> None:
        self.modes = [(part, part.training) for part in module.modules()]
        tensors = [*module.parameters(), *module.buffers()]
        self.values = [(t, t.detach().clone()) for t in tensors]
        self.gradients = [(p, p.grad) for p in module.parameters()]
        for p in module.parameters():
            p.grad = None  # so that the kept gradient is not added to

    def restore(self) -> None:
        for part, mode in self.modes:
            part.training = mode
        with torch.no_grad():
            for tensor, value in self.values:
                if not torch.equal(tensor, value):
                    tensor.copy_(value)
        for p, gradient in self.gradients:
            p.grad = gradient


def _networks(attempt: object) -> list[nn.Module]:
    """Return the networks that an answer is, holds, or mentions."""
    found: list[nn.Module] = []
    seen: set[int] = set()
    waiting: list[object] = [attempt]
    while waiting:
        thing = waiting.pop()
        if id(thing) in seen or len(seen) > 1_000:
            continue
        seen.add(id(thing))
        if isinstance(thing, nn.Module):
            found.append(thing)
        elif isinstance(thing, dict):
            waiting.extend(thing.values())
        elif isinstance(thing, list | tuple):
            waiting.extend(thing)
        elif isinstance(thing, MethodType):
            waiting.extend([thing.__self__, thing.__func__])
        elif isinstance(thing, FunctionType):
            names = _names(thing.__code__)
            waiting.extend(v for k, v in thing.__globals__.items() if k in names)
            for cell in thing.__closure__ or ():
                try:
                    waiting.append(cell.cell_contents)
                except ValueError:  # not filled yet
                    continue
    return found


def _names(code: CodeType) -> set[str]:
    """Return the names that a function and the functions in it mention."""
    inner = (c for c in code.co_consts if isinstance(c, CodeType))
    return set(code.co_names).union(*map(_names, inner))
