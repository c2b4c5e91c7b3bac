"""The operations of chapter 14, each alone, against PyTorch."""

import re

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from book_files import CHAPTERS, read_cells
from by_hand import CHAPTER, library, library_cells
from torch import nn

own = library()
Tensor = own.Tensor
TOLERANCE = {"rtol": 1e-10, "atol": 1e-10}


def stretched(rng):
    """Return two random shapes that broadcast."""
    full = rng.integers(1, 5, size=rng.integers(0, 5))

    def shape():
        thin = np.where(rng.random(len(full)) < 0.3, 1, full)
        return tuple(thin[rng.integers(0, len(full) + 1) :].tolist())

    return shape(), tuple(full.tolist())


def any_shape(rng):
    return (tuple(rng.integers(1, 5, size=rng.integers(0, 5)).tolist()),)


def rows(rng):
    return (tuple(rng.integers(1, 6, size=rng.integers(1, 4)).tolist()),)


def matrices(rng):
    """Return two stacks of matrices; their first axes broadcast."""
    n, k, m = rng.integers(1, 5, size=3).tolist()
    left, right = stretched(rng)
    pair = (*left, n, k), (*right, k, m)
    return pair if rng.random() < 0.5 else (pair[0], pair[1][-2:])


def images(rng):
    height, width = rng.integers(5, 9, size=2).tolist()
    return ((int(rng.integers(1, 4)), int(rng.integers(1, 4)), height, width),)


def filters(rng):
    (shape,) = images(rng)
    size, outputs = int(rng.integers(1, 6)), int(rng.integers(1, 4))
    return shape, (outputs, shape[1], size, size), (outputs,)


def own_convolution(x, weight, bias):
    outputs, inputs, size, _ = weight.shape
    layer = own.Conv2d(inputs, outputs, size, np.random.default_rng(0))
    layer.weight, layer.bias = weight, bias
    return layer(x)


def own_linear(x, weight, bias):
    layer = own.Linear(*weight.shape[::-1], np.random.default_rng(0))
    layer.weight, layer.bias = weight, bias
    return layer(x)


def layer_shapes(rng):
    batch, inputs, outputs = rng.integers(1, 6, size=3).tolist()
    return (batch, inputs), (outputs, inputs), (outputs,)


def pooled_by(size):
    return (lambda x: own.max_pool2d(x, size), lambda x: F.max_pool2d(x, size))


def labels_for(logits):
    return np.arange(logits.shape[0]) * 7 % logits.shape[1]


CASES = {
    "add": (stretched, lambda a, b: a + b),
    "subtract": (stretched, lambda a, b: a - b),
    "multiply": (stretched, lambda a, b: a * b),
    "numbers": (any_shape, lambda x: 2 - 3 * x * 4 + 1 - (1 + x - 2)),
    "a number used often": (any_shape, lambda x: x * x * x + x - x * 0.5),
    "square": (any_shape, lambda x: x**2),
    "negative power": (any_shape, lambda x: (x * x + 1) ** -0.5),
    "matmul": (matrices, lambda a, b: a @ b),
    "transpose": (lambda rng: ((3, 4),), lambda x: x.T),
    "sum": (any_shape, lambda x: x.sum()),
    "sum of rows": (rows, lambda x: x.sum(-1)),
    "sum of columns": (rows, lambda x: x.sum(0, True)),
    "sum of two axes": (images, lambda x: x.sum((1, 3))),
    "mean": (any_shape, lambda x: x.mean()),
    "mean of two axes": (images, lambda x: x.mean((0, 2), True)),
    "reshape": (images, lambda x: x.reshape(x.shape[0], -1)),
    "index": (rows, lambda x: x[0]),
    "index twice": (images, lambda x: x[[0, 0], :, 1:, 2]),
    "new axis": (rows, lambda x: x[None]),
    "relu": (any_shape, (own.relu, torch.relu)),
    "log_sum_exp": (rows, (own.log_sum_exp, lambda x: x.logsumexp(-1, keepdim=True))),
    "cross_entropy": (
        lambda rng: (tuple(rng.integers(1, 6, size=2).tolist()),),
        (
            lambda x: own.cross_entropy(x, labels_for(x)),
            lambda x: F.cross_entropy(x, torch.from_numpy(labels_for(x))),
        ),
    ),
    "largest": (images, (lambda x: own.largest(x, 2), lambda x: x.amax(2))),
    "max_pool2d": (images, pooled_by(2)),
    "max_pool2d of three": (images, pooled_by(3)),
    "Conv2d": (filters, (own_convolution, F.conv2d)),
    "Linear": (layer_shapes, (own_linear, F.linear)),
}


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("case", CASES)
def test_an_operation_is_pytorchs(case, seed):
    shapes, operation = CASES[case]
    rng = np.random.default_rng(seed)
    arrays = [rng.normal(size=shape) for shape in shapes(rng)]
    ours, theirs = operation if isinstance(operation, tuple) else (operation,) * 2
    tensors = [Tensor(array) for array in arrays]
    leaves = [torch.tensor(array, requires_grad=True) for array in arrays]
    result, expected = ours(*tensors), theirs(*leaves)
    assert result.shape == tuple(expected.shape)
    np.testing.assert_allclose(result.values, expected.detach(), **TOLERANCE)
    weights = rng.normal(size=result.shape)
    (result * weights).sum().backward()
    (expected * torch.from_numpy(np.asarray(weights))).sum().backward()
    for tensor, leaf in zip(tensors, leaves, strict=True):
        assert tensor.grad.shape == tensor.shape
        np.testing.assert_allclose(tensor.grad, leaf.grad, **TOLERANCE)


# The walk -----------------------------------------------------------------------


def test_slopes_add_up_where_paths_join_and_from_walk_to_walk():
    def tangle(a, b):
        h = a * b
        k = h * h + a
        return k * h * k - b * a

    a, b = Tensor(1.5), Tensor(-0.5)
    result = tangle(a, b)
    leaves = torch.tensor([1.5, -0.5], dtype=torch.float64, requires_grad=True)
    tangle(*leaves).backward()
    for walks in (1, 2, 3):
        result.backward()
        found = [float(a.grad), float(b.grad)]
        assert found == pytest.approx((walks * leaves.grad).tolist(), rel=1e-12)


def test_a_graph_may_be_deep():
    x = y = Tensor(1.0)
    for _ in range(5_000):
        y = y + x * 4e-4
    y.backward()
    assert float(x.grad) == pytest.approx(3)


def test_the_order_is_topological():
    rng = np.random.default_rng(0)
    tensors = [Tensor(1.0), Tensor(2.0)]
    for _ in range(60):
        i, j = rng.integers(0, len(tensors), size=2)
        tensors.append(tensors[i] * tensors[j] + 1)
    order = own.topological_order(tensors[-1])
    assert order[-1] is tensors[-1]
    assert len(set(order)) == len(order)
    for place, tensor in enumerate(order):
        assert all(parent in order[:place] for parent in tensor.parents)


def test_a_walk_begins_at_one_number():
    with pytest.raises(ValueError, match=r"\(2, 3\)"):
        (Tensor(np.ones((2, 3))) * 2).backward()


def test_arrays_may_stand_on_the_left():
    for result in (np.ones(3) * Tensor(2.0), np.float64(1) - Tensor(np.ones(3))):
        assert isinstance(result, Tensor)
        assert result.shape == (3,)


def test_pooling_breaks_ties_as_pytorch_does():
    image = np.round(np.random.default_rng(0).normal(size=(2, 3, 8, 8)))
    x, leaf = Tensor(image), torch.tensor(image, requires_grad=True)
    own.max_pool2d(x, 2).sum().backward()
    F.max_pool2d(leaf, 2).sum().backward()
    assert np.array_equal(x.grad, leaf.grad.numpy())


# Training -----------------------------------------------------------------------


class Network(own.Module):
    def __init__(self, rng):
        self.conv = own.Conv2d(2, 3, 3, rng)
        self.fc = own.Linear(3 * 2 * 2, 4, rng)

    def forward(self, x):
        x = own.relu(own.max_pool2d(self.conv(x), 2))
        return self.fc(x.reshape(-1, 12))


def test_twenty_steps_lead_where_pytorchs_do():
    rng = np.random.default_rng(0)
    ours = Network(rng)
    layers = [nn.Conv2d(2, 3, 3), nn.MaxPool2d(2), nn.ReLU(), nn.Flatten()]
    theirs = nn.Sequential(*layers, nn.Linear(12, 4)).double()
    found = dict(ours.named_parameters())
    assert list(found) == ["conv.weight", "conv.bias", "fc.weight", "fc.bias"]
    with torch.no_grad():
        for parameter, p in zip(theirs.parameters(), found.values(), strict=True):
            assert parameter.shape == p.shape
            parameter.copy_(torch.from_numpy(p.values))
    optimizer = own.SGD(ours.parameters(), lr=0.1, momentum=0.9)
    judge = torch.optim.SGD(theirs.parameters(), lr=0.1, momentum=0.9)
    for _ in range(20):
        images, labels = rng.normal(size=(5, 2, 6, 6)), rng.integers(0, 4, size=5)
        optimizer.zero_grad()
        own.cross_entropy(ours(Tensor(images)), labels).backward()
        optimizer.step()
        judge.zero_grad()
        loss = F.cross_entropy(
            theirs(torch.from_numpy(images)), torch.from_numpy(labels)
        )
        loss.backward()
        judge.step()
    for parameter, p in zip(theirs.parameters(), found.values(), strict=True):
        np.testing.assert_allclose(p.values, parameter.detach(), **TOLERANCE)


def test_a_step_leaves_the_arrays_that_it_was_given():
    """A model may hold PyTorch's own numbers, which are PyTorch's to change."""
    array = np.ones(3)
    parameter = Tensor(array)
    (parameter * parameter).sum().backward()
    own.SGD([parameter], lr=0.1, momentum=0.9).step()
    assert array.tolist() == [1, 1, 1]
    assert parameter.values.tolist() == pytest.approx([0.8] * 3)


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (lambda rng: own.Linear(50, 400, rng), lambda: nn.Linear(50, 400)),
        (lambda rng: own.Conv2d(4, 99, 5, rng), lambda: nn.Conv2d(4, 99, 5)),
    ],
)
def test_layers_start_as_pytorchs_do(ours, theirs):
    torch.manual_seed(0)
    made, layer = ours(np.random.default_rng(0)), theirs()
    for p, parameter in zip(made.parameters(), layer.parameters(), strict=True):
        assert p.shape == tuple(parameter.shape)
        expected = parameter.detach().abs().max().item()
        assert np.abs(p.values).max() == pytest.approx(expected, rel=0.1)
        assert p.values.std() == pytest.approx(parameter.std().item(), rel=0.2)


# The chapter --------------------------------------------------------------------


def test_the_small_pytorch_is_small():
    lines = "\n".join(library_cells()).splitlines()
    assert 100 < sum(bool(line.strip()) for line in lines) <= 180


def test_the_five_steps_are_those_of_chapter_5():
    def steps(path):
        source = "\n".join(cell["source"] for cell in read_cells(path, "code"))
        return re.findall(r"^ +(.+  # [1-5]\. .+)$", source, flags=re.M)

    (chapter5,) = (path for path in CHAPTERS if path.name.startswith("05-"))
    found = steps(CHAPTER)
    assert len(found) == 5
    assert found == steps(chapter5)[:5]


# What the quiz claims -----------------------------------------------------------


def test_only_joined_paths_suffer_where_slopes_are_not_added():
    """Question 1: `backward` with `slopes[parent] = part` as its last line."""
    (source,) = (s for s in library_cells() if s.startswith("def backward"))
    line = "slopes[parent] = slopes.get(parent, 0) + part"
    assert source.count(line) == 1
    names = vars(own) | {"Tensor": type("Tensor", (), {})}
    exec(source.replace(line, "slopes[parent] = part"), names)
    found = {}
    for text in ("x * x", "x * 3 + x", "(x + 1) * 3", "x - x"):
        x = Tensor(5.0)
        names["backward"](eval(text, {"x": x}))
        wrong, x.grad = x.grad, None
        eval(text, {"x": x}).backward()
        found[text] = wrong == x.grad
    assert [text for text, right in found.items() if right] == ["(x + 1) * 3"]
