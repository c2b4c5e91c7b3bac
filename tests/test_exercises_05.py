"""Answers to the exercises of chapter 5."""

import copy

import numpy as np
import torch
import torch.nn.functional as F
from exercise_cases import of_chapter

ACCURACIES = {16: 0.86, 64: 0.62, 256: 0.31}


def stub(*arguments):
    """Your code."""


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
    train(network, [next(loader)], optimizer)


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
    def __init__(self, parameters, lr):
        super().__init__(parameters, lr)
        self.parameters = iter(self.parameters)


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
    "05.1": [
        *(ACCURACIES, {k: torch.tensor(v) for k, v in ACCURACIES.items()}),
        {256: np.float64(0.4), 16: np.float64(0.88), 64: np.float64(0.71)},
    ],
    "05.2": [train, train_and_forget_afterwards, train_with_closure],
    "05.3": [along, along_functionally, along_on_copies],
    "05.4": [Adam, AdamInPlace, AdamByParameter],
}
WRONG = {
    "05.1": [
        ({16: 86.0, 64: 62.0, 256: 31.0}, "between 0 and 1"),
        ({16: 0.31, 64: 0.62, 256: 0.86}, "begin with a fresh network"),
        ({16: 0.62, 64: 0.62, 256: 0.62}, "All three are nearly equal"),
        ({16: 0.25, 64: 0.15, 256: 0.1}, "well above 50 %"),
        (ACCURACIES | {64: None}, "no answer yet for 64"),
        ({str(k): v for k, v in ACCURACIES.items()}, "lacks 16, 64, 256, but has '16'"),
        (ACCURACIES | {64: 0.1}, "Batches of 64 should lie between"),
        (ACCURACIES | {16: [0.8, 0.86]}, "should be a number, but is a list of 2"),
    ],
    "05.2": [
        (train_broken, "no weight has changed"),
        (train_piling, "pile up"),
        (train_in_evaluation_mode, "not in training mode"),
        (train_once, "called 1 times for 6 batches"),
        (train_on_sums, "not as by one step"),
        (lambda network, loader: network, "raises `TypeError"),
        (train_twice, "not as by one step"),
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
    "05.1": [dict.fromkeys(ACCURACIES)],
    "05.2": [stub],
    "05.3": [stub],
    "05.4": [Stub],
}

test_right, test_wrong, test_empty, test_all = of_chapter("05", RIGHT, WRONG, EMPTY)
