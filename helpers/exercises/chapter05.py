"""Chapter 5: training."""

import copy
import math
from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import SGD, Adam
from torch.utils.data import TensorDataset

from helpers.device import choose_device
from helpers.evaluation import Batches
from helpers.exercises._answers import (
    as_tensor,
    attempted,
    describe,
    number,
    returned,
    same,
    sequence,
)
from helpers.exercises._registry import Wrong, exercise

# Exercise 1 ---------------------------------------------------------------------


class _Noting(nn.Module):
    """A linear network that notes in which mode it was called, and with what."""

    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(784, 10)
        self.modes: list[bool] = []
        self.batches: list[Tensor] = []  # those in training mode, on the CPU

    def forward(self, images: Tensor) -> Tensor:
        self.modes.append(self.training)
        if self.training:
            self.batches.append(images.detach().cpu())
        return self.fc(images.flatten(start_dim=1))

    def weights(self) -> Tensor:
        """Return a copy of the weights."""
        return self.fc.weight.detach().cpu().clone()


def _train(model: _Noting, batches: Batches, optimizer: Any, forget: bool) -> Tensor:
    """Return the weights that the five steps lead to."""
    model = copy.deepcopy(model)
    optimizer = optimizer(model.parameters())
    for images, labels in batches:
        if forget:
            optimizer.zero_grad()
        nn.functional.cross_entropy(model(images), labels).backward()
        optimizer.step()
    return model.weights()


@exercise(
    "05.1",
    hints=[
        "A loader: `data.batches(digits, size, shuffle=True)`. An optimizer of "
        "`network.parameters()`.",
        "`train_one_epoch` trains for one pass. A loader's length, `len(loader)`, is "
        "the number of its batches.",
        "3,000 digits are 188 batches of 16, but only 12 of 256. The learning rate, "
        "the length of a step, is the same.",
    ],
)
def one_pass(attempt: object) -> str:
    """Try a function that trains for one pass, and follow its steps."""
    # A prime number: no batch size divides it, so a dropped rest shows.
    count, size = 107, int(torch.randint(15, 25, ()))
    images = torch.randn(count, 1, 28, 28)
    images[:, 0, 0, 0] = torch.arange(count) / count  # tells which one it is
    labels = torch.randint(10, (count,))
    model = _Noting().eval()
    start = copy.deepcopy(model)
    call = "my_pass(network, digits, size)"
    tried = f"a linear network, {count} digits and batches of {size}"
    digits = TensorDataset(images, labels)
    network = model.to(choose_device())
    found = attempted(attempt, call, network, digits, size, tried=tried)
    if not model.modes:
        raise Wrong("The network that your function was given was never called.")
    if not model.batches:
        raise Wrong("The network was not in training mode: `network.train()`.")
    if torch.equal(model.weights(), start.weights()):
        raise Wrong("No weight of the network has changed.")
    seen = [(batch[:, 0, 0, 0] * count).round().long() for batch in model.batches]
    often = torch.cat(seen).bincount(minlength=count)
    if often.min() == 0:
        raise Wrong(f"{int((often == 0).sum())} of {count} digits were never seen.")
    if often.max() > 1:
        raise Wrong(
            f"A digit was seen {int(often.max())} times. One pass sees each once."
        )
    sizes = [len(batch) for batch in seen]
    if set(sizes[:-1]) != {size}:
        raise Wrong(f"Asked for batches of {size}, it trains on {sizes[0]} at once.")
    batches = [(images[chosen], labels[chosen]) for chosen in seen]
    scaled = 0.01 * size / 64
    remarks = {
        "": partial(SGD, lr=0.01, momentum=0.9),
        "The momentum is missing.": partial(SGD, lr=0.01),
        "The learning rate depends on the size of the batch. Keep it at 0.01.": (
            partial(SGD, lr=scaled, momentum=0.9)
        ),
        "This is Adam. Take SGD with momentum.": partial(Adam, lr=0.01),
        "This is Adam, where SGD with momentum is asked for.": partial(Adam, lr=0.001),
        "The steps are not those of SGD with the rate 0.01, the momentum 0.9 and the "
        "cross-entropy of each batch.": None,
    }
    remark = next(
        remark
        for remark, optimizer in remarks.items()
        if optimizer is None
        or same(model.weights(), _train(start, batches, optimizer, forget=True), 1e-5)
    )
    kept = _train(start, batches, remarks[""], forget=False)
    if remark and same(model.weights(), kept, 1e-5):
        remark = "The old gradients are never forgotten: `optimizer.zero_grad()`."
    if remark:
        raise Wrong(f"One pass, in the right batches. {remark}")
    steps = number(returned(found, call), call)
    if steps != len(seen):
        raise Wrong(f"It took {len(seen)} steps, but `{call}` returns {steps:g}.")
    return f"{count} digits in batches of {size} are {len(seen)} steps."


# Exercise 2 ---------------------------------------------------------------------


@exercise(
    "05.2",
    hints=[
        "Print `network.fc2.weight.grad` right before `optimizer.step()`.",
        "The gradients are thrown away between computing them and using them.",
        "The order is: forget the old gradients, compute the new ones, adjust.",
    ],
)
def loop_that_learns(attempt: object) -> str:
    """Try a training loop on a network whose steps are known."""
    device = choose_device()
    model = _Noting().to(device).eval()
    batches = [
        (
            torch.randn(8, 1, 28, 28, device=device),
            torch.randint(10, (8,), device=device),
        )
        for _ in range(6)
    ]
    sgd = partial(SGD, lr=0.05)
    expected = _train(model, batches, sgd, forget=True)
    piled = _train(model, batches, sgd, forget=False)
    before = model.weights()
    call = "my_train(network, loader, optimizer)"
    tried = "a linear network and 6 batches of 8 digits"
    attempted(attempt, call, model, list(batches), sgd(model.parameters()), tried=tried)
    if torch.equal(model.weights(), before):
        raise Wrong(
            "After six batches no weight has changed. What is in the gradients when "
            "`optimizer.step()` uses them?"
        )
    if not model.modes or not all(model.modes):
        raise Wrong("The network was not in training mode: `network.train()`.")
    if len(model.modes) != len(batches):
        times = "once" if len(model.modes) == 1 else f"{len(model.modes)} times"
        raise Wrong(
            f"The network was called {times} for 6 batches. One call and one step a "
            "batch, and each batch once."
        )
    if same(model.weights(), expected):
        return "Every batch makes one step, with its own gradient."
    if same(model.weights(), piled):
        raise Wrong(
            "The weights change, but the gradients of all batches pile up: they are "
            "never forgotten."
        )
    raise Wrong(
        "The weights change, but not as by one step of the optimizer for each batch "
        "with the gradient of the cross-entropy."
    )


# Exercise 3 ---------------------------------------------------------------------


def _walk(
    model: nn.Module,
    images: Tensor,
    labels: Tensor,
    sizes: Sequence[float],
    cumulative: bool = False,
    sign: int = -1,
) -> Tensor:
    """Return the loss after a step of each size along the first gradient."""
    model = copy.deepcopy(model)
    model.zero_grad()
    loss_fn = nn.CrossEntropyLoss()
    loss_fn(model(images), labels).backward()
    start = [(w, w.detach().clone(), w.grad) for w in model.parameters()]
    losses = []
    with torch.no_grad():
        for size in sizes:
            for w, w0, gradient in start:
                assert gradient is not None
                w.copy_((w if cumulative else w0) + sign * size * gradient)
            losses.append(loss_fn(model(images), labels).item())
    return torch.tensor(losses)


@exercise(
    "05.3",
    hints=[
        "One `backward()` in all. Then keep a copy of every weight as it was: "
        "`w.detach().clone()`.",
        "For each step size, under `torch.no_grad()`: set every weight to its copy "
        "minus the step size times its gradient (`w.copy_(...)`), and measure.",
        "Begin every step from the copies, not from where the last one ended.",
    ],
)
def losses_along_the_gradient(attempt: object) -> str:
    """Try a function that measures the loss along the direction of the gradient."""
    device = choose_device()
    hidden = (nn.Linear(784, 16), nn.Tanh(), nn.Linear(16, 10))
    model = nn.Sequential(nn.Flatten(), *hidden).to(device).eval()
    images = torch.randn(32, 1, 28, 28, device=device)
    labels = torch.randint(10, (32,), device=device)
    sizes = [0.03, 0.1, 0.3, 1.0, 3.0, 8.0]
    walk = (model, images, labels, sizes)
    expected = _walk(*walk)
    call = "my_losses_along(network, images, labels, step_sizes)"
    tried = "a network of two layers, 32 digits and 6 step sizes"
    found = _losses_of(attempt, call, copy.deepcopy(model), *walk[1:], tried=tried)
    if same(found, expected, 1e-3):
        used = copy.deepcopy(model)
        for w in used.parameters():
            w.grad = torch.ones_like(w)
        again = _losses_of(attempt, call, used, *walk[1:], tried=tried)
        if same(again, expected, 1e-3):
            return "Downhill at first, and then up the other side."
        raise Wrong(
            "A network may come with gradients of an earlier batch. Here they were "
            "added to yours. Reset them first."
        )
    if same(found, _walk(*walk, sign=1), 1e-3):
        raise Wrong("These steps go uphill: along the gradient, not against it.")
    if same(found, _walk(*walk, cumulative=True), 1e-3):
        raise Wrong(
            "Each step begins where the last one ended. Put the weights back before "
            "each."
        )
    with torch.no_grad():
        here = nn.functional.cross_entropy(model(images), labels).item()
    if (found - here).abs().max() < 1e-4:
        raise Wrong("The loss never changes: the weights are not moved.")
    if same(found, 32 * expected, 1e-3):
        raise Wrong("These are sums over the batch. The loss is the mean.")
    at = int((found - expected).abs().argmax())
    raise Wrong(
        f"With the step size {sizes[at]:g} the loss should be {expected[at]:.4f}, but "
        f"is {found[at]:.4f}. Without a step it was {here:.4f}."
    )


def _losses_of(attempt: object, call: str, *given: Any, tried: str) -> Tensor:
    """Return the losses that an answer finds, one for each step size."""
    found = returned(attempted(attempt, call, *given, tried=tried), call)
    found = sequence(found, call, len(given[-1]))
    return torch.tensor([number(loss, "a loss") for loss in found])


# Exercise 4 ---------------------------------------------------------------------


def _adam(
    weights: Tensor,
    gradients: list[Tensor],
    lr: float,
    correct: bool = True,
    square: bool = True,
    each: bool = False,
) -> Tensor:
    """Return where Adam's steps lead, or those of an Adam with a mistake.

    Weights and each of the gradients are (parameter, weight). With `each`, the
    number of steps goes up with each parameter.
    """
    w, m, s = weights.clone(), 0 * weights, 0 * weights
    for step, g in enumerate(gradients, start=1):
        t = torch.full((len(w), 1), float(step))
        if each:
            t = len(w) * (t - 1) + torch.arange(1.0, len(w) + 1).view(-1, 1)
        m = 0.9 * m + 0.1 * g
        s = 0.999 * s + 0.001 * g**2
        mean, size = (m / (1 - 0.9**t), s / (1 - 0.999**t)) if correct else (m, s)
        w = w - lr * mean / ((size.sqrt() if square else size) + 1e-8)
    return w


def _steps_of(attempt: Any, parameters: Any, weights: Tensor, slopes: Any) -> Tensor:
    """Return where an optimizer's steps lead; `parameters` makes what it is given."""
    own = [nn.Parameter(row.clone()) for row in weights]
    call = "MyAdam(parameters, lr=0.01)"
    optimizer = attempted(
        lambda: attempt(parameters(own), lr=0.01), call, tried="two parameters"
    )
    if isinstance(optimizer, torch.optim.Optimizer) and (
        type(optimizer).step in (torch.optim.Adam.step, torch.optim.AdamW.step)
    ):
        raise Wrong("This is PyTorch's own Adam. Write its step yourself.")
    for method in ("step", "zero_grad"):
        if not callable(getattr(optimizer, method, None)):
            raise Wrong(f"{describe(optimizer)} has no method `{method}`.".capitalize())
    for t, slope in enumerate(slopes):
        for parameter in own:
            parameter.grad = torch.ones(7)
        attempted(lambda: optimizer.zero_grad(), "zero_grad()")
        if any(p.grad is not None and p.grad.any() for p in own):
            raise Wrong("`zero_grad()` leaves the old gradients where they are.")
        for parameter, row in zip(own, slope, strict=True):
            parameter.grad = row.clone()
        attempted(lambda: optimizer.step(), "step()")
        if t == 0 and torch.equal(as_tensor(own, "the weights"), weights):
            raise Wrong(
                "`step()` leaves the parameters as they are. `w = w - ...` makes a new "
                "tensor, which is lost. Change `w` itself: `w -= ...` or `w.sub_(...)`."
            )
    return as_tensor(own, "the weights")


@exercise(
    "05.4",
    hints=[
        "Keep for each parameter two tensors of zeros: the mean of its gradients, "
        "and the mean of their squares. Keep the number of steps, too.",
        "In `step`: count, then m = 0.9 m + 0.1 g and s = 0.999 s + 0.001 g².",
        "Divide m by 1 - 0.9 ** t and s by 1 - 0.999 ** t before you use them: both "
        "began at zero. Then w -= lr · m / (√s + 1e-8).",
    ],
)
def adam_by_hand(attempt: Any) -> str:
    """Run an optimizer beside PyTorch's Adam, with the same gradients."""
    weights = torch.randn(2, 7)  # two parameters, of seven weights each
    gradients = [torch.randn(2, 7) + 0.5 for _ in range(20)]
    for gradient in gradients:
        gradient[:, 0] = 0  # as that of a pixel which is always black
    expected = _adam(weights, gradients, 0.01)
    try:
        # An iterator, as network.parameters() is one: it can be read only once.
        found = _steps_of(attempt, iter, weights, gradients)
    except Wrong:
        found = _steps_of(attempt, list, weights, gradients)
        if same(found, expected, 1e-5):
            raise Wrong(
                "`network.parameters()` can be read only once: keep `list(parameters)`."
            ) from None
    if same(found, expected, 1e-5):
        return "After twenty steps, your weights are PyTorch's."
    if same(found, _adam(weights, gradients, -0.01), 1e-5):
        raise Wrong("The steps go uphill: subtract them.")
    if same(found, _adam(weights, gradients, 0.01, correct=False), 1e-5):
        raise Wrong(
            "The two means begin at zero and are too small at first: divide them by "
            "1 - 0.9 ** t and 1 - 0.999 ** t."
        )
    if same(found, _adam(weights, gradients, 0.01, square=False), 1e-3):
        raise Wrong("Divide by the *square root* of the mean of the squares.")
    if same(found, _adam(weights, gradients, 0.01, each=True), 1e-5):
        raise Wrong(
            "The number of steps goes up with each parameter. Count once in each call "
            "of `step`."
        )
    gap = (found - expected).abs().max().item()
    if math.isnan(gap):
        raise Wrong(
            "After twenty steps, weights are not numbers any more (NaN). Where a "
            "gradient is always 0, only the 1e-8 keeps 0 from being divided by 0."
        )
    raise Wrong(
        f"After twenty steps with lr = 0.01, a weight is off by {gap:.2g} from where "
        "PyTorch's Adam leads it."
    )
