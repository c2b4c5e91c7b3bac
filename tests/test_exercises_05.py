"""Answers to the exercises of chapter 5."""

import copy

import numpy as np
import torch
import torch.nn.functional as F
from exercise_cases import of_chapter

from helpers import data
from helpers.device import choose_device
from helpers.training import train_one_epoch

DEVICE = choose_device()


def stub(*arguments):
    """Your code."""


def one_pass(network, digits, size, epochs=1, make=None, drop=False):
    make = make or (lambda w: torch.optim.SGD(w, lr=0.01, momentum=0.9))
    loader = torch.utils.data.DataLoader(digits, size, shuffle=True, drop_last=drop)
    optimizer = make(network.parameters())
    for _ in range(epochs):
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
    return one_pass(
        torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(784, 10)).to(DEVICE),
        digits,
        size,
    )


def one_pass_frozen(network, digits, size):
    network.eval()
    for images, _ in data.batches(digits, size):
        network(images.to(DEVICE))
    return 1


def one_pass_untrained(network, digits, size):
    one_pass(network, digits, size, make=lambda w: torch.optim.SGD(w, lr=0.0))
    return 1


def train(network, loader, optimizer):
    network.train()
    for images, labels in loader:
        optimizer.zero_grad()
        F.cross_entropy(network(images), labels).backward()
        optimizer.step()


def train_and_forget_afterwards(network, loader, optimizer):
    network.train()
    for images, labels in loader:
        log_probabilities = F.log_softmax(network(images), dim=1)
        F.nll_loss(log_probabilities, labels).backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=False)


def train_broken(network, loader, optimizer):
    network.train()
    for images, labels in loader:
        F.cross_entropy(network(images), labels).backward()
        optimizer.zero_grad()
        optimizer.step()


def train_piling(network, loader, optimizer):
    network.train()
    for images, labels in loader:
        F.cross_entropy(network(images), labels).backward()
        optimizer.step()


def train_in_evaluation_mode(network, loader, optimizer):
    network.eval()
    for images, labels in loader:
        optimizer.zero_grad()
        F.cross_entropy(network(images), labels).backward()
        optimizer.step()


def train_once(network, loader, optimizer):
    train(network, [next(iter(loader))], optimizer)


def train_on_sums(network, loader, optimizer):
    network.train()
    for images, labels in loader:
        optimizer.zero_grad()
        F.cross_entropy(network(images), labels, reduction="sum").backward()
        optimizer.step()


def along(network, images, labels, step_sizes, sign=-1, back=True, reduction="mean"):
    gradients = torch.autograd.grad(
        F.cross_entropy(network(images), labels), list(network.parameters())
    )
    start = [w.detach().clone() for w in network.parameters()]
    losses = []
    with torch.no_grad():
        for size in step_sizes:
            moves = zip(network.parameters(), start, gradients, strict=True)
            for w, w0, g in moves:
                w.copy_((w0 if back else w) + sign * size * g)
            losses.append(F.cross_entropy(network(images), labels, reduction=reduction))
    return losses


def along_functionally(network, images, labels, step_sizes):
    weights = dict(network.named_parameters())
    F.cross_entropy(network(images), labels).backward()
    losses = []
    for size in step_sizes:
        moved = {name: (w - size * w.grad).detach() for name, w in weights.items()}
        logits = torch.func.functional_call(network, moved, (images,))
        losses.append(F.cross_entropy(logits, labels).item())
    return torch.tensor(losses)


class Stub:
    """Your code: __init__(parameters, lr), zero_grad() and step()."""


class Adam:
    sign, corrected = -1, True

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
        t = self.t if self.corrected else 10**6
        for w, m, s in zip(self.parameters, self.means, self.squares, strict=False):
            m.lerp_(w.grad, 0.1)
            s.lerp_(w.grad**2, 0.001)
            size = (s / (1 - 0.999**t)).sqrt() + 1e-8
            w += self.sign * self.lr * m / (1 - 0.9**t) / size


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


def train_with_closure(network, loader, optimizer):
    loss_fn = torch.nn.CrossEntropyLoss()
    for images, labels in loader:

        def closure(images=images, labels=labels):
            network.zero_grad()
            loss = loss_fn(network.train()(images), labels)
            loss.backward()
            return loss

        optimizer.step(closure)


def train_twice(network, loader, optimizer):
    network.train()
    for images, labels in loader:
        optimizer.zero_grad()
        F.cross_entropy(network(images), labels).backward()
        optimizer.step()
        optimizer.step()


def train_by_length(network, loader, optimizer):
    batches = iter(loader)
    network.train()
    for _ in range(len(loader)):
        images, labels = next(batches)
        optimizer.zero_grad()
        F.cross_entropy(network(images), labels).backward()
        optimizer.step()


def train_three_times(network, loader, optimizer):
    for _ in range(3):
        train(network, loader, optimizer)


def train_own_digits(network, loader, optimizer):
    batches = [(torch.randn(8, 1, 28, 28), torch.arange(8))] * 9
    train(network.cpu(), batches, optimizer)


def along_on_copies(network, images, labels, step_sizes):
    losses = []
    for size in step_sizes:
        moved = copy.deepcopy(network)
        optimizer = torch.optim.SGD(moved.parameters(), lr=size)
        F.cross_entropy(moved(images), labels).backward()
        optimizer.step()
        losses.append(F.cross_entropy(moved(images), labels).item())
    return np.array(losses)


def along_without_start(network, images, labels, step_sizes):
    losses = along(network, images, labels, step_sizes)
    return [losses[-1], *losses[:-1]]


class SharedCount(Adam):
    """Counts the steps within the loop over the parameters."""

    @torch.no_grad()
    def step(self):
        for w, m, s in zip(self.parameters, self.means, self.squares, strict=True):
            self.t += 1
            m.lerp_(w.grad, 0.1)
            s.lerp_(w.grad**2, 0.001)
            size = (s / (1 - 0.999**self.t)).sqrt() + 1e-8
            w -= self.lr * m / (1 - 0.9**self.t) / size


class SharedMeans(Adam):
    """One pair of means for all parameters."""

    def __init__(self, parameters, lr):
        super().__init__(parameters, lr)
        self.means = [self.means[0]] * len(self.parameters)
        self.squares = [self.squares[0]] * len(self.parameters)


class NoRoot(Adam):
    @torch.no_grad()
    def step(self):
        self.t += 1
        for w, m, s in zip(self.parameters, self.means, self.squares, strict=True):
            m.lerp_(w.grad, 0.1)
            s.lerp_(w.grad**2, 0.001)
            size = s / (1 - 0.999**self.t) + 1e-8
            w -= self.lr * m / (1 - 0.9**self.t) / size


class AdamByParameter:
    """Each parameter has a dictionary of its own."""

    def __init__(self, params, lr=0.001):
        self.lr = lr
        self.states = [{"w": w, "m": 0, "s": 0, "t": 0} for w in params]

    def zero_grad(self):
        for state in self.states:
            state["w"].grad.zero_()

    def step(self):
        for state in self.states:
            g = state["w"].grad
            state["t"] += 1
            state["m"] = 0.9 * state["m"] + 0.1 * g
            state["s"] = 0.999 * state["s"] + 0.001 * g * g
            mean = state["m"] / (1 - 0.9 ** state["t"])
            size = state["s"] / (1 - 0.999 ** state["t"])
            state["w"].data -= self.lr * mean / (torch.sqrt(size) + 1e-8)


class Uphill(Adam):
    sign = 1


class Uncorrected(Adam):
    corrected = False


class Once(Adam):
    """Keeps what it is given, and reads it again and again."""

    def __init__(self, parameters, lr):
        self.parameters, self.lr, self.t, self.states = parameters, lr, 0, {}

    @torch.no_grad()
    def step(self):
        self.t += 1
        for w in self.parameters:
            m, s = self.states.setdefault(w, (torch.zeros(7), torch.zeros(7)))
            m.lerp_(w.grad, 0.1)
            s.lerp_(w.grad**2, 0.001)
            size = (s / (1 - 0.999**self.t)).sqrt() + 1e-8
            w -= self.lr * m / (1 - 0.9**self.t) / size


class ReadAtFirst(Once):
    """Reads the parameters already when it is made."""

    def __init__(self, parameters, lr):
        super().__init__(parameters, lr)
        self.count = sum(1 for _ in parameters)


class Rebinding(Adam):
    @torch.no_grad()
    def step(self):
        for w in self.parameters:
            w = w - self.lr * w.grad.sign()


class Keeping(Adam):
    def zero_grad(self):
        """Forgot to."""


class Plain(Adam):
    @torch.no_grad()
    def step(self):
        for w in self.parameters:
            w -= self.lr * w.grad


class NoStep:
    def __init__(self, parameters, lr):
        self.lr = lr

    def zero_grad(self):
        self.t = 0


RIGHT = {
    "05.1": [one_pass, one_pass_in_a_loop],
    "05.2": [train, train_and_forget_afterwards, train_with_closure, train_by_length],
    "05.3": [along, along_functionally, along_on_copies],
    "05.4": [Adam, AdamInPlace, AdamByParameter],
}
WRONG = {
    "05.1": [
        (lambda *a: one_pass(*a, epochs=3), "seen 3 times"),
        (lambda *a: one_pass(*a, make=torch.optim.Adam), "This is Adam"),
        (
            lambda n, d, size: one_pass(
                n, d, size, make=lambda w: torch.optim.SGD(w, 0.01 * size / 64, 0.9)
            ),
            "depends on the size of the batch",
        ),
        (
            lambda *a: one_pass(*a, make=lambda w: torch.optim.SGD(w, lr=0.01)),
            "momentum is missing",
        ),
        (
            lambda *a: one_pass(*a, make=lambda w: torch.optim.SGD(w, 0.1, 0.9)),
            "not those of SGD with the rate 0.01",
        ),
        (lambda *a: one_pass(*a, drop=True), "never seen"),
        (lambda n, d, size: one_pass(n, d, 64), "trains on 64 at once"),
        (lambda *a: one_pass(*a) and 110, "returns 110"),
        (lambda *a: one_pass(*a) and None, "returns None"),
        (one_pass_elsewhere, "was never called"),
        (one_pass_frozen, "not in training mode"),
        (one_pass_untrained, "No weight of the network"),
        ({16: 188, 64: 47, 256: 12}, "should be a function"),
    ],
    "05.2": [
        (train_broken, "no weight has changed"),
        (train_piling, "pile up"),
        (train_in_evaluation_mode, "not in training mode"),
        (train_once, "called once for 6 batches"),
        (train_on_sums, "not as by one step"),
        (lambda network, loader: network, "raises `TypeError"),
        (train_twice, "not as by one step"),
        (train_three_times, "called 18 times for 6 batches"),
        (train_own_digits, "called 9 times for 6 batches"),
    ],
    "05.3": [
        (lambda *a: along(*a, sign=1), "uphill"),
        (lambda *a: along(*a, back=False), "where the last one ended"),
        (lambda *a: along(*a, sign=0), "The loss never changes"),
        (lambda *a: along(*a, reduction="sum"), "sums over the batch"),
        (lambda *a: along(*a)[:2], "should be 6 values, but has 2"),
        (lambda *a: along(*a, sign=-2), "With the step size"),
        (along_without_start, "With the step size"),
        (lambda *a: min(along(*a)), "should be 6 values, but is"),
    ],
    "05.4": [
        (Uphill, "uphill"),
        (Uncorrected, "begin at zero"),
        (Once, "can be read only once"),
        (ReadAtFirst, "can be read only once"),
        (Rebinding, "makes a new tensor"),
        (Keeping, "leaves the old gradients"),
        (Plain, "from where PyTorch's Adam leads it"),
        (NoStep, "has no method `step`"),
        (torch.optim.Adam, "PyTorch's own Adam"),
        (SharedCount, "goes up with each parameter"),
        (SharedMeans, "from where PyTorch's Adam leads it"),
        (NoRoot, "*square root*"),
    ],
}
EMPTY = {
    "05.1": [stub],
    "05.2": [stub],
    "05.3": [stub],
    "05.4": [Stub],
}

test_right, test_wrong, test_empty, test_all = of_chapter("05", RIGHT, WRONG, EMPTY)
