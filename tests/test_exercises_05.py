"""Answers to the exercises of chapter 5."""

import copy

import numpy as np
import torch
import torch.nn.functional as F
from exercise_cases import changed, of_book, of_chapter

from helpers.device import choose_device
from helpers.evaluation import evaluate  # noqa: F401 (an edit calls it)
from helpers.training import train_one_epoch

DEVICE = choose_device()


def one_pass(network, digits, size):
    loader = torch.utils.data.DataLoader(digits, size, shuffle=True)
    optimizer = torch.optim.SGD(network.parameters(), lr=0.01, momentum=0.9)
    train_one_epoch(network, loader, F.cross_entropy, optimizer, DEVICE)
    return len(loader)


def one_pass_in_a_loop(network, digits, size):
    """In order, with PyTorch's own loader; measures on the way."""
    velocities = [torch.zeros_like(w) for w in network.parameters()]
    count = 0
    for images, labels in torch.utils.data.DataLoader(digits, batch_size=size):
        images, labels = images.to(DEVICE), labels.to(DEVICE)
        network.eval()(images)
        loss = F.cross_entropy(network.train()(images), labels)
        gradients = torch.autograd.grad(loss, list(network.parameters()))
        count += 1
        with torch.no_grad():
            moves = zip(network.parameters(), velocities, gradients, strict=True)
            for w, v, g in moves:
                w -= 0.01 * v.mul_(0.9).add_(g)
    return torch.tensor(count)


def one_pass_elsewhere(network, digits, size):
    layers = torch.nn.Flatten(), torch.nn.Linear(784, 10)
    return one_pass(torch.nn.Sequential(*layers).to(DEVICE), digits, size)


def train(network, loader, optimizer):
    network.train()
    for images, labels in loader:
        optimizer.zero_grad()
        F.cross_entropy(network(images), labels).backward()
        optimizer.step()


def by_length(loader):
    batches = iter(loader)
    return [next(batches) for _ in range(len(loader))]


def train_with_closure(network, loader, optimizer):
    loss_fn = torch.nn.CrossEntropyLoss()
    for images, labels in loader:

        def closure(images=images, labels=labels):
            network.zero_grad()
            loss = loss_fn(network.train()(images), labels)
            loss.backward()
            return loss

        optimizer.step(closure)


own_along = of_book("05.3", "my_losses_along", loss_fn=F.cross_entropy)


def along(network, images, labels, step_sizes):
    gradients = torch.autograd.grad(
        F.cross_entropy(network(images), labels), list(network.parameters())
    )
    start = [w.detach().clone() for w in network.parameters()]
    losses = []
    with torch.no_grad():
        for size in step_sizes:
            moves = zip(network.parameters(), start, gradients, strict=True)
            for w, w0, g in moves:
                w.copy_(w0 - size * g)
            losses.append(F.cross_entropy(network(images), labels, reduction="mean"))
    return losses


def along_on_copies(network, images, labels, step_sizes):
    losses = []
    for size in step_sizes:
        moved = copy.deepcopy(network)
        optimizer = torch.optim.SGD(moved.parameters(), lr=size)
        F.cross_entropy(moved(images), labels).backward()
        optimizer.step()
        losses.append(F.cross_entropy(moved(images), labels).item())
    return np.array(losses)


class Adam:
    def __init__(self, parameters, lr):
        self.parameters, self.lr, self.t = list(parameters), lr, 0
        self.means = [torch.zeros_like(w) for w in self.parameters]
        self.squares = [torch.zeros_like(w) for w in self.parameters]

    def zero_grad(self):
        for w in self.parameters:
            w.grad = None

    @torch.no_grad()
    def step(self):
        self.t += 1
        for w, m, s in zip(self.parameters, self.means, self.squares, strict=False):
            m.lerp_(w.grad, 0.1)
            s.lerp_(w.grad**2, 0.001)
            size = (s / (1 - 0.999**self.t)).sqrt() + 1e-8
            w -= self.lr * m / (1 - 0.9**self.t) / size


class AdamInPlace(torch.optim.Optimizer):
    """As PyTorch's own optimizers are written; zeroes gradients in place."""

    def __init__(self, params, lr):
        super().__init__(params, {"lr": lr})

    def zero_grad(self):
        super().zero_grad(set_to_none=False)

    @torch.no_grad()
    def step(self):
        for group in self.param_groups:
            for w in group["params"]:
                state = self.state[w]
                state["t"] = state.get("t", 0) + 1
                state["m"] = 0.9 * state.get("m", 0) + 0.1 * w.grad
                state["s"] = 0.999 * state.get("s", 0) + 0.001 * w.grad**2
                mean = state["m"] / (1 - 0.9 ** state["t"])
                size = (state["s"] / (1 - 0.999 ** state["t"])).sqrt()
                w -= group["lr"] * mean / (size + 1e-8)


class Once(Adam):
    """Keeps what it is given, and reads it again and again."""

    def __init__(self, parameters, lr):
        super().__init__([torch.zeros(7) for _ in range(9)], lr)
        self.parameters = parameters


RIGHT = {
    "05.1": [one_pass, one_pass_in_a_loop],
    "05.2": [
        train,
        changed(
            train,
            {
                "optimizer.zero_grad()": "pass",
                "step()": "step(), optimizer.zero_grad(set_to_none=False)",
            },
        ),
        lambda network, loader, sgd: train(network, by_length(loader), sgd),
        train_with_closure,
    ],
    "05.3": [own_along, along, along_on_copies],
    "05.4": [Adam, AdamInPlace],
}
WRONG = {
    "05.1": [
        (
            changed(one_pass, {"train_one": "for _ in range(3): train_one"}),
            "seen 3 times",
        ),
        (
            changed(one_pass, {"SGD": "Adam", ", lr=0.01, momentum=0.9": ""}),
            "This is Adam",
        ),
        (
            changed(one_pass, {"0.01": "0.01 * size / 64"}),
            "depends on the size of the batch",
        ),
        (changed(one_pass, {", momentum=0.9": ""}), "momentum is missing"),
        (changed(one_pass, {"0.01": "0.1"}), "not those of SGD with the rate 0.01"),
        (
            changed(one_pass, {"0.9)": "0.9)\n    optimizer.zero_grad = lambda: None"}),
            "never forgotten",
        ),
        (changed(one_pass, {"shuffle=True": "drop_last=True"}), "never seen"),
        (lambda n, d, size: one_pass(n, d, 64), "trains on 64 at once"),
        (lambda *a: one_pass(*a) and 110, "returns 110"),
        (lambda *a: one_pass(*a) and None, "returns None"),
        (one_pass_elsewhere, "was never called"),
        (
            changed(one_pass, {"train_one_epoch": "evaluate", "optimizer, D": "D"}),
            "not in training mode",
        ),
        (changed(one_pass, {"0.01": "0.0"}), "No weight of the network"),
        ({16: 188, 64: 47, 256: 12}, "should be a function"),
    ],
    "05.2": [
        (
            changed(train, {"backward()": "backward(), optimizer.zero_grad()"}),
            "no weight has changed",
        ),
        (changed(train, {"optimizer.zero_grad()": "pass"}), "pile up"),
        (changed(train, {"network.train()": "network.eval()"}), "not in training mode"),
        (
            changed(train, {"in loader": "in [next(iter(loader))]"}),
            "called once for 6 batches",
        ),
        (changed(train, {"labels)": 'labels, reduction="sum")'}), "not as by one step"),
        (lambda network, loader: network, "raises `TypeError"),
        (
            changed(train, {"in loader": "in [*loader] * 3"}),
            "called 18 times for 6 batches",
        ),
    ],
    "05.3": [
        (changed(along, {"w0 - size": "w0 + size"}), "uphill"),
        (changed(along, {"w0 - size": "w - size"}), "where the last one ended"),
        (changed(along, {"w0 - size": "w0 - 0"}), "The loss never changes"),
        (changed(along, {"mean": "sum"}), "sums over the batch"),
        (lambda *a: along(*a)[:2], "should be 6 values, but has 2"),
        (lambda *a: min(along(*a)), "should be 6 values, but is"),
        (changed(along, {"- size": "- 2 * size"}), "With the step size"),
        (
            changed(own_along, {"    network.zero_grad()\n": ""}),
            "come with gradients of an earlier batch",
        ),
        (
            changed(
                own_along,
                {"    network.zero_grad()\n": "", "w0 - size": "w0 + size"},
            ),
            "uphill",
        ),
        (
            changed(
                own_along, {"network.zero_grad()": "network[1].weight.grad.zero_()"}
            ),
            "raises `AttributeError",
        ),
    ],
    "05.4": [
        (changed(Adam, {"w -= ": "w += "}), "uphill"),
        (changed(Adam, {"self.t += 1": "self.t = 10**6"}), "begin at zero"),
        (changed(Adam, {" + 1e-8": ""}), "only the 1e-8"),
        (Once, "can be read only once"),
        (changed(Adam, {"list(parameters)": "parameters"}), "can be read only once"),
        (changed(Adam, {"w -= ": "w = w - "}), "makes a new tensor"),
        (changed(Adam, {"w.grad = None": "pass"}), "leaves the old gradients"),
        (
            changed(Adam, {"m / (1 - 0.9**self.t) / size": "w.grad"}),
            "from where PyTorch's Adam leads it",
        ),
        (changed(Adam, {"def step": "def go"}), "has no method `step`"),
        (torch.optim.Adam, "PyTorch's own Adam"),
        (
            changed(
                Adam,
                {"self.t += 1": "pass", "m.lerp_": "self.t += 1\n            m.lerp_"},
            ),
            "goes up with each parameter",
        ),
        (changed(Adam, {".sqrt()": ""}), "*square root*"),
    ],
}

test_right, test_wrong, test_all = of_chapter("05", RIGHT, WRONG)
