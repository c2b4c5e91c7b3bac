"""Chapter 12: a museum of mistakes."""

import copy
import math
import random
from itertools import combinations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from helpers.data import MNIST_MEAN, MNIST_STD
from helpers.exercises._answers import (
    as_tensor,
    attempted,
    describe,
    judge_ending,
    logits_of,
    mapping,
    network,
    number,
    returned,
    same,
    sequence,
)
from helpers.exercises._digits import some_digits
from helpers.exercises._registry import Wrong, exercise

# Exercise 1 ---------------------------------------------------------------------


@exercise(
    "12.1",
    hints=[
        "The first softmax can at best give 1 to the right class and 0 to all others. "
        "The loss takes these for logits.",
        "Its softmax then gives the right class e / (e + K - 1). The loss is minus the "
        "logarithm of that.",
    ],
)
def floor_of_the_loss(attempt: object) -> str:
    """Try a function that returns the lowest loss that two softmaxes allow."""
    call = "my_floor(num_classes)"
    for classes in (10, 100, random.randint(3, 9), random.randint(101, 1000)):
        certain = F.one_hot(torch.tensor([1]), classes).double()
        truth = F.cross_entropy(certain, torch.tensor([1])).item()
        tried = f"{classes} classes"
        found = attempted(attempt, call, classes, tried=tried)
        found = number(returned(found, call), call)
        if abs(found - truth) < 1e-3:
            continue
        remarks = {
            math.log(classes): "That is the loss of guessing.",
            math.log(1 + classes / math.e): "One of the K classes is the right one; "
            "K - 1 are not.",
            math.log(1 + 9 / math.e): "That is the floor for 10 classes.",
            -truth: "The sign is wrong.",
            math.log(math.e + classes - 1): "Divide by e, the part of the right class.",
        }
        remark = next((r for v, r in remarks.items() if abs(found - v) < 1e-3), "")
        raise Wrong(
            f"For {tried}, the floor should be {truth:.4f}, but is {found:.4f}. "
            f"{remark}".rstrip()
        )
    return "It agrees with F.cross_entropy."


# Exercise 2 ---------------------------------------------------------------------


@exercise(
    "12.2",
    hints=[
        "Read the function from the top and hold each line against the checklist. One "
        "mistake is in the network, one in the loop, one in the measuring.",
        "Logits go into F.cross_entropy. Old gradients are forgotten before new ones "
        "are computed. Validation digits are normalized as those of training.",
    ],
)
def three_mistakes_mended(attempt: object) -> str:
    """Measure a mended network and compare with the accuracy claimed for it."""
    pair = sequence(attempt, "(my_model, my_accuracy)", 2)
    model = network(pair[0], "my_model").eval()
    claim = number(pair[1], "my_accuracy")
    if not 0 <= claim <= 1:
        raise Wrong(f"`my_accuracy` is {claim:.3g}. Give a share between 0 and 1.")
    pixels, labels = some_digits(3_000)
    shares = []
    for images in ((pixels - MNIST_MEAN) / MNIST_STD, pixels):
        with torch.no_grad():
            logits = logits_of(model, images, "my_model")
        if not _are_log_probabilities(logits):  # right, with nll_loss: exhibit 3
            judge_ending(model, images, logits, "my_model")
        predicted = logits.argmax(dim=1).cpu()
        shares.append((predicted == labels).double().mean().item())
    measured = max(shares)
    if measured < 0.85:
        raise Wrong(
            f"`my_model` reads {measured:.1%} of 3,000 digits; {claim:.1%} was "
            "claimed. Over 85 % are possible. Do old gradients pile up? Was it "
            "trained for three epochs?"
        )
    if (
        abs(claim - min(shares)) < abs(claim - measured)
        and abs(claim - measured) > 0.04
    ):
        raise Wrong(
            f"The network is mended: it reads {measured:.1%} of 3,000 digits. But it "
            f"was measured on other pixels than it was trained on: {claim:.1%}."
        )
    if abs(claim - measured) > 0.04:
        raise Wrong(
            f"`my_model` reads {measured:.1%} of 3,000 digits, but `my_accuracy` is "
            f"{claim:.1%}."
        )
    return f"It reads {measured:.1%} of 3,000 other digits."


def _are_log_probabilities(logits: Tensor) -> bool:
    sums = logits.exp().sum(dim=1)
    return torch.allclose(sums, torch.ones_like(sums), atol=1e-3)


# Exercise 3 ---------------------------------------------------------------------

SUSPECTS = ["right", "softmax", "ReLU", "mixed"]
STILL = 1.95  # between the softmax's curve and that of mixed pixels, near ln 10


@exercise(
    "12.3",
    hints=[
        "`learn(model, TensorDataset(*one_batch), 200)` trains 200 steps and returns "
        "200 losses.",
        "`nn.Sequential(small_net(), nn.Softmax(dim=1))` has a softmax at its end.",
        "Make a new network for each.",
    ],
)
def one_batch_by_heart(attempt: object) -> str:
    """Judge the losses of four networks by what must hold of them."""
    answers = mapping(attempt, "my_losses", SUSPECTS)
    curves = []
    final = {}
    for name, losses in answers.items():
        what = f'my_losses["{name}"]'
        curve = as_tensor(losses, what, (200,)).double()
        if not torch.isfinite(curve).all() or (curve < 0).any():
            raise Wrong(f"`{what}` has losses that are negative or no numbers.")
        if not 1.5 < curve[0] < 3.5:
            raise Wrong(
                f"`{what}` begins at {curve[0]:.2f}. A fresh network begins near "
                "ln 10 = 2.30."
            )
        curves.append(curve)
        final[name] = curve[-1].item()
    floor = math.log(1 + 9 / math.e)
    if final["right"] > 0.1:
        raise Wrong(
            f"The right network ends at {final['right']:.2f}. It can learn 64 digits "
            "by heart: below 0.1 in 200 steps."
        )
    if final["softmax"] < floor - 1e-3:
        raise Wrong(
            f"With a softmax at the end, no loss can be below ln(1 + 9/e) = "
            f"{floor:.2f}, but yours ends at {final['softmax']:.2f}. "
            "Is there a softmax?"
        )
    if final["softmax"] > STILL:
        raise Wrong(
            "With a softmax at the end, the network learns, down to about 1.5 or 1.6. "
            f"Yours ends at {final['softmax']:.2f}, as with mixed pixels."
        )
    if final["ReLU"] < 0.2:
        raise Wrong(
            f"The network with ReLU ends at {final['ReLU']:.2f}, as if nothing were "
            "wrong with it. Is it `small_net(seed=1)`, with the ReLU after its last "
            "layer?"
        )
    if final["mixed"] < STILL:
        raise Wrong(
            f"With mixed pixels the network ends at {final['mixed']:.2f}, as if it had "
            "learned. Is it `Mixed()`? Do the digits come in a new order in each step?"
        )
    if any(same(one, other, 1e-6) for one, other in combinations(curves, 2)):
        raise Wrong(
            "Two of the four curves are the same. Train each of the four networks."
        )
    return "Only the right network learns the batch by heart."


# Exercise 4 ---------------------------------------------------------------------

COMPLAINTS = "my_complaints(model, images, labels, optimizer)"


def _small(*end: nn.Module, outputs: int = 10) -> nn.Sequential:
    layers = (nn.Flatten(), nn.Linear(784, 64), nn.ReLU(), nn.Linear(64, outputs))
    return nn.Sequential(*layers, *end)


class _Mixing(nn.Module):
    """Flattens to the right shape, with the pixels of the images mixed."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = _small()[1:]

    def forward(self, images: Tensor) -> Tensor:
        return self.layers(images.reshape(784, -1).T)


class _WithDropout(nn.Module):
    """A sound network whose answers differ each time in training mode."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.drop = nn.Conv2d(1, 6, 5), nn.Dropout(0.5)
        self.fc = nn.Linear(6 * 6 * 6, 10)
        with torch.no_grad():  # for a first loss near ln 10, whatever the seed
            self.fc.weight *= 0.3

    def forward(self, images: Tensor) -> Tensor:
        x = F.max_pool2d(F.relu(self.conv(images)), 4)
        return self.fc(self.drop(x.flatten(start_dim=1)))


def _is_ordinary(model: nn.Module, images: Tensor, labels: Tensor) -> bool:
    """Tell whether a sound network's first answers are as they mostly are.

    Of 3,000 first losses, one was 0.19 away from ln 10: far, for a strict inspector.
    """
    with torch.no_grad():
        logits = model.eval()(images)
    losses = [F.cross_entropy(logits[:n], labels[:n]).item() for n in (32, 64)]
    near = all(abs(loss - math.log(10)) < 0.1 for loss in losses)
    return near and bool((logits < 0).any())


@exercise(
    "12.4",
    hints=[
        "Begin with an empty list and append a text for each thing that is wrong. Put "
        "the network in evaluation mode, or dropout looks like mixing. Put it back "
        "afterwards.",
        "Sound images have a mean near 0 and a standard deviation near 1. Labels are "
        "int64 of shape (batch,). A first loss is near ln 10.",
        "The optimizer's parameters: `{id(p) for group in optimizer.param_groups for "
        "p in group['params']}`. They must be those of `model.parameters()`.",
    ],
)
def inspector(attempt: object) -> str:
    """Try an inspector on sound and on broken set-ups."""
    pixels, labels = some_digits(64)
    images = (pixels - MNIST_MEAN) / MNIST_STD
    sound = _small()
    while not _is_ordinary(sound, images, labels):
        sound = _small()
    with_dropout = _WithDropout()
    while not _is_ordinary(with_dropout, images, labels):
        with_dropout = _WithDropout()
    loud, quiet = copy.deepcopy(sound), copy.deepcopy(sound)
    with torch.no_grad():
        loud[-1].get_parameter("weight").mul_(60)
        quiet[1].get_parameter("weight").div_(255)  # so that the loss is near ln 10
    cases = [
        ("a sound set-up", True, sound, images, labels, sound),
        ("a sound network with dropout", True, with_dropout, images, labels, None),
        ("a sound set-up, 32 digits", True, sound, images[:32], labels[:32], sound),
        ("images from 0 to 255", False, quiet, 255 * pixels, labels, None),
        ("labels of shape (64, 1)", False, sound, images, labels[:, None], sound),
        ("labels that are floats", False, sound, images, labels.float(), sound),
        ("logits of shape (64, 1)", False, _small(outputs=1), images, labels, None),
        ("softmax at the end", False, _small(nn.Softmax(dim=1)), images, labels, None),
        ("ReLU at the end", False, _small(nn.ReLU()), images, labels, None),
        ("a first loss far from ln 10", False, loud, images, labels, None),
        ("mixed images", False, _Mixing(), images, labels, None),
        ("the optimizer of another network", False, sound, images, labels, _small()),
    ]
    complaints = [_inspected(attempt, *case) for case in cases]
    if any(complaints):
        raise Wrong("\n".join(filter(None, complaints)))
    tried = (module for case in cases for module in case[2].modules())
    if not all(module.training for module in tried):  # as they were given
        raise Wrong(
            "It is right about each set-up, but it leaves the network in evaluation "
            "mode, and training would go on without dropout: exhibit 26. Put the mode "
            "back as you found it."
        )
    optimizer = torch.optim.SGD(sound.parameters(), lr=0.01)
    setup = sound.eval(), images, labels, optimizer
    attempted(attempt, COMPLAINTS, *setup, tried="a network in evaluation mode")
    if any(module.training for module in sound.modules()):
        raise Wrong(
            "It is right about each set-up, but a network that was in evaluation mode "
            "is left in training mode. Put the mode back as you found it."
        )
    return f"{len(cases)} set-ups, and a true word on each."


def _inspected(
    attempt: object,
    name: str,
    is_sound: bool,
    model: nn.Module,
    images: Tensor,
    labels: Tensor,
    owner: nn.Module | None,
) -> str:
    """Say what is wrong with an inspector's word on one set-up; "" if nothing is."""
    owner = owner or model
    optimizer = torch.optim.SGD(owner.parameters(), lr=0.01)
    setup = model.train(), images, labels, optimizer
    found = attempted(attempt, COMPLAINTS, *setup, tried=name, keeps=True)
    found = returned(found, COMPLAINTS)
    if not isinstance(found, list | tuple | set):
        kind = describe(found)
        raise Wrong(f"`{COMPLAINTS}` should return a list, but returns {kind}.")
    if is_sound and found:
        return f"It complains of {name}: {', '.join(map(str, found))[:200]}"
    if not is_sound and not found:
        return f"It finds nothing wrong with {name}."
    return ""
