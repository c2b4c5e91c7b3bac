"""Reading answers: what kind of thing is this, and is it near enough?

Each function raises `Wrong` with a sentence for the reader. `name` is what the
task calls the answer, such as "my_sheet".
"""

import ast
import inspect
import numbers
import textwrap
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from types import FunctionType
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from helpers.exercises._registry import Empty, Wrong

# Where a stub's base classes come from; what they can do is no answer.
LIBRARY = ("torch", "builtins", "typing", "abc")


# Empty answers ------------------------------------------------------------------


def is_empty(attempt: object) -> bool:
    """Tell whether there is no answer: None, ..., nothing in it, only a stub."""
    if attempt is None or attempt is ...:
        return True
    if isinstance(attempt, Tensor | np.ndarray):
        return 0 in attempt.shape
    if isinstance(attempt, str | bytes):
        return not attempt.strip()
    if isinstance(attempt, dict):
        return all(map(is_empty, attempt.values()))
    if isinstance(attempt, list | tuple | set):
        return all(map(is_empty, attempt))
    if isinstance(attempt, FunctionType):
        return _does_nothing(attempt)
    if inspect.isclass(attempt):
        bases = [b for b in attempt.__mro__[1:] if not b.__module__.startswith(LIBRARY)]
        return not any(
            isinstance(value, FunctionType | classmethod | staticmethod)
            and not _does_nothing(getattr(value, "__func__", value))
            for base in (attempt, *bases)
            for value in vars(base).values()
        )
    return False


def _does_nothing(function: object) -> bool:
    """Tell whether a function's source only returns None, or says it is not written.

    A function whose source is not to be had counts as an answer, as a lambda does.
    """
    if not isinstance(function, FunctionType):  # made by C, or by functools
        return False
    try:
        (made,) = ast.parse(textwrap.dedent(inspect.getsource(function))).body
    except (OSError, TypeError, ValueError, SyntaxError):
        return False
    if not isinstance(made, ast.FunctionDef | ast.AsyncFunctionDef):
        return False
    return made.name == function.__name__ and all(map(_is_nothing, made.body))


def _is_nothing(statement: ast.stmt) -> bool:
    match statement:
        case ast.Pass() | ast.Return(None) | ast.Expr(ast.Constant()):
            return True
        case ast.Return(ast.Constant(value)):
            return value is None or value is ...
        case ast.Raise(ast.Call(ast.Name(name)) | ast.Name(name)):
            return name == "NotImplementedError"
    return False


# Describing ---------------------------------------------------------------------


def describe(value: object) -> str:
    """Return what a value is, in a few words."""
    if isinstance(value, Tensor):
        kind = str(value.dtype).removeprefix("torch.")
        if value.ndim == 0:
            return f"the tensor {value.item():.4g}"
        return f"a tensor of shape {tuple(value.shape)}, {kind}"
    if isinstance(value, np.ndarray):
        return f"a NumPy array of shape {value.shape}, {value.dtype}"
    if value is None:
        return "None"
    if isinstance(value, bool | numbers.Number):
        return f"{value:.4g}" if isinstance(value, float) else f"{value}"
    if isinstance(value, str):
        return f"the text {value[:40]!r}"
    if inspect.isclass(value):
        return f"the class {value.__name__}"
    if isinstance(value, list | tuple | dict | set):
        return f"a {type(value).__name__} of {len(value)}"
    if callable(value) and hasattr(value, "__name__"):
        return f"the function {value.__name__}"
    return f"a {type(value).__name__}"


def told(error: BaseException) -> str:
    """Return an error's type and message, in one line that is not too long."""
    try:
        text = " ".join(str(error).split())
    except Exception:  # an answer can bring errors of its own
        text = ""
    text = text.replace("`", "'")
    if len(text) > 300:
        text = text[:297] + "..."
    return f"{type(error).__name__}: {text}".rstrip(": ")


# Kinds of values ----------------------------------------------------------------


def number(value: object, name: str) -> float:
    """Return a number: int, float, or a tensor or array that holds one."""
    if isinstance(value, Tensor | np.ndarray | np.generic):
        if np.prod(value.shape) != 1:
            raise Wrong(f"`{name}` should be one number, but is {describe(value)}.")
        value = value.item()
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        raise Wrong(f"`{name}` should be a number, but is {describe(value)}.")
    if not np.isfinite(float(value)):
        raise Wrong(f"`{name}` should be a finite number, but is {value}.")
    return float(value)


def as_tensor(value: object, name: str, shape: tuple[int, ...] | None = None) -> Tensor:
    """Return a tensor on the CPU, apart from any graph, of a tensor, array or list.

    Raises
    ------
    Wrong
        If it is something else, or its shape is not `shape`.
    """
    if isinstance(value, Tensor):
        found = value.detach().cpu()
    elif isinstance(value, np.ndarray):
        found = torch.from_numpy(value.copy())
    elif isinstance(value, list | tuple):
        try:
            if value and all(isinstance(v, Tensor) for v in value):
                found = torch.stack([v.detach().cpu() for v in value])
            else:
                found = torch.tensor(value)
        except (TypeError, ValueError, RuntimeError) as error:
            raise Wrong(
                f"`{name}` is {describe(value)} that cannot be made into one "
                f"tensor: {error}"
            ) from error
    elif isinstance(value, numbers.Real):
        found = torch.tensor(value)
    else:
        raise Wrong(f"`{name}` should be a tensor, but is {describe(value)}.")
    if shape is not None and tuple(found.shape) != tuple(shape):
        raise Wrong(
            f"`{name}` should have the shape {tuple(shape)}, but has "
            f"{tuple(found.shape)}."
        )
    return found


def sequence(value: object, name: str, length: int) -> list[Any]:
    """Return a list of a sequence of the right length."""
    if isinstance(value, Tensor | np.ndarray) and value.ndim > 0:
        value = list(value)
    if not isinstance(value, Sequence) or isinstance(value, str):
        raise Wrong(f"`{name}` should be {length} values, but is {describe(value)}.")
    if len(value) != length:
        raise Wrong(f"`{name}` should be {length} values, but has {len(value)}.")
    return list(value)


def mapping(value: object, name: str, keys: Sequence[object]) -> dict[Any, Any]:
    """Return a dictionary that has exactly the keys asked for, none of them empty."""
    if not isinstance(value, Mapping):
        raise Wrong(f"`{name}` should be a dictionary, but is {describe(value)}.")
    missing = [key for key in keys if key not in value]
    extra = [key for key in value if key not in keys]
    if missing:
        instead = f", but has {', '.join(map(repr, extra))}" if extra else ""
        raise Wrong(f"`{name}` lacks {', '.join(map(repr, missing))}{instead}.")
    if extra:
        raise Wrong(f"`{name}` has {', '.join(map(repr, extra))}, which is not asked.")
    unfilled = [key for key in keys if is_empty(value[key])]
    if unfilled:
        raise Wrong(f"`{name}` has no answer yet for {', '.join(map(repr, unfilled))}.")
    return dict(value)


# Trying functions ---------------------------------------------------------------


class CountCalls(TorchFunctionMode):
    """Counts the calls of one of PyTorch's functions, however they are written."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self.name, self.count = name, 0

    def __torch_function__(
        self,
        function: Callable[..., object],
        types: object,
        args: tuple[object, ...] = (),
        kwargs: dict[str, object] | None = None,
    ) -> object:
        self.count += getattr(function, "__name__", "") == self.name
        return function(*args, **(kwargs or {}))


def as_function(value: object, name: str) -> Callable[..., Any]:
    """Return something that can be called."""
    if not callable(value):
        raise Wrong(f"`{name}` should be a function, but is {describe(value)}.")
    return value


def attempted(
    function: object,
    call: str,
    *arguments: object,
    tried: str = "",
    keeps: bool = False,
) -> Any:
    """Call a function of the reader's; an error it raises is an answer too.

    Parameters
    ----------
    function : callable
        The answer, or something that it made.
    call : str
        How the call reads, for the message: "my_sheet(images)".
    arguments
        Tensors are copied, so that the judge's own stay as they are.
    tried : str
        What the arguments were.
    keeps : bool
        Whether the function must leave the tensors as they are.

    Raises
    ------
    Empty
        If the function has no body yet.
    Wrong
        If it cannot be called, raises an error, or changes what it should keep.
    """
    if is_empty(function):
        raise Empty
    answer = as_function(function, call.partition("(")[0])
    copies: list[Any] = [a.clone() if isinstance(a, Tensor) else a for a in arguments]
    try:
        found = answer(*copies)
    except (Wrong, Empty):
        raise
    except (Exception, SystemExit) as error:
        what = f" It was tried with {tried}." if tried else ""
        raise Wrong(f"`{call}` raises `{told(error)}`.{what}") from error
    pairs = zip(arguments, copies, strict=True)
    if keeps and any(isinstance(a, Tensor) and not torch.equal(a, b) for a, b in pairs):
        raise Wrong(f"`{call}` changes a tensor that it is given. Change a `clone()`.")
    return found


def returned(value: object, call: str) -> object:
    """Return what a call returned, unless that is nothing."""
    if value is None or value is ...:
        raise Wrong(f"`{call}` returns {describe(value)}. Is a `return` missing?")
    return value


# Comparing ----------------------------------------------------------------------


def same(found: Tensor, expected: Tensor, tolerance: float = 1e-4) -> bool:
    """Tell whether two tensors are equal in shape and nearly so in value.

    The tolerance is relative to the largest expected value; the dtypes may
    differ.
    """
    if found.shape != expected.shape:
        return False
    scale = max(1.0, expected.abs().max().item()) if expected.numel() else 1.0
    gap = (found.double() - expected.double()).abs()
    return bool((gap <= tolerance * scale).all())


def first_difference(found: Tensor, expected: Tensor, tolerance: float = 1e-4) -> str:
    """Say where two tensors of one shape first differ, and by what."""
    scale = max(1.0, expected.abs().max().item())
    gap = (found.double() - expected.double()).abs()
    far = ~(gap <= tolerance * scale)  # NaN counts as far
    index = tuple(far.nonzero()[0].tolist())
    place = ", ".join(map(str, index))
    return (
        f"at [{place}] it is {found[index].item():.4g}, "
        f"and should be {expected[index].item():.4g}"
    )


def far_apart(values: Sequence[float], ratio: float) -> bool:
    """Tell whether no two numbers are so near that one is taken for another."""
    return all(high > ratio * low for low, high in pairwise(sorted(values)))


# Networks -----------------------------------------------------------------------


def network(value: object, name: str) -> nn.Module:
    """Return a network."""
    if isinstance(value, nn.Module):
        return value
    if inspect.isclass(value) and issubclass(value, nn.Module):
        raise Wrong(
            f"`{name}` is the class {value.__name__}. Make a network of it: "
            f"`{name} = {value.__name__}()`."
        )
    raise Wrong(
        f"`{name}` should be a network, an nn.Module, but is {describe(value)}."
    )


def logits_of(model: nn.Module, images: Tensor, name: str) -> Tensor:
    """Return what a network answers, in its present mode, with its graph.

    Raises
    ------
    Wrong
        If it is not a floating-point tensor (batch, 10).
    """
    device = next((p.device for p in model.parameters()), images.device)
    tried = f"images of shape {tuple(images.shape)}"
    logits = attempted(model, f"{name}(images)", images.to(device), tried=tried)
    if not isinstance(returned(logits, f"{name}(images)"), Tensor):
        raise Wrong(f"`{name}(images)` returns {describe(logits)}, not a tensor.")
    if logits.shape != (len(images), 10):
        raise Wrong(
            f"For {tried}, `{name}` should return ten logits for each: "
            f"({len(images)}, 10). It returns {tuple(logits.shape)}."
        )
    if not logits.is_floating_point():
        raise Wrong(f"`{name}(images)` returns {logits.dtype}, not logits.")
    return logits


def judge_gradients(model: nn.Module, logits: Tensor, name: str) -> None:
    """See whether training would reach every parameter of a network."""
    if not logits.requires_grad:
        raise Wrong(
            f"No gradient gets from the logits of `{name}` back to its parameters."
        )
    labels = torch.arange(len(logits), device=logits.device) % 10
    nn.functional.cross_entropy(logits, labels).backward()
    for key, parameter in model.named_parameters():
        if parameter.requires_grad and parameter.grad is None:
            raise Wrong(f"`{key}` of `{name}` takes no part in its answer.")


def judge_ending(model: nn.Module, images: Tensor, logits: Tensor, name: str) -> None:
    """See whether a network ends in logits, not in softmax or ReLU.

    `logits` is what it answered to the images.
    """
    ones = torch.ones_like(logits[:, 0])
    if torch.allclose(logits.sum(dim=1), ones, atol=1e-3) and (logits >= 0).all():
        raise Wrong(
            f"The rows of `{name}(images)` are probabilities: they sum to 1. Return "
            "the logits; the loss does the softmax."
        )
    if torch.allclose(logits.exp().sum(dim=1), ones, atol=1e-3):
        raise Wrong(
            f"The rows of `{name}(images)` are logarithms of probabilities. Return "
            "the logits; the loss does the softmax and the logarithm."
        )
    if (logits >= 0).all() and not _can_be_negative(model, images.to(logits.device)):
        raise Wrong(
            f"No logit of `{name}` is negative. Is there a ReLU or sigmoid at the end?"
        )


def _can_be_negative(model: nn.Module, images: Tensor) -> bool:
    """Tell whether a network has a negative logit when its parameters change signs.

    By chance all logits of a sound network can be positive: with sigmoids between its
    layers, one network in 5,000 had no negative logit for 64 digits.
    """
    with torch.no_grad():
        for _ in range(5):
            signed = {
                key: parameter * torch.randn_like(parameter).sign()
                for key, parameter in model.named_parameters()
            }
            if (torch.func.functional_call(model, signed, images) < 0).any():
                return True
    return False
