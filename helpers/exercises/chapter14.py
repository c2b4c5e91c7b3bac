"""Chapter 14: PyTorch by hand.

The class `Tensor` is the reader's own: it stands in the chapter, and a function of
theirs sees it under its name. The judges compare what it finds with PyTorch.
"""

import inspect
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from helpers.exercises._answers import (
    as_tensor,
    attempted,
    describe,
    first_difference,
    is_empty,
    number,
    returned,
    same,
)
from helpers.exercises._registry import Empty, Wrong, exercise

# A tensor of the reader's class: it has values, parents, grad_fn, grad, backward().
Own: TypeAlias = Any

TOLERANCE = 1e-9  # all is float64


def _class_of(answer: object, name: str) -> Callable[..., Own]:
    """Return the reader's class `Tensor`, as their function sees it."""
    places = (answer, getattr(answer, "func", None), type(answer).__call__)
    for function in places:
        found = getattr(function, "__globals__", {}).get("Tensor")
        if inspect.isclass(found) and not issubclass(found, Tensor):
            return found
    raise Wrong(
        f"`{name}` should be written in Python, in the notebook of this chapter: it "
        f"has to see the class `Tensor` that stands there. It is {describe(answer)}."
    )


def _random(*shape: int) -> Tensor:
    return torch.randn(shape, dtype=torch.float64)


def _positive(*shape: int) -> Tensor:
    return 0.5 + torch.rand(shape, dtype=torch.float64)


def _own_tensor(made: Any, call: str, own: Any) -> Own:
    """Return what a call made, if it is a tensor of the reader's class."""
    if not isinstance(returned(made, call), own):
        raise Wrong(f"`{call}` returns {describe(made)}. It should be a `Tensor`.")
    return made


def _walk_back(result: Own, slope: Tensor, call: str) -> None:
    """Walk back from a result, beginning with a slope of each of its numbers."""
    what = f"backward() from {call}"
    attempted(lambda: (result * slope.numpy()).sum().backward(), what)


def _slope(tensor: Own, name: str) -> Tensor:
    """Return the slope that has arrived at a tensor."""
    if tensor.grad is None:
        raise Wrong(
            f"No slope gets back to {name}. Is it among the `parents`, and is nothing "
            "in between made anew from `.values`?"
        )
    return as_tensor(tensor.grad, f"the slope by {name}", tensor.shape)


# Exercise 1 ---------------------------------------------------------------------


def _judge_division(attempt: Any, own: Any, a: Tensor, b: Tensor) -> None:
    """Judge one quotient and its slopes."""
    call = "my_divide(a, b)"
    tried = f"tensors of the shapes {tuple(a.shape)} and {tuple(b.shape)}"
    x, y = own(a.numpy()), own(b.numpy())
    result = _own_tensor(attempted(attempt, call, x, y, tried=tried), call, own)
    values = as_tensor(result.values, f"{call}.values", tuple((a / b).shape))
    if same(values, b / a, TOLERANCE):
        raise Wrong("This is b / a. It should be a / b.")
    if not same(values, a / b, TOLERANCE):
        where = first_difference(values, a / b, TOLERANCE)
        raise Wrong(f"The values are not those of a / b: {where}.")
    if result.grad_fn is None:
        raise Wrong("The values are right, but the result has no `grad_fn`.")
    if {id(parent) for parent in result.parents} != {id(x), id(y)}:
        raise Wrong(
            "The values are right, but the parents of the result are not `(a, b)`. "
            "Write the division as one operation, with a `grad_fn` of its own."
        )
    slope = _random(*values.shape)
    parts = attempted(result.grad_fn, "grad_fn(slope)", slope.numpy())
    if not isinstance(parts, tuple | list | np.ndarray) or len(parts) != 2:
        raise Wrong(
            f"`grad_fn(slope)` returns {describe(parts)}. It should return two slopes, "
            "one for each parent."
        )
    _walk_back(result, slope, call)
    alone = "not multiplied by the slope that arrives"
    product = "that of a product"
    by_a, by_b = slope / b, -slope * a / b**2
    _compare_slopes(
        _slope(x, "`a`"), by_a, "a", [(slope * b, product), (1 / b + 0 * a, alone)]
    )
    mistakes = [
        (-by_b, "of the wrong sign: a larger divisor makes the result smaller"),
        (-slope * a / b, "divided by b only once: the slope of 1 / b is -1 / b²"),
        (slope * a, product),
        (by_a, "that by a"),
        (-a / b**2, alone),
    ]
    _compare_slopes(_slope(y, "`b`"), by_b, "b", mistakes)


def _compare_slopes(
    found: Tensor, right: Tensor, name: str, mistakes: Sequence[tuple[Tensor, str]]
) -> None:
    """Compare a slope with the right one, and with those of known mistakes.

    Except for the one found, they have the shape of the result.
    """
    expected = right.sum_to_size(found.shape)
    if same(found, expected, TOLERANCE):
        return
    for mistake, what in mistakes:
        if same(found, mistake.sum_to_size(found.shape), TOLERANCE):
            raise Wrong(f"The slope by `{name}` is {what}.")
    where = first_difference(found, expected, TOLERANCE)
    raise Wrong(f"The slope by `{name}` is not right: {where}.")


@exercise(
    "14.1",
    hints=[
        "Begin with a copy of `multiply`: the parents and the form of "
        "`grad_fn` stay, and the three calculations change.",
        "If a grows by a little, a / b grows 1 / b times as much.",
        "a / b is a · b⁻¹. The slope of b⁻¹ is -b⁻², so that by b is -a / b². Both "
        "are multiplied by the slope that arrives.",
    ],
)
def own_division(attempt: Any) -> str:
    """Divide tensors of several shapes, and compare the slopes with PyTorch's."""
    own = _class_of(attempt, "my_divide")
    for shape_a, shape_b in (((3, 4), (3, 4)), ((2, 3), (3,)), ((3, 1), (1, 4))):
        _judge_division(attempt, own, _random(*shape_a), _positive(*shape_b))
    return "Values and slopes are right, and broadcasting comes for free."


# Exercise 2 ---------------------------------------------------------------------


def _forward(name: str, x: Tensor) -> Tensor:
    """Return the values of one of the three operations of the task."""
    if name == "tanh":
        return x.tanh()
    if name == "lengths":
        return x.square().sum(dim=-1, keepdim=True).sqrt()
    return x.softmax(dim=-1)


@exercise(
    "14.2",
    hints=[
        "`largest_gap(tanh, random(3, 4))` is the gap of the first one.",
        "The gap of `softmax_rows` is large. Its `grad_fn` knows how each probability "
        "depends on its own number. On which others does it depend?",
        "If x_j grows, p_j grows by p_j (1 - p_j), and every other p_i of the row "
        "shrinks by p_i p_j. Add up what all of them hand back to x_j.",
        "The slope by x is `values * (slope - shared)`, where `shared` is the sum of "
        "`slope * values` over the row.",
    ],
)
def mended_softmax(attempt: Any) -> str:
    """Compare the mended operation's slopes with PyTorch's."""
    call = "my_mended(x)"
    own = _class_of(attempt, "my_mended")
    for shape in ((3, 5), (4, 2)):
        x = _random(*shape)
        tried = f"a tensor of the shape {shape}"
        given = own(x.numpy())
        made = _own_tensor(attempted(attempt, call, given, tried=tried), call, own)
        values = as_tensor(made.values, call)
        for name in ("tanh", "lengths"):
            if same(values, _forward(name, x), TOLERANCE):
                raise Wrong(
                    f"These are the values of `{name}`, whose slopes were right: "
                    "nudging finds the same. The wrong one is another."
                )
        if not same(values, _forward("softmax_rows", x), TOLERANCE):
            raise Wrong(
                "The values are those of none of the three operations. They were right "
                "and should stay."
            )
        slope = _random(*shape)
        _walk_back(made, slope, call)
        p = values
        right = p * (slope - (slope * p).sum(dim=-1, keepdim=True))
        mistakes = [
            (
                slope * p * (1 - p),
                "still that of `softmax_rows`: it knows how each number of a row "
                "depends on its own x, and not how it depends on the others",
            ),
            (
                p * (slope - (slope * p).sum()),
                "summed over all rows. Each row is a softmax of its own",
            ),
        ]
        _compare_slopes(_slope(given, "`x`"), right, "x", mistakes)
    return "In a softmax, each number of a row depends on all the others."


# Exercise 3 ---------------------------------------------------------------------

FEATURES = 5


def _normalized(
    x: Tensor, dim: int = 0, unbiased: bool = False, eps: float = 1e-5
) -> Tensor:
    """Return batch normalization without weight and bias, or with a mistake."""
    variance = x.var(dim, unbiased=unbiased, keepdim=True)
    return (x - x.mean(dim, keepdim=True)) / (variance + eps).sqrt()


def _new_norm(attempt: Any, own: Any) -> Own:
    """Return a layer of the reader's, its parameters checked."""
    call = f"MyBatchNorm({FEATURES})"
    norm = attempted(lambda: attempt(FEATURES), call)
    for name, start in (("weight", 1.0), ("bias", 0.0)):
        parameter = getattr(norm, name, None)
        if not isinstance(parameter, own):
            raise Wrong(
                f"`{call}.{name}` is {describe(parameter)}. It should be a `Tensor`."
            )
        values = as_tensor(parameter.values, f"{call}.{name}.values", (FEATURES,))
        if not (values == start).all():
            raise Wrong(f"`{name}` should begin with {start:g} for each feature.")
    if not callable(getattr(norm, "parameters", None)):
        raise Wrong("It has no method `parameters()`: `class MyBatchNorm(Module)`.")
    there = attempted(norm.parameters, "parameters()")
    if {id(p) for p in there} != {id(norm.weight), id(norm.bias)}:
        raise Wrong("`parameters()` should find the weight and the bias, and no more.")
    return norm


@exercise(
    "14.3",
    hints=[
        "The two parameters are `Tensor(np.ones(features))` and "
        "`Tensor(np.zeros(features))`.",
        "`x - x.mean(axis=0)` has mean zero. Square that and take the mean again: the "
        "variance.",
        "Dividing by a square root is multiplying by a power: `** -0.5`.",
    ],
)
def own_batch_norm(attempt: Any) -> str:
    """Run a layer of batch normalization beside PyTorch's."""
    if not inspect.isclass(attempt):
        raise Wrong(f"`MyBatchNorm` should be a class, but is {describe(attempt)}.")
    forward = getattr(attempt, "forward", None)
    if is_empty(forward):
        raise Empty
    own = _class_of(forward, "MyBatchNorm")
    norm = _new_norm(attempt, own)
    # Of features that hardly vary, the small number added to the variance is seen.
    x = _random(7, FEATURES) * 0.01 ** torch.rand(FEATURES).double() + 1
    weight, bias, slope = _positive(FEATURES), _random(FEATURES), _random(7, FEATURES)
    norm.weight.values, norm.bias.values = weight.numpy(), bias.numpy()
    given, call = own(x.numpy()), "norm(x)"
    tried = f"a batch of the shape {tuple(x.shape)}"
    made = _own_tensor(attempted(norm, call, given, tried=tried), call, own)
    values = as_tensor(made.values, f"{call}.values", tuple(x.shape))
    _judge_normalized(values, x, weight, bias)
    _walk_back(made, slope, call)
    leaves = [tensor.requires_grad_() for tensor in (x, weight, bias)]
    out = F.batch_norm(x, None, None, weight, bias, training=True)
    expected = torch.autograd.grad(out, leaves, slope, retain_graph=True)
    detached = slope * weight / (x.var(0, unbiased=False) + 1e-5).sqrt()
    constant = (
        "that of a mean and a variance that stay as they are. They depend on x, too: "
        "do not take their `.values`"
    )
    pairs = zip((given, norm.weight, norm.bias), ("x", "weight", "bias"), strict=True)
    for (tensor, name), right in zip(pairs, expected, strict=True):
        mistakes = [(detached, constant)] if name == "x" else []
        _compare_slopes(_slope(tensor, f"`{name}`"), right, name, mistakes)
    return "Its slopes came for free. Derived on paper, they fill half a page."


def _judge_normalized(found: Tensor, x: Tensor, weight: Tensor, bias: Tensor) -> None:
    """Compare what the layer returned with what it should, or with known mistakes."""
    right = weight * _normalized(x) + bias
    if same(found, right, TOLERANCE):
        return
    deviation = x.std(0, unbiased=False)
    outside = (x - x.mean(0)) / (deviation + 1e-5)
    mistakes = [
        (_normalized(x), "Weight and bias take no part in it."),
        (weight * _normalized(x), "The bias takes no part in it."),
        (_normalized(x) + bias, "The weight takes no part in it."),
        (
            weight * _normalized(x, dim=1) + bias,
            "It is normalized over the features of each example. It should be over "
            "the examples of each feature.",
        ),
        (
            weight * _normalized(x, unbiased=True) + bias,
            "The variance is divided by one example less. Take the mean.",
        ),
        (weight * _normalized(x, eps=0) + bias, "The `1e-5` is missing."),
        (weight * outside + bias, "Add the `1e-5` to the variance, before the root."),
        (
            weight * (x - x.mean(0)) / (deviation**2 + 1e-5) + bias,
            "It is divided by the variance. Take the square root of it.",
        ),
    ]
    for mistake, what in mistakes:
        if same(found, mistake, TOLERANCE):
            raise Wrong(what)
    where = first_difference(found, right, TOLERANCE)
    raise Wrong(f"The values are not right: {where}.")


# Exercise 4 ---------------------------------------------------------------------


def _twice(a: Any, b: Any, c: Any) -> Any:
    h = a * b
    return h * h


def _joined(a: Any, b: Any, c: Any) -> Any:
    return a * b - b


def _tangled(a: Any, b: Any, c: Any) -> Any:
    h = a * b - c
    k = h * h + a
    return k * h - b * k * c


@exercise(
    "14.4",
    hints=[
        "The slope of a number by itself is 1. A leaf has no parents, so no path goes "
        "on from there.",
        "`result.grad_fn(1.0)` returns the slope of the result by each of its parents.",
        "For each parent: its own slope times `my_slope(parent, leaf)`. Add them up; "
        "a parent that is there twice counts twice.",
    ],
)
def slope_by_paths(attempt: Any) -> str:
    """Compare sums over all paths with PyTorch's slopes, on graphs with forks."""
    own = _class_of(attempt, "my_slope")
    call = "my_slope(result, leaf)"

    def slope_of(result: Own, leaf: Own, tried: str) -> float:
        answer = attempted(attempt, call, result, leaf, tried=tried)
        found = number(returned(answer, call), call)
        if result.grad is not None or leaf.grad is not None:
            raise Wrong("This walks with `backward()`. Go along the paths yourself.")
        return found

    a, other = own(2.0), own(3.0)
    if slope_of(a, a, "a leaf and itself") != 1:
        raise Wrong("The slope of a number by itself should be 1.")
    if slope_of(other * other, a, "a leaf that plays no part") != 0:
        raise Wrong("The slope by a leaf that the result does not depend on is 0.")
    graphs = {
        "a · b - b": _joined,
        "h · h with h = a · b": _twice,
        "a graph with many paths": _tangled,
    }
    for text, graph in graphs.items():
        values = [_positive() for _ in range(3)]
        leaves = [value.clone().requires_grad_() for value in values]
        expected = torch.autograd.grad(graph(*leaves), leaves, allow_unused=True)
        tensors = [own(value.numpy()) for value in values]
        result = graph(*tensors)
        for name, leaf, right in zip("abc", tensors, expected, strict=True):
            found = slope_of(result, leaf, text)
            wanted = 0.0 if right is None else right.item()
            if abs(found - wanted) > TOLERANCE * max(1.0, abs(wanted)):
                _tell(text, name, found, wanted, graph is _twice)
    return "Products along the paths, added up over all of them."


def _tell(text: str, name: str, found: float, wanted: float, twice: bool) -> None:
    if twice and abs(2 * found - wanted) < TOLERANCE:
        raise Wrong(
            f"For {text}, the slope by {name} is half of what it should be. `h` is "
            "there as two parents, and each of the two is a path."
        )
    raise Wrong(
        f"For {text}, the slope by {name} should be {wanted:.4f}, but is {found:.4f}."
    )
