"""Answers to the exercises of chapter 9."""

import copy
import math
from functools import partial

import numpy as np
import torch
from exercise_cases import of_chapter
from torch import nn
from torchvision.transforms.v2.functional import rgb_to_grayscale

from helpers.device import choose_device
from helpers.exercises import chapter09

DEVICE = choose_device()


def to_gray(images):
    return images.mean(dim=1, keepdim=True).expand_as(images)


def gray_in_place(images):
    images[:] = images.mean(dim=1, keepdim=True)
    return images


def cycle(num_steps, peak, late=False, move=True, **shape):
    single = torch.zeros(1, requires_grad=True)
    optimizer = torch.optim.SGD([single], lr=0.1, momentum=0.9)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, max_lr=peak, total_steps=num_steps, **shape
    )
    rates = []
    for _ in range(num_steps):
        optimizer.step()
        rates.append(schedule.get_last_lr()[0])
        if move:
            schedule.step()
        if late:
            rates[-1] = schedule.get_last_lr()[0]
    return rates


def cycle_by_hand(num_steps, peak, pct_start=0.3, anneal_strategy="cos"):
    def between(start, end, share):
        if anneal_strategy == "cos":
            share = (1 - math.cos(math.pi * share)) / 2
        return start + share * (end - start)

    top = pct_start * num_steps - 1
    up = [between(peak / 25, peak, n / top) for n in range(num_steps) if n <= top]
    rest = num_steps - 1 - top
    down = [
        between(peak, peak / 25e4, (n - top) / rest) for n in range(len(up), num_steps)
    ]
    return np.array(up + down)


def measure(model, images, labels, size=100, mean=False):
    model.eval()
    batches = zip(images.split(size), labels.split(size), strict=True)
    with torch.no_grad():
        right = [model(i.to(DEVICE)).argmax(dim=1).cpu() == k for i, k in batches]
    if mean:
        return sum(r.float().mean() for r in right) / len(right)
    return torch.cat(right).float().mean()


def measure_with_frozen_norm(model, images, labels):
    for layer in model.modules():
        layer.training = not isinstance(layer, nn.BatchNorm2d)
    with torch.inference_mode():
        answers = model(images.to(DEVICE)).argmax(1).tolist()
    return sum(map(int.__eq__, answers, labels.tolist())) / len(labels)


def measure_in_training_mode(model, images, labels):
    model = copy.deepcopy(model)
    correct = 0
    for chosen in torch.arange(len(labels)).split(100):
        logits = model(images[chosen].to(DEVICE)).cpu()
        correct += (logits.argmax(dim=1) == labels[chosen]).sum().item()
    return correct / len(labels)


def measure_late(model, images, labels):
    found = measure_in_training_mode(model, images, labels)
    model.eval()
    return found


def twice(model, images, flip=3, combine=lambda a, b: a + b, evaluated=True):
    model.train(not evaluated)
    with torch.no_grad():
        images = images.to(DEVICE)
        return combine(model(images), model(images.flip(flip))).argmax(dim=1)


class TwiceInParts:
    """A callable object; the mean instead of the sum, and a list of answers."""

    def __call__(self, model, images):
        model = copy.deepcopy(model).eval().cpu()
        both = (torch.stack([part, part.flip(-1)]) for part in images.split(7))
        means = [(model(a) + model(b)).detach() / 2 for a, b in both]
        return [int(one) for part in means for one in part.numpy().argmax(axis=1)]


RIGHT = {
    "09.1": [
        to_gray,
        lambda x: torch.einsum("bchw->bhw", x)[:, None].repeat(1, 3, 1, 1) / 3,
    ],
    "09.2": [cycle, cycle_by_hand],
    "09.3": [
        measure,
        measure_with_frozen_norm,
        partial(measure, size=1),
    ],
    "09.4": [twice, TwiceInParts()],
}
WRONG = {
    "09.1": [
        (lambda x: x.mean(dim=1, keepdim=True), "one channel"),
        (lambda x: x.mean(dim=1), "The channel axis is gone"),
        (lambda x: x, "as they were, in color"),
        (lambda x: x[:, 1:2].expand_as(x), "the green channel alone"),
        (lambda x: x.mean(dim=0).expand_as(x), "the mean over the pictures"),
        (lambda x: x.mean(dim=(1, 2, 3), keepdim=True).expand_as(x), "one gray for"),
        (lambda x: 3 * to_gray(x), "the sum of the three"),
        (lambda x: x.mean(dim=(2, 3), keepdim=True).expand_as(x), "over all places"),
        (lambda x: to_gray(x) + 1, "not the mean of the three"),
        (lambda x: x.flip(1), "so it has colors"),
        (lambda x: to_gray(x)[:2], "should have the shape"),
        (gray_in_place, "so are those that you were given"),
        (partial(rgb_to_grayscale, num_output_channels=3), "as the eye does"),
    ],
    "09.2": [
        (partial(cycle, move=False), "Is the schedule moved on"),
        (partial(cycle, late=True), "the rate before `schedule.step()`"),
        (lambda n, peak, **shape: cycle(n, peak), "hand `**shape` on"),
        (lambda n, peak, **shape: cycle(n, 0.1, **shape), "has its peak at 0.100"),
        (lambda n, peak, **shape: cycle(300, peak, **shape), "values, but has 300"),
        (lambda n, peak, **shape: cycle(n, peak, div_factor=5), "The peak is expected"),
        (lambda n, peak: cycle(n, peak), "unexpected keyword"),
        (0.1, "should be a function"),
    ],
    "09.3": [
        (measure_in_training_mode, "still in training mode"),
        (measure_late, "takes the mean of each batch"),
        (partial(measure, mean=True), "is it a mean over the batches"),
        (lambda *a: 100 * measure(*a), "not in percent"),
        (lambda *a: len(a[2]) * measure(*a), "Divide by all pictures"),
        (lambda *a: 1 - measure(*a), "the share of wrong answers"),
        (lambda *a: 0.1, "Yours is 10.00%"),
    ],
    "09.4": [
        (partial(twice, combine=lambda a, b: a), "without the mirror"),
        (partial(twice, combine=lambda a, b: b), "the mirror images alone"),
        (partial(twice, flip=2), "upside down"),
        (
            partial(twice, combine=lambda a, b: a.softmax(1) + b.softmax(1)),
            "the sum of the logits",
        ),
        (partial(twice, combine=lambda a, b: a - b), "subtracts"),
        (partial(twice, evaluated=False), "`model.eval()`"),
        (lambda model, images: model.eval()(images.to(DEVICE)), "Take their `argmax`"),
        (lambda model, images: twice(model, images)[:5], "should have the shape"),
        (lambda model, images: torch.zeros(len(images)), "are not the class"),
    ],
}

test_right, test_wrong, test_all = of_chapter("09", RIGHT, WRONG)
