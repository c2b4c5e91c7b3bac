"""Answers to the exercises of chapter 14."""

from functools import partial

import numpy as np
import torch
from by_hand import library
from exercise_cases import of_chapter

own = library()
Tensor, Module = own.Tensor, own.Module  # the answers see the class by its name


def stub(*arguments):
    """Your code."""


# Exercise 1 ---------------------------------------------------------------------


def divide(a, b):
    def grad_fn(slope):
        return slope / b.values, -slope * a.values / b.values**2

    return Tensor(a.values / b.values, (a, b), grad_fn)


def divide_with_the_result(a, b):
    quotient = a.values / b.values
    return Tensor(quotient, [b, a], lambda s: [-s * quotient / b.values, s / b.values])


class Divide:
    """Sums over the stretched axes itself."""

    def __call__(self, a, b):
        def grad_fn(slope):
            by_a = own.unbroadcast(slope / b.values, a.shape)
            by_b = own.unbroadcast(slope * a.values / b.values**2, b.shape)
            return np.array(by_a), -by_b

        return Tensor(np.divide(a.values, b.values), (a, b), grad_fn)


def dividing(by_a, by_b, values=lambda a, b: a / b):
    """Return a division with slopes of its own."""

    def answer(a, b):
        def grad_fn(slope):
            return (
                by_a(slope, a.values, b.values),
                by_b(slope, a.values, b.values),
            )

        return Tensor(values(a.values, b.values), (a, b), grad_fn)

    return answer


def right_a(s, a, b):
    return s / b


def right_b(s, a, b):
    return -s * a / b**2


def divide_with_one_slope(a, b):
    return Tensor(a.values / b.values, (a, b), lambda s: (s / b.values,))


# Exercise 2 ---------------------------------------------------------------------


def softmax(x):
    values = np.exp(x.values - own.log_sum_exp(x).values)

    def grad_fn(slope):
        shared = (slope * values).sum(axis=-1, keepdims=True)
        return (values * (slope - shared),)

    return Tensor(values, (x,), grad_fn)


def softmax_by_matrices(x):
    """Multiply with each row's table of slopes."""
    values = np.exp(x.values)
    values /= values.sum(axis=-1, keepdims=True)

    def grad_fn(slope):
        own_slopes = values[..., None] * np.eye(values.shape[-1])
        table = own_slopes - values[..., None] * values[..., None, :]
        return ((table @ slope[..., None])[..., 0],)

    return Tensor(values, (x,), grad_fn)


def exp(x):
    values = np.exp(x.values)
    return Tensor(values, (x,), lambda slope: (slope * values,))


def softmax_of_operations(x):
    return exp(x - own.log_sum_exp(x))


def softmax_with(by_x):
    def answer(x):
        p = np.exp(x.values - own.log_sum_exp(x).values)
        return Tensor(p, (x,), lambda slope: (by_x(slope, p),))

    return answer


def tanh(x):
    values = np.tanh(x.values)
    return Tensor(values, (x,), lambda slope: (slope * (1 - values**2),))


def lengths(x):
    values = np.sqrt((x.values**2).sum(axis=-1, keepdims=True))
    return Tensor(values, (x,), lambda slope: (slope * x.values / values,))


# Exercise 3 ---------------------------------------------------------------------


class Norm(Module):
    power, eps, axis, scaled, shifted = -0.5, 1e-5, 0, True, True

    def __init__(self, features):
        self.weight = Tensor(np.ones(features))
        self.bias = Tensor(np.zeros(features))

    def spread(self, centered):
        return (centered**2).mean(axis=self.axis, keepdims=True)

    def forward(self, x):
        centered = x - x.mean(axis=self.axis, keepdims=True)
        out = centered * (self.spread(centered) + self.eps) ** self.power
        out = out * self.weight if self.scaled else out
        return out + self.bias if self.shifted else out


class NormBySums(Module):
    """Without `mean`, and with the variance as a difference."""

    def __init__(self, features):
        self.bias, self.weight = Tensor([0.0] * features), Tensor([1] * features)

    def forward(self, x):
        share = 1 / x.shape[0]
        mean = x.sum(0) * share
        variance = (x * x).sum(0) * share - mean * mean
        scale = self.weight * (variance + 1e-5) ** -0.5
        return x * scale + (self.bias - mean * scale)


class Divided(Norm):
    power = -1


class WithoutEps(Norm):
    eps = 0


class Unbiased(Norm):
    def spread(self, centered):
        return (centered**2).sum(0) * (1 / (centered.shape[0] - 1))


class OverFeatures(Norm):
    axis = 1


class Unscaled(Norm):
    scaled = False


class Unshifted(Norm):
    shifted = False


class Constant(Norm):
    def forward(self, x):
        mean, variance = x.values.mean(0), x.values.var(0)
        return (x - mean) * (variance + 1e-5) ** -0.5 * self.weight + self.bias


class Cut(Norm):
    def forward(self, x):
        return super().forward(Tensor(x.values))


class ArrayOut(Norm):
    def forward(self, x):
        return super().forward(x).values


class OneNumber(Norm):
    def __init__(self, features):
        self.weight, self.bias = Tensor(1.0), Tensor(0.0)


class Arrays(Norm):
    def __init__(self, features):
        self.weight, self.bias = np.ones(features), np.zeros(features)


class Zeros(Norm):
    def __init__(self, features):
        self.weight, self.bias = Tensor(np.zeros(features)), Tensor(np.zeros(features))


class EpsOutside(Norm):
    def forward(self, x):
        centered = x - x.mean(axis=0)
        deviation = (centered**2).mean(axis=0) ** 0.5
        return centered * (deviation + 1e-5) ** -1 * self.weight + self.bias


class NoModule:
    def __init__(self, features):
        self.weight, self.bias = Tensor(np.ones(features)), Tensor(np.zeros(features))

    def forward(self, x):
        return x


class NormStub(Module):
    def __init__(self, features):
        """Your code: the parameters `weight` and `bias`."""

    def forward(self, x):
        """Your code: return a Tensor of the shape of x."""


# Exercise 4 ---------------------------------------------------------------------


def slope(result, leaf):
    if result is leaf:
        return 1.0
    if result.grad_fn is None:
        return 0.0
    steps = zip(result.parents, result.grad_fn(1.0), strict=True)
    return sum(step * slope(parent, leaf) for parent, step in steps)


def slope_by_a_list(result, leaf, *, arrived=1.0):
    """Go along the paths one after another, without calling itself."""
    paths, total = [(result, Tensor(arrived).values)], np.zeros(())
    while paths:
        tensor, arrived = paths.pop()
        if tensor is leaf:
            total = total + arrived
        elif tensor.parents:
            paths += zip(tensor.parents, tensor.grad_fn(arrived), strict=True)
    return total


def slope_by_backward(result, leaf):
    result.backward()
    return 0.0 if leaf.grad is None else leaf.grad


def slope_by_one_path(result, leaf):
    if result is leaf:
        return 1.0
    if result.grad_fn is None:
        return 0.0
    steps = zip(result.parents, result.grad_fn(1.0), strict=True)
    found = [step * slope_by_one_path(parent, leaf) for parent, step in steps]
    return next((s for s in found if s), 0.0)


def slope_by_distinct_parents(result, leaf):
    if result is leaf:
        return 1.0
    if result.grad_fn is None:
        return 0.0
    steps = dict(zip(result.parents, result.grad_fn(1.0), strict=True))
    return sum(s * slope_by_distinct_parents(p, leaf) for p, s in steps.items())


def slope_without_end(result, leaf):
    if result is leaf:
        return 1.0
    return slope_without_end(result, leaf) if result.parents else 0.0


def slope_without_return(result, leaf):
    slope(result, leaf)


def slope_by_sums(result, leaf):
    if result is leaf:
        return 1.0
    if result.grad_fn is None:
        return 0.0
    steps = zip(result.parents, result.grad_fn(1.0), strict=True)
    return sum(step + slope_by_sums(parent, leaf) for parent, step in steps)


def slope_by_any_leaf(result, leaf):
    if result.grad_fn is None:
        return 1.0
    steps = zip(result.parents, result.grad_fn(1.0), strict=True)
    return sum(step * slope_by_any_leaf(parent, leaf) for parent, step in steps)


class Sees:
    """A function of the reader's that stands in an object."""

    def __init__(self, function):
        self.function = function

    def __call__(self, *arguments):
        assert Tensor
        return self.function(*arguments)


RIGHT = {
    "14.1": [divide, divide_with_the_result, Divide()],
    "14.2": [softmax, softmax_by_matrices, softmax_of_operations],
    "14.3": [Norm, NormBySums],
    "14.4": [slope, slope_by_a_list, partial(slope_by_a_list, arrived=1), Sees(slope)],
}
WRONG = {
    "14.1": [
        (dividing(right_a, lambda s, a, b: s * a / b**2), "of the wrong sign"),
        (dividing(right_a, lambda s, a, b: -s * a / b), "only once"),
        (dividing(right_a, lambda s, a, b: s * a), "that of a product"),
        (dividing(right_a, right_a), "that by a"),
        (dividing(lambda s, a, b: s * b, right_b), "that of a product"),
        (
            dividing(lambda s, a, b: 1 / b + 0 * s, right_b),
            "The slope by `a` is not multiplied by the slope that arrives",
        ),
        (
            dividing(right_a, lambda s, a, b: -a / b**2 + 0 * s),
            "The slope by `b` is not multiplied by the slope that arrives",
        ),
        (dividing(right_a, lambda s, a, b: s), "The slope by `b` is not right: at ["),
        (dividing(right_a, right_b, lambda a, b: b / a), "This is b / a"),
        (dividing(right_a, right_b, lambda a, b: a * b), "not those of a / b: at ["),
        (divide_with_one_slope, "It should return two slopes"),
        (lambda a, b: a * b**-1, "one operation, with a `grad_fn` of its own"),
        (lambda a, b: Tensor(a.values / b.values), "has no `grad_fn`"),
        (lambda a, b: a.values / b.values, "It should be a `Tensor`"),
        (lambda a, b: a / b, "raises `TypeError"),
        (torch.div, "has to see the class `Tensor`"),
        (7, "has to see the class `Tensor`"),
    ],
    "14.2": [
        (softmax_with(lambda s, p: s * p * (1 - p)), "still that of `softmax_rows`"),
        (softmax_with(lambda s, p: p * (s - (s * p).sum())), "summed over all rows"),
        (softmax_with(lambda s, p: s * p), "is not right: at ["),
        (softmax_with(lambda s, p: p * (1 - p)), "is not right: at ["),
        (tanh, "values of `tanh`, whose slopes were right"),
        (lengths, "values of `lengths`, whose slopes were right"),
        (exp, "those of none of the three"),
        (lambda x: softmax(x).values, "It should be a `Tensor`"),
        (lambda x: softmax(Tensor(x.values)), "No slope gets back to `x`"),
        ("softmax_rows", "has to see the class `Tensor`"),
    ],
    "14.3": [
        (Divided, "divided by the variance"),
        (WithoutEps, "The `1e-5` is missing"),
        (EpsOutside, "before the root"),
        (Unbiased, "divided by one example less"),
        (OverFeatures, "over the features of each example"),
        (Unscaled, "The weight takes no part"),
        (Unshifted, "The bias takes no part"),
        (Constant, "stay as they are"),
        (Cut, "No slope gets back to `x`"),
        (ArrayOut, "It should be a `Tensor`"),
        (OneNumber, "should have the shape (5,)"),
        (Arrays, "weight` is a NumPy array"),
        (Zeros, "`weight` should begin with 1"),
        (NoModule, "no method `parameters()`"),
        (Norm(5), "should be a class"),
    ],
    "14.4": [
        (slope_by_backward, "walks with `backward()`"),
        (slope_by_one_path, "the slope by b should be"),
        (slope_by_distinct_parents, "half of what it should be"),
        (slope_by_sums, "does not depend on is 0"),
        (slope_by_any_leaf, "does not depend on is 0"),
        (slope_without_end, "raises `RecursionError"),
        (slope_without_end, "It was tried with a leaf that plays no part."),
        (slope_without_return, "Is a `return` missing?"),
        (
            lambda result, leaf: [slope(result, leaf)] * 2 or Tensor,
            "should be a number",
        ),
        (lambda result, leaf: 2 * slope(result, leaf) + 0 * len([Tensor]), "by itself"),
    ],
}
EMPTY = {
    "14.1": [stub],
    "14.2": [stub],
    "14.3": [NormStub],
    "14.4": [stub],
}

test_right, test_wrong, test_empty, test_every_exercise_is_tried = of_chapter(
    "14", RIGHT, WRONG, EMPTY
)
