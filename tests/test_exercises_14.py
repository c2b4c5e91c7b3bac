"""Answers to the exercises of chapter 14."""

from functools import partial

import numpy as np
import torch
from by_hand import library
from exercise_cases import changed, of_book, of_chapter

from helpers.exercises import check

own = library()
Tensor, Module = own.Tensor, own.Module  # the answers see the class by its name


# Exercise 1 ---------------------------------------------------------------------


def divide_with_the_result(a, b):
    quotient = a.values / b.values
    return Tensor(quotient, [b, a], lambda s: [-s * quotient / b.values, s / b.values])


def divide_in_one_array(a, b):
    x, y = a.values, b.values
    return Tensor(x / y, (a, b), lambda s: np.array([s / y, -s * x / y**2]))


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


softmax = of_book("14.2", "my_mended", **vars(own))


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


Norm = of_book("14.3", "MyBatchNorm", **vars(own))


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


class NormStub(Module):
    def __init__(self, features):
        """Your code: the parameters `weight` and `bias`."""

    def forward(self, x):
        """Your code: return a Tensor of the shape of x."""


# Exercise 4 ---------------------------------------------------------------------


slope = of_book("14.4", "my_slope", **vars(own))


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


class Sees:
    """A function of the reader's that stands in an object."""

    def __init__(self, function):
        self.function = function

    def __call__(self, *arguments):
        assert Tensor
        return self.function(*arguments)


RIGHT = {
    "14.1": [divide_with_the_result, divide_in_one_array],
    "14.2": [softmax, softmax_of_operations, changed(softmax, {"axis=-1": "axis=1"})],
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
        (changed(Norm, {"-0.5": "-1"}), "divided by the variance"),
        (changed(Norm, {" + 1e-5": ""}), "The `1e-5` is missing"),
        (
            changed(
                Norm, {"(variance + 1e-5) ** -0.5": "(variance**0.5 + 1e-5) ** -1"}
            ),
            "before the root",
        ),
        (
            changed(Norm, {").mean(axis=0)": ").sum(0) * (1 / (x.shape[0] - 1))"}),
            "divided by one example less",
        ),
        (
            changed(
                Norm,
                {"x.mean(axis=0": "x.mean(1, True", ").mean(axis=0": ").mean(1, True"},
            ),
            "over the features of each example",
        ),
        (changed(Norm, {" * self.weight": ""}), "The weight takes no part"),
        (changed(Norm, {" + self.bias": ""}), "The bias takes no part"),
        (
            changed(
                Norm, {"x.mean": "x.values.mean", "(centered**2": "(centered.values**2"}
            ),
            "stay as they are",
        ),
        (
            changed(Norm, {"centered =": "x = Tensor(x.values)\n        centered ="}),
            "No slope gets back to `x`",
        ),
        (changed(Norm, {"return": "return x.values  #"}), "It should be a `Tensor`"),
        (changed(Norm, {"np.ones(features)": "1.0"}), "should have the shape (5,)"),
        (
            changed(Norm, {"Tensor(np.ones(features))": "np.ones(features)"}),
            "weight` is a NumPy array",
        ),
        (changed(Norm, {"np.ones": "np.zeros"}), "`weight` should begin with 1"),
        (changed(Norm, {"(Module)": ""}), "no method `parameters()`"),
        (Norm(5), "should be a class"),
    ],
    "14.4": [
        (slope_by_backward, "walks with `backward()`"),
        (
            changed(
                slope,
                {
                    "return sum(": "return next((s for s in [",
                    "in steps)": "in steps] if s), 0.0)",
                },
            ),
            "the slope by b should be",
        ),
        (
            changed(
                slope,
                {
                    "zip(result": "dict(zip(result",
                    "strict=True)": "strict=True)).items()",
                },
            ),
            "half of what it should be",
        ),
        (
            changed(slope, {"result is leaf": "result.grad_fn is None"}),
            "does not depend on is 0",
        ),
        (
            changed(slope, {"(parent, leaf)": "(result, leaf)"}),
            "raises `RecursionError",
        ),
        (changed(slope, {"return sum": "sum"}), "Is a `return` missing?"),
        (
            lambda result, leaf: [slope(result, leaf)] * 2 or Tensor,
            "should be a number",
        ),
        (lambda result, leaf: 2 * slope(result, leaf) + 0 * len([Tensor]), "by itself"),
    ],
}

test_right, test_wrong, test_all = of_chapter("14", RIGHT, WRONG)


def test_a_class_without_a_forward_of_its_own_is_empty():
    assert check("14.3", NormStub).status == "empty"
