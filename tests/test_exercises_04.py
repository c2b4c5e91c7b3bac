"""Answers to the exercises of chapter 4."""

import numpy as np
import torch
import torch.nn.functional as F
from exercise_cases import changed, of_chapter
from torch import nn

from helpers.models import DropoutNet

WORK = {"conv1": 144_000, "conv2": 320_000, "fc1": 16_000, "fc2": 500}


class ModuleListNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = nn.ModuleList([nn.Linear(784, 50), nn.Linear(50, 10)])

    def forward(self, images):
        x = F.relu(self.layers[0](images.flatten(start_dim=1)))
        return self.layers[1](x)


def two_layers(*between, width=50, end=()):
    return nn.Sequential(
        nn.Flatten(), nn.Linear(784, width), *between, nn.Linear(width, 10), *end
    )


def strided(*between, bias=True):
    """Two convolutions and a linear layer that never pool."""
    return nn.Sequential(
        *(nn.Conv2d(1, 6, 5, stride=2, bias=bias), *between),
        *(nn.Conv2d(6, 12, 5, stride=2, bias=bias), *between),
        *(nn.Flatten(), nn.Linear(192, 10)),
    )


def small(*end, channels=16, flat=nn.Flatten):
    return nn.Sequential(
        *(nn.Conv2d(1, 8, 5), nn.MaxPool2d(2), nn.ReLU()),
        *(nn.Conv2d(8, channels, 5), nn.MaxPool2d(2), nn.ReLU()),
        *(flat(), nn.Linear(channels * 16, 10), *end),
    )


class ByHand(nn.Module):
    """Convolutions without nn.Conv2d."""

    def __init__(self):
        super().__init__()
        self.first = nn.Parameter(0.1 * torch.randn(4, 1, 5, 5))
        self.second = nn.Parameter(0.1 * torch.randn(6, 4, 5, 5))
        self.fc = nn.LazyLinear(10)

    def forward(self, images):
        x = F.relu(F.conv2d(images, self.first, stride=2))
        x = F.relu(F.conv2d(x, self.second, stride=2))
        return self.fc(x.flatten(1))


def small_with(bias=0.0, scale=1.0):
    model = small()
    with torch.no_grad():
        model[-1].bias += bias
        model[-1].weight *= scale
    return model


# The first of two layers is kept a second time, where PyTorch finds it.
FIRST = "        self.first = self.layers[0]\n\n    def forward"

RIGHT = {
    "04.1": [980, 980.0, torch.tensor(980), np.prod([20, 7, 7])],
    "04.2": [
        *(WORK, {k: torch.tensor(float(v)) for k, v in WORK.items()}),
        {name: np.int64(work) for name, work in reversed(WORK.items())},
    ],
    "04.3": [
        *(ModuleListNet(), two_layers(nn.ReLU()), two_layers(nn.Tanh())),
        *(two_layers(nn.GELU()), two_layers(nn.ReLU(), nn.Dropout())),
    ],
    "04.4": [
        *(small(), ByHand(), small().eval(), small(nn.Dropout())),
        *(strided(nn.Tanh(), bias=False), strided(nn.ReLU(), bias=False)),
        *(nn.Sequential(nn.BatchNorm2d(1), small()), small_with(bias=2)),
    ],
}
WRONG = {
    "04.1": [
        (320, "without padding"),
        (49, "That is one map"),
        (490, "conv2 puts out 20"),
        (20 * 36, "four in all"),
        (1000, "Follow the side"),
        ((7, 7), "should be a number"),
        (20 * 28 * 28, "the side is halved twice"),
        ("20 * 7 * 7", "should be a number, but is the text"),
    ],
    "04.2": [
        ({k: 64 * v for k, v in WORK.items()}, "the whole batch of 64"),
        (WORK | {"conv1": 260}, "conv1: 260 is its number of parameters"),
        (WORK | {"fc2": 510}, "counts the biases"),
        (WORK | {"conv2": 320_000 + 20 * 64}, "counts the biases"),
        (WORK | {"conv2": 20 * 8 * 8}, "is what it puts out"),
        (WORK | {"fc1": None}, "no answer yet for 'fc1'"),
        (WORK | {"conv2": 32_000}, "through all 10 channels"),
        (WORK | {"conv1": 36_000}, "the size after pooling"),
        ({name: 2 * work for name, work in WORK.items()}, "counts the additions"),
        (list(WORK.values()), "should be a dictionary, but is a list of 4"),
    ],
    "04.3": [
        (
            changed(ModuleListNet, {"nn.ModuleList": "list"})(),
            "still has no parameters",
        ),
        (
            changed(
                ModuleListNet, {"nn.ModuleList": "list", "    def forward": FIRST}
            )(),
            "39,250 parameters. Layers 784 to 50",
        ),
        (two_layers(), "`my_fixed_net` is one straight map"),
        (two_layers(nn.Dropout()), "is one straight map"),
        (two_layers(nn.ReLU(), end=[nn.Softmax(dim=1)]), "are probabilities"),
        (changed(ModuleListNet, {"(x)": "(x.detach())"})(), "takes no part"),
        (ModuleListNet, "is the class ModuleListNet"),
        (nn.Sequential(*two_layers(nn.ReLU())[1:]), "raises `RuntimeError"),
        (two_layers(nn.ReLU(), end=[nn.Sigmoid()]), "a ReLU or sigmoid at the end"),
    ],
    "04.4": [
        (DropoutNet(), "21,840 parameters"),
        (
            nn.Sequential(
                *(nn.Conv2d(1, 4, 5, stride=3), nn.ReLU()),
                *(nn.Flatten(), nn.Linear(256, 10)),
            ),
            "does only one convolution; asked for are two",
        ),
        (two_layers(nn.ReLU(), width=10), "does no convolution"),
        (strided(), "`my_net` is one straight map"),
        (strided(nn.Dropout()), "is one straight map"),
        (small(nn.Softmax(dim=1)), "they sum to 1"),
        (small(nn.LogSoftmax(dim=1)), "logarithms of probabilities"),
        (small(nn.ReLU()), "No logit of `my_net` is negative"),
        (
            nn.Sequential(nn.BatchNorm2d(1, track_running_stats=False), small()),
            "other logits alone",
        ),
        (small_with(scale=60), "should be near 10 %"),
        (small(flat=lambda: nn.Flatten(0)), "RuntimeError"),
        (lambda images: images, "should be a network"),
        (small(nn.Linear(10, 1)), "It returns (64, 1)"),
        (nn.Sequential(nn.Conv2d(3, 8, 5), small()), "to have 3 channels"),
    ],
}

test_right, test_wrong, test_all = of_chapter("04", RIGHT, WRONG)
