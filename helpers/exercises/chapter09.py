"""Chapter 9: photographs."""

import math
import random
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from helpers.device import choose_device
from helpers.exercises._answers import (
    as_function,
    as_tensor,
    attempted,
    first_difference,
    number,
    returned,
    same,
    sequence,
)
from helpers.exercises._registry import Wrong, exercise

# Exercise 1 ---------------------------------------------------------------------


@exercise(
    "09.1",
    hints=[
        "The channels are axis 1 of (batch, channel, height, width). Take the mean "
        "over this axis.",
        "`images.mean(dim=1, keepdim=True)` keeps the axis, with one channel. The "
        "network wants three.",
        "`.expand_as(images)` repeats the one channel three times.",
    ],
)
def gray_pictures(attempt: object) -> str:
    """Try a function that takes the color out of pictures."""
    call = "my_to_gray(images)"
    count = random.randint(4, 9)
    images = torch.randn(count, 3, 32, 32)
    given = images.clone()
    tried = f"images of the shape {tuple(images.shape)}"
    to_gray = as_function(attempt, "my_to_gray")
    # Not handed over as a copy, to see whether the answer changes what it gets.
    found = attempted(lambda: to_gray(images), call, tried=tried)
    found = as_tensor(returned(found, call), call)
    if found.shape == (count, 1, 32, 32):
        raise Wrong(
            "Your pictures have one channel. The network's first layer takes three: "
            "repeat it."
        )
    if found.shape == (count, 32, 32):
        raise Wrong(
            "The channel axis is gone: `keepdim=True` keeps it. Then repeat the one "
            "channel three times."
        )
    found = as_tensor(found, call, tuple(images.shape))
    gray = given.mean(dim=1, keepdim=True).expand_as(given)
    if same(found, gray):
        if not torch.equal(images, given):
            raise Wrong(
                "The pictures are gray now, but so are those that you were given. Make "
                "new ones: a race in color needs the old."
            )
        return "Every channel is the mean of the three."
    weights = torch.tensor([0.299, 0.587, 0.114]).view(3, 1, 1)
    remarks = [
        (given, "These are the pictures as they were, in color."),
        (given.sum(dim=1, keepdim=True), "This is the sum of the three channels."),
        *(
            (given[:, c : c + 1], f"This is the {color} channel alone.")
            for c, color in enumerate(("red", "green", "blue"))
        ),
        (
            (weights * given).sum(dim=1, keepdim=True),
            "This weighs the colors as the eye does. Asked is their plain mean.",
        ),
        (given.mean(dim=0), "This is the mean over the pictures, not the channels."),
        (
            given.mean(dim=(2, 3), keepdim=True),
            "This is the mean over all places: each channel has one value.",
        ),
        (
            given.mean(dim=(1, 2, 3), keepdim=True),
            "This is one gray for each picture: the mean over all of it.",
        ),
    ]
    for value, remark in remarks:
        # torchvision rounds the weights of the eye: 0.2989 for 0.299.
        if same(found, value.expand_as(given), 2e-3):
            raise Wrong(remark)
    if not same(found, found[:, :1].expand_as(given)):
        raise Wrong("The three channels of a picture differ, so it has colors.")
    raise Wrong(
        "All three channels are the same, but not the mean of the three: "
        f"{first_difference(found, gray)}."
    )


# Exercise 2 ---------------------------------------------------------------------


def _cycle(num_steps: int, peak: float, **shape: object) -> Tensor:
    """Return the learning rates of one cycle, in parts of its peak."""
    single = nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.SGD([single], lr=peak, momentum=0.9)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer,
        max_lr=peak,
        total_steps=num_steps,
        **shape,  # type: ignore[arg-type]
    )
    rates = []
    for _ in range(num_steps):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    return torch.tensor(rates, dtype=torch.float64) / peak


@exercise(
    "09.2",
    hints=[
        "`torch.zeros(1, requires_grad=True)` is a single number to make an optimizer "
        "for: `SGD([number], lr=peak, momentum=0.9)`.",
        "Give `OneCycleLR` the optimizer, `max_lr`, `total_steps`, and hand the rest "
        "on with `**shape`.",
        'For each step: note `optimizer.param_groups[0]["lr"]`, then call '
        "`optimizer.step()` and `schedule.step()`.",
    ],
)
def rates_of_a_cycle(attempt: object) -> str:
    """Try a function that lists the learning rates of one cycle."""
    call = "my_rates(num_steps, peak, **shape)"
    make_rates = as_function(attempt, "my_rates")
    shapes: list[dict[str, object]] = [
        {},
        {"pct_start": round(random.uniform(0.05, 0.2), 2)},
        {"anneal_strategy": "linear", "pct_start": round(random.uniform(0.5, 0.8), 2)},
    ]
    for shape in shapes:
        num_steps, peak = random.randint(60, 120), random.uniform(0.2, 0.9)
        words = "".join(f", {name}={value!r}" for name, value in shape.items())
        tried = f"my_rates({num_steps}, {peak:.3f}{words})"
        answer = partial(make_rates, **shape)
        found = attempted(answer, call, num_steps, peak, tried=tried)
        values = sequence(returned(found, call), tried, num_steps)
        rates = torch.tensor([number(v, "a learning rate") for v in values]).double()
        _judge_rates(rates / peak, num_steps, peak, shape, tried)
    return "It is the cycle of OneCycleLR, whatever its shape."


def _judge_rates(
    found: Tensor, num_steps: int, peak: float, shape: dict[str, object], tried: str
) -> None:
    """Compare learning rates, in parts of the peak, with those of OneCycleLR."""
    expected = _cycle(num_steps, peak, **shape)
    if same(found, expected):
        return
    if same(found, found[0].expand_as(found)):
        raise Wrong(
            f"`{tried}` returns the same rate {num_steps} times. Is the schedule moved "
            "on after each step?"
        )
    if same(found[:-1], expected[1:]):
        raise Wrong(
            "Each rate is that of the step after it. Note the rate before "
            "`schedule.step()`."
        )
    if shape and same(found, _cycle(num_steps, peak)):
        raise Wrong(f"`{tried}` has the default shape: hand `**shape` on.")
    share = (found.max() / expected.max()).item()
    if share > 0 and same(found / share, expected):
        raise Wrong(
            f"The shape is right, but `{tried}` has its peak at {peak * share:.3f}."
        )
    at = int((found - expected).abs().nan_to_num(torch.inf).argmax())
    raise Wrong(
        f"Of `{tried}`, rate {at} should be {peak * expected[at]:.4f}, but is "
        f"{peak * found[at]:.4f}. The peak is expected at step "
        f"{int(expected.argmax())}, and found at step {int(found.argmax())}."
    )


# Exercise 3 ---------------------------------------------------------------------


class _Notes(list[bool]):
    """A list that a copied network shares with the network that it is a copy of."""

    def __deepcopy__(self, memo: object) -> "_Notes":
        return self


class _NotingNorm(nn.BatchNorm2d):
    """Batch normalization that notes in which mode it was called."""

    def __init__(self, num_features: int) -> None:
        super().__init__(num_features)
        self.modes = _Notes()

    def forward(self, input: Tensor) -> Tensor:
        self.modes.append(self.training)
        return super().forward(input)


class _Colors(nn.Module):
    """Answers the class whose color is nearest to a picture's mean color."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = _NotingNorm(3)
        self.fc = nn.Linear(3, 10, bias=False)
        height = 1 - (torch.arange(10) + 0.5) / 5  # ten points around a sphere
        turn = torch.arange(10) * math.pi * (3 - math.sqrt(5))
        side = (1 - height**2).sqrt()
        with torch.no_grad():
            self.fc.weight.copy_(
                torch.stack([height, side * turn.cos(), side * turn.sin()], dim=1)
            )
            self.norm.running_mean.copy_(torch.randn(3))  # type: ignore[union-attr]
            self.norm.running_var.copy_(torch.rand(3) + 0.5)  # type: ignore[union-attr]

    def forward(self, images: Tensor) -> Tensor:
        return self.fc(self.norm(images).mean(dim=(2, 3)))

    def draw(self, answers: Tensor) -> Tensor:
        """Return pictures that get these answers in evaluation mode."""
        mean, variance = self.norm.running_mean, self.norm.running_var
        assert mean is not None
        assert variance is not None
        colors = mean + variance.sqrt() * self.fc.weight.detach()[answers]
        noise = 0.1 * torch.randn(len(answers), 3, 32, 32)
        noise -= noise.mean(dim=(2, 3), keepdim=True)
        return colors.view(-1, 3, 1, 1) + noise


@exercise(
    "09.3",
    hints=[
        "Print `model.training` inside the function.",
        "A batch of nothing but ones is normalized with the mean of ones. Which mode "
        "uses the running mean instead?",
        "`model.eval()` before the loop, and `torch.no_grad()` around it.",
    ],
)
def accuracy_in_any_order(attempt: object) -> str:
    """Try a function that measures a network with batch normalization."""
    call = "my_accuracy_of(model, images, labels)"
    # A prime: no mean over batches is by chance the share of right answers.
    n = random.choice([211, 223, 227, 229, 233, 239])
    right = random.randint(int(0.7 * n), int(0.9 * n))
    answers = torch.randint(5, (n,)).sort().values  # sorted, and only five classes
    labels = answers.clone()
    wrong = torch.randperm(n)[right:]
    labels[wrong] = (answers[wrong] + torch.randint(1, 10, (len(wrong),))) % 10
    model = _Colors()
    images = model.draw(answers)
    model = model.to(choose_device()).train()
    tried = (
        f"a network in training mode that reads {right} of {n} pictures when it is "
        "evaluated"
    )
    found = returned(attempted(attempt, call, model, images, labels, tried=tried), call)
    share = number(found, call)
    if any(model.norm.modes):
        raise Wrong(
            "The network is still in training mode when it is measured: batch "
            f"normalization takes the mean of each batch. The result is {share:.1%}, "
            f"and should be {right / n:.1%}."
        )
    if abs(share - right / n) < 1e-6:
        return f"{right} of {n}, in whatever order they come."
    text = f"It was tried with {tried}: {right / n:.2%}. Yours is {share:.2%}."
    if abs(share - 100 * right / n) < 0.01:
        raise Wrong("Give the accuracy as a share between 0 and 1, not in percent.")
    if abs(share - right) < 0.01:
        raise Wrong(f"{right} is the number of right answers. Divide by all pictures.")
    if abs(share - (1 - right / n)) < 1e-5:
        raise Wrong("This is the share of wrong answers.")
    if abs(share - right / n) < 0.3:
        raise Wrong(
            f"{text} Near, but not the same: is it a mean over the batches? The last "
            "one is smaller. Count, then divide once."
        )
    raise Wrong(text)


# Exercise 4 ---------------------------------------------------------------------


class _OneSided(nn.Module):
    """A network to which a picture and its mirror image are two things."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 8, kernel_size=5, stride=4)
        self.norm = _NotingNorm(8)
        self.fc = nn.Linear(8 * 7 * 7, 10)

    def forward(self, images: Tensor) -> Tensor:
        x = F.relu(self.norm(self.conv(images)))
        return 10 * self.fc(x.flatten(start_dim=1))


def _mirror_case(
    count: int, device: torch.device
) -> tuple[_OneSided, Tensor, Tensor, dict[str, Tensor]]:
    """Return a network, pictures, the right answers and several wrong ones.

    No right answer hangs on rounding, and each list of wrong ones differs from
    the right one in several places.
    """
    while True:
        model = _OneSided().to(device).eval()
        images = torch.randn(3 * count, 3, 32, 32)
        with torch.no_grad():
            seen, mirrored, upside_down = (
                model(flipped.to(device)).cpu()
                for flipped in (images, images.flip(3), images.flip(2))
            )
        best = (seen + mirrored).topk(2, dim=1).values
        clear = (best[:, 0] - best[:, 1] > 0.05).nonzero().flatten()[:count]
        wrong = {
            "once": seen,
            "mirrored": mirrored,
            "upside down": seen + upside_down,
            "probabilities": seen.softmax(dim=1) + mirrored.softmax(dim=1),
            "difference": seen - mirrored,
        }
        said = {name: logits[clear].argmax(dim=1) for name, logits in wrong.items()}
        expected = (seen + mirrored)[clear].argmax(dim=1)
        apart = min(int((other != expected).sum()) for other in said.values())
        if len(clear) == count and apart >= 3:
            model.norm.modes.clear()
            return model, images[clear], expected, said


@exercise(
    "09.4",
    hints=[
        "`images.flip(3)` mirrors each picture: the last axis holds its columns.",
        "Put the network in evaluation mode. Then add the logits of the pictures and "
        "those of their mirror images.",
        "The class with the largest sum: `.argmax(dim=1)`. Cut many pictures into "
        "parts with `.split`.",
    ],
)
def looking_twice(attempt: object) -> str:
    """Try a function that asks a network about pictures and their mirror images."""
    call = "my_predict_twice(model, images)"
    device, count = choose_device(), random.randint(90, 110)
    model, images, expected, wrong = _mirror_case(count, device)
    tried = f"a network in training mode and images of shape {tuple(images.shape)}"
    found = returned(attempted(attempt, call, model.train(), images, tried=tried), call)
    classes = as_tensor(found, call)
    if any(model.norm.modes):
        raise Wrong(
            "The network is in training mode: what it says of a picture depends on the "
            "others in the batch. `model.eval()`"
        )
    if classes.shape == (count, 10):
        raise Wrong("It returns ten logits for each picture. Take their `argmax`.")
    classes = as_tensor(classes, call, (count,)).double()
    if torch.equal(classes, expected.double()):
        return "Both sides are heard."
    remarks = {
        "once": "These are the answers to the pictures alone, without the mirror.",
        "mirrored": "These are the answers to the mirror images alone.",
        "upside down": "Axis 2 holds the rows: this turns pictures upside down. Mirror "
        "the columns.",
        "probabilities": "This adds probabilities. Asked is the sum of the logits.",
        "difference": "This subtracts the logits of one from those of the other.",
    }
    for name, remark in remarks.items():
        if torch.equal(classes, wrong[name].double()):
            raise Wrong(remark)
    off = int((classes != expected.double()).sum())
    raise Wrong(
        f"Of {count} answers, {off} are not the class with the largest sum of both "
        "logits."
    )
