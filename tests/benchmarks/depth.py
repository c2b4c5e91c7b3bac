"""Do deeper networks train better? With shortcuts, without them, on CIFAR-10.

All networks have batch normalization, the same width and the same recipe, so that
depth and shortcuts are all that differs. Nothing is augmented: what is asked is how
well a network learns its own training photographs.
"""

from dataclasses import asdict, dataclass
from typing import Any

import torch
import torch.nn.functional as F
from photographs import follow, one_cycle, parts, source
from torch import Tensor, nn
from torch.optim import SGD
from torch.utils.data import TensorDataset
from writing import Part

from helpers import data
from helpers.models import ResidualBlock, count_parameters


class PlainBlock(ResidualBlock):
    """A `ResidualBlock` that leaves out what came in."""

    def forward(self, x: Tensor) -> Tensor:
        change = F.relu(self.norm1(self.conv1(x)))
        return F.relu(self.norm2(self.conv2(change)))


@dataclass(frozen=True)
class Stack:
    """A network of equal blocks of two convolutions, and how it is trained."""

    title: str
    num_blocks: int
    shortcuts: bool
    width: int = 16
    num_photographs: int = 10_000
    num_epochs: int = 8
    batch_size: int = 100
    lr: float = 0.1


STACKS = {
    "plain-9": Stack("9 layers, plain", 4, shortcuts=False),
    "plain-49": Stack("49 layers, plain", 24, shortcuts=False),
    "residual-9": Stack("9 layers, shortcuts", 4, shortcuts=True),
    "residual-49": Stack("49 layers, shortcuts", 24, shortcuts=True),
}


def build(stack: Stack) -> nn.Module:
    """Return the network: patches of 4x4 pixels, the blocks, one linear layer.

    Input (batch, 3, 32, 32), output (batch, 10).
    """
    block = ResidualBlock if stack.shortcuts else PlainBlock
    return nn.Sequential(
        nn.Conv2d(3, stack.width, kernel_size=4, stride=4, bias=False),
        nn.BatchNorm2d(stack.width),
        nn.ReLU(),
        *(block(stack.width) for _ in range(stack.num_blocks)),
        nn.AdaptiveAvgPool2d(2),
        nn.Flatten(),
        nn.Linear(4 * stack.width, 10),
    )


def measure(
    name: str, seed: int, device: torch.device, limit: int | None
) -> dict[str, Any]:
    """Train one of `STACKS`; return a row per epoch, as photographs.py has them."""
    stack = STACKS[name]
    train, validation = (
        data.to_tensors(part, data.CIFAR10_MEAN, data.CIFAR10_STD)
        for part in parts(limit)[:2]
    )
    train = TensorDataset(*train[: stack.num_photographs])
    torch.manual_seed(seed)
    model = build(stack).to(device, memory_format=torch.channels_last)
    generator = torch.Generator().manual_seed(seed)
    loader = data.batches(train, stack.batch_size, True, generator)
    optimizer = SGD(model.parameters(), stack.lr, momentum=0.9, weight_decay=1e-4)
    after_step = one_cycle(optimizer, stack.lr, stack.num_epochs * len(loader))
    held_out = {"seen": TensorDataset(*train[:5_000]), "validation": validation}
    epochs = follow(
        model, loader, optimizer, device, stack.num_epochs, after_step, held_out
    )
    return {"parameters": count_parameters(model), "epochs": epochs}


DEPTHS = Part(
    measure,
    {
        name: asdict(stack) | {"depth": 1 + 2 * stack.num_blocks}
        for name, stack in STACKS.items()
    },
    dict.fromkeys(STACKS, 3),
    source,
)
