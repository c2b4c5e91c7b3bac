"""Answers to the exercises of chapter 12, and its index of errors."""

import copy
import io
import math
import re
from functools import cache
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from book_files import ROOT, read_cells
from exercise_cases import Later, changed, of_book, of_chapter
from matplotlib.figure import Figure
from PIL import Image
from torch import nn
from torch.utils.data import DataLoader, Subset, TensorDataset

from helpers import data

STEPS = np.arange(200)
FALLING = 2.3 * np.exp(-STEPS / 30)
LOSSES = {
    "right": FALLING,
    "softmax": 1.5 + 0.8 * np.exp(-STEPS / 30),
    "ReLU": 0.5 + 1.8 * np.exp(-STEPS / 30),
    "mixed": np.full(200, 2.3),
}


@cache
def trained(raw=False, epochs=3):
    torch.manual_seed(0)
    digits = data.to_tensors(Subset(data.mnist("train"), range(8_000)))
    if raw:
        digits = TensorDataset(data.unnormalize(digits.tensors[0]), digits.tensors[1])
    model = nn.Sequential(
        nn.Flatten(), nn.Linear(784, 32), nn.ReLU(), nn.Linear(32, 10)
    )
    optimizer = torch.optim.SGD(model.parameters(), lr=0.02, momentum=0.9)
    for _ in range(epochs):
        for images, labels in data.batches(digits, 32):
            loss = F.cross_entropy(model(images), labels)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    return model


complaints = of_book("12.4", "my_complaints")


def without(*words):
    def inspect(*setup):
        found = complaints(*setup)
        return [text for text in found if not any(word in text for word in words)]

    return inspect


def with_dropout_on(model, images, labels, optimizer):
    model.train()
    found = complaints(model, images, labels, optimizer)
    model.train()
    if not torch.equal(model(images), model(images)):
        found.append("the logits change")
    return found


def complaints_in_evaluation_mode(model, *setup):
    return complaints(model.eval(), *setup)


def complaints_by_assert(*setup):
    found = complaints(*setup)
    assert not found, found[0]
    return found


def complaints_in_a_set(model, images, labels, optimizer):
    """Looks at a deep copy of everything."""
    model, images, labels = copy.deepcopy((model, images, labels))
    held = [p for group in optimizer.param_groups for p in group["params"]]
    twin = SimpleNamespace(param_groups=[{"params": list(model.parameters())}])
    found = set(complaints(model, images, labels, twin))
    if [tuple(p.shape) for p in held] != [tuple(p.shape) for p in model.parameters()]:
        found.add("another optimizer")
    return found | {
        "another optimizer"
        for p, q in zip(held, model.parameters(), strict=False)
        if not torch.equal(p, q)
    }


RIGHT = {
    "12.1": [
        lambda k: math.log(1 + (k - 1) / math.e),
        lambda k: -torch.cat([torch.ones(1), torch.zeros(k - 1)]).log_softmax(0)[0],
        lambda k: F.cross_entropy(torch.eye(k)[:1], torch.tensor([0])),
    ],
    "12.2": [
        Later(lambda: (trained(), 0.91)),
        Later(lambda: [trained(raw=True), torch.tensor(0.9)]),
        Later(lambda: (nn.ModuleList([trained()])[0], np.float32(0.93))),
        Later(lambda: (nn.Sequential(trained(), nn.LogSoftmax(dim=1)), 0.91)),
    ],
    "12.3": [
        *(LOSSES, {name: losses.tolist() for name, losses in LOSSES.items()}),
        {k: [torch.tensor(v, requires_grad=True) for v in LOSSES[k]] for k in LOSSES},
    ],
    "12.4": [complaints, complaints_in_a_set],
}
WRONG = {
    "12.1": [
        (math.log, "the loss of guessing"),
        (lambda k: math.log(1 + k / math.e), "K - 1 are not"),
        (lambda k: math.log(1 + 9 / math.e), "for 10 classes"),
        (lambda k: math.log(math.e + k - 1), "Divide by e"),
        (lambda k: (k, k), "should be a number"),
        (lambda k: math.log2(1 + (k - 1) / math.e), "the floor should be 1.4612"),
        (lambda k: -math.log(1 + (k - 1) / math.e), "The sign is wrong"),
    ],
    "12.2": [
        (Later(lambda: (trained(epochs=0), 0.9)), "Over 85 % are possible"),
        (
            Later(lambda: (nn.Sequential(trained(), nn.Softmax(dim=1)), 0.9)),
            "probabilities",
        ),
        (Later(lambda: (trained(), 0.6)), "on other pixels than it was trained on"),
        (Later(lambda: (trained(), 0.99)), "but `my_accuracy` is 99.0%"),
        (Later(lambda: (trained(), 89)), "Give a share"),
        (Later(lambda: 0.9), "should be 2 values"),
        (
            Later(lambda: (0.9, trained())),
            "`my_model` should be a network, an nn.Module, but is",
        ),
        (Later(lambda: (trained()[:2], 0.9)), "It returns (3000, 32)"),
    ],
    "12.3": [
        (LOSSES | {"right": FALLING + 0.5}, "below 0.1 in 200 steps"),
        (LOSSES | {"softmax": FALLING}, "Is there a softmax?"),
        (LOSSES | {"ReLU": FALLING}, "small_net(seed=1)"),
        (LOSSES | {"mixed": FALLING}, "in a new order"),
        (LOSSES | {"mixed": LOSSES["softmax"]}, "Is it `Mixed()`?"),
        (
            LOSSES | {"softmax": LOSSES["mixed"], "mixed": LOSSES["softmax"]},
            "as with mixed pixels",
        ),
        (LOSSES | {"mixed": FALLING[:10]}, "should have the shape (200,)"),
        (LOSSES | {"right": FALLING[::-1].copy()}, "begins at 0.00"),
        (LOSSES | {"right": 0.02}, "should have the shape (200,), but has ()"),
        (LOSSES | {"ReLU": LOSSES["mixed"]}, "Two of the four curves are the same"),
    ],
    "12.4": [
        (without("for others"), "nothing wrong with mixed images"),
        (without("optimizer"), "nothing wrong with the optimizer of another"),
        (without("normalized"), "nothing wrong with images from 0 to 255"),
        (changed(complaints, {".clone()": ""}), "changes a tensor that it is given"),
        (changed(complaints, {"train(mode)": "train()"}), "left in training mode"),
        (with_dropout_on, "It complains of a sound network with dropout"),
        (complaints_in_evaluation_mode, "it leaves the network in evaluation mode"),
        (lambda *setup: ["all bad"], "It complains of a sound set-up: all bad"),
        (lambda *setup: [], "nothing wrong with softmax at the end"),
        (lambda *setup: "fine", "should return a list"),
        (complaints_by_assert, "raises `AssertionError: images are not normalized"),
        (
            lambda *setup: (text for text in complaints(*setup)),
            "should return a list, but returns a generator",
        ),
    ],
}

test_right, test_wrong, test_all = of_chapter("12", RIGHT, WRONG)


# The index of errors ------------------------------------------------------------

SGD = torch.optim.SGD
IMAGES, LABELS = torch.ones(4, 1, 28, 28), torch.arange(4)
LOGITS, W = torch.ones(4, 10), torch.ones(3, requires_grad=True)
LAYER, CONV = nn.Linear(784, 10), nn.Conv2d(1, 4, 5)


def saved(thing):
    file = io.BytesIO()
    torch.save(thing, file)
    file.seek(0)
    return file


def backward_twice():
    loss = (W * W).sum()
    loss.backward()
    loss.backward()


def changed_in_place():
    value = W.exp()
    value += 1
    value.sum().backward()


def first_batch(examples):
    return next(iter(DataLoader(examples, batch_size=2)))


# Each of them raises one of the messages of chapter 12's index.
CULPRITS = [
    lambda: LAYER(IMAGES.view(1, -1)),
    lambda: F.cross_entropy(torch.ones(8, 10), LABELS),
    lambda: IMAGES.view(4, 783),
    lambda: torch.ones(3, 4).T.view(12),
    lambda: torch.ones(64, 9) + torch.ones(64, 10),
    lambda: CONV(torch.ones(4, 3, 28, 28)),
    lambda: CONV(torch.ones(28, 28)),
    lambda: CONV(torch.ones(1, 1, 3, 3)),
    lambda: F.max_pool2d(torch.ones(1, 1, 1, 1), 2),
    lambda: nn.BatchNorm1d(4)(torch.ones(1, 4)),
    lambda: Figure().subplots().imshow(np.zeros((3, 28, 28))),
    lambda: first_batch([torch.ones(2), torch.ones(3)]),
    lambda: F.cross_entropy(LOGITS, LABELS.float()),
    lambda: F.cross_entropy(LOGITS, LABELS + 7),
    lambda: F.cross_entropy(LOGITS, LABELS.view(-1, 1)),
    lambda: F.cross_entropy(LOGITS, F.one_hot(LABELS, 10)),
    lambda: LAYER(IMAGES.flatten(start_dim=1).double()),
    lambda: CONV(IMAGES.byte()),
    lambda: nn.CrossEntropyLoss(LOGITS, LABELS),
    lambda: LOGITS.item(),
    lambda: torch.ones(3).sum().backward(),
    backward_twice,
    lambda: (W * 2).backward(),
    lambda: W.numpy(),
    lambda: torch.ones(3, device="meta").numpy(),
    lambda: W.add_(1),
    changed_in_place,
    lambda: SGD(nn.Module().parameters(), lr=0.1),
    lambda: first_batch([Image.new("L", (2, 2))] * 2),
    lambda: LAYER.load_state_dict(nn.Linear(784, 9).state_dict()),
    lambda: LAYER.load_state_dict(nn.Sequential(LAYER).state_dict()),
    lambda: torch.save(1, "no/such/folder/a.pt"),
    lambda: torch.load(saved(CONV), weights_only=True),
    lambda: SGD(CONV.parameters(), lr=1).load_state_dict(SGD([W], lr=1).state_dict()),
    lambda: eval("test_net"),
    lambda: iter(DataLoader(LABELS)).next(),
    lambda: torch.tensor(1.0)[0],
    lambda: torch.tensor(1.0).numpy()[0],
    lambda: torch.max(LOGITS, dim=1).eq(LABELS),
    lambda: (torch.max(LOGITS, dim=1) == LABELS).sum(),
]
# What a GPU, processes that hang, or another folder would be needed for.
ELSEWHERE = (
    *("CUDA", "NVIDIA", "MPS", "on the same device", "No module named"),
    *("Can't get attribute", "DataLoader worker", "bootstrapping"),
)
# Two wordings of one mistake: of torch from about 2.11 on, and of older ones.
OTHER_VERSION = ("expected target dtype to be Long", "expected scalar type Long")


def raised(culprit):
    with pytest.raises(Exception) as caught:  # noqa: PT011 (of many kinds)
        culprit()
    return str(caught.value)


def test_the_index_of_errors_has_the_messages_of_this_pytorch():
    prose = "\n".join(
        cell["source"]
        for cell in read_cells(ROOT / "book" / "12-mistakes.ipynb", "markdown")
    )
    table = prose.partition("## An index of errors")[2].partition("\n## ")[0]
    messages = [raised(culprit) for culprit in CULPRITS]
    used, checked = set(), 0
    for row in re.findall(r"^\| (`.+?) \|", table, flags=re.M):
        in_row = set()
        for entry in row.split("; "):
            parts = re.findall(r"`([^`]+)`", entry)
            if any(word in entry for word in ELSEWHERE):
                continue
            found = {i for i, m in enumerate(messages) if all(p in m for p in parts)}
            in_row |= found
            assert found or parts[0] in OTHER_VERSION, f"nothing raises {entry}"
            checked += 1
        assert in_row or any(word in row for word in ELSEWHERE), f"nothing raises {row}"
        used |= in_row
    assert checked >= 35
    assert used == set(range(len(CULPRITS))), "an error that the index lacks"
